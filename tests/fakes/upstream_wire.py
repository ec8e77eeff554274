"""The fake upstream's HTTP: a request read whole, an answer written piece by piece and counted. Knows no dialect."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.upstream_scripts import Frame, Raw


@dataclass
class Received:
    """One request as it came, and what became of its answer."""

    method: str
    path: str
    headers: list[tuple[str, str]]  # names in lower case, in order, repeats kept
    body: bytes
    json: Any
    bytes_sent: int = 0  # taken by the client's side of the connection, head included
    finished: bool = False
    client_left: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def route(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    @property
    def anthropic(self) -> bool:
        """It came in Anthropic's dialect."""
        return self.route.startswith("/v1/messages") or self.header("anthropic-version") is not None

    @property
    def model(self) -> str:
        return str(self.json.get("model", "")) if isinstance(self.json, dict) else ""


class Cut(Exception):
    """The script ends the connection here. `reset`: by RST."""

    def __init__(self, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Out:
    """The answer's bytes, counted."""

    def __init__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self._request = request
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._request.bytes_sent += len(data)

    async def head(self, status: int, content_type: str, framing: str, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", f"content-type: {content_type}", framing]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def whole(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> bool:
        await self.head(status, content_type, f"content-length: {len(body)}", headers or {})
        await self.send(body)
        return True

    async def json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> bool:
        return await self.whole(status, "application/json", json.dumps(body).encode(), headers)

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def frames(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            await self.chunk(frame.bytes)

    async def raw(self, script: Raw) -> bool:
        framing = {
            "chunked": "transfer-encoding: chunked",
            "length": f"content-length: {sum(map(len, script.pieces))}",
            "close": "connection: close",
        }[script.framing]
        await self.head(script.status, script.content_type, framing, script.headers)
        for piece in script.pieces:
            if script.delay_s:
                await asyncio.sleep(script.delay_s)
            await (self.chunk(piece) if script.framing == "chunked" else self.send(piece))
        if script.cut:
            raise Cut
        if script.framing == "chunked":
            await self.send(b"0\r\n\r\n")
        return script.framing != "close"


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    linger_off = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)


async def left(reader: asyncio.StreamReader) -> None:
    """Returns when the client has closed or reset; a byte of a next request counts as still there."""
    while not reader.at_eof():
        await asyncio.sleep(0.01)
        if reader.exception() is not None:
            return


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = [line.partition(":") for line in lines]
    headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    known = dict(headers)
    if "chunked" in known.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(known.get("content-length", 0)))
    try:
        parsed = json.loads(body) if body else None
    except ValueError:
        parsed = None
    return Received(method, path, headers, body, parsed)
