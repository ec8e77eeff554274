"""billing/lua/reserve.lua: what is granted, what is refused and why. Windows have a file of their own."""

from __future__ import annotations

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.replies import HoldPart, PackedHold, ReserveReply
from tests.billing.money_world import (
    ACCOUNT,
    AGE_MAX_MS,
    HOLD,
    KEY,
    LEASE_MS,
    OTHER,
    PARTITION,
    START_MS,
    TICKET,
    WORKER,
    World,
    life,
    offer,
)


async def test_a_hold_takes_from_what_is_available_and_not_from_the_balance(world: World) -> None:
    assert await world.reserve(offer(300)) == ReserveReply("OK", 0, 300, 700, START_MS)
    assert await world.field("b:USD") == "1000"
    assert await world.field("h:USD") == "300"


async def test_the_hold_stores_all_that_its_end_will_need(world: World) -> None:
    await world.reserve(offer(300, enforce="1"), windows=[life(5000)])
    assert await world.hold() == PackedHold(
        account_id=ACCOUNT,
        currency="USD",
        amount_nanos=300,
        delivered_nanos=0,
        worker_id=WORKER,
        admitted_ms=START_MS,
        max_at_ms=START_MS + AGE_MAX_MS,
        parts=(HoldPart(300, False, ("11:life",)),),
        last=False,
        rates="",
        ticket=TICKET,
    )


async def test_the_same_reserve_again_answers_held_with_the_same_grant(world: World) -> None:
    offers = [offer(2000), offer(500), offer(500, last=1)]
    assert await world.reserve(*offers) == ReserveReply("OK", 1, 500, 500, START_MS)
    world.advance(10)
    assert await world.reserve(*offers) == ReserveReply("HELD", 1, 500, 500, START_MS + 10)
    assert await world.field("h:USD") == "500"


async def test_the_same_id_with_other_offers_is_a_mistake_of_ours(world: World) -> None:
    await world.reserve(offer(300))
    with pytest.raises(InvariantBroken, match="other offers"):
        await world.reserve(offer(300), ticket=b"another")
    with pytest.raises(InvariantBroken, match="other offers"):
        await world.reserve(offer(300, last=1), offer(301))


async def test_holds_add_up_to_the_balance_and_no_further(world: World) -> None:
    assert (await world.reserve(offer(999))).word == "OK"
    assert await world.reserve(offer(2), hold_id=OTHER) == ReserveReply(
        "SHORT", available_nanos=1, now_ms=START_MS
    )
    assert await world.reserve(offer(1), hold_id=OTHER) == ReserveReply("OK", 0, 1, 0, START_MS)


async def test_a_refusal_writes_nothing(world: World) -> None:
    before = await world.everything()
    assert (await world.reserve(offer(1001))).word == "SHORT"
    assert (await world.reserve(offer(10, enforce="1"), windows=[life(9)])).word == "WINDOW"
    assert (await world.reserve(offer(10), generation=2)).word == "STALE"
    assert await world.everything() == before


async def test_an_offer_may_be_granted_in_part_down_to_its_least(world: World) -> None:
    assert (await world.reserve(offer(1500, 1001))).word == "SHORT"
    assert await world.reserve(offer(1500, 1000)) == ReserveReply("OK", 0, 1000, 0, START_MS)
    held = await world.hold()
    assert held is not None
    assert held.amount_nanos == 1000


async def test_the_first_offer_that_passes_is_taken(world: World) -> None:
    reply = await world.reserve(offer(1001), offer(800, 700), offer(1))
    assert (reply.offer, reply.granted_nanos) == (1, 800)


async def test_an_empty_wallet_grants_nothing_in_part(world: World) -> None:
    await world.reserve(offer(1000))
    assert (await world.reserve(offer(5, 0), hold_id=OTHER)).word == "SHORT"


async def test_a_free_call_passes_an_empty_wallet(world: World) -> None:
    await world.reserve(offer(1000))
    assert await world.reserve(offer(0), hold_id=OTHER) == ReserveReply("OK", 0, 0, 0, START_MS)
    held = await world.hold(OTHER)
    assert held is not None
    assert held.amount_nanos == 0


