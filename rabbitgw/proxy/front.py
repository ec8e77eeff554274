"""The front: what is served on each path, by whom, and how many requests run.

A call is handed to the core on the spot, as an Ask and the Answer that implements its Client; a side route goes on to
the application inside (front_inner.py). The core (serve.py) knows only the Client of relay.py and the facts of a
request. Sockets are front_wire.py's; one timer here counts the waiting of all of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

import orjson

from rabbitgw import telemetry
from rabbitgw.addresses import networks_listed
from rabbitgw.errors import (
    BodyTooLarge,
    CallerError,
    ExpectationFailed,
    MethodNotAllowed,
    RabbitError,
    RouteNotPriced,
    UpstreamError,
)
from rabbitgw.proxy.ask import Ask, id_lines, no_body
from rabbitgw.proxy.dialects import CHAT, MESSAGES, Dialect, shape_of
from rabbitgw.proxy.front_body import Body
from rabbitgw.proxy.front_hands import Hands
from rabbitgw.proxy.front_head import CONTINUE, Head, HeadRefused
from rabbitgw.proxy.front_inner import BODY_BYTES_MAX, Inner
from rabbitgw.proxy.front_owner import Limits
from rabbitgw.proxy.front_paths import Place, place_of, shown
from rabbitgw.proxy.front_sink import Answer
from rabbitgw.proxy.front_wire import Connection
from rabbitgw.proxy.origin import Origin
from rabbitgw.proxy.relay import Headers
from rabbitgw.proxy.request_headers import Heard
from rabbitgw.proxy.serve import Service

IDLE_TIMEOUT_S: Final = 75.0  # of a connection without a whole head; balancers give theirs up after a minute
HALF_CLOSED_SILENCE_S: Final = 30.0  # then a client that closed its half is taken to have closed both
LINGER_S: Final = 10.0
TICK_S: Final = 1.0
TICKS_PER_TIMEOUT_MIN: Final = 4
CLOSE_S: Final = 2.0
POLL_S: Final = 0.01


class Known:
    """What a head says of a call: all of an Ask that is the same for every request with this head."""

    __slots__ = ("boundary", "dialect", "forwarded", "origin", "request_id", "secret")

    def __init__(
        self,
        dialect: Dialect,
        request_id: str | None,
        secret: str,
        forwarded: Headers,
        origin: Origin,
        boundary: bytes = b"",
    ) -> None:
        self.boundary = boundary
        self.dialect = dialect
        self.origin = origin
        self.request_id = request_id
        self.secret = secret
        self.forwarded = forwarded


class Front:
    """Owner of all client connections of one process. `connect` makes the protocol of each."""

    def __init__(self, service: Service, inner: Inner) -> None:
        self._service = service
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._hands = Hands(service.serve)  # calls
        self._tasks: set[asyncio.Task[None]] = set()  # of all else; the loop keeps none alive by itself
        self._timer: asyncio.TimerHandle | None = None
        self.connections: set[Connection] = set()
        self.requests = 0  # that came so far, for who wants to know whether any still come
        self.draining = False
        self.ticks = 0
        settings = service.settings
        self._proxies = networks_listed(settings.trusted_proxies)
        shortest_s = min(settings.client_stall_timeout_s, HALF_CLOSED_SILENCE_S, LINGER_S)
        self._tick_s = min(TICK_S, shortest_s / TICKS_PER_TIMEOUT_MIN)
        self.limits = Limits(
            idle_ticks=self._ticks(IDLE_TIMEOUT_S),
            stall_ticks=self._ticks(settings.client_stall_timeout_s),
            silence_ticks=self._ticks(HALF_CLOSED_SILENCE_S),
            linger_ticks=self._ticks(LINGER_S),
            stall_s=settings.client_stall_timeout_s,
            body_bytes_max=settings.body_bytes_max,
        )

    def _ticks(self, timeout_s: float) -> int:
        """At least that long, counted from between two ticks."""
        return math.ceil(timeout_s / self._tick_s)

    @property
    def running(self) -> int:
        """Requests that are served."""
        return self._hands.busy + len(self._tasks)

    def connect(self) -> Connection:
        return Connection(self)

    # -- what connections ask of their owner --

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def begin_again(self, call: Known, answer: Answer, body: bytes | Body) -> None:
        if isinstance(body, bytes):
            ask = Ask(call.dialect, call.request_id, call.secret, no_body, call.forwarded, body, call.origin)
        else:
            if call.dialect.body_bytes_max is not None:
                body.limit_bytes = min(body.limit_bytes, call.dialect.body_bytes_max)
            ask = Ask(
                call.dialect, call.request_id, call.secret, body.read, call.forwarded, None, call.origin
            )
        if call.boundary:
            ask.boundary = call.boundary
        self.requests += 1
        self._hands.give(ask, answer)

    def begin(self, head: Head, answer: Answer, body: bytes | Body) -> Known | None:
        place = place_of(head.target)
        if place.kind == "side":
            self._begin_side(head, answer, body)
            return None
        heard = Heard(head.fields)
        dialect = place.dialect or self._shape(place, heard)
        try:
            _check_expect(head)
            if place.kind == "call":
                call = _known(dialect, place, head, heard, self._origin(answer, heard))
                self.begin_again(call, answer, body)
                return call
            if place.kind == "models":
                self._models(dialect, place, head, heard, answer)
                return None
            # a path of a provider's API that has no price: refused, not passed free
            raise RouteNotPriced(f"{shown(place.path)} is not sold here: it has no price")
        except CallerError as error:
            self.requests += 1
            self._service.refuse(Ask(dialect, heard.request_id), answer, error)
            answer.wire.ended(answer)
            return None

    def refuse_head(self, refused: HeadRefused, answer: Answer) -> None:
        """A head that is none. Whoever asked below /v1/ is told in the dialect of that path."""
        place = place_of(refused.target)
        if place.kind == "side":
            _refuse_side(answer, None, refused.error)
        else:
            dialect = place.dialect or shape_of(place.path)
            self._service.refuse(Ask(dialect, None), answer, refused.error)

    # -- serving --

    def _models(self, dialect: Dialect, place: Place, head: Head, heard: Heard, answer: Answer) -> None:
        _check_method(head, place, "GET")
        origin = self._origin(answer, heard)
        ask = Ask(dialect, heard.request_id, heard.credential(), origin=origin)
        if heard.fault is not None:
            raise heard.fault
        self._run(self._list(ask, answer, place.model))

    async def _list(self, ask: Ask, answer: Answer, only: str | None) -> None:
        try:
            await self._service.models(ask, answer, only)
        finally:
            answer.wire.ended(answer)

    def _begin_side(self, head: Head, answer: Answer, body: bytes | Body) -> None:
        try:
            _check_expect(head)
        except CallerError as error:
            self.requests += 1
            _refuse_side(answer, head, error)
            answer.wire.ended(answer)
            return
        self._run(self._side(head, answer, body))

    async def _side(self, head: Head, answer: Answer, body: bytes | Body) -> None:
        limit = min(BODY_BYTES_MAX, self.limits.body_bytes_max)
        try:
            if isinstance(body, Body):
                body.limit_bytes = limit
                body = await body.read()
            elif len(body) > limit:
                raise BodyTooLarge(f"the body is larger than the limit of {limit} bytes")
            await self._inner.pass_on(head, body, answer)
        except (CallerError, UpstreamError) as error:
            if not answer.started:
                _refuse_side(answer, head, error.with_traceback(None))
        except Exception as error:
            telemetry.error("request_failed", exc=error)
        finally:
            answer.wire.ended(answer)

    def _run(self, serving: Coroutine[Any, Any, None]) -> None:
        self.requests += 1
        task = self._loop.create_task(serving)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _origin(self, answer: Answer, heard: Heard) -> Origin:
        return Origin(answer.wire.transport, heard.forwarded_for, self._proxies)

    def _shape(self, place: Place, heard: Heard) -> Dialect:
        if place.kind == "models":
            return MESSAGES if any(name == b"anthropic-version" for name, _ in heard.forwarded) else CHAT
        return shape_of(shown(place.path))

    # -- time and end --

    def _tick(self) -> None:
        self.ticks += 1
        self._timer = None
        if self.connections:  # armed before any answer is told that its client left
            self._timer = self._loop.call_later(self._tick_s, self._tick)
        for connection in tuple(self.connections):
            connection.tick(self.ticks)

    async def drain(self, timeout_s: float) -> None:
        """Wait until the running requests have ended and are settled, at most `timeout_s` seconds.

        Connections that are open may still bring requests: from now on each answer says that it is the last on its own.
        """
        self.draining = True
        for connection in self.connections:
            connection.may_be_last = True
        if not self.running or timeout_s <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.running:  # noqa: ASYNC110  once in a process: no request is to pay for an event
                    await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Close every connection; one whose client does not take the rest of its answer is cut off in the end."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, self._hands.close(), return_exceptions=True)
        for connection in tuple(self.connections):
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self.connections:  # noqa: ASYNC110  once in a process
                    await asyncio.sleep(POLL_S)
        for connection in tuple(self.connections):
            connection.abort()
        await asyncio.sleep(0)  # the transports' own ends are scheduled: let them run in this loop
        if self._timer is not None:
            self._timer.cancel()


def _known(dialect: Dialect, place: Place, head: Head, heard: Heard, origin: Origin) -> Known:
    """Raises: CallerError for a call that is refused before its body is looked at."""
    _check_method(head, place, "POST")
    secret = heard.credential()
    if heard.fault is not None:
        raise heard.fault
    boundary = b""
    if dialect.form:
        boundary = heard.form_boundary()
    else:
        heard.check_json()
    return Known(dialect, heard.request_id, secret, heard.forwarded, origin, boundary)


def _check_method(head: Head, place: Place, allowed: str) -> None:
    method = head.method.decode()
    if method != allowed:
        raise MethodNotAllowed(
            f"{method} is not allowed on {shown(place.path)}: use {allowed}", allowed=allowed
        )


def _check_expect(head: Head) -> None:
    """`100-continue` is answered once the key and the length are known to be good (`Body.read`)."""
    if head.expect and head.expect != CONTINUE:
        raise ExpectationFailed("expect: only 100-continue is understood")


def _refuse_side(answer: Answer, head: Head | None, error: RabbitError) -> None:
    """In the shape of side routes (api/answers.py)."""
    ask = Ask(CHAT, Heard(head.fields).request_id if head is not None else None)
    telemetry.log(
        "request_refused",
        request_id=ask.request_id,
        caller_request_id=ask.caller_request_id,
        code=error.code,
        reason=error.message,
    )
    said = {"code": error.code, "message": error.message, "field": error.field}
    body = orjson.dumps({"error": said, "request_id": ask.shown_id})
    headers = [(b"content-type", b"application/json")]
    answer.start(error.http_status, headers, length=len(body), lines=id_lines(ask))
    answer.finish(body)
