"""Streams whose text counts as far more tokens than its bytes say: they take a wallet below zero by what the running
estimate did not see, and the audit's bound knows each nano of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import House, until
from tests.flows.raw_client import CHUNKED, LAST_CHUNK, SSE_HEAD, chunk
from tests.flows.rude import assert_nothing_left, playing, requests_at, rude_house
from tests.flows.speeches import CHAT, MESSAGES, TEXT, sse

STREAMS = 12
DENSE = CHAT.delta.replace(TEXT.encode(), b"1 2 3 4 5 6 ")
STATED = sse({"id": "c", "model": "words", "choices": [], "usage": usage(5, 8_000)})
# At the price of "words". The text is 30 chunks of 12 bytes, 90 tokens at four bytes each: under half the first slice,
# so the hold never grows. Its 50 input tokens are half of the 99 bytes of the body.
COST_NANOS = 8_000_005_000  # 5 x 1 000 + 8 000 x 1 000 000
HOLD_NANOS = 256_050_000  # 50 x 1 000 + 256 x 1 000 000
CREDIT_NANOS = 60_000_000_000  # sixteen holds for each stream: all may begin at once
BODY = b'{"model":"words","messages":[{"role":"user","content":"Count on from one."}],        "stream":true}'


async def test_dense_streams_overdraw_a_wallet_by_what_the_audit_knows(house_with: Any) -> None:
    all_hold = asyncio.Event()
    rest = [*[chunk(DENSE)] * 30, *map(chunk, (CHAT.finish, STATED, CHAT.terminal)), LAST_CHUNK]
    play = playing(SSE_HEAD + CHUNKED + chunk(CHAT.opening), all_hold, *rest)
    async with rude_house(house_with, play, credit_nanos=CREDIT_NANOS) as scene:
        calls = asyncio.gather(*(scene.house.post(BODY) for _ in range(STREAMS)))
        await until(lambda: requests_at(scene.raw) == STREAMS)
        assert (await scene.house.wallet())["held_nanos"] == 3_072_600_000  # 12 x HOLD_NANOS
        all_hold.set()
        assert all(reply.body.endswith(CHAT.terminal) for reply in await calls)
        await assert_nothing_left(scene.house)
        assert (await scene.house.wallet())["balance_nanos"] == -36_000_060_000  # 60 units - 12 x COST_NANOS
        report = await assert_books_balance(scene.house)
        assert report.overspend_bounds == {
            "streamed": 16_640_000_000,  # 256 + 65 536 / 4 tokens
            "hidden": 0,
            "last_money": 0,
            "dense_input": 0,
            "dense_output": 92_927_460_000,  # 12 x (COST_NANOS - HOLD_NANOS)
            "tools": 0,
            "estimated": 0,
            "late": 0,
            "taken": 0,
            "corrected": 0,
        }
        assert report.worst_overspend_nanos == 36_000_060_000  # the other classes alone would not cover it


STREAM = {"model": "words", "messages": MESSAGES, "stream": True}


@pytest.mark.parametrize(
    ("body", "credit_nanos", "tokens", "last_money"),
    [
        pytest.param(STREAM, 10_000_000_000, 20, False, id="a stream within its hold"),
        pytest.param(STREAM, 100_000_000, 150, True, id="the last money"),
        pytest.param(
            {**STREAM, "stream": False, "max_tokens": 20}, 10_000_000_000, 90, False, id="no stream"
        ),
    ],
)
async def test_only_streams_beyond_their_hold_count(
    house_with: Any,
    upstream: FakeUpstream,
    body: dict[str, Any],
    credit_nanos: int,
    tokens: int,
    last_money: bool,
) -> None:
    upstream.script("words", Answer(chunks=("tok ",) * 5, usage=usage(5, tokens)))
    async with house_with(credit_nanos=credit_nanos) as house:
        bill = await house.bill((await house.post(body)).request_id)
        assert bill["cost_nanos"] == 5_000 + tokens * 1_000_000
        assert "excess_nanos" not in bill
        assert await excess_and_shortfall(house) == (0, last_money)
        report = await assert_books_balance(house)
        assert report.overspend_bounds is not None
        assert report.overspend_bounds["dense_output"] == 0


async def excess_and_shortfall(house: House) -> tuple[int, bool]:
    row = await house.stores.pg.fetchrow("SELECT excess_nanos, shortfall_nanos > 0 AS short FROM usage")
    assert row is not None
    return row["excess_nanos"], row["short"]
