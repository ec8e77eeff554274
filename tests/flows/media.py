"""What flows of images and sound have in common."""

from __future__ import annotations

import openai

from tests.books import assert_books_balance
from tests.flows.house import House

CREDIT_NANOS = 10_000_000_000


def sdk_of(house: House) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=house.secret, max_retries=0)


async def charged(house: House, nanos: int) -> None:
    """The wallet fell by exactly this much, nothing is held, and the books agree."""
    report = await assert_books_balance(house)
    wallet = await house.wallet()
    assert (wallet["balance_nanos"], wallet["held_nanos"]) == (CREDIT_NANOS - nanos, 0)
    assert report.worst_overspend_nanos == 0


async def settled(house: House, calls: int = 1) -> bool:
    """So many calls have ended and are booked."""
    booked = (await house.get("/v1/usage")).json()["usage"]
    return len(booked) >= calls and not (await house.wallet())["held_nanos"]
