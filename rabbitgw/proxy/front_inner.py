"""Side routes behind the front: each request goes on, as it came, to an aiohttp server inside this process.

Owns the way there (the upstream client over socket pairs: no port, no file that others could reach) and the way back.
What belongs to a connection is the front's; the rest of head, body and answer passes. Knows no route.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from rabbitgw.errors import UpstreamConnectFailed, UpstreamError
from rabbitgw.proxy.front_head import HEAD_BYTES_MAX, Head
from rabbitgw.proxy.front_sink import Answer
from rabbitgw.proxy.origin import peer_of
from rabbitgw.proxy.relay import Headers
from rabbitgw.proxy.upstream import Upstream
from rabbitgw.proxy.upstream_exchange import Exchange
from rabbitgw.proxy.upstream_wire import Connection

# A form, not a prompt: what side routes take at most (api/answers.py). A body is kept whole before it goes on, whoever
# sent it.
BODY_BYTES_MAX: Final = 1024 * 1024
WAIT_S: Final = 3600.0  # a side route has no time limit of its own; its client has
PEER: Final = (
    b"x-rabbitgw-peer"  # says the application inside who is at the other end; never the client's own word
)
_OF_A_CONNECTION: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
        b"http2-settings", b"expect", b"content-length", PEER,
    }
)  # fmt: skip


class ParserLog(logging.Filter):
    """Keeps what a parser choked on out of the log: the line that it quotes may hold a caller's key."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.exc_info = None
            record.levelno, record.levelname = logging.INFO, "INFO"  # nothing of ours is wrong
        return True


def server_log() -> logging.Logger:
    """The log to give to aiohttp's server."""
    log = logging.getLogger("rabbitgw.http")
    if not log.filters:
        log.addFilter(ParserLog())
    return log


class Inner(Upstream):
    """An aiohttp application, and the client that asks it."""

    def __init__(self, app: web.Application, *, shutdown_timeout_s: float) -> None:
        super().__init__("http://inner", first_byte_timeout_s=WAIT_S, silence_timeout_s=WAIT_S)
        self._runner = web.AppRunner(
            app,
            logger=server_log(),
            access_log=None,
            shutdown_timeout=shutdown_timeout_s,
            auto_decompress=False,  # of a body that is refused, that would be seconds of work, for anybody
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )

    async def start(self) -> None:
        await self._runner.setup()

    async def close(self) -> None:
        """Let running handlers end, for as long as the application was given; then close everything."""
        await self._runner.cleanup()
        await super().close()

    async def pass_on(self, head: Head, body: bytes, answer: Answer) -> None:
        """Have a request answered. Raises: UpstreamError, with the answer begun or not."""
        passed = _Passed(answer)
        exchange = Exchange(
            passed,
            _written(head, len(body), peer_of(answer.wire.transport)),
            body,
            head_only=head.method == b"HEAD",
        )
        passed.bind(exchange)
        if answer.lost:
            return
        if not self.send_now(exchange):
            await self.send(exchange)
        await passed.done

    async def _dial(self) -> Connection:
        server = self._runner.server
        if server is None:
            raise UpstreamConnectFailed("the side routes are not served", sent=False)
        loop = asyncio.get_running_loop()
        connection = Connection(self, self._limits, loop)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        await loop.connect_accepted_socket(server, theirs)
        await loop.create_unix_connection(lambda: connection, sock=ours)
        return connection


class _Passed:
    """Implements ResponseSink: an answer from inside on its way to the client."""

    __slots__ = ("_answer", "_exchange", "done")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._exchange: Exchange | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def bind(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._answer.bind(exchange.resume, self._left)

    def on_head(self, status: int, headers: Headers) -> None:
        length = None
        kept: Headers = []
        for field in headers:
            if field[0] == b"content-length":
                length = int(field[1])
            else:
                kept.append(field)
        self._answer.start(status, kept, length=length)

    def on_body(self, piece: bytes) -> None:
        self._answer.write(piece)
        if self._answer.full and self._exchange is not None:
            self._exchange.pause()

    def on_end(self) -> None:
        self._answer.finish()
        self._end(None)

    def on_fail(self, error: UpstreamError) -> None:
        self._end(error)

    def _left(self) -> None:
        """The client is gone: so goes the connection, which the handler finds when it writes."""
        if self._exchange is not None:
            self._exchange.abort()
        self._end(None)

    def _end(self, error: UpstreamError | None) -> None:
        with suppress(asyncio.InvalidStateError):
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


def _written(head: Head, body_bytes: int, peer: str | None) -> bytes:
    fields = [field for field in head.fields if field[0] not in _OF_A_CONNECTION]
    if not head.modern and not any(name == b"host" for name, _ in fields):
        fields.append((b"host", b""))
    if body_bytes or head.length is not None:
        fields.append((b"content-length", b"%d" % body_bytes))
    if peer is not None:
        fields.append((PEER, peer.encode()))
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (head.method, head.target, lines)
