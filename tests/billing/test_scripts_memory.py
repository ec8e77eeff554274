"""A Redis whose memory is full refuses what would begin, and lets pass what ends, pays in or revokes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from rabbitgw.errors import RedisReplyError
from tests.billing.money_world import (
    ACCOUNT,
    HOLD,
    KEY,
    LEASE_MS,
    OTHER,
    PARTITION,
    TAKE,
    World,
    day,
    life,
    offer,
)

SECRET_HASH = "ab" * 32
ANOTHER_TAKE = uuid4()


@pytest.fixture
async def full(world: World) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Call it, and memory is full until the test ends."""
    yield lambda: world.link.call("CONFIG", "SET", "maxmemory", 1)
    await world.link.call("CONFIG", "SET", "maxmemory", 0)


async def test_a_reserve_is_refused_and_writes_nothing(
    world: World, full: Callable[[], Awaitable[Any]]
) -> None:
    before = await world.everything()
    await full()
    with pytest.raises(RedisReplyError, match="OOM command not allowed"):
        await world.reserve(offer(300, enforce="11"), windows=[life(5000), day(500)])
    with pytest.raises(RedisReplyError, match="OOM command not allowed"):
        await world.reserve(offer(5000, 1, last=1))
    assert await world.everything() == before


async def test_an_account_and_a_new_key_record_are_refused(
    world: World, full: Callable[[], Awaitable[Any]]
) -> None:
    await full()
    with pytest.raises(RedisReplyError, match="OOM command not allowed"):
        await world.scripts.load(PARTITION, 99, {"b:USD": 1})
    with pytest.raises(RedisReplyError, match="OOM command not allowed"):
        await world.scripts.key_record_put(SECRET_HASH, generation=1, record=b"{}")


async def test_every_end_of_a_hold_passes(world: World, full: Callable[[], Awaitable[Any]]) -> None:
    windows = [life(5000), day(5000)]
    for hold_id in ("settled", "released", "expired", "late"):
        await world.reserve(offer(100, enforce="11"), hold_id=hold_id, windows=windows)
        await world.extend(100, delivered=30, hold_id=hold_id)
    world.advance(LEASE_MS)
    await full()
    assert (await world.settle(60, hold_id="settled")).available_nanos == 640
    assert (await world.release(hold_id="released")).available_nanos == 740
    assert (await world.expire(hold_id="expired")).charged_nanos == 30
    assert (await world.expire(hold_id="late")).charged_nanos == 30
    assert (await world.settle(45, hold_id="late")).word == "LATE"
    assert (await world.release(hold_id="never-made")).word == "TOMBSTONE"
    account = await world.account()
    assert (account["b:USD"], account["h:USD"], account["w:11:life"]) == ("865", "0", "135")
    assert [event["n"] for event in await world.events()] == ["60", "0", "30", "30", "15"]


async def test_a_settle_that_overdraws_passes(world: World, full: Callable[[], Awaitable[Any]]) -> None:
    await world.reserve(offer(5000, 1, last=1))
    await full()
    assert (await world.settle(1004)).available_nanos == -4
    assert await world.field("o:USD") == "-4"


async def test_a_running_call_goes_on_and_its_worker_lives(
    world: World, full: Callable[[], Awaitable[Any]]
) -> None:
    await world.reserve(offer(100))
    await full()
    assert (await world.extend(200, delivered=90)).granted_nanos == 200
    world.advance(LEASE_MS - 1)
    assert (await world.lease()).word == "OK"
    world.advance(1)
    assert (await world.expire()).word == "ALIVE"


async def test_money_comes_in_and_keys_are_revoked(world: World, full: Callable[[], Awaitable[Any]]) -> None:
    await world.scripts.key_record_put(SECRET_HASH, generation=1, record=b"{}")
    await full()
    assert (await world.credit(1, 500)).balance_nanos == 1500
    assert await world.scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=2) == "OK"
    assert await world.scripts.key_record_put(SECRET_HASH, generation=2, record=b"{}") == "OK"
    assert (await world.reserve(offer(1), hold_id=OTHER)).word == "STALE"
    assert await world.hold(HOLD) is None


async def test_a_borne_reserve_is_refused_and_ends_with_parts_pass(
    world: World, full: Callable[[], Awaitable[Any]]
) -> None:
    for hold_id in ("settled", "released"):
        await world.reserve(offer(100, enforce="1", how="~"), hold_id=hold_id, windows=[life(5000)])
        await world.extend(150, way=b"11:life", hold_id=hold_id)
    before = await world.everything()
    await full()
    with pytest.raises(RedisReplyError, match="OOM command not allowed"):
        await world.reserve(offer(100, enforce="1", how="~"), windows=[life(5000)])
    assert await world.everything() == before
    assert (await world.settle(120, hold_id="settled")).available_nanos == 930
    assert (await world.release(hold_id="released")).available_nanos == 980
    assert [(event["n"], event["i"]) for event in await world.events()] == [("20", "100"), ("0", "0")]


async def test_a_take_is_refused_but_one_that_was_set_aside_ends(
    world: World, full: Callable[[], Awaitable[Any]]
) -> None:
    await world.set_aside(300)
    await world.set_aside(50, take_id=ANOTHER_TAKE)
    before = await world.everything()
    await full()
    with pytest.raises(RedisReplyError, match="OOM command not allowed"):
        await world.set_aside(1, take_id=uuid4())
    assert await world.everything() == before
    assert (await world.set_aside(300)).word == "HELD"
    assert (await world.put_back(take_id=ANOTHER_TAKE)).amount_nanos == 50
    assert (await world.put_back(take_id=uuid4())).word == "GONE"
    assert (await world.credit(1, -300, take_id=TAKE)).balance_nanos == 700
    assert await world.field("h:USD") == "0"
