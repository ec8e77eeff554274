"""One streamed answer: what may go to the client now, and what the events have said so far.

Owns three decisions about bytes, and makes no other change to them: the caller did not ask for usage, so the
one usage chunk that we asked for is cut out; an event that may be it is held until it is whole; and the last
line end and blank line of the terminal frame stay here until the call is settled (`withheld`). Knows no
socket, no price. How the bytes were cut into pieces changes nothing: neither what is read, nor what goes out
in sum. An ordinary piece costs one comparison and one match (alike.py), or a few byte searches; its JSON is not
parsed, and nothing is kept of it but a small sample. What a relay asks after each piece are attributes, not calls.
"""

from __future__ import annotations

import re
from typing import Final

from rabbitgw.proxy.meter.alike import Alike, rest_of
from rabbitgw.proxy.meter.delivered import Delivered
from rabbitgw.proxy.meter.dialects import reader_of
from rabbitgw.proxy.meter.estimate import OutputSample
from rabbitgw.proxy.meter.numbers import parse
from rabbitgw.proxy.meter.reading import Kind
from rabbitgw.proxy.meter.shrink import Shrinker
from rabbitgw.proxy.meter.stated import Stated
from rabbitgw.proxy.sse import EVENT_BYTES_MAX, Event, Framer

HELD_BYTES_MAX: Final = EVENT_BYTES_MAX  # an event that long is no usage chunk
AFTER_BYTES_MAX: Final = 65_536  # behind the terminal frame while the settle is under way; more is dropped
HEAD_BYTES: Final = 512  # of a large event under way, to see what it is

# A chunk with a choice in it is no usage chunk, unless it comes after the finish chunk (LiteLLM 1.106 puts an empty
# choice there). In JSON text the quotes would be escaped.
_HAS_CHOICE: Final = re.compile(rb'"choices"[ \t]*:[ \t]*\[[ \t]*[^\s\]]')
_OVERLAP: Final = 64  # bytes looked at again when more of a held event comes
_CR: Final = 0x0D
Cut = tuple[int, int, bytes]  # offsets of what is cut, and what of it stays
_LINES: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")


