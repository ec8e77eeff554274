"""Bodies of requests that did not come whole with their heads: counted or walked, and waited for.

`Counted` and `Chunked` are without I/O: bytes in, payload aside, what lies beyond the end out. `Body` is what of one
request is still coming: its limit, who waits for it, and why it never will be whole. Knows no socket and no route.

Chunks are walked here and not by llhttp, which does not tell where a message has ended: the next request may stand
in the same bytes. This walk is strict: what two parsers could read in two ways is a fault.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from rabbitgw.errors import BodyTooLarge, CallerError, RequestInvalid

AHEAD_BYTES_MAX: Final = 256 * 1024  # of a body that nobody has asked for yet: its key may be none
PIECES_MAX: Final = 4096  # then they are put together: a list of single bytes would weigh forty times as much
LINE_BYTES_MAX: Final = 4096  # a chunk's size with its extensions, or a trailer
FRAMING_BYTES_MAX: Final = 32 * 1024  # extensions and trailers without any payload between them
SIZE_DIGITS_MAX: Final = 15
_HEX: Final = b"0123456789abcdefABCDEF"


class Counted:
    """A body of so many bytes."""

    __slots__ = ("complete", "fault", "left_bytes", "pieces", "seen_bytes")

    def __init__(self, length: int) -> None:
        self.left_bytes = length
        self.seen_bytes = 0
        self.pieces: list[bytes] = []
        self.complete = not length
        self.fault = ""

    def feed(self, data: bytes) -> bytes:
        """Returns what follows the end."""
        taken = data[: self.left_bytes]
        self.pieces.append(taken)
        self.seen_bytes += len(taken)
        self.left_bytes -= len(taken)
        self.complete = not self.left_bytes
        return data[len(taken) :]


class Chunked:
    """A body in chunks, whose extensions and trailers are dropped."""

    __slots__ = (
        "_chunk_bytes", "_framing_bytes", "_held", "_in_trailers", "complete", "fault", "pieces", "seen_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.seen_bytes = 0
        self.pieces: list[bytes] = []
        self.complete = False
        self.fault = ""
        self._held = b""  # of a line that has not ended
        self._chunk_bytes = -2  # left of this chunk; from 0 to -2: of its line end so many bytes have come
        self._in_trailers = False
        self._framing_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Returns what follows the end. After a `fault` it is not to be called again."""
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        while at < len(data) and not self.complete:
            at = self._take_payload(data, at) if self._chunk_bytes > -2 else self._take_line(data, at)
            if self.fault:
                return b""
        return data[at:]

    def _take_payload(self, data: bytes, at: int) -> int:
        if self._chunk_bytes > 0:
            piece = data[at : at + self._chunk_bytes]
            self.pieces.append(piece)
            self.seen_bytes += len(piece)
            self._chunk_bytes -= len(piece)
            self._framing_bytes = 0
            return at + len(piece)
        if data[at] != b"\r\n"[-self._chunk_bytes]:
            self.fault = "a chunk is not followed by a line end"
        self._chunk_bytes -= 1
        return at + 1

    def _take_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        line = data[at:] if end < 0 else data[at:end]
        self._framing_bytes += len(line) + 2
        if len(line) > LINE_BYTES_MAX or self._framing_bytes > FRAMING_BYTES_MAX:
            self.fault = "too much chunk framing without payload"
        elif end < 0:
            self._held = line
            self._framing_bytes -= len(line) + 2
        elif b"\r" in line or b"\n" in line:
            self.fault = "a bare CR or LF in the chunk framing"
        elif self._in_trailers:
            self.complete = not line
        else:
            self._begin_chunk(line.partition(b";")[0])
        return len(data) if end < 0 else end + 2

    def _begin_chunk(self, digits: bytes) -> None:
        if not 0 < len(digits) <= SIZE_DIGITS_MAX or digits.strip(_HEX):
            self.fault = "the size of a chunk is not a hexadecimal number"
            return
        size = int(digits, 16)
        if size:
            self._chunk_bytes = size
        else:
            self._in_trailers = True


class Door(Protocol):
    """What a body asks of the connection that it comes on."""

    def want(self) -> None:
        """Read on."""

    def go_on(self) -> None:
        """Tell a client that waits to hear so that its body is wanted."""


class Body:
    """What is still coming of one request's body."""

    __slots__ = ("_door", "_waiter", "error", "expects_continue", "framing", "limit_bytes", "wanted")

    def __init__(
        self, framing: Counted | Chunked, door: Door, limit_bytes: int, *, expects_continue: bool
    ) -> None:
        self.framing = framing
        self.limit_bytes = limit_bytes
        self.expects_continue = expects_continue  # and was not told to
        self.wanted = False
        self.error: CallerError | None = None
        self._door = door
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> bytes:
        """Returns what follows the end."""
        framing = self.framing
        rest = framing.feed(data)
        if framing.fault:
            self.fail(RequestInvalid(f"the body cannot be read: {framing.fault}"))
        elif framing.seen_bytes > self.limit_bytes:
            self.fail(self._too_large())
        elif framing.complete:
            self._wake()
        if self.error is not None:
            framing.pieces.clear()
        elif len(framing.pieces) > PIECES_MAX:
            framing.pieces[:] = [b"".join(framing.pieces)]
        return rest

    async def read(self) -> bytes:
        """The whole body, which is kept nowhere else then. Raises: BodyTooLarge, RequestInvalid."""
        self.wanted = True
        framing = self.framing
        if isinstance(framing, Counted) and framing.seen_bytes + framing.left_bytes > self.limit_bytes:
            self.fail(self._too_large())
        if self.error is None and not framing.complete:
            if self.expects_continue and not framing.seen_bytes:
                self._door.go_on()
            self.expects_continue = False
            self._door.want()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.error is not None:
            raise self.error
        pieces = framing.pieces
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return whole

    def fail(self, error: CallerError) -> None:
        """It will never be whole, or never be read."""
        if self.error is None:
            self.error = error
            self.framing.pieces.clear()
            self._wake()

    @property
    def is_ahead(self) -> bool:
        """More of it has come than anybody may be made to keep before it is asked for."""
        return not self.wanted and self.error is None and self.framing.seen_bytes > AHEAD_BYTES_MAX

    @property
    def may_be_passed_over(self) -> bool:
        """Though the request was refused, the next one can be found behind what is still to come of its body."""
        framing = self.framing
        if self.error is not None or self.expects_continue:
            return False  # who was not told to go on may leave the body out
        return isinstance(framing, Chunked) or framing.seen_bytes + framing.left_bytes <= self.limit_bytes

    def _too_large(self) -> CallerError:
        return BodyTooLarge(f"the body is larger than the limit of {self.limit_bytes} bytes")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
