"""The first front: aiohttp's server reads requests, the answer is written straight to its transport.

The core (serve.py) knows only ClientSink and the facts of a request; another front can take this one's place.
aiohttp's own StreamResponse costs 20 µs more per chunk than a write to the transport, so heads and chunk framing
are ours; aiohttp keeps parsing, keep-alive and connections. What its parser refuses, it answers itself, as text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from rabbitgw import clock, telemetry
from rabbitgw.errors import AuthError, BodyTooLarge, RequestInvalid, RouteNotPriced
from rabbitgw.proxy.ask import Ask
from rabbitgw.proxy.dialects import ANTHROPIC_SHAPE, DIALECTS, UNSOLD_PATHS, Dialect
from rabbitgw.proxy.relay import Headers
from rabbitgw.proxy.serve import Service

DRAIN_POLL_S = 0.01  # how often a slow client's buffer is looked at; only slow clients pay for it
CALLER_REQUEST_ID_MAX = 128
REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


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


class RawResponse(web.StreamResponse):
    """Tells aiohttp that the answer has been written already."""

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class AiohttpSink:
    """ClientSink over the transport of one aiohttp request."""

    __slots__ = (
        "_chunked",
        "_keep_alive",
        "_loop",
        "_on_drained",
        "_on_lost",
        "_polling",
        "_request",
        "_stall_timeout_s",
        "_stalled_at_s",
        "_unsent_bytes",
        "lost",
        "started",
        "status",
    )

    def __init__(self, request: web.Request, stall_timeout_s: float, *, last: bool) -> None:
        """`last`: no further request is wanted on this connection."""
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._chunked = False
        self._keep_alive = bool(request.keep_alive) and request.version >= (1, 1) and not last
        self._on_lost: Callable[[], None] | None = None
        self._on_drained: Callable[[], None] | None = None
        self._polling = False
        self._stalled_at_s = 0.0
        self._unsent_bytes = 0  # at the last poll
        self._stall_timeout_s = stall_timeout_s
        self.lost = False
        self.started = False
        self.status = 0

    def bind(self, on_drained: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Who is told when a slow client caught up, and when the client is gone."""
        self._on_drained = on_drained
        self._on_lost = on_lost
        if self.lost:
            on_lost()

    def go_on(self) -> None:
        """The request's body is wanted; for a client that waits to hear so."""
        self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def start(self, status: int, headers: Headers, *, length: int | None) -> None:
        self.started = True
        self.status = status
        lines = [REASONS.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()]
        lines.extend(b"%b: %b\r\n" % header for header in headers)
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif self._request.version >= (1, 1):
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self._keep_alive = False
        if not self._keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._send(b"".join(lines))

    def write(self, data: bytes) -> None:
        if not data:
            return  # as a chunk, no bytes would mark the end of the body
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        if self._chunked:
            self._send(b"0\r\n\r\n")

    def cut(self) -> None:
        self._keep_alive = False
        transport = self._request.transport
        if transport is not None:
            transport.close()
            # which waits for the client to take what was written; one that takes nothing would keep it for ever
            self._loop.call_later(self._stall_timeout_s, transport.abort)

    def is_full(self) -> bool:
        if self.lost or not self._request.protocol.writing_paused:
            return False
        if not self._polling:
            self._polling = True
            self._unsent_bytes = 0
            self._loop.call_later(DRAIN_POLL_S, self._poll)
        return True

    def connection_lost(self) -> None:
        if not self.lost:
            self.lost = True
            if self._on_lost is not None:
                self._on_lost()

    def response(self) -> RawResponse:
        return RawResponse(self.status, keep_alive=self._keep_alive and not self.lost)

    def _send(self, data: bytes) -> None:
        transport = self._request.transport
        # uvloop raises on a write to a closed transport
        if transport is None or transport.is_closing():
            self.connection_lost()
            return
        transport.write(data)

    def _poll(self) -> None:
        transport = self._request.transport
        if transport is not None and self._request.protocol.writing_paused and not self.lost:
            unsent_bytes = transport.get_write_buffer_size()
            if unsent_bytes != self._unsent_bytes:  # it takes some, however slowly
                self._unsent_bytes = unsent_bytes
                self._stalled_at_s = clock.monotonic_s()
            if clock.monotonic_s() - self._stalled_at_s <= self._stall_timeout_s:
                self._loop.call_later(DRAIN_POLL_S, self._poll)
                return
            self._keep_alive = False
            transport.abort()  # what it did not take is not kept for it
            self.connection_lost()
        self._polling = False
        if self._on_drained is not None:
            self._on_drained()