class StreamReader(Stated):
    """`feed` each piece and pass on what it returns; `end` at a clean end; then settle, then `release`.

    `hide_usage`: the caller did not ask for the usage chunk. `choices`: how many answers were asked for
    (`n`).
    Raises: ValueError for a dialect that is not in DIALECTS.
    """

    __slots__ = (
        "_alike",
        "_checked",
        "_cut_lf",
        "_delivered",
        "_doubt_from",
        "_framer",
        "_held",
        "_hide",
        "_not_usage",
        "_passes",
        "_ready",
        "_released",
        "_torn",
        "_withheld",
        "delivered_tokens",
        "finish_seen",
        "terminal_seen",
    )

    def __init__(self, dialect: str, *, hide_usage: bool, choices: int = 1) -> None:
        super().__init__(reader_of(dialect, choices))
        self.terminal_seen = False  # with it the answer is whole, but for its withheld end
        self.finish_seen = (
            False  # every answer has its finish reason, or that came: what is left is a few frames
        )
        # Estimate, without parsing, of the output tokens so far; it never waits for an event's end.
        self.delivered_tokens = 0
        self._passes = self._reader.passes
        self._alike = None if self._reader.unlike is None else Alike(self._reader.unlike)
        self._ready = False  # nothing is held, the next byte begins an event, and ordinary ones need no look
        self._hide = hide_usage and self._reader.hides_usage
        self._framer = Framer(Shrinker)
        self._held = b""  # not given yet: the end of what was fed
        self._withheld = bytearray()
        self._released = False
        self._torn = False  # the body ended within an event of which the client has a part
        self._doubt_from: int | None = None  # a closing event ended the stream so far; its line end is held
        self._cut_lf = False  # the cut event's last LF is still to come
        self._not_usage: int | None = None  # start of the pending event that is surely no usage chunk
        self._checked = 0  # bytes of the held event that were searched
        self._delivered = Delivered()

    # Bytes

    def feed(self, piece: bytes) -> bytes:
        """Take a piece from upstream; the bytes that may go to the client now (`piece` itself, if it may whole)."""
        if self._ready:  # nearly always
            alike = self._alike
            if alike is None:
                events = self._passes(piece)
            elif (
                piece.startswith(alike.start)
                and (rest := rest_of(piece, alike.size)) is not None
                and rest.end() == len(piece)
            ):
                events = 1  # nearly always: `alike.events` of one event, without a call
            else:
                events = alike.events(piece)
                if not events:
                    events = self._passes(piece)
                    if events == 1:
                        alike.learn(piece)
            if events:
                self._framer.offset += len(piece)
                self.delivered_tokens = self._delivered.add_piece(piece, events)
                return piece
        if self.terminal_seen:
            return self._after_terminal(piece)
        if not piece:
            return b""
        out = self._feed_events(piece)
        self._tell()
        return out

    def end(self) -> bytes:
        """Upstream's body ended: read a last event that nothing terminated, give back what was held in doubt."""
        if self.terminal_seen:
            return b""
        out = self._end_events()
        self._tell()
        return out

    def release(self) -> bytes:
        """The withheld bytes, once the call is settled; whatever upstream sends after them passes unread."""
        self._released = True
        withheld = bytes(self._withheld)
        self._withheld.clear()
        return withheld

    @property
    def withheld(self) -> bytes:
        """The end of the terminal frame and what followed it, for after the settle."""
        return bytes(self._withheld)

    @property
    def at_event_end(self) -> bool:
        """An event of ours may follow what the client was given so far (nothing, or up to an event's end)."""
        framer = self._framer
        if self.terminal_seen or self._torn:
            return False
        if not self._held:
            return framer.at_event_end
        held_from = framer.offset - len(self._held)
        return held_from == (framer.line_start if framer.pending_start is None else framer.pending_start)

    # What was seen

    def output_sample(self) -> OutputSample:
        """What `estimate_output_tokens` needs, when usage is missing."""
        return self._delivered.sample(self._reader.dialect)

    # Inside

    def _tell(self) -> None:
        """Bring what a relay reads after every piece up to date."""
        self.finish_seen = self._reader.finish_seen
        if self._ready or self._framer.under_way <= HEAD_BYTES:  # nearly always
            self.delivered_tokens = self._delivered.tokens()
            return
        kind, size = self._under_way()
        self.delivered_tokens = self._delivered.tokens(
            text_under_way=size if kind is Kind.OUTPUT else 0,
            media_under_way=size if kind is Kind.MEDIA else 0,
        )

    def _under_way(self) -> tuple[Kind, int]:
        """What the event under way is, as far as its beginning tells, and its bytes; a small one is not looked at."""
        framer, overflow = self._framer, self._framer.overflow
        size = framer.under_way
        if size <= HEAD_BYTES:
            return Kind.ASIDE, 0
        head = overflow.head(HEAD_BYTES) if isinstance(overflow, Shrinker) else framer.data_head(HEAD_BYTES)
        return (self._reader.pending_kind(framer.name, head) if head else Kind.ASIDE), size

    def _after_terminal(self, piece: bytes) -> bytes:
        if self._released:
            return piece
        if len(self._withheld) < AFTER_BYTES_MAX:
            self._withheld += piece
        return b""

    def _end_events(self) -> bytes:
        self._ready = False
        self._torn = not self.at_event_end
        under_way, size = self._under_way()
        start = self._framer.offset - len(self._held)
        cuts: list[Cut] = []
        terminal = self._doubt_from
        for event in self._framer.end():
            kind = self._read(event)
            if kind is Kind.ASIDE and self._torn and under_way in (Kind.OUTPUT, Kind.MEDIA):
                self._reader.delivered_any = True  # no whole event, but the client has what there is of it
                self._delivered.add_event(b"", size, large=True)
            elif kind is Kind.USAGE_ONLY and self._hides(event, start):
                cuts.append(_cut(event, self._held, start))
            elif kind in (Kind.TERMINAL, Kind.CLOSING):
                terminal = event.last_line_end
        held = self._held
        self._held = b""
        if terminal is None:
            return _without(held, start, start + len(held), cuts)
        self.terminal_seen = True
        self._withheld += held[max(terminal - start, 0) :]
        return held[: max(terminal - start, 0)]

    def _feed_events(self, piece: bytes) -> bytes:
        framer = self._framer
        begin = framer.offset
        start = begin - len(self._held)  # offset of the first byte not given yet
        cuts: list[Cut] = []
        if self._cut_lf:
            if piece[0] == 0x0A and framer.after_cr:
                cuts.append((begin, begin + 1, b""))
            self._cut_lf = False
        whole = self._held + piece if self._held else piece
        if self._doubt_from is not None and not (piece == b"\n" and framer.after_cr):
            self._doubt_from = None
        for event in framer.feed(piece):
            kind = self._read(event)
            if kind is Kind.TERMINAL:
                stop = max(event.last_line_end, start)
                self.terminal_seen = True
                self._ready = False
                self._withheld += whole[stop - start :]
                self._held = b""
                return _without(whole, start, stop, cuts)
            if kind is Kind.USAGE_ONLY and self._hides(event, start):
                cuts.append(_cut(event, whole, start))
                self._cut_lf = event.end == framer.offset and framer.after_cr
            if kind is Kind.CLOSING and event.end == framer.offset:
                self._doubt_from = event.last_line_end
        limit = self._limit(whole, start)
        self._held = whole[limit - start :]
        self._ready = framer.idle and self._reader.may_pass and not self._held and self._delivered.is_measured
        if not cuts and limit == framer.offset and whole is piece:
            return piece
        return _without(whole, start, limit, cuts)

    def _limit(self, whole: bytes, start: int) -> int:
        """Up to where bytes may be given: before an event or a line end that is still in doubt."""
        framer = self._framer
        if self._doubt_from is not None:
            return self._doubt_from
        limit = framer.offset
        pending = framer.pending_start
        if (
            pending is not None
            and framer.at_line_start
            and framer.has_data
            and self._reader.may_end(framer.name, framer.data, large=framer.is_large)
        ):
            limit = framer.last_line_end
        if not self._hide:
            return limit
        if pending is None and framer.starts_field():
            pending = framer.line_start
        if pending is None or pending == self._not_usage:
            self._checked = 0
            return limit
        if framer.offset - pending > HELD_BYTES_MAX or (
            not self._reader.finish_seen and _HAS_CHOICE.search(whole, pending - start + self._checked)
        ):
            self._not_usage = pending
            self._checked = 0
            return limit
        self._checked = max(framer.offset - pending - _OVERLAP, 0)
        return pending

    def _read(self, event: Event) -> Kind:
        kind = self._reader.read(event)
        size = event.last_line_end + 2 - event.start  # as with LF, so that a CRLF cut in two counts the same
        if kind is Kind.OUTPUT:
            self._delivered.add_event(event.data, size, large=event.large)
            if not self._delivered.is_measured:
                text = "" if event.large else self._reader.output_text(parse(event.data))
                self._delivered.measure(size, len(text.encode("utf-8", "surrogatepass")))
        elif kind is Kind.MEDIA:
            self._delivered.add_media(size)
        return kind

    def _hides(self, event: Event, start: int) -> bool:
        """Whether a usage chunk is to be cut out, and none of it has left."""
        return self._hide and event.start >= start and event.end - event.start <= HELD_BYTES_MAX


def _cut(event: Event, whole: bytes, start: int) -> Cut:
    """Take an event out; comments among its lines stay."""
    lines = _LINES.findall(whole[event.start - start : event.end - start])
    return event.start, event.end, b"".join(line for line in lines if line.startswith(b":"))


def _without(whole: bytes, start: int, stop: int, cuts: list[Cut]) -> bytes:
    """The bytes from `start` to `stop`, both offsets in the stream, without the cuts."""
    if not cuts:
        return whole[: stop - start]
    out = []
    begin = start
    for cut_start, cut_end, kept in cuts:
        out += [whole[begin - start : cut_start - start], kept]
        begin = cut_end
    out.append(whole[begin - start : max(stop, begin) - start])
    return b"".join(out)
