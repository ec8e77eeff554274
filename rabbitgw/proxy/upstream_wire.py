"""One HTTP/1.1 connection to upstream: requests out, the events of one response at a time in.

Owns the socket and the order of events; upstream_walk says what the bytes are. Knows no pool (its owner does
that), no retry beyond saying when one is safe, no money and no client.

The sink is called after the parser has returned, never from inside it: a sink may abort, or start the next
request on this very connection. A read may bring four times what a sink is given at once, and a response that is
paused has at most one under way. (A read into a buffer of ours would be smaller, and cost 2 us more for each chunk.)
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol, cast

from rabbitgw.errors import UpstreamCut, UpstreamError, UpstreamGarbled, UpstreamTimeout
from rabbitgw.proxy.upstream_exchange import Exchange
from rabbitgw.proxy.upstream_head import read_response_head
from rabbitgw.proxy.upstream_inflate import Inflater
from rabbitgw.proxy.upstream_walk import PARSER_ERRORS, ResponseWalk

PIECE_BYTES_MAX = 64 * 1024  # what a sink is given at once
WRITE_SLICE_BYTES = (
    256 * 1024
)  # of a big request body: the transport never holds more than one slice too much


class Limits(NamedTuple):
    """Timeouts in ticks of the owner's timer, and in seconds for messages."""

    idle_ticks: int
    first_byte_ticks: int
    silence_ticks: int
    reuse_race_ticks: int
    first_byte_s: float
    silence_s: float


class Owner(Protocol):
    """Whose connection this is: the pool."""

    def give_back(self, connection: Connection) -> None: ...
    def forget(self, connection: Connection) -> None: ...
    def try_again(self, exchange: Exchange) -> None: ...


