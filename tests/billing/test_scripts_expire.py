"""billing/lua/expire.lua and lease.lua: which holds may be ended from outside, and what that charges."""

from __future__ import annotations

from rabbitgw.replies import ExpireReply, LeaseReply
from tests.billing.money_world import (
    ACCOUNT,
    AGE_MAX_MS,
    HOLD,
    LEASE_MS,
    OTHER,
    PARTITION,
    START_MS,
    TICKET,
    World,
    offer,
)


async def test_a_hold_of_a_living_worker_stays(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(LEASE_MS - 1)
    before = await world.everything()
    assert await world.expire() == ExpireReply("ALIVE")
    assert await world.everything() == before


async def test_when_the_lease_is_over_the_hold_ends_uncharged_if_nothing_was_delivered(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(LEASE_MS)
    assert await world.expire() == ExpireReply("OK", 0)
    assert (await world.field("b:USD"), await world.field("h:USD")) == ("1000", "0")
    assert await world.hold() is None


async def test_what_was_delivered_is_charged_and_told_with_the_ticket(world: World) -> None:
    await world.reserve(offer(300))
    await world.extend(400, delivered=250)
    world.advance(LEASE_MS)
    assert await world.expire() == ExpireReply("OK", 250)
    assert await world.field("b:USD") == "750"
    [event] = await world.events()
    assert (event["s"], event["n"], event["x"], event["p"]) == ("expired", "250", "0", TICKET.decode())


async def test_more_delivered_than_held_is_charged_and_may_overdraw(world: World) -> None:
    await world.reserve(offer(1000))
    await world.extend(1000, delivered=1040)
    world.advance(LEASE_MS)
    assert await world.expire() == ExpireReply("OK", 1040)
    assert (await world.field("b:USD"), await world.field("o:USD")) == ("-40", "-40")


async def test_a_hold_expires_once(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(LEASE_MS)
    await world.expire()
    before = await world.everything()
    assert await world.expire() == ExpireReply("GONE")
    assert await world.everything() == before


async def test_an_account_that_is_not_loaded_is_cold(world: World) -> None:
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert await world.expire() == ExpireReply("COLD")


async def test_past_its_maximum_age_a_hold_ends_though_its_worker_lives(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(AGE_MAX_MS - 1)
    await world.lease()
    assert await world.expire() == ExpireReply("ALIVE")
    world.advance(1)
    assert await world.expire() == ExpireReply("OK", 0)


async def test_a_renewed_lease_saves_the_hold(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(LEASE_MS - 1)
    assert await world.lease() == LeaseReply("OK", START_MS + LEASE_MS - 1, START_MS + LEASE_MS)
    world.advance(LEASE_MS - 1)
    assert await world.expire() == ExpireReply("ALIVE")


async def test_a_worker_that_gave_its_lease_up_has_none(world: World) -> None:
    await world.reserve(offer(300))
    assert await world.lease(0) == LeaseReply("OK", START_MS, START_MS + LEASE_MS)
    assert await world.link.call("HEXISTS", world.keys.leases, "w-1") == 0
    assert await world.expire() == ExpireReply("OK", 0)


async def test_a_worker_that_never_had_a_lease_has_none(world: World) -> None:
    await world.reserve(offer(300), worker_id="w-unheard-of")
    assert await world.expire() == ExpireReply("OK", 0)


async def test_each_hold_goes_by_its_own_worker(world: World) -> None:
    await world.lease(worker_id="w-2")
    await world.reserve(offer(300))
    await world.reserve(offer(300), hold_id=OTHER, worker_id="w-2")
    await world.lease(0, worker_id="w-2")
    assert await world.expire() == ExpireReply("ALIVE")
    assert await world.expire(hold_id=OTHER) == ExpireReply("OK", 0)


async def test_a_first_lease_tells_whether_the_id_is_in_use(world: World) -> None:
    assert await world.lease(worker_id="w-new") == LeaseReply("OK", START_MS, 0)
    assert (await world.lease(worker_id="w-new")).previous_expiry_ms == START_MS + LEASE_MS


async def test_leases_that_ran_out_are_swept_out_when_there_are_many(world: World) -> None:
    for number in range(256):
        await world.lease(1000, worker_id=f"short-{number}")
    assert await world.link.call("HLEN", world.keys.leases) == 257
    world.advance(1000)
    await world.lease(worker_id="w-new")
    assert sorted(await world.link.call("HKEYS", world.keys.leases)) == [b"w-1", b"w-new"]


async def test_the_snapshot_is_one_moment_of_holds_accounts_and_stream(world: World) -> None:
    empty = await world.scripts.snapshot(PARTITION, [41, 42])
    assert (empty.last_stream_id, empty.holds, empty.accounts[1]) == ("0-0", {}, {})
    await world.reserve(offer(300))
    await world.reserve(offer(200), hold_id=OTHER)
    await world.settle(120)
    await world.link.call("XTRIM", world.keys.events, "MAXLEN", 0)
    seen = await world.scripts.snapshot(PARTITION, [41])
    assert seen.now_ms == START_MS
    assert seen.last_stream_id != "0-0"
    assert list(seen.holds) == [OTHER]
    assert seen.holds[OTHER].amount_nanos == 200
    assert seen.accounts == ({"b:USD": "880", "h:USD": "200", "s:USD": "0", "g:7": "1"},)
    assert HOLD not in seen.holds
