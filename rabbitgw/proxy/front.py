"""The first front: aiohttp's server reads requests, the answer is written straight to its transport.

The core (serve.py) knows only the Client of relay.py and the facts of a request; another front can take this one's
place. aiohttp parses and keeps connections, front_sink.py writes. What its parser refuses, it answers itself, as text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from rabbitgw import telemetry
from rabbitgw.errors import BodyTooLarge, CallerError, MethodNotAllowed, RequestInvalid, RouteNotPriced
from rabbitgw.proxy.ask import Ask
from rabbitgw.proxy.dialects import CHAT, DIALECTS, MESSAGES, Dialect, shape_of
from rabbitgw.proxy.front_sink import AiohttpSink
from rabbitgw.proxy.request_headers import Heard
from rabbitgw.proxy.serve import Service

IDLE_TIMEOUT_S = 75.0  # of a connection without a whole head; balancers give theirs up after a minute
# Below /v1 there are the providers' paths, and side routes of ours under these names.
SIDE_NAMES = ("admin", "usage", "wallets")
UNSOLD_PATH = rf"/v1/{{unsold:(?!(?:{'|'.join(SIDE_NAMES)})(?:/|\Z))(?s:.*)}}"


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


Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door(RequestHandler):
    """aiohttp's protocol of one connection, with two short cuts.

    It tells the answer under way that its client is gone. aiohttp would cancel the handler instead: the money of a call
    outlives its client, so that each would need a task of its own to be shielded in (15 us). And it gives requests to
    `handle`, which asks the application's router (20 us) only for what is no call.
    """

    __slots__ = ("sink",)

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, handle: Handle) -> None:
        # A body that was refused is read on and dropped: inflating it there would be seconds of work, for anybody.
        super().__init__(
            server,
            loop=loop,
            logger=server_log(),
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            keepalive_timeout=IDLE_TIMEOUT_S,
        )
        self._request_handler = handle  # type: ignore[assignment]
        self.sink: AiohttpSink | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        sink = self.sink
        super().connection_lost(exc)
        if sink is not None:
            sink.connection_lost()


class Front:
    """The data-plane routes of an aiohttp application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._running = 0
        self._none_runs = asyncio.Event()
        self._none_runs.set()
        self._draining = False

    def routes(self) -> list[web.RouteDef]:
        """The last one takes every other path below /v1 that is no side route: add it behind those."""
        sold = [
            web.route("*", dialect.path, self._handler(dialect), expect_handler=expect_later)
            for dialect in DIALECTS
        ]
        models = [
            web.route("*", "/v1/models", self._models),
            web.route("*", "/v1/models/{model:.+}", self._models),
        ]
        return [*sold, *models, web.route("*", UNSOLD_PATH, self._unsold)]

    def door_of(self, server: web.Server | None) -> Callable[[], Door]:
        """What makes the protocol of each connection to the application that has these routes, once it is set up."""
        assert server is not None
        dialects = {dialect.path: dialect for dialect in DIALECTS}
        others: Handle = server.request_handler

        async def handle(request: web.Request) -> web.StreamResponse:
            dialect = dialects.get(request.rel_url.raw_path)
            if dialect is None or "expect" in request.headers:
                return await others(request)
            return await self._handle(dialect, request)

        loop = asyncio.get_running_loop()
        return lambda: Door(server, loop, handle)

    def _handler(self, dialect: Dialect) -> Handle:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(dialect, request)

        return handle

    async def _handle(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        client = self._sink(request)
        heard = Heard(request.raw_headers)
        if request.method != "POST":
            return self._wrong_method(dialect, request, client, heard, "POST")
        door = request.protocol
        assert isinstance(door, Door)
        door.sink = client
        self._running += 1
        self._none_runs.clear()
        try:
            await self._serve(dialect, request, client, heard)
        except Exception as error:  # aiohttp would answer it, in the middle of an answer
            telemetry.error("request_failed", exc=error)
            client.cut()
        finally:
            door.sink = None
            self._running -= 1
            if not self._running:
                self._none_runs.set()
        return client.response()

    async def _serve(self, dialect: Dialect, request: web.Request, client: AiohttpSink, heard: Heard) -> None:
        try:
            secret = heard.credential()
            if heard.fault is not None:
                raise heard.fault
            heard.check_json()
        except CallerError as error:
            self._service.refuse(Ask(dialect, heard.request_id), client, error)
            return
        read = partial(self._read, request, client, heard)
        ask = Ask(dialect, heard.request_id, secret, read, heard.forwarded)
        await self._service.serve(ask, client)

    async def _read(self, request: web.Request, client: AiohttpSink, heard: Heard) -> bytes:
        """The body; kept nowhere else, for a stream may live long.

        Raises: BodyTooLarge, RequestInvalid.
        """
        limit = self._service.settings.body_bytes_max
        too_large = partial(BodyTooLarge, f"the body is larger than the limit of {limit} bytes")
        if (request.content_length or 0) > limit:
            raise too_large()
        if heard.expects_continue and request.version >= (1, 1):
            client.go_on()
        content = request.content
        if content.is_eof() and content.exception() is None:  # it came with its head
            whole = content.read_nowait(-1)
            if len(whole) > limit:
                raise too_large()
            return whole
        pieces: list[bytes] = []
        size = 0
        stall_timeout_s = self._service.settings.client_stall_timeout_s
        try:
            while True:
                async with asyncio.timeout(stall_timeout_s):
                    piece = await content.readany()
                if not piece:  # the end
                    break
                size += len(piece)
                if size > limit:
                    raise too_large()
                pieces.append(piece)
        except BodyTooLarge:
            raise
        except TimeoutError:
            raise RequestInvalid(f"the body stopped coming: nothing for {stall_timeout_s:g} s") from None
        except (
            Exception
        ) as error:  # aiohttp has one for each thing that can be wrong, and for a client that left
            raise RequestInvalid(f"the body cannot be read ({type(error).__name__})") from None
        return b"".join(pieces)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        heard = Heard(request.raw_headers)
        dialect = MESSAGES if any(name == b"anthropic-version" for name, _ in heard.forwarded) else CHAT
        client = self._sink(request)
        if request.method != "GET":
            return self._wrong_method(dialect, request, client, heard, "GET")
        try:
            ask = Ask(dialect, heard.request_id, heard.credential())
            if heard.fault is not None:
                raise heard.fault
        except CallerError as error:
            self._service.refuse(Ask(dialect, heard.request_id), client, error)
        else:
            await self._service.models(ask, client, request.match_info.get("model"))
        return client.response()

    async def _unsold(self, request: web.Request) -> web.StreamResponse:
        """A path of a provider's API that has no price: refused, not passed free."""
        heard = Heard(request.raw_headers)
        client = self._sink(request)
        error = RouteNotPriced(f"{request.path} is not sold here: it has no price")
        self._service.refuse(Ask(shape_of(request.path), heard.request_id), client, error)
        return client.response()

    def _wrong_method(
        self, dialect: Dialect, request: web.Request, client: AiohttpSink, heard: Heard, allowed: str
    ) -> web.StreamResponse:
        error = MethodNotAllowed(
            f"{request.method} is not allowed on {request.path}: use {allowed}", allowed=allowed
        )
        self._service.refuse(Ask(dialect, heard.request_id), client, error)
        return client.response()

    def _sink(self, request: web.Request) -> AiohttpSink:
        stall_timeout_s = self._service.settings.client_stall_timeout_s
        return AiohttpSink(request, stall_timeout_s, last=self._draining)

    async def drain(self, timeout_s: float) -> None:
        """Wait until the running answers have ended and are settled, at most `timeout_s` seconds."""
        self._draining = True
        # connections that are open may still bring requests, which are answered with Connection: close
        with suppress(TimeoutError):
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await self._none_runs.wait()


async def expect_later(request: web.Request) -> None:
    """`Expect: 100-continue` is answered once the key and the length are known to be good (`Front._read`)."""
    if request.headers.get("expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text=f"Unknown Expect: {request.headers.get('expect')}")
