"""Rates through all scripts: requests and tokens a minute come back by themselves, places in parallel with the end."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.prepared import RateCheck
from rabbitgw.replies import RateRefusal, ReserveReply, Standing
from tests.billing.money_world import ACCOUNT, HOLD, LEASE_MS, PARTITION, START_MS, World, life, offer

START_US = START_MS * 1000


def rpm(limit: int, rate_id: int = 21) -> RateCheck:
    return RateCheck(rate_id, limit, 0, 0)


def tpm(limit: int, rate_id: int = 22) -> RateCheck:
    return RateCheck(rate_id, 0, limit, 0)


def parallel(limit: int, rate_id: int = 23) -> RateCheck:
    return RateCheck(rate_id, 0, 0, limit)


class Calls:
    """Calls of 1 nano, each with an id of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made = 0

    async def one(self, *rates: RateCheck, tokens: int = 0, **options: Any) -> ReserveReply:
        self.made += 1
        hold_id = options.pop("hold_id", f"h-{self.made}")
        return await self.world.reserve(
            options.pop("offer", offer(1)), hold_id=hold_id, rates=rates, tokens=tokens, **options
        )


@pytest.fixture
async def calls(world: World) -> Calls:
    return Calls(world)


@pytest.mark.parametrize(("limit", "each_ms"), [(1, 60_000), (7, 8572), (60, 1000), (61, 984)])
async def test_a_minutes_requests_come_at_once_and_then_one_by_one(
    calls: Calls, limit: int, each_ms: int
) -> None:
    for _ in range(limit):
        assert (await calls.one(rpm(limit))).word == "OK"
    refused = await calls.one(rpm(limit))
    assert (refused.word, refused.refusal) == ("RATE", RateRefusal(0, "rpm", limit, each_ms))
    calls.world.advance(each_ms - 1)
    assert (await calls.one(rpm(limit))).word == "RATE"
    calls.world.advance(1)
    assert (await calls.one(rpm(limit))).word == "OK"


async def test_where_a_caller_stands_with_requests(calls: Calls) -> None:
    replies = [await calls.one(rpm(3)) for _ in range(4)]
    assert [reply.standing for reply in replies] == [
        Standing(3, 2, 20_000),
        Standing(3, 1, 40_000),
        Standing(3, 0, 60_000),
        Standing(3, 0, 60_000),
    ]
    calls.world.advance(30_000)
    assert (await calls.one(rpm(3))).standing == Standing(3, 0, 50_000)
    calls.world.advance(86_400_000)
    assert (await calls.one(rpm(3))).standing == Standing(3, 2, 20_000), "what came back is not saved up"


async def test_tokens_weigh_what_they_count(calls: Calls) -> None:
    assert (await calls.one(tpm(6000), tokens=4500)).standing == Standing(0, 0, 0, 6000, 1500, 45_000)
    refused = await calls.one(tpm(6000), tokens=2000)
    assert refused.refusal == RateRefusal(0, "tpm", 6000, 5_000)
    assert refused.standing == Standing(0, 0, 0, 6000, 1500, 45_000)
    assert (await calls.one(tpm(6000), tokens=1500)).word == "OK"
    calls.world.advance(5_000)
    assert (await calls.one(tpm(6000), tokens=501)).word == "RATE"
    assert (await calls.one(tpm(6000), tokens=500)).word == "OK"


async def test_what_fits_exactly_passes_at_any_size(calls: Calls) -> None:
    for _ in range(7):
        assert (await calls.one(tpm(7_000), tokens=1_000)).word == "OK"
    assert (await calls.one(tpm(7_000), tokens=1_000)).refusal == RateRefusal(0, "tpm", 7_000, 8_572)
    assert (await calls.one(tpm(10**12, 25), tokens=10**12)).word == "OK"
    assert (await calls.one(rpm(10**9, 26))).standing == Standing(10**9, 10**9 - 1, 1)


async def test_a_call_of_more_tokens_than_a_minute_has_never_passes(calls: Calls) -> None:
    refused = await calls.one(rpm(1), tpm(1000), parallel(1), tokens=1001)
    assert refused.refusal == RateRefusal(1, "tpm", 1000, -1)
    assert (await calls.one(tpm(1000), tokens=1000)).word == "OK", "nothing was taken"


async def test_of_several_that_refuse_the_one_is_told_that_takes_longest(calls: Calls) -> None:
    rules = (parallel(1), rpm(1), tpm(1000))
    await calls.one(*rules, tokens=1000)
    assert (await calls.one(*rules, tokens=1)).refusal == RateRefusal(1, "rpm", 1, 60_000)
    calls.world.advance(59_990)
    assert (await calls.one(*rules, tokens=1)).refusal == RateRefusal(0, "parallel", 1, 1000)


async def test_a_refusal_takes_nothing_of_any_rule_and_no_money(calls: Calls) -> None:
    rules = (rpm(5), tpm(1000), parallel(1), parallel(9, 29))
    await calls.one(*rules, tokens=400, windows=[life(500)], offer=offer(300, enforce="1"))
    before = await calls.world.everything()
    for refused in (
        await calls.one(*rules, tokens=10, windows=[life(500)], offer=offer(1, enforce="1")),
        await calls.one(*rules, tokens=601, windows=[life(500)], offer=offer(1, enforce="1")),
    ):
        assert refused.word == "RATE"
    assert (await calls.one(rpm(5), windows=[life(500)], offer=offer(201, enforce="1"))).word == "WINDOW"
    assert (await calls.one(rpm(5), offer=offer(701))).word == "SHORT"
    assert await calls.world.everything() == before