class Connection(asyncio.Protocol):
    """`quiet_ticks` is advanced by the owner's tick, which calls `overdue` past `limit_ticks`."""

    __slots__ = (
        "_exchange",
        "_flowing",
        "_head_given",
        "_inflater",
        "_limits",
        "_loop",
        "_owner",
        "_received",
        "_reused",
        "_transport",
        "_unsent",
        "_until_close",
        "_walk",
        "_write_paused",
        "closed",
        "limit_ticks",
        "paused",
        "quiet_ticks",
    )

    _transport: asyncio.Transport

    def __init__(self, owner: Owner, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._limits = limits
        self._loop = loop
        self._walk = ResponseWalk()
        self._unsent: memoryview | None = None
        self._write_paused = False
        self.closed = True  # until it is made
        self._rest()

    def _rest(self) -> None:
        """The state between two responses."""
        self._exchange: Exchange | None = None
        self._inflater: Inflater | None = None
        self._walk.restart()
        self._received = 0
        self._head_given = self._flowing = self._until_close = self._reused = False
        self.paused = False
        self.quiet_ticks = 0
        self.limit_ticks = self._limits.idle_ticks

    @property
    def usable(self) -> bool:
        return not self.closed and not self._transport.is_closing()

    # -- the request --

    def send(self, exchange: Exchange, *, reused: bool) -> None:
        """Write a request and listen for its response. The connection must be at rest and `usable`."""
        self._exchange = exchange
        self._reused = reused
        self.limit_ticks = self._limits.first_byte_ticks
        self.quiet_ticks = 0
        exchange.connection = self
        exchange.attempts += 1
        if exchange.paused:
            self.pause()
        body = exchange.body
        if len(body) <= WRITE_SLICE_BYTES:
            self._write(exchange.head + body)
        else:
            self._write(exchange.head)
            self._unsent = memoryview(body)
            self._send_more()

    def _send_more(self) -> None:
        while self._unsent is not None and not self._write_paused and self.usable:
            piece, rest = self._unsent[:WRITE_SLICE_BYTES], self._unsent[WRITE_SLICE_BYTES:]
            self._unsent = rest or None
            self._write(piece)

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._transport.write(data)
        except (OSError, RuntimeError):  # uvloop raises RuntimeError on a handle that just closed
            self._transport.abort()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._send_more()

    # -- the response: from the transport --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.closed = False

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # bytes that nobody asked for: never a response to the next request
            self._retire()
            return
        if len(data) > PIECE_BYTES_MAX:
            self._receive_much(data)
            return
        self._received += len(data)
        walk = self._walk
        if (
            self._flowing
        ):  # mid-body: as `walk.feed`, without its frame, for this is the path of every streamed chunk
            try:
                walk.feed_data(data)
            except PARSER_ERRORS as error:
                walk.break_off(error)
            pieces = walk.pieces
            if pieces and not walk.ended:
                walk.framing_bytes = 0
                self.quiet_ticks = 0
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                exchange.sink.on_body(piece)
                return
            walk.bound(len(data))
        else:
            walk.feed(data)
        self._advance(exchange)

    def _receive_much(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE_BYTES_MAX):
            if self.closed:  # what came before has ended it
                return
            self.data_received(data[at : at + PIECE_BYTES_MAX])

    def eof_received(self) -> None:
        exchange, walk = self._exchange, self._walk
        if exchange is None:
            self._retire()
        elif self._until_close and not walk.ended:
            walk.complete = walk.ended = True
            self._conclude(exchange)
        elif not walk.complete:
            self._cut(exchange, "closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._owner.forget(self)
        self._walk.stop()
        exchange = self._exchange
        # What is complete and only waits to be inflated for a paused sink has nothing to fear.
        if exchange is not None and not self._walk.complete:
            self._cut(exchange, "lost the connection" if exc is None else f"broke ({type(exc).__name__})")

    # -- the response: to the sink --

    def _advance(self, exchange: Exchange) -> None:
        """All but the plain middle of a body: heads, ends, faults, compressed bodies."""
        walk = self._walk
        if not self._head_given:
            if not walk.status:
                if walk.fault:
                    self._fail(exchange, UpstreamGarbled(f"upstream: {walk.fault}"))
                return
            if not self._give_head(exchange):
                return
        self.quiet_ticks = 0
        if self._inflater is None:
            pieces = walk.pieces
            if pieces:
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                exchange.sink.on_body(piece)
                if exchange.connection is not self:
                    return  # the sink has left
        elif walk.pieces:
            self._inflater.feed(walk.take())
        if walk.complete and self._inflater is None:
            self._finish(exchange)
        elif walk.ended or self._inflater is not None:
            self._conclude(exchange)

    def _give_head(self, exchange: Exchange) -> bool:
        """The head is whole. False: the exchange has ended by this."""
        walk = self._walk
        try:
            head = read_response_head(walk.status, walk.http_version, walk.head, head_only=exchange.head_only)
        except UpstreamError as error:
            self._fail(exchange, error)
            return False
        walk.head = []
        if exchange.head_only:
            # llhttp waits for the body that Content-Length speaks of: this connection cannot go on.
            walk.complete = walk.ended = True
            walk.keep_alive = False
            walk.pieces.clear()
        self._head_given = True
        self._inflater = head.inflater
        self._until_close = head.until_close
        self._flowing = head.inflater is None
        self.limit_ticks = self._limits.silence_ticks
        exchange.head = exchange.body = b""  # never sent again: a long stream need not keep its prompt
        exchange.sink.on_head(walk.status, head.headers)
        return exchange.connection is self

    def _conclude(self, exchange: Exchange) -> None:
        """Hand over what is inflated; then the end, if the walk has seen it or cannot go on."""
        if self._inflater is not None:
            try:
                if not self._give_inflated(exchange, self._inflater):
                    return
            except UpstreamError as error:
                self._fail(exchange, error)
                return
        walk = self._walk
        if walk.complete:
            if self._inflater is None or self._inflater.finished:
                self._finish(exchange)
            else:
                self._fail(exchange, UpstreamCut("upstream: the compressed body ends early"))
        elif walk.fault:
            self._fail(exchange, UpstreamGarbled(f"upstream: {walk.fault}"))

    def _give_inflated(self, exchange: Exchange, inflater: Inflater) -> bool:
        """False: the sink has left, or is paused before all was inflated. Raises: UpstreamGarbled."""
        while not exchange.paused:
            piece = inflater.take()
            if not piece:
                return True
            exchange.sink.on_body(piece)
            if exchange.connection is not self:
                return False
        return False

    # -- pausing --

    def pause(self) -> None:
        self.paused = True
        if self.usable:
            self._transport.pause_reading()

    def resume(self) -> None:
        self.paused = False
        if self._inflater is not None:
            self._loop.call_soon(self._inflate_on)
        elif self.usable:
            self._transport.resume_reading()

    def _inflate_on(self) -> None:
        """After a pause: first what is read already; only then, if the sink still takes it, new bytes."""
        exchange = self._exchange
        if exchange is not None and self._inflater is not None and not exchange.paused:
            self._conclude(exchange)
            if not self.paused and self.usable:
                self._transport.resume_reading()

    # -- ends --

    def abort(self) -> None:
        """The caller of this exchange left: no more events, and the connection is of no use."""
        if self._exchange is not None:
            self._let_go(self._exchange)
        self._retire()

    def overdue(self) -> None:
        """The owner's tick found `quiet_ticks` past `limit_ticks`."""
        limits = self._limits
        if self._head_given:
            error = UpstreamTimeout(f"upstream: silent for {limits.silence_s:g} s mid-answer")
        else:
            error = UpstreamTimeout(f"upstream: no answer within {limits.first_byte_s:g} s")
        self.shut(error)

    def shut(self, error: UpstreamError) -> None:
        """End now: with this error if a response is under way."""
        if self._exchange is not None:
            self._fail(self._exchange, error)
        else:
            self._retire()

    def _cut(self, exchange: Exchange, what: str) -> None:
        """The connection ended too early: the race of a reused one, which is tried again, or a failure.

        It is that race when nothing came back and upstream either cannot have had the whole request, or
        hung up too soon after it to have worked on it.
        """
        unread = self._unsent is not None or self.quiet_ticks <= self._limits.reuse_race_ticks
        if self._reused and not self._received and unread:
            self._let_go(exchange)
            self._retire()
            self._owner.try_again(exchange)
        else:
            self._fail(exchange, UpstreamCut(f"upstream: {what} after {self._received} bytes"))

    def _finish(self, exchange: Exchange) -> None:
        walk = self._walk
        exchange.connection = self._exchange = (
            None  # `_let_go`, and below `usable`: each would be a call more
        )
        if (
            walk.keep_alive
            and not walk.fault
            and self._unsent is None
            and not self.closed
            and not self._transport.is_closing()
        ):
            if self.paused:
                self._transport.resume_reading()
            self._rest()
            self._owner.give_back(self)
        else:
            self._retire()
        exchange.end()

    def _fail(self, exchange: Exchange, error: UpstreamError) -> None:
        error.sent = self._unsent is None
        error.bytes_seen = self._received
        self._let_go(exchange)
        self._retire()
        exchange.fail(error)

    def _let_go(self, exchange: Exchange) -> None:
        exchange.connection = None
        self._exchange = None

    def _retire(self) -> None:
        """Never to be used again."""
        if not self.closed:
            self.closed = True
            self._unsent = None
            self._owner.forget(self)
            self._transport.abort()
