"""One client connection: heads, bodies and answers in turn, one request at a time.

Owns the socket, the order of events and how long a client may take; front_head.py and front_body.py say what the bytes
are, front_sink.py writes answers, the owner (front.py) serves. Knows no route, no dialect and no money.

Rules that would surprise:
- The end of what a client sends is noted, and is not its leaving: a client may close that half and wait for its answer.
  It has left with the end of the connection, with the first write that fails, when it takes nothing for as long as
  `client_stall_timeout_s`, or when nothing goes to it for half a minute after that end.
- Behind a fault nothing is parsed any more. What still comes is read and dropped for a while all the same: closing over
  unread bytes would reset the connection, and take the answer that says what was wrong along.
- There is no timer here: the owner's tick looks at every connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from rabbitgw.errors import CallerError, RequestInvalid
from rabbitgw.proxy.front_body import Body, Chunked, Counted
from rabbitgw.proxy.front_head import (
    END,
    LENGTH_DIGITS_MAX,
    Head,
    HeadRefused,
    bad_beginning,
    memo_of,
    read_head,
)
from rabbitgw.proxy.front_owner import Owner
from rabbitgw.proxy.front_sink import GONE, Answer

AHEAD_BYTES_MAX: Final = 64 * 1024  # of requests that are sent ahead, while one is answered
DROPPED_BYTES_MAX: Final = 64 * 1024 * 1024  # behind the last answer of a connection
REQUESTS_PER_TURN_MAX: Final = 32  # of those sent ahead; then other connections have their turn


class Memo(NamedTuple):
    """The last head that was accepted and served as a call, but for the digits of its length (`memo_of`)."""

    prefix: bytes
    begin: int  # of the digits
    suffix: bytes
    reach: int  # from the begin of the digits to the end of the suffix, at most
    suffix_bytes: int
    call: Any  # what the owner understood of it


class Connection(asyncio.Protocol):
    """`ended` is to be called once for each answer, when its request is over."""

    __slots__ = (
        "_advancing", "_answer", "_at_rest", "_body", "_buffer", "_deaf_bytes", "_memo", "_owner", "_read_paused",
        "_scanned", "_since", "_unsent_bytes", "_unsent_since", "call_soon", "closed", "half_closed", "may_be_last",
        "transport", "write", "write_paused",
    )  # fmt: skip

    transport: asyncio.Transport
    write: Callable[[bytes], None]

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.call_soon: Callable[..., object] = asyncio.get_running_loop().call_soon
        self._answer: Answer | None = None
        self._body: Body | None = None  # still coming: of the request that is answered, or of the one before
        self._buffer = b""  # come and not begun
        self._scanned = 0  # of the buffer: no head ends before
        self._memo: Memo | None = None
        self._at_rest = True  # the next byte begins a head
        self._advancing = False
        self._deaf_bytes = 0  # left to be dropped before the client is cut off; 0: not deaf
        self._read_paused = False
        self._since = 0  # tick of the last event that counts against a span
        self._unsent_bytes = self._unsent_since = 0
        self.write_paused = self.half_closed = False
        self.closed = self.may_be_last = True  # until it is made

    # -- from the transport --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.write = self.transport.write
        self.closed = False
        self.may_be_last = self._owner.draining
        self._since = self._owner.ticks
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._at_rest:
            memo = self._memo
            if memo is not None:
                prefix, begin, suffix, reach, suffix_bytes, call = memo
                if data.startswith(prefix):
                    end = data.find(suffix, begin + 1, begin + reach)
                    if end > 0 and (digits := data[begin:end]).isdigit():
                        self._at_rest = False  # the same head but for the length: nearly every request
                        answer = self._answer = Answer(self)
                        length = int(digits)
                        rest = data[end + suffix_bytes :]
                        if len(rest) == length <= self._owner.limits.body_bytes_max:
                            self._owner.begin_again(call, answer, rest)
                        else:
                            self._buffer = rest
                            body = self._take_body(Counted(length), expects_continue=False)
                            self._owner.begin_again(call, answer, body)
                        return
            self._at_rest = False
            self._since = self._owner.ticks
            self._buffer = data
            self._advance()
        elif self._deaf_bytes:
            self._deaf_bytes -= len(data)
            if self._deaf_bytes <= 0:
                self.abort()
        elif self._body is not None:
            self._feed(self._body, data)
        else:
            self._buffer += data
            if self._answer is None:
                self._advance()
            if len(self._buffer) > AHEAD_BYTES_MAX:
                self._pause_reading()

    def eof_received(self) -> bool:
        """Returns whether the connection is to stay open for an answer."""
        self.half_closed = self.may_be_last = True
        if self._body is not None:  # it will never be whole
            self._client_left()
            return False
        if self._answer is None:
            return self.write_paused and bool(self._buffer)  # requests that wait for their turn
        self._answer.slow_down()
        self._since = self._owner.ticks
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._owner.closed(self)
        self._memo, self._buffer = None, b""
        self._client_left()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._answer is not None:
            self._answer.fill()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._answer is not None:
            self._answer.drained()
        else:
            self._advance()

    # -- requests --

    def _advance(self) -> None:
        """Begin what has come, request by request, as long as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            for _ in range(REQUESTS_PER_TURN_MAX):
                if self._answer is not None or self._body is not None or self.write_paused:
                    return
                if self._deaf_bytes or self.closed or not self._begin_next():
                    return
            self.call_soon(self._advance)
        finally:
            self._advancing = False

    def _begin_next(self) -> bool:
        """False: what has come is not a whole head."""
        buffer = self._buffer
        if buffer[:1] in (b"\r", b"\n"):  # between two requests some send a line end too many
            buffer = buffer.lstrip(b"\r\n")
            self._scanned = 0
        end = buffer.find(END, self._scanned) + len(END)
        if end < len(END):
            self._buffer = buffer
            self._scanned = max(0, len(buffer) - len(END) + 1)
            self._await_head()
            return False
        raw, self._buffer = buffer[:end], buffer[end:]
        self._scanned = 0
        if self._read_paused and len(self._buffer) <= AHEAD_BYTES_MAX:
            self._resume_reading()
        try:
            head = read_head(raw)
        except HeadRefused as refused:
            self._refuse(refused)
            return False
        self._begin(raw, head)
        return True

    def _await_head(self) -> None:
        buffer = self._buffer
        fault = bad_beginning(buffer) if buffer else None
        if fault is not None:
            self._refuse(HeadRefused(fault))
        elif self.half_closed:
            self.transport.close()
        else:
            self._at_rest = not buffer
            if self._read_paused:
                self._resume_reading()

    def _begin(self, raw: bytes, head: Head) -> None:
        answer = self._answer = Answer(self, head.modern, head.keep_alive, head.method == b"HEAD")
        length = head.length or 0
        body: bytes | Body
        if head.chunked:
            body = self._take_body(Chunked(), expects_continue=bool(head.expect))
        elif length <= min(len(self._buffer), self._owner.limits.body_bytes_max):
            body, self._buffer = self._buffer[:length], self._buffer[length:]
        else:
            body = self._take_body(Counted(length), expects_continue=bool(head.expect))
        call = self._owner.begin(head, answer, body)
        if call is not None and head.keep_alive and head.length is not None and not head.expect:
            parts = memo_of(raw)
            if parts is not None:
                prefix, suffix = parts
                reach = LENGTH_DIGITS_MAX + len(suffix)
                self._memo = Memo(prefix, len(prefix), suffix, reach, len(suffix), call)

    def _refuse(self, refused: HeadRefused) -> None:
        self._buffer = b""
        answer = self._answer = Answer(self, keep_alive=False)
        self._deaf_bytes = DROPPED_BYTES_MAX  # nothing more is parsed
        self._owner.refuse_head(refused, answer)
        self.ended(answer)

    def ended(self, answer: Answer) -> None:
        """The request is over. Its answer is as whole as it will ever be, or the client is gone."""
        answer.on_drained = answer.on_lost = None  # nothing keeps its relay, which knows the answer, alive
        if not answer.ended:
            answer.cut()
        self._answer = None
        self._since = self._owner.ticks
        if (
            answer.keep_alive
            and self._body is None
            and not self._buffer
            and not self.half_closed
            and not self.write_paused
        ):
            self._at_rest = True
        elif not self.closed:
            self._go_on_after(answer)

    def _go_on_after(self, answer: Answer) -> None:
        body = self._body
        if not answer.keep_alive:
            if self.transport.is_closing():
                return
            if body is None and not self._buffer and not self._deaf_bytes:
                self.transport.close()
            else:
                self._linger()
        elif body is not None:
            body.fail(RequestInvalid("the body is not wanted"))  # which frees what has come of it
            self._resume_reading()
        else:
            self._advance()

    def _linger(self) -> None:
        """Nothing is read here any more. Say so, and drop what still comes."""
        self._body = None
        self._buffer = b""
        self._deaf_bytes = DROPPED_BYTES_MAX
        if self.half_closed:
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except GONE:
            self.abort()
            return
        self._resume_reading()

    # -- bodies --

    def _take_body(self, framing: Counted | Chunked, *, expects_continue: bool) -> Body:
        """A body that is not here as a whole, or is too large."""
        limit = self._owner.limits.body_bytes_max
        self.may_be_last = True
        body = self._body = Body(framing, self, limit, expects_continue=expects_continue)
        data, self._buffer = self._buffer, b""
        if data:
            self._feed(body, data)
        return body

    def _feed(self, body: Body, data: bytes) -> None:
        self._since = self._owner.ticks
        rest = body.feed(data)
        framing = body.framing
        if framing.complete:
            self._body = None
            self._buffer = rest
            if self._answer is None:
                self._advance()
        elif framing.fault:
            self._deaf_bytes = DROPPED_BYTES_MAX
            if self._answer is None:
                self._linger()
        elif self._answer is None and framing.seen_bytes > max(body.limit_bytes, AHEAD_BYTES_MAX):
            self._linger()  # it was refused, and does not end
        elif body.is_ahead:
            self._pause_reading()

    def want(self) -> None:
        self._since = self._owner.ticks
        self._resume_reading()

    def go_on(self) -> None:
        if self._answer is not None:
            self._answer.go_on()

    # -- what an answer asks --

    def is_last(self) -> bool:
        body = self._body
        return (
            self._owner.draining
            or bool(self._deaf_bytes)
            or (body is not None and not body.may_be_passed_over)
            or (self.half_closed and not self._buffer)
        )

    def touch(self) -> None:
        self._since = self._owner.ticks

    def cut(self) -> None:
        """Waits for the client to take what was written; one that takes nothing is given up by the tick."""
        self.transport.close()

    # -- time and end --

    def tick(self, now: int) -> None:
        """The owner's, for each connection."""
        limits = self._owner.limits
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes != self._unsent_bytes:  # it takes some, however slowly
            self._unsent_bytes = unsent_bytes
            self._unsent_since = now
        elif unsent_bytes and now - self._unsent_since > limits.stall_ticks:
            self.abort()
            return
        body, answer = self._body, self._answer
        quiet = now - self._since
        if body is not None:
            if quiet > limits.stall_ticks and (answer is None or body.wanted):
                self._stalled(body)
        elif answer is not None:
            if self.half_closed and min(quiet, now - self._unsent_since) > limits.silence_ticks:
                self.abort()
        elif self._deaf_bytes:
            if quiet > limits.linger_ticks:
                self.abort()
        elif quiet > limits.idle_ticks and not unsent_bytes:
            self.close()

    def _stalled(self, body: Body) -> None:
        if self._answer is None:
            self._linger()
        elif body.error is None:
            stall_s = self._owner.limits.stall_s
            body.fail(RequestInvalid(f"the body stopped coming: nothing for {stall_s:g} s"))

    def close(self) -> None:
        """Of a connection that serves nothing."""
        if not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """Of a client that is gone, or taken to be."""
        if not self.closed:
            self.transport.abort()
        self._client_left()

    def _client_left(self) -> None:
        if self._answer is not None:
            self._answer.leave()
        if self._body is not None:
            self._body.fail(_left())

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()


def _left() -> CallerError:
    return RequestInvalid("the client left in the middle of its body")
