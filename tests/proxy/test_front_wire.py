"""One connection, fed by hand: requests in any pieces and in a row, and answers that never get into each other."""

from __future__ import annotations

import asyncio

import pytest

from rabbitgw.proxy.ask import Ask, id_lines
from rabbitgw.proxy.dialects import CHAT
from rabbitgw.proxy.front_wire import AHEAD_BYTES_MAX, DROPPED_BYTES_MAX, REQUESTS_PER_TURN_MAX
from rabbitgw.proxy.relay import Client
from tests.proxy.front_house import LAST, POST, bare, post, whole

CHUNKS = POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx: y\r\n\r\n"
H2C = (
    b"connection: Upgrade, HTTP2-Settings",
    b"upgrade: h2c",
    b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA",
)


@pytest.mark.parametrize(
    "sent", [post(b"abcde"), CHUNKS, post(b"abcde", *H2C)], ids=["count", "chunks", "h2c"]
)
async def test_a_request_is_the_same_in_any_pieces(sent: bytes) -> None:
    async with bare() as house:
        for first in range(len(sent) + 1):
            said = await house.feed(*filter(None, [sent[:first], sent[first:]]))
            assert (first, said.endswith(b"\r\n\r\n5")) == (first, True)
        said = await house.feed(*[sent[at : at + 1] for at in range(len(sent))])
        assert said.endswith(b"\r\n\r\n5")
        assert set(house.service.bodies) == {b"abcde"}
        assert not house.wire.closed


async def test_requests_in_a_row_are_answered_in_a_row_however_they_are_cut() -> None:
    row = post(b"a") + CHUNKS + b"\r\n\r\n" + post(b"abc", *H2C) + post(b"abcd") + POST + b"\r\n"
    for first in range(0, len(row), 7):
        async with bare() as house:
            said = await house.feed(row[:first], row[first:])
            assert [part[:1] for part in said.split(b"\r\n\r\n")[1:]] == [b"1", b"5", b"3", b"4", b"0"]


async def test_a_small_answer_is_one_write() -> None:
    async with bare() as house:
        await house.feed(post(b"abc"))
        await house.feed(post(b"abcd"))
        assert len(house.wire.writes) == 2


@pytest.mark.parametrize("caller_id", [None, "mine-1"])
async def test_header_lines_that_are_ready_are_sent_behind_the_headers(caller_id: str | None) -> None:
    ask = Ask(CHAT, caller_id)

    async def by_lines(client: Client, body: bytes) -> None:
        client.start(200, [(b"a", b"b")], length=1, lines=id_lines(ask))
        client.finish(b"x")

    async def by_headers(client: Client, body: bytes) -> None:
        shown = ask.shown_id.encode()
        ids = [(b"x-request-id", shown), (b"request-id", shown)]
        ids.append((b"x-rabbitgw-request-id", ask.request_id.encode()))
        client.start(200, [(b"a", b"b"), *ids], length=1)
        client.finish(b"x")

    async with bare(by_lines) as one, bare(by_headers) as other:
        said = await one.feed(post(b"{}"))
        assert said == await other.feed(post(b"{}"))
        assert b"\r\na: b\r\nx-request-id: %b\r\n" % ask.shown_id.encode() in said


