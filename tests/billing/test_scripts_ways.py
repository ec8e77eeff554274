"""Offers that a plan bears, ways of its overflow policy, and holds of several parts, by literal nanos."""

from __future__ import annotations

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.scripts import WindowLimit
from tests.billing.money_world import LEASE_MS, START_MS, World, day, life, offer

AHEAD = [life(100), day(500)]


async def test_a_borne_call_is_counted_and_not_charged(world: World) -> None:
    way = (offer(300, enforce="11"), offer(300, enforce="-1", how="~/1"))
    reply = await world.reserve(*way, windows=AHEAD, ticket=b"usual\x1fborne")
    assert (reply.word, reply.offer, reply.available_nanos) == ("OK", 1, 1000)
    assert (await world.settle(120)).available_nanos == 1000
    account = await world.account()
    assert (account["h:USD"], account["w:12:day0"], account["w:11:life"]) == ("0", "120", "0")
    event = (await world.events())[0]
    assert (event["n"], event["i"], event["w"]) == ("0", "120", "12:day0=120")


async def test_a_way_is_not_taken_where_the_wallet_is_short(world: World) -> None:
    way = (offer(1200, enforce="1"), offer(200, enforce="-", how="/1"))
    reply = await world.reserve(*way, windows=[life(5000)], ticket=b"usual\x1fway")
    assert (reply.word, reply.available_nanos) == ("SHORT", 1000)


@pytest.mark.parametrize(("gate", "word"), [(START_MS, "SHORT"), (START_MS + 1, "OK")])
async def test_a_gate_asks_since_when_the_wallet_is_below_zero(world: World, gate: int, word: str) -> None:
    await world.reserve(offer(100))
    await world.settle(1004)
    assert await world.field("z:USD") == str(START_MS)
    assert (await world.reserve(offer(5, how=f"~^{gate}"), hold_id="gated")).word == word
    await world.credit(1, 4)
    assert (await world.reserve(offer(5, how=f"~^{START_MS}"), hold_id="back")).word == "OK"


# two borne parts of 100 and 50, then a paid one of 150: each takes the cost up to what it holds
@pytest.mark.parametrize(
    ("cost", "n", "i", "counted"),
    [(60, "0", "60", 60), (130, "0", "130", 130), (200, "50", "150", 200), (400, "250", "150", 400)],
)
@pytest.mark.parametrize("late", [False, True])
async def test_parts_take_a_cost_in_their_order(
    world: World, cost: int, n: str, i: str, counted: int, late: bool
) -> None:
    windows = [life(5000), day(5000)]
    await world.reserve(offer(100, enforce="1-", how="~"), windows=windows)
    for _ in range(2):  # a repetition changes nothing
        assert (await world.extend(150, way=b"~12:day0")).available_nanos == 1000
    for _ in range(2):
        assert (await world.extend(300, delivered=120, way=b"11:life")).available_nanos == 850
    if late:
        world.advance(LEASE_MS)
        assert (await world.expire()).charged_nanos == 120
    assert (await world.settle(cost)).word == ("LATE" if late else "OK")
    events, account = await world.events(), await world.account()
    assert sum(int(event["n"]) for event in events) == int(n)
    assert sum(int(event["i"]) for event in events) == int(i)
    assert int(account["b:USD"]) == 1000 - int(n)
    assert account["h:USD"] == "0"
    assert int(account["w:11:life"]) + int(account["w:12:day0"]) == counted


async def test_a_stream_finds_its_span_in_an_earlier_part(world: World) -> None:
    await world.reserve(offer(100, enforce="11"), windows=[life(5000), day(5000)])
    assert (await world.extend(150, way=b"11:life")).word == "OK"
    assert (await world.extend(200, way=b"12:*18000000")).word == "OK"
    assert await world.field("w:12:day0") == "150"


async def test_parts_that_together_pass_what_can_be_counted_end_nothing(world: World) -> None:
    half = 4_500_000_000_000_000_000
    await world.credit(1, half)
    await world.reserve(offer(half))
    await world.extend(half, way=b"11:life", windows=[WindowLimit(11, 5, 0)])
    await world.credit(2, -half)
    await world.credit(3, -1_000_000_000_000_001_000)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE"):
        await world.settle(2 * half)
    assert await world.everything() == before


@pytest.mark.parametrize("how", ["5", "^", "/", "~~", "^5~", "^x", "/1/1", "~^/1", "/2"])
async def test_a_manner_that_is_none_is_refused_and_writes_nothing(world: World, how: str) -> None:
    short = offer(10, enforce="1")
    offers = (short, offer(5, enforce="-", how=how))
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="BADARG"):
        await world.reserve(*offers, windows=[life(0)], ticket=b"one\x1ftwo")
    assert await world.everything() == before


@pytest.mark.parametrize("way", [b"x", b"11", b"11:life,", b",11:life", b"~~11:life", b"14:*18000000"])
async def test_a_way_that_is_none_is_refused_and_writes_nothing(world: World, way: bytes) -> None:
    await world.reserve(offer(100, enforce="1"), windows=[life(5000)])
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="BADARG"):
        await world.extend(200, way=way)
    assert await world.everything() == before
