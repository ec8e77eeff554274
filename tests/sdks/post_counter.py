"""A relay before the gateway that counts what an SDK really sends: the requests of each case, on the wire.

The bytes pass unchanged both ways; an end or a break on one side is passed on to the other. A request belongs to the
case that its own header names: an SDK sends it again with every retry.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import httptools

CASE_HEADER = "x-sdk-case"
READ_BYTES = 64 * 1024


@dataclass
class Sent:
    """One request as an SDK sent it."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case


@dataclass
class PostCounter:
    """`async with PostCounter() as counter: port = await counter.before(gateway_port)`."""

    sent: dict[str, list[Sent]] = field(default_factory=dict)  # by case
    _servers: list[asyncio.Server] = field(default_factory=list)
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> PostCounter:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def before(self, target_port: int) -> int:
        """A port that leads to the target."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            try:
                await self._relay(target_port, reader, writer)
            finally:
                self._open.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _relay(
        self, target_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target_port)
        watch = _Requests(self.sent)
        sides = [
            asyncio.ensure_future(_copy(reader, target_writer, watch)),
            asyncio.ensure_future(_copy(target_reader, writer, None)),
        ]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            target_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, watch: _Requests | None) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(READ_BYTES):
            if watch is not None:
                watch.feed(data)
            writer.write(data)
            await writer.drain()


class _Requests:
    """llhttp's callbacks: notes the head of each request of a connection."""

    def __init__(self, sent: dict[str, list[Sent]]) -> None:
        self._sent = sent
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        method = self._parser.get_method().decode()
        sent = Sent(method, self._path.decode(), self._headers)
        self._sent.setdefault(self._headers.get(CASE_HEADER, ""), []).append(sent)
        self._path, self._headers = b"", {}
