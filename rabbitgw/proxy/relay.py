"""Between one upstream answer and one client: bytes go on at once, the meter's reader looks at them.

No policy lives here. The relay reports how the answer went by resolving `outcome`, once; serve.py decides what it
costs. It never waits: everything runs inside upstream's data_received, and backpressure is pausing upstream.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Protocol

from rabbitgw import clock, telemetry
from rabbitgw.errors import UpstreamError, UpstreamGarbled
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.meter.stream import StreamReader
from rabbitgw.proxy.upstream_exchange import Exchange

ERROR_BODY_BYTES_MAX = 1024 * 1024
BYTES_PER_TOKEN_LEAST = 2  # of a stream: framing included, no estimate counts a token for less
EVENT_END = b"\n\n"
Headers = list[tuple[bytes, bytes]]


class Outcome(enum.Enum):
    """How the upstream side of an answer came to its end."""

    WHOLE = "whole"  # the terminal frame was seen, or the body ended cleanly
    REFUSED = "refused"  # upstream answered with an error status; nothing was started towards the client
    BROKE = "broke"  # upstream failed, before or after the first byte
    LEFT = "left"  # the client left, and this call is not drained
    SPENT = "spent"  # the money held is used up and no more could be held


class Client(Protocol):
    """The client's side, as a front offers it. No call blocks; after the client is lost each does nothing.

    full: it takes bytes slower than they come; `on_drained` of the relay follows. False for one that is lost.
    """

    lost: bool
    started: bool
    full: bool

    def bind(self, on_drained: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Who is told that a slow client caught up, and that the client is gone (at once, if it is already)."""

    def start(self, status: int, headers: Headers, *, length: int | None, lines: bytes = b"") -> None:
        """Send the head. `length` None: the end of the body is marked by `finish`. lines: more headers, as sent."""

    def write(self, data: bytes) -> None: ...

    def hold_back(self) -> None:
        """Let what has not left yet leave with the end of the body: it is at hand, and no use without that."""

    def finish(self, last: bytes = b"") -> None:
        """The body is whole with these bytes."""

    def cut(self) -> None:
        """Close the connection so that the client sees that the body is not whole."""


class Meter(Protocol):
    """Asked after each piece of a stream: may it go on? (proxy/slices.py)

    visible_tokens: the output delivered so far, written by the relay. Below `calm_tokens` of it nothing need be asked.
    """

    visible_tokens: int
    calm_tokens: int

    def seen(self, delivered_tokens: int) -> bool:
        """False: pass on no more until `Relay.resume_for_money` (or the end)."""

    def room_tokens(self) -> int:
        """How many more tokens the money held covers."""


class Owner(Protocol):
    """Whose answer it is (forward.py)."""

    def start_answer(self, relay: Relay, status: int, headers: Headers) -> bool:
        """Start the client's answer. False: this is no answer that we can sell."""


