"""Framing of server-sent events: the standard's rules, any cut, bounded memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.proxy.sse import EVENT_BYTES_MAX, Event, Framer
from tests.proxy.streams import NAMES, cuts, raw


def frame(pieces: list[bytes]) -> list[Event]:
    framer = Framer()
    events = [event for piece in pieces for event in framer.feed(piece)]
    return events + framer.end()


def seen(pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [(event.name, event.data) for event in frame(pieces)]


class Collect:
    """An Overflow that shows what it got."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self.parts.append(data)

    def end(self) -> bytes:
        return b"%d" % len(b"".join(self.parts))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_line_end_ends_a_line(end: bytes) -> None:
    data = end.join([b"event: a", b"data: 1", b"", b"data: 2", b"", b""])
    assert seen([data]) == [(b"a", b"1"), (b"", b"2")]


def test_cr_and_lf_of_one_line_end_may_come_apart() -> None:
    assert seen([b"data: 1\r", b"\n\r", b"\ndata: 2\r\n\r\n"]) == [(b"", b"1"), (b"", b"2")]


def test_other_unicode_line_ends_are_text() -> None:
    text = "a\u2028b\u0085c\x0bd".encode()
    assert seen([b"data: " + text + b"\n\n"]) == [(b"", text)]


def test_one_space_after_the_colon_is_dropped() -> None:
    assert seen([b"data:x\n\ndata: x\n\ndata:  x\n\n"]) == [(b"", b"x"), (b"", b"x"), (b"", b" x")]


def test_data_lines_are_joined_by_lf() -> None:
    assert seen([b"data: a\ndata\ndata: b\n\n"]) == [(b"", b"a\n\nb")]


def test_field_order_is_free() -> None:
    assert seen([b"data: 1\nid: 7\nevent: late\n\n"]) == [(b"late", b"1")]


def test_comments_and_unknown_fields_are_skipped() -> None:
    assert seen([b": ping\n\n: more\nid: 1\nretry: 5\nfoo: bar\ndata: 1\n: between\n\n"]) == [(b"", b"1")]


def test_an_event_without_data_is_dropped() -> None:
    assert seen([b"event: ping\n\ndata: 1\n\n"]) == [(b"", b"1")]


def test_a_leading_bom_is_dropped_in_any_cut() -> None:
    data = b"\xef\xbb\xbfdata: 1\n\n"
    assert seen([data]) == [(b"", b"1")]
    assert seen([data[i : i + 1] for i in range(len(data))]) == [(b"", b"1")]


def test_half_a_bom_is_part_of_the_line() -> None:
    assert seen([b"\xef", b"\xbbdata: 1\n\ndata: 2\n\n"]) == [(b"", b"2")]
    assert seen([b"\xef\n", b"data: 2\n\n"]) == [(b"", b"2")]


def test_a_last_event_without_blank_line_is_read_at_the_end() -> None:
    assert seen([b"data: 1\n\ndata: 2"]) == [(b"", b"1"), (b"", b"2")]
    assert seen([b"data: 1\n\ndata: 2\n"]) == [(b"", b"1"), (b"", b"2")]


def test_offsets_name_the_bytes_of_each_event() -> None:
    data = b"\xef\xbb\xbf: c\n\nevent: a\ndata: 1\n\ndata: 2\r\n: c\r\n\r\n"
    first, second = frame([data])
    assert data[first.start : first.end] == b"event: a\ndata: 1\n\n"
    assert data[first.last_line_end : first.end] == b"\n\n"
    assert data[second.start : second.end] == b"data: 2\r\n: c\r\n\r\n"
    assert data[second.last_line_end : second.end] == b"\r\n\r\n"


@pytest.mark.parametrize("name", NAMES)
def test_any_cut_of_a_recorded_stream_gives_the_same_events(name: str) -> None:
    data = raw(name)
    whole = seen([data])
    for pieces in cuts(data):
        assert seen(pieces) == whole


def test_data_beyond_the_limit_goes_to_the_overflow_as_it_comes() -> None:
    made: list[Collect] = []

    def new() -> Collect:
        made.append(Collect())
        return made[-1]

    framer = Framer(new)
    assert framer.feed(b"event: big\ndata: ") == []
    sent = 0
    while sent < 10_000_000:
        assert framer.feed(b"x" * 50_000) == []
        sent += 50_000
        if sent > EVENT_BYTES_MAX + 50_000:
            assert sum(map(len, made[0].parts)) == sent
            made[0].parts = [b"x" * sent]
    (event,) = framer.feed(b"\ndata: yz\n\ndata: 1\n\n")[:1]
    assert event.large
    assert event.name == b"big"
    assert event.data == b"%d" % (sent + 3)
    assert event.end - event.start == len(b"event: big\ndata: \ndata: yz\n\n") + sent


def test_an_endless_comment_or_name_is_not_kept() -> None:
    for start in (b": ", b"event: ", b"id: "):
        framer = Framer()
        framer.feed(start)
        for _ in range(40):
            framer.feed(b"y" * 65_536)
            assert len(framer._line) <= EVENT_BYTES_MAX
        assert [event.data for event in framer.feed(b"\n\ndata: 1\n\n")] == [b"1"]


def test_at_event_end_says_where_an_event_of_ours_may_follow() -> None:
    framer = Framer()
    assert framer.at_event_end
    for piece, at_end in (
        (b": ping\n", True),
        (b"data: 1", False),
        (b"\n", False),
        (b"\n", True),
        (b"data: 2\r\n", False),
        (b"\r", False),  # a client that wants CRLF has not seen the event yet
        (b"\n", True),
    ):
        framer.feed(piece)
        assert framer.at_event_end == at_end, piece


def test_bare_cr_ends_an_event_where_no_crlf_was_seen() -> None:
    framer = Framer()
    framer.feed(b"data: 1\r\r")
    assert framer.at_event_end


LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=20)
NOISE = st.sampled_from([b"", b": ping", b"id: 1", b"retry: 10", b"unknown", b":"])


@st.composite
def rendered(draw: st.DrawFn) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Events, and one of the many ways to write them."""
    events = []
    out = [draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))]
    for _ in range(draw(st.integers(0, 5))):
        name = draw(TEXT).encode()
        lines = [line.encode() for line in draw(st.lists(TEXT, min_size=1, max_size=3))]
        written = [
            b"data:" + draw(st.sampled_from([b" ", b""] if line[:1] != b" " else [b" "])) + line
            for line in lines
        ]
        if name:
            written.insert(draw(st.integers(0, len(written))), b"event: " + name)
        noise = draw(NOISE)
        if noise:
            written.insert(draw(st.integers(0, len(written))), noise)
        # A blank line after a line that ended with CR must not begin with LF: that would be one CRLF.
        end = draw(LINE_ENDS)
        out.append(b"".join(line + end for line in written) + end)
        events.append((name, b"\n".join(lines)))
    return events, b"".join(out)


@given(rendered(), st.data())
def test_events_survive_any_rendering_and_any_cut(
    made: tuple[list[tuple[bytes, bytes]], bytes], data: st.DataObject
) -> None:
    events, stream = made
    places = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *places, len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert seen(pieces) == events
