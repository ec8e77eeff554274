"""One TCP or unix connection to Redis: bytes out, replies in, deadlines, and who gets which reply.

Owns the wire; knows nothing of connecting, of keys or of scripts. RedisLink holds one of these at a time.

What keeps a call at 4-5 us of CPU under load, and where it would go otherwise:
- one write and one read per turn instead of one each per call (a pair of syscalls is about 8 us), but with
  nothing in flight the command leaves at once: waiting for company costs the lone call an idle loop turn;
- commands that come as bytes (resp.py), `hiredis.Reader`, in C, and a plain Future: no task, lock or pool per call;
- no timer per call (1.2 us each): deadlines are marks in the queue that one periodic tick moves along;
- no clock read per call: one call after each tick is timed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from rabbitgw import metrics
from rabbitgw.clock import monotonic_s
from rabbitgw.errors import RedisReplyError, RedisTimeout, RedisUnavailable

TICKS_PER_TIMEOUT = 4  # a deadline is late by at most a quarter of itself
SILENCE_TIMEOUTS = 3  # a head unanswered this many timeouts: the connection is dead, whatever TCP says
IN_FLIGHT_MAX = 16_384  # far above any load that Redis answers within a timeout
UNSENT_BYTES_MAX = 32 * 1024 * 1024  # kept while Redis does not read; past it calls are refused
WRITE_HIGH_WATER_BYTES = 1024 * 1024  # a burst of a thousand commands is no reason to pause

_NOT_YET = object()  # hiredis' word for "no whole reply"; its default, False, could be mistaken for one


def refused(loop: asyncio.AbstractEventLoop, reason: str) -> asyncio.Future[Any]:
    """The reply to a command that is not sent."""
    metrics.redis_failed("down")
    future: asyncio.Future[Any] = loop.create_future()
    future.set_exception(RedisUnavailable(reason))
    return future


class Wire(asyncio.Protocol):
    """What is to be written, and whom each reply is for.

    Redis answers in order, so the queue of futures is the whole bookkeeping. A future that timed out or was
    cancelled stays in it as a placeholder, or every later reply would go to the wrong caller.
    """

    __slots__ = (
        "_answered",
        "_counted",
        "_feed",
        "_flush_due",
        "_gets",
        "_loop",
        "_marks",
        "_new_future",
        "_on_lost",
        "_paused",
        "_silent_ticks",
        "_time_next",
        "_timed",
        "_timeout_s",
        "_transport",
        "_unsent",
        "lost",
        "stuck",
        "waiting",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout_s: float, on_lost: Callable[[Wire, str], None]
    ) -> None:
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.stuck = False
        self._loop = loop
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        reader = hiredis.Reader(replyError=RedisReplyError, notEnoughData=_NOT_YET)
        self._feed, self._gets = reader.feed, reader.gets
        self._new_future: Callable[[], asyncio.Future[Any]] = loop.create_future
        self._unsent: list[bytes] = []
        self._marks: deque[int] = deque()
        self._answered = 0
        self._counted = 0  # of those, how many the metrics know of
        self._time_next = True
        self._timed: tuple[float, int] | None = None  # when the timed call left, and which it is
        self._silent_ticks = 0
        self._flush_due = False
        self._paused = False
        self.lost = False
        self._transport: asyncio.Transport | None = None

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Queue one command, as resp.py writes it. The future is its reply; it may have failed already."""
        waiting = self.waiting
        in_flight = len(waiting)
        if self.stuck or in_flight >= IN_FLIGHT_MAX:
            return refused(self._loop, "Redis: too many commands in flight")
        future = self._new_future()
        waiting.append(future)
        if self._time_next:
            self._time_next = False
            self._timed = (monotonic_s(), self._answered + in_flight + 1)
        if not in_flight:
            self._write(command)
            return future
        self._unsent.append(command)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flush_due = False
        unsent = self._unsent
        if self._paused:
            self.stuck = sum(map(len, unsent)) > UNSENT_BYTES_MAX
        elif unsent:
            data = b"".join(unsent)  # of one it is that one
            unsent.clear()
            self._write(data)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return  # connection_lost is on its way and will fail everybody
        try:
            transport.write(data)
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError on a handle that just closed
            self.lose(f"write failed ({type(error).__name__})")

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._silent_ticks = 0
        gets, popleft = self._gets, self.waiting.popleft
        answered = 0
        try:
            self._feed(data)
            while (reply := gets()) is not _NOT_YET:
                future = popleft()
                answered += 1
                if future.done():
                    continue
                if reply.__class__ is RedisReplyError:
                    metrics.redis_failed(reply.kind)
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except hiredis.ProtocolError:
            self.lose("it does not speak RESP")
        except IndexError:
            self.lose("a reply that nobody asked for")
        self._answered += answered
        timed = self._timed
        if timed is not None and self._answered >= timed[1]:
            metrics.REDIS_SECONDS.cells().observe(monotonic_s() - timed[0])
            self._timed = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = self.stuck = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose("connection lost" if exc is None else f"connection lost ({type(exc).__name__})")

    # -- time and end --

    def tick(self) -> None:
        """Called TICKS_PER_TIMEOUT times per timeout: fail what is overdue; give up a connection gone silent.

        Ticks are counted, not clock time, so a loop that was itself held up fails no call whose reply
        already waits in the socket.
        """
        metrics.REDIS_COMMANDS.add(self._answered - self._counted)
        self._counted = self._answered
        self._time_next = self._timed is None
        waiting = self.waiting
        if not waiting:
            self._marks.clear()
            self._silent_ticks = 0
            return
        self._silent_ticks += 1
        if self._silent_ticks > SILENCE_TIMEOUTS * TICKS_PER_TIMEOUT:
            self.lose(f"silent for {SILENCE_TIMEOUTS * self._timeout_s:g} s")
            return
        # A mark is how many calls had ever been issued when it was made: those before it were queued earlier.
        self._marks.append(self._answered + len(waiting))
        if len(self._marks) <= TICKS_PER_TIMEOUT:
            return
        overdue = self._marks.popleft() - self._answered
        if overdue <= 0:
            return
        for position, future in enumerate(waiting):
            if position >= overdue:
                break
            if not future.done():
                metrics.redis_failed("timeout")
                future.set_exception(RedisTimeout(f"Redis: no reply within {self._timeout_s:g} s"))

    def lose(self, reason: str) -> None:
        """Close, and fail all that waits. Once; what happens to the connection afterwards changes nothing."""
        if self.lost:
            return
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        waiting, self.waiting = self.waiting, deque()
        self._unsent.clear()
        for future in waiting:
            if not future.done():
                metrics.redis_failed("lost")
                future.set_exception(RedisUnavailable(f"Redis: {reason}"))
        self._on_lost(self, reason)