class Relay:
    """One attempt's answer. Implements ResponseSink of proxy/upstream.py.

    What most relays never change is an attribute of the class: fourteen stores less for each.
    """

    ended = False  # nothing more comes from upstream
    started = False  # the head of a good answer has left for the client
    status = 0
    headers: Headers
    error: UpstreamError | None = None
    error_body: bytes | bytearray = b""
    first_byte_ms: int | None = None
    _aborted = False
    _end_waiter: asyncio.Future[None] | None = None
    _exchange: Exchange | None = None
    _kept = b""  # read from upstream, and not covered by the hold yet
    _stalled = False  # the client is slow
    _held_up = False  # the money is short

    def __init__(
        self,
        client: Client,
        reader: StreamReader | PlainReader,
        meter: Meter | None,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.client = client
        self.reader = reader
        self.stream = reader if isinstance(reader, StreamReader) else None
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self._owner = owner
        self._meter = meter

    # What upstream calls

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self.first_byte_ms = clock.now_ms()
        if 200 <= status < 300:
            self.started = self._owner.start_answer(self, status, headers)
            if not self.started:
                self.stop(Outcome.REFUSED)  # nothing of its body is of use

    def on_body(self, piece: bytes) -> None:
        if not self.started:
            if not self.error_body:
                self.error_body = bytearray()
            self.error_body += piece[: ERROR_BODY_BYTES_MAX - len(self.error_body)]
            if len(self.error_body) >= ERROR_BODY_BYTES_MAX:
                self.stop(Outcome.REFUSED)
        elif self._held_up:
            self._kept += piece  # reading is paused: what comes now was read before, 256 KiB at most
        elif (
            self._meter is not None
            and self._meter.visible_tokens + len(piece) // BYTES_PER_TOKEN_LEAST >= self._meter.calm_tokens
            and self._meter.room_tokens() <= len(piece) // BYTES_PER_TOKEN_LEAST
        ):
            self._pass_by_events(piece)
        elif not self._pass(piece):
            self._hold_up(b"")  # it was more than its size gave away

    def on_end(self) -> None:
        self._set_ended()
        if not self.started:
            self._resolve(Outcome.REFUSED)
        elif not self._kept:  # else `resume_for_money` concludes
            self._conclude()

    def on_fail(self, error: UpstreamError) -> None:
        self.error = self.error or error
        self._set_ended()
        if not self.started:
            self._resolve(Outcome.BROKE)
        elif not self._kept:
            self._conclude()

    # What the client's side, the slices and serve.py call

    def attach(self, exchange: Exchange) -> None:
        """The handle of the request, before it is sent."""
        self._exchange = exchange
        if self._aborted:
            exchange.abort()

    def read_with(self, reader: PlainReader) -> None:
        """The answer is not of the kind that was expected; nothing of it has been read."""
        self.reader, self.stream = reader, None

    def on_drained(self) -> None:
        self._stalled = False
        self._update_reading()

    def resume_for_money(self) -> None:
        """What is held covers more now."""
        self._held_up = False
        kept, self._kept = self._kept, b""
        if self.outcome.done():
            return
        if kept:
            self._pass_by_events(kept)
        if not self._kept and self.ended:
            self._conclude()
        self._update_reading()

    def money_ended(self) -> None:
        """No more can be held. An answer that has had its finish chunk is read on: what it cost is stated behind it."""
        if self.stream is not None and self.stream.finish_seen:
            self.resume_for_money()
        else:
            self.stop(Outcome.SPENT)

    def stop(self, outcome: Outcome) -> None:
        """End the answer from our side: the client left, or the money is spent."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)
            self.abort()
            self._read_rest()

    def abort(self) -> None:
        self._aborted = True
        if self._exchange is not None:
            self._exchange.abort()
        self._set_ended()

    @property
    def paused(self) -> bool:
        """Upstream is not being read: nothing can be concluded from its silence."""
        return self._stalled or self._held_up

    @property
    def attempts(self) -> int:
        """Times that the request was sent upstream."""
        return self._exchange.attempts if self._exchange is not None else 0

    def _resolve(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def _set_ended(self) -> None:
        self.ended = True
        if self._end_waiter is not None and not self._end_waiter.done():
            self._end_waiter.set_result(None)

    async def wait_end(self, timeout_s: float) -> None:
        """Wait until nothing more comes from upstream. Raises: TimeoutError."""
        if not self.ended:
            self._end_waiter = asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._end_waiter, timeout_s)

    def _conclude(self) -> None:
        """All that upstream sent has been passed on."""
        rest = self._read_rest()
        if self.error is not None:
            self._resolve(Outcome.BROKE)
            return
        if rest:
            self.client.write(rest)
        if self.stream is None:
            self.client.hold_back()
        self._resolve(Outcome.WHOLE)

    def _read_rest(self) -> bytes:
        """Of a stream: a last event that nothing terminated, which may state the usage, or be much of the answer. A
        reader that fails here must not leave the call open."""
        try:
            return self.reader.end()
        except Exception as error:
            telemetry.error("invariant_broken", exc=error)
            self.error = self.error or UpstreamGarbled("upstream's answer could not be read")
            return b""

    def _pass(self, piece: bytes) -> bool:
        """Give a piece to the reader and what it lets go to the client. False: the money held is used up."""
        out = self.reader.feed(piece)
        client = self.client
        if out:
            client.write(out)
        if client.full:
            self._pause_for_client()
        stream = self.stream
        if stream is None:
            return True
        if stream.terminal_seen:
            self._resolve(Outcome.WHOLE)
            return True
        meter = self._meter
        if meter is None or stream.finish_seen:
            return True  # after the finish chunk a few frames follow, and the call is read to its end in any case
        meter.visible_tokens = tokens = stream.delivered_tokens
        return tokens < meter.calm_tokens or meter.seen(tokens)

    def _pass_by_events(self, piece: bytes) -> None:
        """Near the end of what is held: one event at a time, and what the hold does not cover stays here."""
        start = 0
        while start < len(piece):
            end = piece.find(EVENT_END, start) + len(EVENT_END)
            if end < len(EVENT_END):
                end = len(piece)
            if not self._pass(piece[start:end]):
                self._hold_up(piece[end:])
                return
            start = end

    def _hold_up(self, rest: bytes) -> None:
        """Wait for money with what the hold does not cover yet; nothing is waited for once the call is decided."""
        if not self.outcome.done():
            self._held_up = True
            self._kept = rest
            self._update_reading()

    def _pause_for_client(self) -> None:
        self._stalled = True
        self._update_reading()

    def _update_reading(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self.paused:
            exchange.pause()
        else:
            exchange.resume()