class Front:
    """The data-plane routes of an aiohttp application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._running: set[asyncio.Task[None]] = set()
        self._draining = False

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.post(dialect.path, self._handler(dialect), expect_handler=expect_later)
            for dialect in DIALECTS
        ]
        # no HEAD: an answer written past aiohttp would have a body
        unsold = web.post(f"/v1/{{unsold:(?:{'|'.join(UNSOLD_PATHS)})(?:/.*)?}}", self._unsold)
        return [*routes, web.get("/v1/models", self._models, allow_head=False), unsold]

    def _handler(self, dialect: Dialect) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(dialect, request)

        return handle

    async def _handle(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        client = self._sink(request)
        task = asyncio.get_running_loop().create_task(self._serve(dialect, request, client))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            # aiohttp cancels a handler when its client goes; the money of the call outlives that
            await asyncio.shield(task)
        except asyncio.CancelledError:
            client.connection_lost()
            raise
        except Exception as error:  # aiohttp would answer it, in the middle of an answer
            telemetry.error("request_failed", exc=error)
            client.cut()
        return client.response()

    async def _serve(self, dialect: Dialect, request: web.Request, client: AiohttpSink) -> None:
        caller_id = caller_request_id(request)
        try:
            secret = credential(request)
        except (AuthError, RequestInvalid) as error:
            self._service.refuse(Ask(dialect, caller_id), client, error)
            return
        await self._service.serve(
            Ask(dialect, caller_id, secret, partial(self._read, request, client)), client
        )

    async def _read(self, request: web.Request, client: AiohttpSink) -> bytes:
        """The body; kept nowhere else, for a stream may live long.

        Raises: BodyTooLarge, RequestInvalid.
        """
        limit = self._service.settings.body_bytes_max
        too_large = BodyTooLarge(f"the body is larger than the limit of {limit} bytes")
        if (request.content_length or 0) > limit:
            raise too_large
        if request.headers.get("expect", "").lower() == "100-continue" and request.version >= (1, 1):
            client.go_on()
        pieces = []
        size = 0
        try:
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > limit:
                    raise too_large
                pieces.append(piece)
        except BodyTooLarge:
            raise
        except (
            Exception
        ) as error:  # aiohttp has one for each thing that can be wrong, and for a client that left
            raise RequestInvalid(f"the body cannot be read ({type(error).__name__})") from None
        return b"".join(pieces)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        dialect, caller_id = DIALECTS[0], caller_request_id(request)
        client = self._sink(request)
        try:
            ask = Ask(dialect, caller_id, credential(request))
        except (AuthError, RequestInvalid) as error:
            self._service.refuse(Ask(dialect, caller_id), client, error)
        else:
            await self._service.models(ask, client)
        return client.response()

    async def _unsold(self, request: web.Request) -> web.StreamResponse:
        """A path of a provider's API that has no price: refused, not passed free."""
        client = self._sink(request)
        dialect = ANTHROPIC_SHAPE if request.path.startswith("/v1/messages") else DIALECTS[0]
        error = RouteNotPriced(f"{request.path} is not sold here: it has no price")
        self._service.refuse(Ask(dialect, caller_request_id(request)), client, error)
        return client.response()

    def _sink(self, request: web.Request) -> AiohttpSink:
        stall_timeout_s = self._service.settings.client_stall_timeout_s
        return AiohttpSink(request, stall_timeout_s, last=self._draining)

    async def drain(self, timeout_s: float) -> None:
        """Wait until the running answers have ended and are settled, at most `timeout_s` seconds."""
        self._draining = True
        deadline_s = clock.monotonic_s() + timeout_s
        # connections that are open may still bring requests, which are answered with Connection: close
        while self._running and (left_s := deadline_s - clock.monotonic_s()) > 0:
            await asyncio.wait(self._running, timeout=left_s)


async def expect_later(request: web.Request) -> None:
    """`Expect: 100-continue` is answered once the key and the length are known to be good (`Front._read`)."""
    if request.headers.get("expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text=f"Unknown Expect: {request.headers.get('expect')}")


def credential(request: web.Request) -> str:
    """The caller's key, from `Authorization: Bearer` or `x-api-key`.

    Raises: AuthError when there is none, RequestInvalid when there are two different ones.
    """
    found = {value.strip() for value in request.headers.getall("x-api-key", ())}
    for value in request.headers.getall("authorization", ()):
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise AuthError("the Authorization header must be: Bearer <key>")
        found.add(token.strip())
    found.discard("")
    if not found:
        raise AuthError("no key: send Authorization: Bearer <key> or x-api-key: <key>")
    if len(found) > 1:
        raise RequestInvalid("two different credentials in one request: send one", field="authorization")
    return found.pop()


def caller_request_id(request: web.Request) -> str | None:
    """The caller's own X-Request-ID where it is sane: 1 to 128 printable ASCII characters."""
    value = request.headers.get("x-request-id", "")
    if 0 < len(value) <= CALLER_REQUEST_ID_MAX and value.isascii() and value.isprintable():
        return value
    return None
