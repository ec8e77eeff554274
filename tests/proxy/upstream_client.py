"""What the tests of the upstream client share: a sink that writes down what it hears, scripts, a client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rabbitgw.errors import (
    UpstreamError,
)
from rabbitgw.proxy.upstream import Exchange, Upstream
from rabbitgw.proxy.upstream_head import Headers
from tests.fakes.raw_http import Connection, RawServer, raw_server
from tests.loops import until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
TLS_PEM = Path(__file__).parent.parent / "fixtures" / "localhost_tls.pem"
SOON_S = 0.15  # a timeout for tests in which it must run out
NEVER_S = 100.0


class Recorder:
    """A sink that writes down what it is told, and checks the order."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.error: UpstreamError | None = None
        self.ended = False
        self.exchange: Exchange | None = None
        self.then: Callable[[str], None] = lambda event: None  # called after each event

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def over(self) -> bool:
        return self.ended or self.error is not None

    def on_head(self, status: int, headers: Headers) -> None:
        assert not self.status
        assert not self.over
        self.status, self.headers = status, headers
        self.then("head")

    def on_body(self, piece: bytes) -> None:
        assert self.status
        assert piece
        assert not self.over
        self.pieces.append(piece)
        self.then("body")

    def on_end(self) -> None:
        assert self.status
        assert not self.over
        self.ended = True
        self.then("end")

    def on_fail(self, error: UpstreamError) -> None:
        assert not self.over
        self.error = error
        self.then("fail")


class Client:
    """An Upstream before a scripted server."""

    def __init__(self, server: RawServer, upstream: Upstream) -> None:
        self.server = server
        self.upstream = upstream

    async def post(
        self, body: bytes = b"{}", *, method: bytes = b"POST", to: Recorder | None = None
    ) -> Recorder:
        sink = to or Recorder()
        sink.exchange = await self.upstream.request(method, b"/v1/chat", [(b"x-a", b"1")], body, sink)
        return sink

    async def whole(self, body: bytes = b"{}", *, method: bytes = b"POST") -> Recorder:
        """A request and its response to the end, whichever."""
        sink = await self.post(body, method=method)
        await until(lambda: sink.over)
        return sink


@asynccontextmanager
async def client(
    script: Callable[[Connection], Any], *, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Client]:
    options.setdefault("idle_timeout_s", NEVER_S)
    async with raw_server(script, tls=tls) as server:
        upstream = Upstream(f"{'https' if tls else 'http'}://127.0.0.1:{server.port}", **options)
        try:
            yield Client(server, upstream)
        finally:
            await upstream.close()


def answering(*pieces: bytes) -> Callable[[Connection], Any]:
    """A script that answers every request with these pieces and keeps the connection."""

    async def script(connection: Connection) -> None:
        while True:
            await connection.read_request()
            await connection.send(*pieces)

    return script


def ending(*pieces: bytes, how: str) -> Callable[[Connection], Any]:
    """A script that answers one request with these pieces, lets them arrive, and ends the connection."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(*pieces)
        await asyncio.sleep(0.05)
        getattr(connection, how)()

    return script
