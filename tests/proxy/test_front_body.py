"""Bodies without sockets: counted and walked, at every split, and what a walk refuses."""

from __future__ import annotations

import asyncio

import pytest

from rabbitgw.errors import BodyTooLarge, RequestInvalid
from rabbitgw.proxy.front_body import (
    AHEAD_BYTES_MAX,
    FRAMING_BYTES_MAX,
    LINE_BYTES_MAX,
    PIECES_MAX,
    Body,
    Chunked,
    Counted,
)

WIRE = b"3\r\nabc\r\n00a;x=y\r\n0123456789\r\nA\r\n\r\n34567\r\n9\r\n0\r\nx: y\r\nz: \r\n\r\nNEXT"
SAID = b"abc0123456789\r\n34567\r\n9"


class Door:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def want(self) -> None:
        self.asked.append("want")

    def go_on(self) -> None:
        self.asked.append("go on")


def walk(*pieces: bytes) -> tuple[bytes, bytes, str]:
    """(payload, what follows, fault) of these pieces in a row."""
    chunked = Chunked()
    rest = b""
    for piece in pieces:
        if chunked.complete:
            rest += piece
        elif not chunked.fault:
            rest = chunked.feed(piece)
    assert chunked.complete or chunked.fault or not rest
    return b"".join(chunked.pieces), rest, chunked.fault


def test_chunks_are_walked_the_same_at_every_split() -> None:
    whole = walk(WIRE)
    assert whole == (SAID, b"NEXT", "")
    assert walk(*[WIRE[at : at + 1] for at in range(len(WIRE))]) == whole
    for first in range(len(WIRE) + 1):
        assert walk(WIRE[:first], WIRE[first:]) == whole


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\nabc",
        b"\r\nabc",
        b"-3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"1_0\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3 ;x\r\nabc\r\n",
        b"3\nabc\n0\n\n\r\n",
        b"3;x\ny\r\nabc\r\n",
        b"3;x\ry\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"1" * 16 + b"\r\n",
        b"0\r\nx: y\nz: a\r\n\r\n",
        b"3;" + b"x" * LINE_BYTES_MAX + b"\r\nabc\r\n",
        b"0\r\n" + b"x: y\r\n" * (FRAMING_BYTES_MAX // 6) + b"\r\n",
        b"9" * (LINE_BYTES_MAX + 1),
    ],
)
def test_a_walk_refuses_what_could_be_read_in_two_ways_or_is_all_framing(wire: bytes) -> None:
    assert walk(wire)[2]
    assert walk(*[wire[at : at + 1] for at in range(len(wire))])[2]


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_count_ends_where_it_says(length: int) -> None:
    for first in range(length + 1):
        counted = Counted(length)
        sent = b"abcdeNEXT"[5 - length :]
        rest = counted.feed(sent[:first])
        assert (rest, counted.complete) == (b"", first == length)
        rest = counted.feed(sent[first:])
        assert (b"".join(counted.pieces), rest, counted.complete) == (sent[:length], b"NEXT", True)


async def test_a_body_is_waited_for_and_kept_nowhere() -> None:
    door = Door()
    body = Body(Counted(6), door, 100, expects_continue=True)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    assert door.asked == ["go on", "want"]
    body.feed(b"abc")
    assert body.feed(b"defNEXT") == b"NEXT"
    assert await reading == b"abcdef"
    assert body.framing.pieces == []


async def test_who_has_sent_some_already_is_not_told_to_go_on() -> None:
    door = Door()
    body = Body(Counted(6), door, 100, expects_continue=True)
    body.feed(b"abc")
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    assert door.asked == ["want"]
    body.feed(b"def")
    assert await reading == b"abcdef"


async def test_a_length_beyond_the_limit_is_refused_before_anything_is_wanted() -> None:
    door = Door()
    body = Body(Counted(101), door, 100, expects_continue=True)
    with pytest.raises(BodyTooLarge):
        await body.read()
    assert door.asked == []
    assert not body.may_be_passed_over


async def test_chunks_beyond_the_limit_are_refused_as_they_come_and_not_kept() -> None:
    body = Body(Chunked(), Door(), 100, expects_continue=False)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    body.feed(b"64\r\n" + b"x" * 100 + b"\r\n")
    await asyncio.sleep(0)
    assert not reading.done()
    body.feed(b"1\r\nx")
    with pytest.raises(BodyTooLarge):
        await reading
    assert body.framing.pieces == []
    assert body.feed(b"\r\n0\r\n\r\nNEXT") == b"NEXT"  # its end is found all the same
    assert body.framing.complete


async def test_a_body_that_fails_says_why_to_whoever_reads_it_and_whoever_will() -> None:
    body = Body(Counted(6), Door(), 100, expects_continue=False)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    body.fail(RequestInvalid("first"))
    body.fail(RequestInvalid("second"))
    with pytest.raises(RequestInvalid, match="first"):
        await reading
    with pytest.raises(RequestInvalid, match="first"):
        await body.read()


def test_only_so_much_comes_ahead_of_being_asked_for() -> None:
    body = Body(Counted(2 * AHEAD_BYTES_MAX), Door(), 4 * AHEAD_BYTES_MAX, expects_continue=False)
    body.feed(b"x" * AHEAD_BYTES_MAX)
    assert not body.is_ahead
    body.feed(b"x")
    assert body.is_ahead
    body.wanted = True
    assert not body.is_ahead


def test_single_bytes_are_put_together() -> None:
    body = Body(Counted(3 * PIECES_MAX), Door(), 10 * PIECES_MAX, expects_continue=False)
    for _ in range(3 * PIECES_MAX):
        body.feed(b"x")
    assert len(body.framing.pieces) <= PIECES_MAX
    assert b"".join(body.framing.pieces) == b"x" * (3 * PIECES_MAX)
