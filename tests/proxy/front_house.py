"""A front on a port of its own, with a service whose answers the test gives and a side application behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from aiohttp import web

from rabbitgw.config import Settings
from rabbitgw.errors import AuthError, CallerError
from rabbitgw.proxy import front as front_module
from rabbitgw.proxy import front_sink
from rabbitgw.proxy.ask import Ask
from rabbitgw.proxy.front import Front
from rabbitgw.proxy.front_inner import Inner
from rabbitgw.proxy.relay import Client
from rabbitgw.proxy.serve import Service

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\n"
Answer = Callable[[Client, bytes], Awaitable[None]]


async def whole(client: Client, body: bytes) -> None:
    """Answers with the body's length."""
    said = b"%d" % len(body)
    client.start(200, [], length=len(said))
    client.write(said)
    client.finish()


class Scripted(Service):
    """A service whose answers the test gives; refusals are the real ones."""

    def __init__(self, settings: Settings, answer: Answer) -> None:
        self.settings = settings
        self.answer = answer
        self.bodies: list[bytes] = []
        self.asks: list[Ask] = []

    async def serve(self, ask: Ask, client: Client) -> None:
        try:
            if ask.secret != "good":
                raise AuthError("this API key is not valid")
            body = ask.take_body() if ask.body is not None else await ask.read()
        except CallerError as error:
            self.refuse(ask, client, error)
            return
        self.bodies.append(body)
        self.asks.append(ask)
        await self.answer(client, body)

    async def models(self, ask: Ask, client: Client, only: str | None = None) -> None:
        await whole(client, b"")


class Served:
    def __init__(self, front: Front, service: Scripted, port: int) -> None:
        self.front = front
        self.service = service
        self.port = port

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def exchange(self, *sent: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        async with self.connection() as (reader, writer), asyncio.timeout(20):
            for piece in sent:
                writer.write(piece)
            return await reader.read()


class Wire(asyncio.Transport):
    """A transport without a socket: what was written, and what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = self.aborted = self.ended = self.reading_paused = False

    @property
    def said(self) -> bytes:
        return b"".join(self.writes)

    def write(self, data: Any) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")  # as uvloop does
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False


class Bare:
    """A front with one connection and no socket."""

    def __init__(self, answer: Answer = whole, **settings: Any) -> None:
        self.service = Scripted(Settings.load(**settings), answer)
        self.front = Front(self.service, Inner(web.Application(), shutdown_timeout_s=1.0))
        self.wire = Wire()
        self.connection = self.front.connect()
        self.connection.connection_made(self.wire)

    async def feed(self, *pieces: bytes) -> bytes:
        """What is said to these pieces, each in a turn of its own."""
        before = len(self.wire.said)
        for piece in pieces:
            self.connection.data_received(piece)
            await asyncio.sleep(0)
        await self.rest()
        return self.wire.said[before:]

    async def rest(self) -> None:
        """Until no request runs, and what waits has left."""
        for _ in range(3):
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while self.front.running:
                await asyncio.sleep(0)

    async def close(self) -> None:
        self.connection.connection_lost(None)
        await self.front.close()


@asynccontextmanager
async def bare(answer: Answer = whole, **settings: Any) -> AsyncIterator[Bare]:
    house = Bare(answer, **settings)
    try:
        yield house
    finally:
        await house.close()


async def echo(request: web.Request) -> web.Response:
    """A side route: says back what came."""
    said = {"method": request.method, "path": request.raw_path, "body": (await request.read()).decode()}
    said |= {f"field {name.lower()}": value for name, value in request.headers.items()}
    return web.json_response(said, status=201, headers={"x-inner": "yes"})


@asynccontextmanager
async def served(
    answer: Answer = whole,
    side: Callable[[web.Application], None] = lambda app: None,
    *,
    silence_s: float = 30.0,
    **settings: Any,
) -> AsyncIterator[Served]:
    service = Scripted(Settings.load(**settings), answer)
    app = web.Application()
    app.router.add_route("*", "/side", echo)
    side(app)
    inner = Inner(app, shutdown_timeout_s=1.0)
    await inner.start()
    with patch.object(front_module, "HALF_CLOSED_SILENCE_S", silence_s):
        front = Front(service, inner)
    server = await asyncio.get_running_loop().create_server(front.connect, "127.0.0.1", 0)
    try:
        yield Served(front, service, server.sockets[0].getsockname()[1])
    finally:
        await front.drain(5.0)
        server.close()
        await inner.close()
        await front.close()


def post(body: bytes, *lines: bytes) -> bytes:
    return (
        POST + b"".join(line + b"\r\n" for line in lines) + b"content-length: %d\r\n\r\n" % len(body) + body
    )


LAST = b"connection: close"


@asynccontextmanager
async def slow_socket(house: Served, sent: bytes = b"") -> AsyncIterator[socket.socket]:
    """A client that has asked, and takes only what the test reads."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", house.port))
        await loop.sock_sendall(sock, sent or post(b"{}"))
        yield sock


class Flood:
    """Writes whenever the client is not full, until it is gone or has had everything."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.lost = False
        self.done = asyncio.Event()

    async def __call__(self, client: Client, body: bytes) -> None:
        assert isinstance(client, front_sink.Answer)
        client.wire.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        client.bind(lambda: self.pour(client), self.leave)
        client.start(200, [], length=self.left)
        self.pour(client)
        await self.done.wait()

    def pour(self, client: Client) -> None:
        while self.left and not self.lost and not client.full:
            client.write(b"x" * min(65536, self.left))
            self.left -= min(65536, self.left)
        if self.lost or not self.left:
            self.done.set()

    def leave(self) -> None:
        self.lost = True
        self.done.set()
