"""Answers written straight to the transport of an aiohttp request, past aiohttp's own StreamResponse.

That costs 20 us more per chunk than a write to the transport, so heads and chunk framing are ours; parsing, keep-alive
and connections stay aiohttp's (front.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from aiohttp import web

from rabbitgw import clock
from rabbitgw.proxy.relay import Headers

WAITING_BYTES_MAX = 16_384  # more is worth a write of its own
DRAIN_POLL_S = 0.01  # how often a slow client's buffer is looked at; only slow clients pay for it
REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class RawResponse:
    """Tells aiohttp that the answer has been written already. All that it asks of a response, and no more."""

    __slots__ = ("_sink", "keep_alive", "status")

    def __init__(self, sink: AiohttpSink, *, keep_alive: bool) -> None:
        self._sink = sink
        self.status = sink.status
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """The next request of this connection waits until the client has taken enough of this answer."""
        while self._sink.is_full():  # noqa: ASYNC110  as often as the sink itself looks
            await asyncio.sleep(DRAIN_POLL_S)


class AiohttpSink:
    """ClientSink over the transport of one aiohttp request.

    The head waits for the first bytes of the body, to the end of the loop's turn at most, and what `hold_back` keeps
    waits for the end: a write to a socket costs as much as all else that is done to a small answer (10-20 us).
    """

    __slots__ = (
        "_chunked",
        "_held_back",
        "_keep_alive",
        "_loop",
        "_on_drained",
        "_on_lost",
        "_polling",
        "_request",
        "_stall_timeout_s",
        "_stalled_at_s",
        "_unsent_bytes",
        "_waiting",
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
        self._waiting: list[bytes] = []
        self._held_back = False
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
        self._waiting = [b"".join(lines)]
        self._loop.call_soon(self._flush)

    def hold_back(self) -> None:
        """What is written from now on, and what still waits, leaves with the end of the body."""
        self._held_back = True

    def write(self, data: bytes) -> None:
        if not data or self._request.method == "HEAD":
            return  # as a chunk, no bytes would mark the end of the body
        piece = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        if self._waiting or self._held_back:
            self._waiting.append(piece)
            if self._chunked or len(piece) > WAITING_BYTES_MAX:
                self._flush()
        else:
            self._send(piece)

    def finish(self, last: bytes = b"") -> None:
        self._held_back = True
        self.write(last)
        if self._chunked:
            self._waiting.append(b"0\r\n\r\n")
        self._held_back = False
        self._flush()

    def cut(self) -> None:
        self._keep_alive = False
        self._waiting.clear()
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

    def response(self) -> web.StreamResponse:
        self._on_drained = self._on_lost = (
            None  # which know the relay, which knows us: a cycle for the collector
        )
        made = RawResponse(self, keep_alive=self._keep_alive and not self.lost)
        return cast(web.StreamResponse, made)

    def _flush(self) -> None:
        if self._waiting and not self._held_back:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._send(data)

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
