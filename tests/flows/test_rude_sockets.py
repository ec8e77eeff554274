"""What clients do to their sockets while they stay: they take little or nothing, close one half, speak an old HTTP, ask
ahead, wait to be told to go on, or send half of what they announced."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.books import assert_books_balance
from tests.flows.house import until
from tests.flows.raw_client import (
    CHUNKED,
    JSON_HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    RawClient,
    chunk,
    read_answer,
    request,
)
from tests.flows.rude import (
    CREDIT_NANOS,
    Scene,
    ask,
    assert_nothing_left,
    hung_up,
    let_go,
    playing,
    requests_at,
    rude_house,
    transport_at,
)
from tests.flows.speeches import CHAT, INPUT_NANOS, OUTPUT_NANOS, STATED_NANOS, sse

WHOLE = (SSE_HEAD + CHUNKED, chunk(CHAT.stream()), LAST_CHUNK)
PLAIN = JSON_HEAD + b"content-length: %d\r\n\r\n" % len(CHAT.plain) + CHAT.plain
BIG_TOKENS = 2_500
BIG_DELTA = sse(
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "x" * 10_000}, "finish_reason": None}]}
)
BIG_DELTAS = 60
LONG = (
    SSE_HEAD + CHUNKED,
    *[chunk(BIG_DELTA)] * BIG_DELTAS,
    chunk(CHAT.finish + CHAT.hidden + CHAT.terminal),
    LAST_CHUNK,
)


async def narrow_client(scene: Scene) -> RawClient:
    """A client for which the kernel takes little on either side."""
    client = await scene.connect(receive_buffer=4096)
    await until(lambda: transport_at(scene.house, client))
    transport = transport_at(scene.house, client)
    assert transport is not None
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return client


async def test_a_client_that_takes_little_at_a_time_gets_all_and_pays_what_was_stated(
    house_with: Any,
) -> None:
    settings = {"client_stall_timeout_s": 0.4, "slice_output_tokens": 65536}
    async with rude_house(house_with, playing(*LONG), **settings) as scene:
        house = scene.house
        client = await narrow_client(scene)
        client.ask(CHAT, None, "connection: close")
        for _ in range(60):  # for longer than the timeout
            client.received += await client.reader.readexactly(1024)
            await asyncio.sleep(0.02)
            assert transport_at(house, client) is not None
        answer = await client.answer()
        assert answer.whole
        assert answer.body == BIG_DELTA * BIG_DELTAS + CHAT.finish + CHAT.terminal
        bill = await house.bill(answer.request_id)
        assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        await assert_nothing_left(house)
        await assert_books_balance(house)


@pytest.mark.parametrize("set_to", ["cancel", "drain"])
async def test_a_client_that_takes_nothing_has_left(house_with: Any, set_to: str) -> None:
    settings = {"client_stall_timeout_s": 0.3, "slice_output_tokens": 65536, "client_gone": set_to}
    async with rude_house(house_with, playing(*LONG), **settings) as scene:
        house, raw, _ = scene
        client = await narrow_client(scene)
        client.ask(CHAT, None, "x-request-id: deaf")
        await let_go(house, client)
        bill = await house.bill("deaf")
        if set_to == "drain":
            assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        else:
            assert bill["status"] == "partial"
            assert bill["cost_nanos"] == 11 * INPUT_NANOS + bill["output_tokens"] * OUTPUT_NANOS
            assert BIG_TOKENS <= bill["output_tokens"] < BIG_DELTAS * BIG_TOKENS
            assert bill["output_tokens"] % BIG_TOKENS == 0  # what was read from upstream, no more
            await hung_up(raw.connections[0])
        await assert_nothing_left(house)
        await assert_books_balance(house)


@pytest.mark.parametrize("length", [60_000, 400_000])
async def test_a_client_that_never_takes_its_plain_answer_is_let_go(house_with: Any, length: int) -> None:
    """Also where what it does not take is too little to slow anything down."""
    plain = CHAT.plain.replace(b'"word ', b'"' + b"x" * length)
    play = playing(JSON_HEAD + b"content-length: %d\r\n\r\n" % len(plain), plain)
    async with rude_house(house_with, play, client_stall_timeout_s=0.3) as scene:
        house = scene.house
        client = await narrow_client(scene)
        client.ask(CHAT, CHAT.body(stream=False), "x-request-id: deaf")
        bill = await house.bill("deaf")
        assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        await let_go(house, client)
        await assert_nothing_left(house)
        await assert_books_balance(house)


async def test_an_old_client_gets_its_stream_without_chunks_and_a_close(house_with: Any) -> None:
    async with rude_house(house_with, playing(*WHOLE)) as (house, _, connect):
        client = await connect()
        client.ask(CHAT, version="1.0")
        answer = await client.answer()
        assert answer.status == 200
        assert answer.field(b"transfer-encoding") == b""
        assert answer.body == CHAT.shown()
        assert (await house.bill(answer.request_id))["cost_nanos"] == STATED_NANOS
        await assert_nothing_left(house)
        await assert_books_balance(house)


async def test_requests_that_are_sent_ahead_are_answered_in_order_and_billed_each(house_with: Any) -> None:
    async with rude_house(house_with, playing(*WHOLE)) as (house, raw, connect):
        client = await connect()
        client.writer.write(
            request(house.secret, CHAT) + request(house.secret, CHAT, None, "connection: close")
        )
        first, rest = read_answer(await client.rest())
        second, rest = read_answer(rest)
        assert (first.body, second.body, rest) == (CHAT.shown(), CHAT.shown(), b"")
        for answer in (first, second):
            bill = await house.bill(answer.request_id)
            assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        assert requests_at(raw) == 2
        await assert_nothing_left(house)
        await assert_books_balance(house)


async def test_a_request_sent_ahead_by_a_client_that_left_is_never_begun(house_with: Any) -> None:
    gate = asyncio.Event()
    play = playing(SSE_HEAD + CHUNKED, chunk(CHAT.opening + CHAT.delta), gate)
    async with rude_house(house_with, play) as (house, raw, connect):
        client = await connect()
        client.writer.write(
            request(house.secret, CHAT, None, "x-request-id: first") + request(house.secret, CHAT)
        )
        await client.until(CHAT.delta)
        client.leave()
        bill = await house.bill("first")
        assert (bill["status"], bill["cost_nanos"]) == ("partial", CHAT.part_nanos(1))
        await assert_nothing_left(house)
        assert requests_at(raw) == 1
        assert (await house.wallet())["balance_nanos"] == CREDIT_NANOS - CHAT.part_nanos(1)
        await assert_books_balance(house)


async def test_garbage_sent_behind_a_request_spoils_nothing_of_its_answer(house_with: Any) -> None:
    gate = asyncio.Event()
    play = playing(SSE_HEAD + CHUNKED, chunk(CHAT.opening), gate, chunk(CHAT.stream()), LAST_CHUNK)
    async with rude_house(house_with, play) as (house, raw, connect):
        client = await connect()
        client.ask(CHAT)
        await client.until(CHAT.opening)
        client.writer.write(b"\x00\xff garbage\r\n\r\n")
        gate.set()
        answer, rest = read_answer(await client.rest())
        assert (answer.whole, answer.body) == (True, CHAT.opening + CHAT.shown())
        assert rest.split()[1] == b"400"
        assert (await house.bill(answer.request_id))["cost_nanos"] == STATED_NANOS
        await assert_nothing_left(house)
        assert requests_at(raw) == 1
        await assert_books_balance(house)


async def test_garbage_in_the_same_read_as_a_request_spoils_nothing_of_its_answer(house_with: Any) -> None:
    async with rude_house(house_with, playing(*WHOLE)) as (house, raw, connect):
        client = await connect()
        client.writer.write(request(house.secret, CHAT) + b"\x00\xff garbage\r\n\r\n")
        answer, rest = read_answer(await client.rest())
        assert (answer.whole, answer.body) == (True, CHAT.shown())
        assert rest.split()[1] == b"400"
        assert (await house.bill(answer.request_id))["cost_nanos"] == STATED_NANOS
        await assert_nothing_left(house)
        assert requests_at(raw) == 1
        await assert_books_balance(house)


async def test_a_client_that_waits_to_be_told_to_go_on_is_told_once(house_with: Any) -> None:
    async with rude_house(house_with, playing(*WHOLE)) as (house, _, connect):
        client = await connect()
        head, _, body = request(
            house.secret, CHAT, None, "expect: 100-continue", "connection: close"
        ).partition(b"\r\n\r\n")
        client.writer.write(head + b"\r\n\r\n")
        said = await client.until(b"\r\n\r\n")
        assert said == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await house.wallet())["held_nanos"] == 0
        client.writer.write(body)
        answer, rest = read_answer((await client.rest()).removeprefix(said))
        assert (answer.whole, answer.body, rest) == (True, CHAT.shown(), b"")
        assert (await house.bill(answer.request_id))["cost_nanos"] == STATED_NANOS
        await assert_nothing_left(house)
        await assert_books_balance(house)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_in_the_middle_of_its_request_costs_nothing(
    house_with: Any, how: str
) -> None:
    async with rude_house(house_with, playing(*WHOLE)) as scene:
        house, raw, connect = scene
        whole = request(house.secret, CHAT)
        for sent in (whole[:40], whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", whole[:-10]):
            client = await connect()
            client.writer.write(sent)
            await until(lambda client=client: transport_at(house, client))
            client.leave(how)
            await let_go(house, client)
        await assert_nothing_left(house)
        assert requests_at(raw) == 0
        assert (await house.wallet())["balance_nanos"] == CREDIT_NANOS
        assert (await ask(scene, CHAT)).whole
        await assert_books_balance(house)


async def test_a_body_that_stops_coming_is_given_up(house_with: Any) -> None:
    """A client that sends nothing for as long as one that takes nothing has left, too."""
    async with rude_house(house_with, playing(*WHOLE), client_stall_timeout_s=0.3) as (house, raw, connect):
        client = await connect()
        client.writer.write(request(house.secret, CHAT)[:-10])
        await client.until(b"}")
        answer, _ = read_answer(client.received)
        assert (answer.status, answer.error_code()) == (400, "invalid_request")
        await assert_nothing_left(house)
        assert requests_at(raw) == 0
        await assert_books_balance(house)


# A half-closed client: it sends no more, and waits for its answer.


@pytest.mark.parametrize("set_to", ["cancel", "drain"])
async def test_a_half_closed_client_gets_its_stream_whole(house_with: Any, set_to: str) -> None:
    gate = asyncio.Event()
    play = playing(
        SSE_HEAD + CHUNKED, chunk(CHAT.opening + 2 * CHAT.delta), gate, chunk(CHAT.stream()), LAST_CHUNK
    )
    async with rude_house(house_with, play, silence_s=30.0, client_gone=set_to) as (house, _, connect):
        client = await connect()
        client.ask(CHAT, None, "x-request-id: half")
        await client.until(CHAT.delta)
        client.writer.write_eof()
        gate.set()
        answer, rest = read_answer(await client.rest())
        assert (answer.whole, rest) == (True, b"")
        assert answer.body == CHAT.opening + 2 * CHAT.delta + CHAT.shown()
        bill = await house.bill("half")
        assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        await assert_nothing_left(house)
        await assert_books_balance(house)


@pytest.mark.parametrize("set_to", ["cancel", "drain"])
async def test_a_half_closed_stream_that_falls_silent_counts_as_left(house_with: Any, set_to: str) -> None:
    gate = asyncio.Event()
    play = playing(
        SSE_HEAD + CHUNKED, chunk(CHAT.opening + 2 * CHAT.delta), gate, chunk(CHAT.stream()), LAST_CHUNK
    )
    async with rude_house(house_with, play, client_gone=set_to) as (house, _, connect):
        client = await connect()
        client.ask(CHAT, None, "x-request-id: half")
        await client.until(CHAT.delta)
        client.writer.write_eof()
        assert not read_answer(await client.rest())[0].whole
        if set_to == "drain":
            gate.set()
        bill = await house.bill("half")
        expected = ("settled", STATED_NANOS) if set_to == "drain" else ("partial", CHAT.part_nanos(2))
        assert (bill["status"], bill["cost_nanos"]) == expected
        await assert_nothing_left(house)
        await assert_books_balance(house)


@pytest.mark.parametrize("silence_s", [30.0, 0.3])
async def test_a_half_closed_plain_call_is_answered_or_read_on_and_charged(
    house_with: Any, silence_s: float
) -> None:
    """The answer comes before the silence is too long; or after."""
    gate = asyncio.Event()
    async with rude_house(house_with, playing(gate, PLAIN), silence_s=silence_s) as (house, raw, connect):
        client = await connect()
        client.ask(CHAT, CHAT.body(stream=False), "x-request-id: half")
        await until(lambda: requests_at(raw) == 1)
        client.writer.write_eof()
        if silence_s < 1:
            assert await client.rest() == b""
        gate.set()
        if silence_s > 1:
            answer = await client.answer()
            assert (answer.whole, answer.body) == (True, CHAT.plain)
        bill = await house.bill("half")
        assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        await assert_nothing_left(house)
        await assert_books_balance(house)


@pytest.mark.parametrize("together", [True, False])
async def test_a_client_that_half_closes_right_behind_its_request_is_answered(
    house_with: Any, together: bool
) -> None:
    async with rude_house(house_with, playing(PLAIN), silence_s=30.0) as (house, raw, connect):
        client = await connect()
        client.ask(CHAT, CHAT.body(stream=False))
        if not together:
            await until(lambda: requests_at(raw) == 1)
        client.writer.write_eof()
        answer = await client.answer()
        assert (answer.whole, answer.body) == (True, CHAT.plain)
        assert (await house.bill(answer.request_id))["cost_nanos"] == STATED_NANOS
        await assert_nothing_left(house)
        await assert_books_balance(house)
