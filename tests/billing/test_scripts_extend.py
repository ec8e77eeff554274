"""billing/lua/extend.lua: a hold grows to a total, never by a delta. Windows: test_scripts_windows.py."""

from __future__ import annotations

from rabbitgw.replies import ExtendReply
from tests.billing.money_world import ACCOUNT, AGE_MAX_MS, LEASE_MS, OTHER, World, offer


async def test_a_hold_grows_to_the_new_total(world: World) -> None:
    await world.reserve(offer(300))
    assert await world.extend(500, 400, delivered=120) == ExtendReply("OK", 500, 500)
    assert await world.field("h:USD") == "500"
    hold = await world.hold()
    assert hold is not None
    assert (hold.amount_nanos, hold.delivered_nanos) == (500, 120)


async def test_the_same_extension_twice_grows_once(world: World) -> None:
    await world.reserve(offer(300))
    await world.extend(500)
    assert await world.extend(500) == ExtendReply("OK", 500, 500)
    assert await world.field("h:USD") == "500"


async def test_what_is_left_is_granted_down_to_the_least(world: World) -> None:
    await world.reserve(offer(300))
    assert await world.extend(1200, 1000) == ExtendReply("OK", 1000, 0)


async def test_less_than_the_least_is_refused_and_writes_nothing(world: World) -> None:
    await world.reserve(offer(300))
    before = await world.everything()
    assert await world.extend(1200, 1001, delivered=90) == ExtendReply("SHORT", available_nanos=700)
    assert await world.everything() == before


async def test_a_total_below_the_present_one_changes_only_what_was_delivered(world: World) -> None:
    await world.reserve(offer(300))
    assert await world.extend(200, delivered=40) == ExtendReply("OK", 300, 700)
    assert await world.extend(0, delivered=30) == ExtendReply("OK", 300, 700)
    hold = await world.hold()
    assert hold is not None
    assert (hold.amount_nanos, hold.delivered_nanos) == (300, 40)


async def test_an_overdrawn_wallet_leaves_a_hold_as_it_is(world: World) -> None:
    await world.reserve(offer(300))
    await world.credit(1, -900)
    assert await world.extend(400, 301) == ExtendReply("SHORT", available_nanos=-200)
    assert await world.extend(400, 300) == ExtendReply("OK", 300, -200)
    assert await world.field("h:USD") == "300"


async def test_a_last_money_hold_grows_when_money_comes(world: World) -> None:
    await world.reserve(offer(5000, 100, last=1))
    assert (await world.extend(5000, 1001)).word == "SHORT"
    await world.credit(1, 200)
    assert await world.extend(5000, 1001) == ExtendReply("OK", 1200, 0)
    hold = await world.hold()
    assert hold is not None
    assert hold.last


async def test_a_hold_that_ended_is_gone(world: World) -> None:
    await world.reserve(offer(300))
    await world.settle(1)
    assert (await world.extend(400)).word == "GONE"


async def test_a_hold_never_made_is_gone_and_an_account_not_loaded_cold(world: World) -> None:
    assert (await world.extend(400)).word == "GONE"
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert (await world.extend(400)).word == "COLD"


async def test_the_settle_frees_all_that_was_granted(world: World) -> None:
    await world.reserve(offer(300))
    await world.reserve(offer(50), hold_id=OTHER)
    await world.extend(500)
    assert (await world.settle(410)).available_nanos == 540
    assert await world.field("h:USD") == "50"


async def test_past_its_age_a_hold_grows_until_the_sweeper_comes(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(AGE_MAX_MS)
    await world.lease(LEASE_MS)
    assert (await world.extend(400, delivered=250)).word == "OK"
    assert (await world.expire()).charged_nanos == 250
    assert (await world.extend(500)).word == "GONE"
