"""What flows of images and sound have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from rabbitgw.proxy.bodies.form import Part, fields_of, parse_form
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Received
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


def received(request: Received) -> tuple[Mapping[str, Any], list[Part]]:
    """The fields and the files of a form that came upstream."""
    kind, _, boundary = str(request.header("content-type")).partition("; boundary=")
    assert kind == "multipart/form-data"
    parts = parse_form(request.body, boundary.encode())
    return fields_of(parts), [part for part in parts if part.filename is not None]