async def test_a_rate_refuses_before_the_wallet_is_spoken_of(calls: Calls) -> None:
    await calls.one(rpm(1))
    assert (await calls.one(rpm(1), offer=offer(10**6))).word == "RATE"


async def test_the_same_reserve_again_takes_nothing_more(calls: Calls) -> None:
    rules = (rpm(9), tpm(1000), parallel(2))
    await calls.one(*rules, tokens=300, hold_id=HOLD)
    before = await calls.world.everything()
    assert (await calls.one(*rules, tokens=300, hold_id=HOLD)).word == "HELD"
    assert await calls.world.everything() == before


async def test_settle_sets_the_tokens_right(world: World) -> None:
    for used, arrival_us in (
        (700, 42_000_000),
        (100, 6_000_000),
        (0, 0),
        (1000, 60_000_000),
        (5000, 300_000_000),
    ):
        await world.reserve(offer(1), hold_id=f"u-{used}", rates=[tpm(1000, used + 30)], tokens=300)
        assert await world.field(f"t:{used + 30}") == str(START_US + 18_000_000)
        await world.settle(1, hold_id=f"u-{used}", tokens=used)
        assert await world.field(f"t:{used + 30}") == str(START_US + arrival_us)
    refused = await world.reserve(offer(1), rates=[tpm(1000, 5030)], tokens=100)
    assert refused.refusal == RateRefusal(0, "tpm", 1000, 246_000), "what was used too much is paid off first"
    assert refused.standing == Standing(0, 0, 0, 1000, 0, 300_000)


async def test_tokens_not_known_stay_as_estimated(world: World) -> None:
    await world.reserve(offer(1), rates=[tpm(1000)], tokens=300)
    await world.settle(1)
    assert await world.field("t:22") == str(START_US + 18_000_000)


async def test_tokens_go_by_the_limit_of_admission(world: World) -> None:
    await world.reserve(offer(1), rates=[tpm(1000)], tokens=500)
    await world.reserve(offer(1), hold_id="h-2", rates=[tpm(2000)], tokens=500)
    await world.release()
    assert await world.field("t:22") == str(START_US + 15_000_000)


async def test_a_release_gives_all_tokens_back(world: World) -> None:
    await world.reserve(offer(1), rates=[tpm(1000), rpm(5)], tokens=300)
    await world.release()
    assert await world.field("t:22") == str(START_US)
    assert await world.field("r:21") == str(START_US + 12_000_000), "a request was made"


async def test_expiry_frees_the_place_and_leaves_the_tokens(world: World) -> None:
    await world.reserve(offer(1), rates=[tpm(1000), parallel(3)], tokens=300)
    world.advance(LEASE_MS)
    assert (await world.expire()).word == "OK"
    assert (await world.field("t:22"), await world.field("p:23")) == (str(START_US + 18_000_000), "0")
    before = await world.account()
    assert (await world.settle(1, tokens=900)).word == "LATE"
    assert {name: text for name, text in (await world.account()).items() if name[:2] != "b:"} == {
        name: text for name, text in before.items() if name[:2] != "b:"
    }, "a late settle touches no rate"


@pytest.mark.parametrize("end", ["settle", "release", "expire"])
async def test_each_end_frees_the_place_once(world: World, end: str) -> None:
    rules = [parallel(2), parallel(5, 24)]
    assert [(await world.reserve(offer(1), hold_id=f"h-{n}", rates=rules)).word for n in range(3)] == [
        "OK",
        "OK",
        "RATE",
    ]
    world.advance(LEASE_MS)
    for _ in range(2):
        match end:
            case "settle":
                await world.settle(1, hold_id="h-0", tokens=5)
            case "release":
                await world.release(hold_id="h-0")
            case "expire":
                await world.expire(hold_id="h-0")
    assert (await world.field("p:23"), await world.field("p:24")) == ("1", "1")
    assert [(await world.reserve(offer(1), hold_id=f"n-{n}", rates=rules)).word for n in range(2)] == [
        "OK",
        "RATE",
    ]


async def test_an_account_that_is_loaded_anew_begins_without_rates_and_never_below_none(world: World) -> None:
    rules = [rpm(1), tpm(1000), parallel(1)]
    await world.reserve(offer(1), rates=rules, tokens=1000)
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    await world.scripts.load(PARTITION, ACCOUNT, {"b:USD": 1000, "h:USD": 1, "g:7": 1})
    await world.settle(1, tokens=5000)
    assert {
        name: text for name, text in (await world.account()).items() if name[:2] in ("r:", "t:", "p:")
    } == {}
    assert (await world.reserve(offer(1), hold_id="h-2", rates=rules, tokens=1000)).word == "OK"
    await world.release(hold_id="h-2")
    assert await world.field("p:23") == "0"


async def test_a_clock_that_was_set_back_stops_nobody_for_more_than_a_minute(calls: Calls) -> None:
    await calls.one(rpm(2))
    calls.world.advance(-86_400_000)
    assert (await calls.one(rpm(2))).refusal == RateRefusal(0, "rpm", 2, 30_000)


async def test_at_most_sixteen_rules_bind(calls: Calls) -> None:
    rules = [rpm(2, 100 + n) for n in range(17)]
    assert (await calls.one(*rules[:16])).standing == Standing(2, 1, 30_000)
    assert (await calls.one(rpm(1, 115), *rules[:15])).refusal == RateRefusal(0, "rpm", 1, 30_000)
    with pytest.raises(InvariantBroken, match="rates that are none"):
        await calls.one(*rules)
    with pytest.raises(InvariantBroken, match="rates that are none"):
        await calls.one(rpm(1), tokens=10**13)
    with pytest.raises(InvariantBroken, match="rates that are none"):
        await calls.one(rpm(-1))
