"""One answer on its way to a client: heads and chunk framing, written straight to the transport.

Implements Client of relay.py. Owns what waits to leave and when; whose connection that is, and what comes on it next,
is front_wire.py's. An answer that has ended never writes again: its connection may carry another by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

from rabbitgw.proxy.relay import Headers

WAITING_BYTES_MAX: Final = 16_384  # more is worth a write of its own
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# uvloop raises RuntimeError on a write to a transport that was closed, or whose peer was told that no more comes
GONE: Final = (OSError, RuntimeError)
_REASONS: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_BODYLESS: Final = frozenset({204, 304})


class Wire(Protocol):
    """What an answer asks of the connection that carries it."""

    transport: asyncio.Transport
    write: Callable[[bytes], None]  # the transport's
    call_soon: Callable[..., object]  # the loop's
    write_paused: bool
    half_closed: bool
    may_be_last: bool  # something has happened after which `is_last` may say so

    def is_last(self) -> bool:
        """No further request can be or is to be read here."""

    def touch(self) -> None:
        """Something was written to a client that has closed its half."""

    def cut(self) -> None:
        """Close: no more of this answer comes."""

    def abort(self) -> None:
        """The client is gone."""

    def ended(self, answer: Answer) -> None:
        """The request is over."""


class Answer:
    """The head waits for the first bytes of the body, to the end of the loop's turn at most, and what `hold_back` keeps
    waits for the end: a write to a socket costs as much as all else that is done to a small answer (10-20 us)."""

    __slots__ = (
        "_chunked", "_flowing", "_head_only", "_held_back", "_modern", "_waiting", "ended", "full", "keep_alive",
        "lost", "on_drained", "on_lost", "started", "wire",
    )  # fmt: skip

    def __init__(
        self, wire: Wire, modern: bool = True, keep_alive: bool = True, head_only: bool = False
    ) -> None:
        """modern: HTTP/1.1. head_only: to a HEAD."""
        self.wire = wire
        self._modern = modern
        self._head_only = head_only
        self.keep_alive = keep_alive
        self.lost = False
        self.started = False
        self.full = wire.write_paused
        self.ended = False
        self._chunked = False
        self._flowing = False  # chunks go straight to the transport: nothing waits or is held back
        self._held_back = False
        self._waiting = b""
        self.on_lost: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None

    # -- Client of relay.py --

    def bind(self, on_drained: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Who is told when a slow client caught up, and when the client is gone."""
        self.on_drained = on_drained
        self.on_lost = on_lost
        if self.lost:
            on_lost()

    def start(self, status: int, headers: Headers, *, length: int | None, lines: bytes = b"") -> None:
        self.started = True
        if self.lost or self.ended:
            return
        wire = self.wire
        if wire.may_be_last and wire.is_last():
            self.keep_alive = False
        if status in _BODYLESS:
            self._head_only = True
            framing = b"\r\n"
        elif length is not None:
            framing = b"content-length: %d\r\n\r\n" % length
        elif not self._modern:  # the end of the connection is the end of the body
            self.keep_alive = False
            framing = b"\r\n"
        else:
            self._chunked = not self._head_only
            framing = b"transfer-encoding: chunked\r\n\r\n"
        if not self.keep_alive:
            framing = b"connection: close\r\n" + framing
        head = [b"%b: %b\r\n" % header for header in headers]
        self._waiting = b"".join(
            (_REASONS.get(status) or b"HTTP/1.1 %d Status\r\n" % status, *head, lines, framing)
        )
        wire.call_soon(self.flush)

    def write(self, data: bytes) -> None:
        if not data:  # as a chunk, no bytes would mark the end of the body
            return
        if self._flowing:
            try:
                self.wire.write(b"%x\r\n%b\r\n" % (len(data), data))
            except GONE:
                self.wire.abort()
            return
        if self.ended or self.lost or self._head_only:
            return
        piece = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        if self._held_back:
            self._waiting += piece
        elif self._waiting:
            self._waiting += piece
            if self._chunked or len(piece) > WAITING_BYTES_MAX:
                self.flush()
        else:
            self._send(piece)

    def hold_back(self) -> None:
        """What is written from now on, and what still waits, leaves with the end of the body."""
        self._held_back = True
        self._flowing = False

    def finish(self, last: bytes = b"") -> None:
        if self.ended or self.lost:
            self.ended = True
            return
        self.ended = True
        self._flowing = False
        data = self._waiting  # all that still comes is one write
        if self._chunked:
            data += b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n"
        elif last and not self._head_only:
            data += last
        if data:
            self._waiting = b""
            self._send(data)

    def cut(self) -> None:
        if not self.ended:
            self.ended = True
            self.keep_alive = self._flowing = False
            self._waiting = b""
            if not self.lost:
                self.wire.cut()

    # -- what the connection and the front call --

    def go_on(self) -> None:
        """The request's body is wanted; for a client that waits to hear so."""
        if not (self.started or self.lost):
            self._send(CONTINUE)

    def flush(self) -> None:
        """The loop's turn ends."""
        if self._waiting and not self._held_back and not self.lost:
            data, self._waiting = self._waiting, b""
            self._send(data)
            self._flowing = self._chunked and not self.ended and not self.wire.half_closed

    def slow_down(self) -> None:
        """From now on each write is to be noted: the client has closed its half, and its silence counts."""
        self._flowing = False

    def fill(self) -> None:
        self.full = not self.lost

    def drained(self) -> None:
        self.full = False
        if self.on_drained is not None:
            self.on_drained()

    def leave(self) -> None:
        """The client is gone."""
        if not self.lost:
            self.lost = True
            self.full = self._flowing = False
            self._waiting = b""
            if self.on_lost is not None:
                self.on_lost()
            self.drained()  # who reads upstream to its end all the same need not wait for anybody

    def _send(self, data: bytes) -> None:
        try:
            self.wire.write(data)
        except GONE:
            self.wire.abort()
        if self.wire.half_closed:
            self.wire.touch()
