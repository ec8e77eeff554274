"""Clients that leave at every moment, take little or nothing, or send what no good client does: each call ends once,
at its price or at what was delivered, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.books import assert_books_balance
from tests.flows.house import until
from tests.flows.raw_client import (
    CHUNKED,
    JSON_HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
)
from tests.flows.rude import (
    CREDIT_NANOS,
    Step,
    assert_nothing_left,
    hung_up,
    let_go,
    playing,
    requests_at,
    rude_house,
)
from tests.flows.speeches import CHAT, SPEECHES, STATED_NANOS, Speech

speeches = pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.dialect)


@dataclass(frozen=True)
class Moment:
    """When a client leaves a stream of two deltas and more.

    sent: what upstream has sent by then (None: not even a head); unseen: how much less of it the client has by then.
    deltas: how many it was given whole. stated: the usage is there to be read.
    over: from here on the answer is read to its end, whatever is set (a terminal frame that is all there is of an end:
    once it is whole). differs: dialects may charge this differently.
    """

    sent: Callable[[Speech], bytes | None]
    deltas: int = 0
    unseen: int = 0
    over: bool = False
    stated: bool = False
    differs: bool = False


def two_deltas(speech: Speech) -> bytes:
    return speech.opening + 2 * speech.delta


def all_but_the_end(speech: Speech) -> bytes:
    return speech.stream(2)[:-1]


MOMENTS = {
    "while upstream is silent": Moment(lambda speech: None),
    "after the head": Moment(lambda speech: b""),
    "before any output": Moment(lambda speech: speech.opening, differs=True),
    "between two events": Moment(two_deltas, deltas=2),
    "in the middle of an event": Moment(lambda s: two_deltas(s) + s.delta[:-20], deltas=2, differs=True),
    "after the finish chunk": Moment(lambda s: two_deltas(s) + s.finish, deltas=2, over=True, differs=True),
    # the line end of its last line is withheld, too
    "in the terminal frame": Moment(
        all_but_the_end, deltas=2, unseen=1, over=True, stated=True, differs=True
    ),
}


def steps_of(moment: Moment, speech: Speech, gate: asyncio.Event) -> list[Step]:
    """Upstream's part: up to the moment; then, if it is let, the rest."""
    sent = moment.sent(speech)
    rest = speech.stream(2)[len(sent or b"") :]
    if sent is not None and sent.endswith(speech.delta[:-20]):
        rest = speech.delta[-20:] + speech.finish + speech.hidden + speech.terminal
    head = SSE_HEAD + CHUNKED
    before = [] if sent is None else [head, chunk(sent)] if sent else [head]
    return [*before, gate, *([head] if sent is None else []), chunk(rest), LAST_CHUNK]


CASES = [
    pytest.param(speech, moment, id=f"{speech.dialect} {moment}")
    for speech in SPEECHES
    for moment, when in MOMENTS.items()
    if speech is CHAT or when.differs
    if not (moment == "after the finish chunk" and not speech.finish)
]


@pytest.mark.parametrize("set_to", ["cancel", "drain"])
@pytest.mark.parametrize(("speech", "moment"), CASES)
async def test_a_client_that_leaves(house_with: Any, speech: Speech, moment: str, set_to: str) -> None:
    when, gate = MOMENTS[moment], asyncio.Event()
    sent = when.sent(speech)
    seen = (sent or b"")[: len(sent or b"") - when.unseen][-12:] or b"\r\n\r\n"
    read_on = set_to == "drain" or (when.over and bool(speech.finish))
    cost_nanos = STATED_NANOS if read_on or when.stated else speech.part_nanos(when.deltas) if sent else 0
    async with rude_house(house_with, playing(*steps_of(when, speech, gate)), client_gone=set_to) as (
        house,
        raw,
        connect,
    ):
        for how in ("close", "reset"):
            gate.clear()
            before = requests_at(raw)
            client = await connect()
            client.ask(speech, speech.body(**speech.asks_all), f"x-request-id: {how}")
            await until(lambda before=before: requests_at(raw) > before)
            if sent is not None:
                await client.until(seen)
            client.leave(how)
            await let_go(house, client)
            if read_on:
                gate.set()
            else:
                await hung_up(raw.connections[-1])
            bill = await house.bill(how)
            status = "settled" if read_on else "partial" if cost_nanos else "released"
            assert (bill["status"], bill["cost_nanos"]) == (status, cost_nanos)
            await assert_nothing_left(house)
            assert len(house.gateway._upstream._idle) == read_on  # only what was read to its clean end
        assert (await house.wallet())["balance_nanos"] == CREDIT_NANOS - 2 * cost_nanos
        await assert_books_balance(house)


async def test_a_client_that_leaves_while_it_waits_for_its_hold_is_not_forwarded(house_with: Any) -> None:
    """The first call holds all there is; the second waits for what it leaves, and is gone when that comes."""
    gate = asyncio.Event()
    play = playing(gate, JSON_HEAD + b"content-length: %d\r\n\r\n" % len(CHAT.plain) + CHAT.plain)
    body = CHAT.body(stream=False, max_tokens=4000)  # holds 40 000 000 and its input
    async with rude_house(house_with, play, credit_nanos=40_000_000, hold_wait_s=20.0) as (
        house,
        raw,
        connect,
    ):
        first, second = await connect(), await connect()
        first.ask(CHAT, body)
        await until(lambda: requests_at(raw) == 1)
        second.ask(CHAT, body, "x-request-id: second")
        await until(lambda: house.gateway._front.running == 2)
        second.leave()
        await let_go(house, second)
        gate.set()
        await first.until(CHAT.plain)
        bill = await house.bill("second")
        assert (bill["status"], bill["cost_nanos"]) == ("released", 0)
        await assert_nothing_left(house)
        assert requests_at(raw) == 1
        assert (await house.wallet())["balance_nanos"] == 40_000_000 - STATED_NANOS
        await assert_books_balance(house)


@pytest.mark.parametrize("set_to", ["cancel", "drain"])
async def test_a_plain_call_is_read_on_and_paid_for_by_a_client_that_left(
    house_with: Any, set_to: str
) -> None:
    gate = asyncio.Event()
    half = len(CHAT.plain) // 2
    head = JSON_HEAD + b"content-length: %d\r\n\r\n" % len(CHAT.plain)
    play = playing(head, CHAT.plain[:half], gate, CHAT.plain[half:])
    async with rude_house(house_with, play, client_gone=set_to) as (house, _, connect):
        client = await connect()
        client.ask(CHAT, CHAT.body(stream=False), "x-request-id: left")
        await client.until(CHAT.plain[: half - 1])  # of each piece the last byte is withheld
        client.leave("reset")
        await let_go(house, client)
        gate.set()
        bill = await house.bill("left")
        assert (bill["status"], bill["cost_nanos"]) == ("settled", STATED_NANOS)
        await assert_nothing_left(house)
        await assert_books_balance(house)
