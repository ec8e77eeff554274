"""billing/lua/release.lua: a hold goes back whole, and a release that comes first bars its reserve."""

from __future__ import annotations

from rabbitgw.replies import ReleaseReply, ReserveReply
from tests.billing.money_world import ACCOUNT, HOLD, LEASE_MS, MARK_LIFE_MS, World, offer


async def test_a_release_gives_all_back_and_tells_the_books(world: World) -> None:
    await world.reserve(offer(300))
    assert await world.release() == ReleaseReply("OK", 1000)
    assert (await world.field("b:USD"), await world.field("h:USD")) == ("1000", "0")
    assert [(event["id"], event["s"], event["n"]) for event in await world.events()] == [
        (HOLD, "released", "0")
    ]
    assert await world.mark() == b"R"


async def test_a_second_release_is_done(world: World) -> None:
    await world.reserve(offer(300))
    await world.release()
    before = await world.everything()
    assert await world.release() == ReleaseReply("DONE")
    assert await world.everything() == before


async def test_a_release_that_overtakes_its_reserve_bars_it(world: World) -> None:
    assert await world.release() == ReleaseReply("TOMBSTONE")
    assert await world.events() == []
    assert await world.reserve(offer(300)) == ReserveReply("DONE")
    assert await world.field("h:USD") == "0"
    assert await world.release() == ReleaseReply("DONE")


async def test_a_tombstone_lives_as_long_as_a_mark(world: World) -> None:
    await world.release()
    assert MARK_LIFE_MS - 60_000 < await world.link.call("PTTL", world.keys.mark(HOLD)) <= MARK_LIFE_MS


async def test_a_tombstone_needs_no_account(world: World) -> None:
    """The reserve under way may come after somebody loaded it."""
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert await world.release() == ReleaseReply("TOMBSTONE")
    await world.open()
    assert await world.reserve(offer(300)) == ReserveReply("DONE")


async def test_a_release_after_the_settle_takes_nothing_back(world: World) -> None:
    await world.reserve(offer(300))
    await world.settle(120)
    assert await world.release() == ReleaseReply("DONE")
    assert await world.field("b:USD") == "880"


async def test_a_release_after_expiry_is_done(world: World) -> None:
    await world.reserve(offer(300))
    world.advance(LEASE_MS)
    await world.expire()
    assert await world.release() == ReleaseReply("DONE")


async def test_a_hold_in_an_account_that_is_not_loaded_is_cold(world: World) -> None:
    await world.reserve(offer(300))
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    before = await world.everything()
    assert await world.release() == ReleaseReply("COLD")
    assert (await world.settle(1)).word == "COLD"
    assert (await world.expire()).word == "COLD"
    assert (await world.extend(400)).word == "COLD"
    assert await world.everything() == before
