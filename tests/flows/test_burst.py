"""Five hundred calls at once on a wallet that can pay for a hundred: nearly all of the hundred are served.

Each shape has another relation of hold to cost. The settings are the defaults: what carries a burst whose holds are
larger than its costs, or whose streams outgrow their first hold, is the till's bounded wait (billing/holding.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import House, Reply

CALLS = 500
PAYABLE = 100
SERVED_AT_LEAST = 90
MESSAGES = [{"role": "user", "content": "Say hello."}]
# "words" costs 1 000 nanos per input token and 1 000 000 per output token; a slice is 256 tokens, and 64 KiB of text
# are at most 16 384 tokens of four bytes.
BOUND_NANOS = 256_000_000 + 16_384_000_000


@dataclass(frozen=True)
class Shape:
    name: str
    cost_nanos: int  # of one call, by what upstream states
    answer: Answer
    asks: dict[str, Any] = field(default_factory=dict)
    stream: bool = True


def answer(tokens: int, *, delay_s: float = 0.0) -> Answer:
    """So many events of a token each; a call of it costs 5 x 1 000 + tokens x 1 000 000 nanos."""
    return Answer(chunks=("tok ",) * tokens, usage=usage(5, tokens), delay_s=delay_s)


SHAPES = [
    Shape("the limit stated is the output", 100_005_000, answer(100, delay_s=0.002), {"max_tokens": 100}),
    Shape("no limit, far shorter than a slice", 10_005_000, answer(10)),
    Shape("no limit, far shorter than a slice, slow", 10_005_000, answer(10, delay_s=0.05)),
    Shape("no limit, longer than a slice", 300_005_000, answer(300, delay_s=0.002)),
    Shape("no limit, three slices at full speed", 600_005_000, answer(600)),
    Shape("limit of three slices", 600_005_000, answer(600, delay_s=0.002), {"max_tokens": 600}),
    Shape("limit never reached", 50_005_000, answer(50, delay_s=0.002), {"max_tokens": 4000}),
    Shape("not streamed, four times the answer", 50_005_000, answer(50), {"max_tokens": 200}, stream=False),
    Shape("not streamed, no limit", 50_005_000, answer(50), stream=False),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_a_burst_is_served_as_far_as_the_wallet_pays(
    house_with: Callable[..., AbstractAsyncContextManager[House]], upstream: FakeUpstream, shape: Shape
) -> None:
    upstream.script("words", shape.answer)
    credit_nanos = PAYABLE * shape.cost_nanos
    async with house_with(credit_nanos=credit_nanos, hold_wait_s=5.0) as house:
        began_s = time.monotonic()
        replies = await burst(house, shape)
        took_s = time.monotonic() - began_s
        whole = [reply for reply in replies if is_whole(shape, reply)]
        refused = sum(
            reply.status == 429 and reply.json()["error"]["code"] == "insufficient_quota" for reply in replies
        )
        report = await assert_books_balance(house)
        wallet = await house.wallet()
        print(
            f"\n{shape.name}: {len(whole)} whole of {PAYABLE} payable, refused {refused},"
            f" cut {CALLS - refused - len(whole)}, {took_s:.1f} s;"
            f" left {wallet['balance_nanos']}, overspend {report.worst_overspend_nanos},"
            f" bound {report.overspend_bound_nanos} nanos"
        )
        assert len(whole) >= SERVED_AT_LEAST
        assert 0 <= report.worst_overspend_nanos <= report.overspend_bound_nanos
        assert report.overspend_bounds is not None
        assert report.overspend_bounds["streamed"] <= BOUND_NANOS
        assert wallet["held_nanos"] == 0
        assert len(upstream.of("words")) == sum(reply.status == 200 for reply in replies) == CALLS - refused
        if refused == CALLS - len(whole):  # none was cut: each of those served cost its literal price
            assert wallet["balance_nanos"] == credit_nanos - len(whole) * shape.cost_nanos


async def burst(house: House, shape: Shape) -> list[Reply]:
    """Every call of the burst at once, each on a connection of its own."""
    body = {"model": "words", "messages": MESSAGES, "stream": shape.stream, **shape.asks}
    headers = {"authorization": f"Bearer {house.secret}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def call() -> Reply:
            url = f"{house.base_url}/v1/chat/completions"
            async with http.post(url, json=body, headers=headers) as answer:
                return await Reply.read(answer)

        return await asyncio.gather(*(call() for _ in range(CALLS)))


def is_whole(shape: Shape, reply: Reply) -> bool:
    if reply.status != 200:
        return False
    if shape.stream:
        return reply.body.endswith(b"data: [DONE]\n\n")
    return str(reply.json()["choices"][0]["finish_reason"]) == "stop"
