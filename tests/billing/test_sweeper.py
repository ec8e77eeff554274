"""The sweeper and the leases: a hold that nobody looks after ends, one that somebody does stays."""

from __future__ import annotations

import asyncio

import pytest

from rabbitgw.billing import sweeper as sweeper_module
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.sweeper import Sweeper
from rabbitgw.clock import RedisClock
from rabbitgw.errors import RedisUnavailable
from rabbitgw.scripts import Scripts
from tests.books import Shop, assert_books_balance, drain


def leases_of(shop: Shop, worker_id: str = "worker-1", *, lease_s: float = 60.0) -> Leases:
    return Leases(shop.scripts, worker_id, RedisClock(), lease_s)


async def held(shop: Shop, partition: int) -> int:
    return int(await shop.link.call("HLEN", shop.scripts.names.partition[partition].holds))


async def test_a_hold_of_a_worker_without_a_lease_is_ended_and_its_delivered_part_charged(shop: Shop) -> None:
    customer = await shop.customer(1_000, windows=1)
    lost, told = await customer.hold(300), await customer.hold(200)
    await customer.deliver(told, 50)
    assert await Sweeper(shop.pg, shop.link).run_once() == 2
    await drain(shop.pg, shop.link)
    bills = [await customer.bill(hold) for hold in (lost, told)]
    assert [(bill["status"], bill["charge_nanos"]) for bill in bills] == [("expired", 0), ("expired", 50)]
    assert await customer.redis_nanos() == await customer.ledger_nanos() == 950
    assert await held(shop, customer.partition) == 0
    await assert_books_balance(shop)


async def test_a_hold_of_a_living_worker_stays(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await leases_of(shop).ensure(customer.partition)
    hold = await customer.hold(300)
    assert await Sweeper(shop.pg, shop.link).run_once() == 0
    assert await customer.settle(hold, 100) == "OK"
    await assert_books_balance(shop)


async def test_a_hold_past_its_own_age_is_ended_though_its_worker_lives(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await leases_of(shop).ensure(customer.partition)
    await customer.hold(300, max_age_ms=0)
    stays = await customer.hold(300)
    assert await Sweeper(shop.pg, shop.link).run_once() == 1
    assert await held(shop, customer.partition) == 1
    assert await customer.settle(stays, 100) == "OK"
    await assert_books_balance(shop)


async def test_a_lease_taken_after_the_list_was_read_saves_the_hold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.hold(300)
    real = Sweeper._expire

    async def after_a_renewal(self: Sweeper, *args: object) -> int | None:
        await leases_of(shop).ensure(customer.partition)
        return await real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Sweeper, "_expire", after_a_renewal)
    assert await Sweeper(shop.pg, shop.link).run_once() == 0
    assert await customer.settle(hold, 100) == "OK"
    await assert_books_balance(shop)


async def test_many_holds_in_many_partitions_are_ended_in_small_steps(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "HOLDS_AT_ONCE", 10)
    customers = [await shop.customer(10_000) for _ in range(3)]
    # past the size where Redis gives a hash out whole
    await asyncio.gather(*(customers[0].hold(1) for _ in range(600)))
    await asyncio.gather(*(customer.hold(1) for customer in customers for _ in range(5)))
    ended = await asyncio.gather(*(Sweeper(shop.pg, shop.link).run_once() for _ in range(2)))
    assert sum(ended) == 615, "two sweepers end each hold once"
    assert [await held(shop, customer.partition) for customer in customers] == [0, 0, 0]
    await assert_books_balance(shop)


async def test_the_loop_runs_until_stopped(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.hold(300)
    stop = asyncio.Event()
    running = asyncio.create_task(Sweeper(shop.pg, shop.link).run(stop))
    async with asyncio.timeout(30):
        while await held(shop, customer.partition):
            await asyncio.sleep(0.02)
    stop.set()
    await running
    await assert_books_balance(shop)


async def test_a_sweeper_of_an_epoch_that_is_over_learns_the_new_one(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.hold(300)
    sweeper = Sweeper(shop.pg, shop.link)
    key = shop.scripts.names.partition[customer.partition].epoch_key
    await shop.link.call("SET", key, "2")
    assert await sweeper.run_once() == 0
    await shop.link.call("SET", key, "1")
    assert await sweeper.run_once() == 1
    await assert_books_balance(shop)


async def test_leases_given_up_leave_holds_to_the_sweeper_at_once(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    leases = leases_of(shop)
    await leases.ensure(customer.partition)
    await customer.hold(300)
    assert await leases.run_once() == 1
    await leases.give_up()
    assert await Sweeper(shop.pg, shop.link).run_once() == 1
    await assert_books_balance(shop)


async def test_a_lease_is_taken_once_and_again_when_it_may_have_run_out(shop: Shop) -> None:
    leases = leases_of(shop, lease_s=0.05)
    key = shop.scripts.names.partition[3].leases
    await leases.ensure(3)
    first = int(await shop.link.call("HGET", key, "worker-1"))
    async with asyncio.timeout(30):
        while int(await shop.link.call("HGET", key, "worker-1")) == first:
            await leases.ensure(3)
            await asyncio.sleep(0.01)
    assert await shop.link.call("HLEN", shop.scripts.names.partition[4].leases) == 0


async def test_no_lease_in_an_epoch_that_is_over(shop: Shop) -> None:
    await shop.link.call("SET", shop.scripts.names.partition[3].epoch_key, "2")
    with pytest.raises(RedisUnavailable, match="another epoch"):
        await leases_of(shop).ensure(3)


async def test_giving_up_leases_does_not_mind_redis_being_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = leases_of(shop)
    await leases.ensure(3)

    async def away(self: Scripts, *args: object, **named: object) -> object:
        raise RedisUnavailable("away")

    monkeypatch.setattr(Scripts, "lease", away)
    await leases.give_up()
