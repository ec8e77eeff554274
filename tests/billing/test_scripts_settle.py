"""billing/lua/settle.lua: one charge of the true cost, however often and however late it is sent."""

from __future__ import annotations

import pytest

from rabbitgw.replies import ReserveReply, SettleReply
from tests.billing.money_world import (
    ACCOUNT,
    AGE_MAX_MS,
    HOLD,
    LEASE_MS,
    MARK_LIFE_MS,
    OTHER,
    START_MS,
    World,
    offer,
)


async def expired(world: World, *, delivered: int) -> None:
    """A hold of 300 that expired with `delivered` charged."""
    await world.reserve(offer(300))
    await world.extend(300, delivered=delivered)
    world.advance(LEASE_MS)
    assert (await world.expire()).charged_nanos == delivered


async def test_the_true_cost_is_charged_and_the_rest_freed(world: World) -> None:
    await world.reserve(offer(300))
    assert await world.settle(120) == SettleReply("OK", 880, START_MS)
    assert (await world.field("b:USD"), await world.field("h:USD")) == ("880", "0")
    assert await world.hold() is None


async def test_the_event_says_what_was_charged(world: World) -> None:
    await world.reserve(offer(300))
    await world.settle(120, status="partial")
    assert await world.events() == [
        {
            "id": HOLD,
            "s": "partial",
            "n": "120",
            "x": "0",
            "a": "41",
            "c": "USD",
            "w": "",
            "p": '{"k":7,"m":"gpt","v":1,"out":12}',
        }
    ]


async def test_a_settle_sent_twice_charges_once(world: World) -> None:
    await world.reserve(offer(300))
    await world.settle(120)
    before = await world.everything()
    assert await world.settle(120) == SettleReply("DONE")
    assert await world.everything() == before


async def test_a_cost_above_the_hold_is_charged_in_full(world: World) -> None:
    await world.reserve(offer(300))
    assert (await world.settle(301)).available_nanos == 699


async def test_a_call_that_cost_nothing_ends_with_an_event(world: World) -> None:
    await world.reserve(offer(300))
    assert (await world.settle(0)).available_nanos == 1000
    assert [(event["s"], event["n"]) for event in await world.events()] == [("settled", "0")]
    assert await world.mark() == b"S"


async def test_a_free_hold_that_cost_something_is_charged(world: World) -> None:
    await world.reserve(offer(0))
    await world.reserve(offer(100), hold_id=OTHER)
    assert (await world.settle(7)).available_nanos == 893


async def test_the_worst_balance_is_kept_and_only_falls(world: World) -> None:
    await world.reserve(offer(0), hold_id="a")
    await world.reserve(offer(0), hold_id="b")
    await world.settle(1010, hold_id="a")
    assert await world.field("o:USD") == "-10"
    await world.credit(1, 1000)
    await world.settle(5, hold_id="b")
    assert (await world.field("b:USD"), await world.field("o:USD")) == ("985", "-10")
    await world.reserve(offer(0), hold_id="c")
    await world.settle(1006, hold_id="c")
    assert (await world.field("b:USD"), await world.field("o:USD")) == ("-21", "-21")


async def test_a_wallet_that_never_went_below_zero_has_no_worst(world: World) -> None:
    await world.reserve(offer(1000))
    await world.settle(1000)
    assert await world.field("o:USD") is None


async def test_a_settle_after_expiry_charges_the_difference_once(world: World) -> None:
    await expired(world, delivered=50)
    assert await world.settle(120) == SettleReply("LATE", 880, START_MS + LEASE_MS)
    assert await world.settle(120) == SettleReply("DONE")
    assert [(event["s"], event["n"], event["x"]) for event in await world.events()] == [
        ("expired", "50", "0"),
        ("late", "70", "50"),
    ]
    assert (await world.field("b:USD"), await world.field("h:USD")) == ("880", "0")


async def test_a_late_settle_below_what_expiry_charged_gives_back(world: World) -> None:
    await expired(world, delivered=50)
    assert (await world.settle(20)).available_nanos == 980
    assert [(event["s"], event["n"], event["x"]) for event in await world.events()] == [
        ("expired", "50", "0"),
        ("late", "-30", "50"),
    ]


async def test_a_late_settle_of_just_what_expiry_charged_moves_nothing(world: World) -> None:
    await expired(world, delivered=50)
    assert (await world.settle(50)).available_nanos == 950
    assert (await world.events())[1]["n"] == "0"


async def test_a_late_settle_can_overdraw(world: World) -> None:
    await expired(world, delivered=0)
    assert (await world.settle(1001)).available_nanos == -1
    assert await world.field("o:USD") == "-1"


async def test_a_settle_that_the_sweeper_overtakes_charges_the_same(world: World) -> None:
    await world.reserve(offer(300))
    await world.reserve(offer(300), hold_id=OTHER)
    world.advance(AGE_MAX_MS)
    await world.settle(120)
    assert (await world.expire()).word == "GONE"
    assert (await world.expire(hold_id=OTHER)).word == "OK"
    await world.settle(120, hold_id=OTHER)
    assert await world.field("b:USD") == "760"


async def test_a_released_hold_cannot_be_settled(world: World) -> None:
    await world.reserve(offer(300))
    await world.release()
    before = await world.everything()
    assert await world.settle(120) == SettleReply("RELEASED")
    assert await world.everything() == before


async def test_a_hold_never_made_is_unknown(world: World) -> None:
    assert await world.settle(120) == SettleReply("UNKNOWN", now_ms=START_MS)
    assert await world.settle(120, first_try_ms=START_MS - MARK_LIFE_MS // 2) == SettleReply(
        "UNKNOWN", now_ms=START_MS
    )


async def test_past_half_a_marks_life_the_unknown_is_old(world: World) -> None:
    first_try_ms = START_MS - MARK_LIFE_MS // 2 - 1
    assert await world.settle(120, first_try_ms=first_try_ms) == SettleReply("OLD")


async def test_old_is_said_before_the_mark_of_the_first_try_can_be_gone(world: World) -> None:
    await world.reserve(offer(300))
    await world.settle(120)
    assert 1 <= await world.link.call("PTTL", world.keys.mark(HOLD)) <= MARK_LIFE_MS
    await world.link.call("DEL", world.keys.mark(HOLD))
    world.advance(MARK_LIFE_MS)
    assert (await world.settle(120, first_try_ms=START_MS)).word == "OLD"
    assert await world.field("b:USD") == "880"


async def test_an_old_settle_whose_hold_is_still_there_is_charged(world: World) -> None:
    """Were it refused, the sweeper would charge the hold beside the charge that is booked by its id."""
    await world.reserve(offer(300))
    world.advance(MARK_LIFE_MS)
    assert (await world.settle(120, first_try_ms=START_MS)).word == "OK"


async def test_an_old_settle_after_expiry_is_late(world: World) -> None:
    await expired(world, delivered=50)
    world.advance(MARK_LIFE_MS)
    assert (await world.settle(120, first_try_ms=START_MS)).word == "LATE"


async def test_an_account_that_is_not_loaded_is_cold(world: World) -> None:
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert await world.settle(120) == SettleReply("COLD")


@pytest.mark.parametrize("cost", [0, 1, 300, 1_000_000])
async def test_after_the_end_the_balance_is_what_was_loaded_less_the_events(world: World, cost: int) -> None:
    assert await world.reserve(offer(300)) == ReserveReply("OK", 0, 300, 700, START_MS)
    await world.settle(cost)
    assert int((await world.account())["b:USD"]) == 1000 - sum(
        int(event["n"]) for event in await world.events()
    )