async def test_a_free_call_passes_a_balance_of_nothing(world: World) -> None:
    await world.credit(1, -1000)
    assert await world.reserve(offer(0)) == ReserveReply("OK", 0, 0, 0, START_MS)


async def test_a_free_call_does_not_pass_an_overdrawn_wallet(world: World) -> None:
    await world.credit(1, -1001)
    assert await world.reserve(offer(0)) == ReserveReply("SHORT", available_nanos=-1, now_ms=START_MS)


async def test_an_overdrawn_wallet_says_how_far(world: World) -> None:
    await world.reserve(offer(10))
    await world.settle(1300)
    assert await world.reserve(offer(1), hold_id=OTHER) == ReserveReply(
        "SHORT", available_nanos=-300, now_ms=START_MS
    )


async def test_one_last_money_call_at_a_time(world: World) -> None:
    last = offer(5000, 100, last=1)
    assert await world.reserve(offer(5000), last) == ReserveReply("OK", 1, 1000, 0, START_MS)
    assert await world.field("l:USD") == HOLD
    await world.credit(1, 500)
    assert (await world.reserve(offer(5000), last, hold_id=OTHER)).word == "SHORT"
    await world.settle(20)
    assert await world.field("l:USD") is None
    assert await world.reserve(offer(5000), last, hold_id=OTHER) == ReserveReply("OK", 1, 1480, 0, START_MS)


async def test_an_ordinary_hold_leaves_the_last_money_place_alone(world: World) -> None:
    await world.reserve(offer(5000, 100, last=1))
    await world.credit(1, 500)
    await world.reserve(offer(100), hold_id=OTHER)
    await world.settle(10, hold_id=OTHER)
    assert await world.field("l:USD") == HOLD


@pytest.mark.parametrize("end", ["release", "expire"])
async def test_every_end_gives_the_last_money_place_back(world: World, end: str) -> None:
    await world.reserve(offer(5000, 100, last=1))
    world.advance(LEASE_MS)
    assert (await getattr(world, end)()).word == "OK"
    assert await world.field("l:USD") is None


async def test_a_last_money_place_whose_hold_is_gone_is_free(world: World) -> None:
    await world.link.call("HSET", world.keys.account(ACCOUNT), "l:USD", OTHER)
    assert (await world.reserve(offer(5000, 100, last=1))).word == "OK"
    assert await world.field("l:USD") == HOLD


async def test_a_key_of_another_generation_is_stale(world: World) -> None:
    assert (await world.reserve(offer(1), generation=2)).word == "STALE"
    assert await world.scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=2) == "OK"
    assert (await world.reserve(offer(1), generation=1)).word == "STALE"
    assert (await world.reserve(offer(1), generation=2)).word == "OK"


async def test_a_key_that_the_account_does_not_know_is_stale(world: World) -> None:
    await world.link.call("HDEL", world.keys.account(ACCOUNT), f"g:{KEY}")
    assert (await world.reserve(offer(1))).word == "STALE"


async def test_an_account_that_is_not_loaded_is_cold(world: World) -> None:
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert (await world.reserve(offer(1))).word == "COLD"


async def test_a_currency_without_a_wallet_has_no_money(world: World) -> None:
    assert await world.reserve(offer(1), currency="EUR") == ReserveReply(
        "SHORT", available_nanos=0, now_ms=START_MS
    )


async def test_books_that_are_too_far_behind_admit_nothing(world: World) -> None:
    await world.reserve(offer(1))
    await world.settle(1)
    assert await world.reserve(offer(1), hold_id=OTHER, backlog_max=1) == ReserveReply("BACKLOG", backlog=1)
    assert (await world.reserve(offer(1), hold_id=OTHER, backlog_max=2)).word == "OK"


@pytest.mark.parametrize("end", ["settle", "release", "expire"])
async def test_a_reserve_that_comes_after_the_end_is_done(world: World, end: str) -> None:
    await world.reserve(offer(300))
    world.advance(LEASE_MS)
    assert (await (world.settle(100) if end == "settle" else getattr(world, end)())).word == "OK"
    before = await world.everything()
    assert await world.reserve(offer(300)) == ReserveReply("DONE")
    assert await world.everything() == before
