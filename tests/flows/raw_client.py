"""A client on a raw socket that speaks as much HTTP as the test wants, and answers read as they came."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass

import orjson

from tests.flows.speeches import Speech

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
WAIT_S = 30.0


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """One answer as it came. `whole`: its body came to the end that its framing states."""

    status: int
    head: bytes
    body: bytes
    whole: bool

    @property
    def request_id(self) -> str:
        return self.field(b"x-rabbitgw-request-id").decode()

    def field(self, name: bytes) -> bytes:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b": ")
            if key == name:
                return value
        return b""

    def error_code(self) -> str:
        """Of an error body, or of the error event at the end of a stream."""
        last = self.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        error = orjson.loads(
            last.partition(b"data: ")[2] if last.startswith((b"data:", b"event:")) else last
        )["error"]
        return str(error.get("code") or error["type"])


def read_answer(raw: bytes) -> tuple[Answer, bytes]:
    """The first answer in these bytes, and what follows it."""
    head, mark, rest = raw.partition(b"\r\n\r\n")
    assert mark, raw
    answer = Answer(int(head.split()[1]), head, b"", False)
    length = answer.field(b"content-length")
    if length:
        size = int(length)
        return Answer(answer.status, head, rest[:size], len(rest) >= size), rest[size:]
    if answer.field(b"transfer-encoding") != b"chunked":
        return Answer(answer.status, head, rest, True), b""
    body = bytearray()
    while True:
        line, mark, after = rest.partition(b"\r\n")
        size = int(line, 16) if mark else -1
        if size < 0 or len(after) < size + 2:
            body += after[: max(size, 0)]
            return Answer(answer.status, head, bytes(body), False), b""
        body += after[:size]
        rest = after[size + 2 :]
        if size == 0:
            return Answer(answer.status, head, bytes(body), True), rest


class RawClient:
    """A client that does to its socket what it likes. `received`: everything so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> None:
        self.reader = reader
        self.writer = writer
        self.secret = secret
        self.received = b""
        self.port: int = writer.get_extra_info("sockname")[1]

    @classmethod
    async def connect(cls, port: int, secret: str, *, receive_buffer: int = 0) -> RawClient:
        """`receive_buffer`: bytes that the kernel may take for it; 0: as many as it likes."""
        sock = socket.socket()
        sock.setblocking(False)
        limit = 2**16
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            limit = 1024
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=limit), secret)

    def ask(self, speech: Speech, body: bytes | None = None, *lines: str, version: str = "1.1") -> None:
        self.writer.write(request(self.secret, speech, body, *lines, version=version))

    async def until(self, marker: bytes) -> bytes:
        """Read until this has come. Returns all that was received."""
        async with asyncio.timeout(WAIT_S):
            while marker not in self.received:
                piece = await self.reader.read(65536)
                assert piece, f"closed after {self.received!r}"
                self.received += piece
        return self.received

    async def rest(self) -> bytes:
        """Read until the gateway closes. Returns all that was received."""
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    self.received += piece
        return self.received

    async def answer(self) -> Answer:
        return read_answer(await self.rest())[0]

    def leave(self, how: str = "close") -> None:
        if how == "reset":
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def request(
    secret: str, speech: Speech, body: bytes | None = None, *lines: str, version: str = "1.1"
) -> bytes:
    """A whole request, a stream unless `body` says otherwise; `lines` are further fields."""
    body = speech.body() if body is None else body
    fields = [
        f"POST {speech.path} HTTP/{version}",
        "host: x",
        f"authorization: Bearer {secret}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *lines,
    ]
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + body