async def test_what_is_held_back_leaves_with_the_end_though_turns_pass() -> None:
    gate = asyncio.Event()

    async def in_two(client: Client, body: bytes) -> None:
        client.start(200, [], length=6)
        client.write(b"abc")
        client.hold_back()
        await gate.wait()
        client.write(b"de")
        client.finish(b"f")

    async with bare(in_two) as house:
        house.connection.data_received(post(b"{}"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert house.wire.writes == []
        gate.set()
        await house.rest()
        assert len(house.wire.writes) == 1
        assert house.wire.said.endswith(b"\r\n\r\nabcdef")


async def test_a_head_waits_no_longer_than_the_turn_of_the_loop() -> None:
    gate = asyncio.Event()

    async def slow(client: Client, body: bytes) -> None:
        client.start(200, [], length=None)
        await gate.wait()
        for piece in (b"one", b"", b"two"):
            client.write(piece)
        client.finish(b"three")

    async with bare(slow) as house:
        house.connection.data_received(post(b"{}"))
        for _ in range(5):
            await asyncio.sleep(0)
        (head,) = house.wire.writes
        assert head.endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n")
        gate.set()
        await house.rest()
        assert house.wire.writes[1:] == [b"3\r\none\r\n", b"3\r\ntwo\r\n", b"5\r\nthree\r\n0\r\n\r\n"]


async def test_a_request_that_was_sent_ahead_waits_for_the_end_of_the_answer_before() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    turns = iter(gates)

    async def gated(client: Client, body: bytes) -> None:
        client.start(200, [], length=None)
        client.write(body)
        await next(turns).wait()
        client.finish(body)

    async with bare(gated) as house:
        house.connection.data_received(post(b"one") + post(b"two"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert house.service.bodies == [b"one"]
        assert b"two" not in house.wire.said
        gates[0].set()
        gates[1].set()
        await house.rest()
        assert house.wire.said.count(b"HTTP/1.1 200 OK") == 2
        assert house.wire.said.index(b"0\r\n\r\n") < house.wire.said.index(b"two")


async def test_an_old_answer_never_writes_into_the_next() -> None:
    clients: list[Client] = []

    async def kept(client: Client, body: bytes) -> None:
        clients.append(client)
        await whole(client, body)

    async with bare(kept) as house:
        first = await house.feed(post(b"abc"))
        old = clients[0]
        for late in (
            lambda: old.write(b"late"),
            lambda: old.finish(b"late"),
            lambda: old.start(500, [], length=4),
            old.hold_back,
            old.cut,
        ):
            late()
            second = await house.feed(post(b"abc"))
            assert second == first
        assert not house.wire.closed


async def test_an_answer_that_was_left_unfinished_is_cut() -> None:
    async def half(client: Client, body: bytes) -> None:
        client.start(200, [], length=10)
        client.write(b"abc")

    async with bare(half) as house:
        await house.feed(post(b"{}") + post(b"{}"))
        assert house.wire.closed
        assert len(house.service.bodies) == 1


async def test_what_comes_ahead_is_bounded() -> None:
    gate = asyncio.Event()

    async def gated(client: Client, body: bytes) -> None:
        await gate.wait()
        await whole(client, body)

    async with bare(gated) as house:
        house.connection.data_received(post(b"abc"))
        await asyncio.sleep(0)
        sent = post(b"x" * 1000)
        while not house.wire.reading_paused:
            house.connection.data_received(sent)
            assert len(house.connection._buffer) <= AHEAD_BYTES_MAX + len(sent)
        gate.set()
        await house.rest()
        assert not house.wire.reading_paused
        assert house.service.bodies[1:] == [b"x" * 1000] * (len(house.service.bodies) - 1)
        assert len(house.service.bodies) > AHEAD_BYTES_MAX // len(sent)


async def test_many_that_are_answered_at_once_leave_turns_to_others() -> None:
    async with bare() as house:
        count = 3 * REQUESTS_PER_TURN_MAX + 1
        house.connection.data_received(b"GET /v1/files HTTP/1.1\r\nhost: x\r\n\r\n" * count)
        assert house.wire.said.count(b"HTTP/1.1 404 ") == REQUESTS_PER_TURN_MAX
        for _ in range(5):
            await asyncio.sleep(0)
        assert house.wire.said.count(b"HTTP/1.1 404 ") == count


async def test_answers_that_are_not_taken_hold_up_what_was_sent_ahead() -> None:
    async with bare() as house:
        house.connection.pause_writing()
        house.connection.data_received(post(b"abc") * 2)
        await house.rest()
        assert house.service.bodies == []
        house.connection.resume_writing()
        await house.rest()
        assert house.service.bodies == [b"abc"] * 2


async def test_a_body_that_is_not_wanted_is_passed_over() -> None:
    refused = post(b"x" * 100_000).replace(b"POST", b"PUT")
    for first in (10, len(refused) - 100_000, len(refused) - 50_000, len(refused) - 1):
        async with bare() as house:
            said = await house.feed(refused[:first], refused[first:] + post(b"abc"))
            assert (said.count(b"HTTP/1.1 405 "), said[-5:]) == (1, b"\r\n\r\n3")
            assert b"connection: close" not in said


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 5000\r\n\r\n" + b"x" * 500,
        b"transfer-encoding: chunked\r\n\r\n5000\r\n" + b"x" * 3000,
    ],
)
async def test_behind_a_body_that_is_too_large_nothing_is_read_and_what_comes_is_dropped(body: bytes) -> None:
    async with bare(body_bytes_max=2000) as house:
        said = await house.feed(POST + body, b"x" * 5000, post(b"abc"))
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in said
        assert said.count(b"HTTP/1.1") == 1
        assert (house.wire.ended, house.wire.closed) == (True, False)
        piece = b"x" * (1 << 20)
        for _ in range(DROPPED_BYTES_MAX // len(piece)):
            house.connection.data_received(piece)
        assert house.wire.aborted


SMUGGLED = [
    POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    POST + b"content-length: 5\r\ncontent-length: 0\r\n\r\nabcde",
    POST + b"content-length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    POST + b"content-length: 0,5\r\n\r\nabcde",
    POST + b"x: y\r\n content-length: 5\r\n\r\nabcde",
    POST + b"x: y\ncontent-length: 5\r\n\r\nabcde",
    POST + b"x: y\rcontent-length: 5\r\n\r\nabcde",
    POST + b"content-length : 5\r\n\r\nabcde",
    POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    POST.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\n\r\n\r\n",
]


@pytest.mark.parametrize("sent", SMUGGLED)
async def test_behind_what_could_be_read_in_two_ways_nothing_is_read(sent: bytes) -> None:
    hidden = post(b"hidden")
    for pieces in (
        (sent + hidden,),
        (sent, hidden),
        tuple((sent + hidden)[at : at + 1] for at in range(len(sent + hidden))),
    ):
        async with bare() as house:
            said = await house.feed(*pieces)
            assert said.count(b"HTTP/1.1 ") == 1
            assert said.startswith(b"HTTP/1.1 400 ")
            assert b"\r\nconnection: close\r\n" in said
            assert house.service.bodies == []
            assert house.wire.ended


async def test_the_last_answer_of_a_connection_is_its_last() -> None:
    async with bare() as house:
        said = await house.feed(post(b"abc", LAST) + post(b"abcd"))
        assert said.count(b"HTTP/1.1 ") == 1
        assert house.service.bodies == [b"abc"]


@pytest.mark.parametrize("last", [b"\r\n", b"\n", b"\r\n\r\n\r\n"])
async def test_line_ends_between_requests_are_skipped(last: bytes) -> None:
    async with bare() as house:
        assert (await house.feed(post(b"abc"), last)).count(b"HTTP/1.1 200 OK") == 1
        assert (await house.feed(last + post(b"abc") + last, last, post(b"abc"))).count(
            b"HTTP/1.1 200 OK"
        ) == 2
