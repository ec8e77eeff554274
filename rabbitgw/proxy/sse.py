"""Server-sent events, without I/O: bytes in, events out.

Owns framing only: lines, fields, blank-line dispatch, and where in the stream each event stands. Knows no
JSON, model or price. A piece may end anywhere, even inside a UTF-8 character or between CR and LF; only CR
and LF end lines. Offsets count bytes from the start of the stream, so that a relay can cut or hold exactly
one event. Memory is bounded: the data of an event beyond `EVENT_BYTES_MAX` goes to an `Overflow` as it comes.
Source: WHATWG HTML, "Interpreting an event stream".
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

# An ordinary event is a few hundred bytes; past this only a summary of its data is kept.
EVENT_BYTES_MAX = 65_536

_BOM = b"\xef\xbb\xbf"
_LF = 0x0A
_CR = 0x0D
_COLON = 0x3A


class Overflow(Protocol):
    """Takes the data of one oversized event piece by piece; `end` gives what is worth keeping of it."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> bytes: ...


class NewOverflow(Protocol):
    def __call__(self) -> Overflow: ...


class Event(NamedTuple):
    """One event. `data` has its lines joined by LF (for a large one: what the Overflow kept)."""

    name: bytes
    data: bytes
    large: bool
    start: int  # of the first field line
    last_line_end: int  # of the line end before the blank line
    end: int  # behind the blank line; of its CRLF, the LF may still be to come


class _Discard:
    """The default Overflow: nothing of an oversized event is kept."""

    def feed(self, data: bytes) -> None:
        pass

    def end(self) -> bytes:
        return b""


class Framer:
    """Cuts a stream of bytes into events.

    Comments and unknown fields are skipped, events without a data line are dropped (the standard's rule), and
    `end` gives a last event that no blank line ended: the standard discards it, official clients read it.
    """

    __slots__ = (
        "_after_cr",
        "_bom_seen",
        "_data",
        "_data_bytes",
        "_line",
        "_line_start",
        "_new_overflow",
        "_overflow",
        "_spilling",
        "crlf_seen",
        "last_line_end",
        "name",
        "offset",
        "pending_start",
    )

    def __init__(self, new_overflow: NewOverflow = _Discard) -> None:
        self.offset = 0  # bytes taken so far; whoever takes whole events itself, while `idle`, adds them
        self.pending_start: int | None = None  # where the event under way begins; None between events
        self.last_line_end = 0  # where the last line end of the event under way begins
        self.name = b""
        self.crlf_seen = False
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._line = bytearray()  # the line under way
        self._line_start = 0
        self._after_cr = False
        self._bom_seen = 0  # bytes of a leading BOM matched; 3 when that question is settled
        self._new_overflow = new_overflow
        self._overflow: Overflow | None = None
        self._spilling: Overflow | None = None  # takes the rest of an oversized line

    @property
    def idle(self) -> bool:
        """Between two events, at a line's start, with no CR in doubt: any event may begin at the next byte."""
        return (
            self.pending_start is None
            and not self._line
            and self._spilling is None
            and not self._after_cr
            and self._bom_seen == len(_BOM)
        )

    @property
    def at_event_end(self) -> bool:
        """The last byte taken ended an event (or a comment between events), as every client sees it.

        After the CR of a stream that uses CRLF the line end is only half there, for a client that wants both.
        """
        if self.pending_start is not None or self._line or self._spilling is not None:
            return False
        return not (self._after_cr and self.crlf_seen)

    @property
    def at_line_start(self) -> bool:
        return not self._line and self._spilling is None

    @property
    def after_cr(self) -> bool:
        """The last byte was a CR: an LF that follows belongs to the same line end."""
        return self._after_cr

    @property
    def has_data(self) -> bool:
        """The event under way has at least one whole data line."""
        return bool(self._data) or self._overflow is not None

    @property
    def is_large(self) -> bool:
        return self._overflow is not None

    @property
    def overflow(self) -> Overflow | None:
        """What takes the event under way, if that is a large one."""
        return self._overflow

    @property
    def data(self) -> bytes:
        """The whole data lines of the event under way; empty for a large one."""
        return b"\n".join(self._data)

    @property
    def under_way(self) -> int:
        """Bytes of the event under way so far, of its line under way too; 0 between events."""
        if self.pending_start is not None:
            return self.offset - self.pending_start
        return self.offset - self._line_start if self.starts_field() else 0

    def data_head(self, size: int) -> bytes:
        """The first bytes of the data line under way; empty when there is none."""
        line = bytes(self._line[: size + 6])
        return line[5:].lstrip(b" ") if line.startswith(b"data:") else b""

    def starts_field(self) -> bool:
        """The line under way has begun and is no comment."""
        return bool(self._line) and self._line[0] != _COLON

    @property
    def line_start(self) -> int:
        return self._line_start

    def feed(self, piece: bytes) -> list[Event]:
        """Take a piece; the events that it completes, in order."""
        events: list[Event] = []
        base = self.offset
        size = len(piece)
        self.offset = base + size
        pos = self._open(piece, base) if self._after_cr or self._bom_seen < len(_BOM) else 0
        next_cr = piece.find(b"\r", pos)
        while pos < size:
            stop = piece.find(b"\n", pos)
            if 0 <= next_cr < pos:
                next_cr = piece.find(b"\r", pos)
            after = stop + 1
            if next_cr >= 0 and (stop < 0 or next_cr < stop):
                stop = next_cr
                after = stop + 1
                if after == size:
                    self._after_cr = True
                elif piece[after] == _LF:
                    self.crlf_seen = True
                    after += 1
            if stop < 0:
                self._keep(piece[pos:], base + pos)
                break
            if self._spilling is not None:
                self._spilling.feed(piece[pos:stop])
                self._spilling = None
                self.last_line_end = base + stop
            elif self._line:
                self._line += piece[pos:stop]
                line = bytes(self._line)
                self._line.clear()
                self._take_line(line, self._line_start, base + stop)
            elif stop > pos:
                self._take_line(piece[pos:stop], base + pos, base + stop)
            else:
                self._dispatch(events, base + after)
            pos = after
        return events

    def end(self) -> list[Event]:
        """The stream is over; the event that no blank line ended, if there is one."""
        events: list[Event] = []
        if self._line:
            line = bytes(self._line)
            self._line.clear()
            self._take_line(line, self._line_start, self.offset)
        if self._spilling is not None:
            self._spilling = None
            self.last_line_end = self.offset
        self._dispatch(events, self.offset)
        return events

    def _open(self, piece: bytes, base: int) -> int:
        """What must be settled before the first line: the LF of a CRLF cut in two, and the BOM."""
        pos = 0
        if self._after_cr and piece:
            self._after_cr = False
            if piece[0] == _LF:
                self.crlf_seen = True
                pos = 1
        while self._bom_seen < len(_BOM) and pos < len(piece):
            if piece[pos] == _BOM[self._bom_seen]:
                self._bom_seen += 1
                pos += 1
                continue
            if self._bom_seen:  # half a BOM is the beginning of a line
                self._line_start = base + pos - self._bom_seen
                self._line += _BOM[: self._bom_seen]
            self._bom_seen = len(_BOM)
        return pos

    def _keep(self, rest: bytes, start: int) -> None:
        """The piece ends inside a line."""
        if self._spilling is not None:
            self._spilling.feed(rest)
            return
        if not self._line:
            self._line_start = start
        self._line += rest
        if len(self._line) <= EVENT_BYTES_MAX:
            return
        line = bytes(self._line)
        self._line.clear()
        if line.startswith(b"data:"):
            self._take_line(line, self._line_start, self.offset, large=True)
            self._spilling = self._overflow
        else:  # an endless comment, name or unknown field
            if line[0] != _COLON and self.pending_start is None:
                self.pending_start = self._line_start
            self._spilling = _Discard()

    def _take_line(self, line: bytes, start: int, stop: int, *, large: bool = False) -> None:
        if line[0] == _COLON:
            if self.pending_start is not None:
                self.last_line_end = stop
            return
        if self.pending_start is None:
            self.pending_start = start
        self.last_line_end = stop
        if line.startswith(b"data:"):
            self._take_data(line[6:] if line[5:6] == b" " else line[5:], large)
            return
        field, _, value = line.partition(b":")
        if field == b"event":
            self.name = value[1:] if value[:1] == b" " else value
        elif field == b"data":
            self._take_data(b"", large)

    def _take_data(self, value: bytes, large: bool) -> None:
        overflow = self._overflow
        if overflow is not None:
            overflow.feed(b"\n" + value)
            return
        self._data.append(value)
        self._data_bytes += len(value) + 1
        if large or self._data_bytes > EVENT_BYTES_MAX:
            self._overflow = overflow = self._new_overflow()
            overflow.feed(b"\n".join(self._data))
            self._data.clear()

    def _dispatch(self, events: list[Event], end: int) -> None:
        start = self.pending_start
        if start is None:
            return
        overflow = self._overflow
        if overflow is not None:
            events.append(Event(self.name, overflow.end(), True, start, self.last_line_end, end))
            self._overflow = None
        elif self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(Event(self.name, data, False, start, self.last_line_end, end))
        if self._data:
            self._data.clear()
        self._data_bytes = 0
        self.name = b""
        self.pending_start = None
