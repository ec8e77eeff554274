"""Rebuild: a new epoch with nothing lost and nothing held, also when it is killed at any step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.rebuild import Rebuild, rebuild
from rabbitgw.billing.sweeper import Sweeper
from rabbitgw.clock import RedisClock
from rabbitgw.errors import Conflict, StoreError
from rabbitgw.keynames import epoch_of
from tests.books import Shop, assert_books_balance


class Crash(BaseException):
    """A process that ends here."""


async def epochs_in_redis(shop: Shop) -> dict[int | None, int]:
    """How many keys there are of each epoch."""
    counts: dict[int | None, int] = {}
    for key in await shop.link.call("KEYS", "*"):
        counts[epoch_of(key.decode())] = counts.get(epoch_of(key.decode()), 0) + 1
    return counts


async def a_busy_house(shop: Shop) -> Any:
    """1000 in credit; charged 40, booked; 30, not booked; 50 delivered of an open hold; 200 held, nothing delivered."""
    customer = await shop.customer(1_000, windows=1)
    await customer.call(40)
    consumer = Consumer(shop.pg, shop.link)
    await consumer.run_once()
    await consumer.release()
    await customer.call(30)
    told = await customer.hold(300)
    await customer.deliver(told, 50)
    await customer.hold(200)
    await shop.scripts.key_record_put("ab" * 32, generation=1, record=b"{}")
    return customer


async def test_everything_is_booked_and_the_new_epoch_starts_from_the_ledger(shop: Shop) -> None:
    customer = await a_busy_house(shop)
    report = await rebuild(shop.pg, shop.link)
    assert (report.epoch, report.holds_ended, report.events_booked) == (2, 2, 3)
    assert await customer.ledger_nanos() == 880
    assert await epochs_in_redis(shop) == {None: 64}
    after = await Shop.open(shop.pg, shop.link)
    assert after.scripts.names.epoch == 2
    customer.shop = after
    await customer.load()
    assert await customer.redis_nanos() == 880
    assert await shop.link.call("HGET", customer.key, f"w:{customer.windows[0]}:life") == b"120"
    await customer.call(10)
    await assert_books_balance(after)
    assert await customer.ledger_nanos() == 870


async def test_an_old_gateway_is_fenced(shop: Shop) -> None:
    customer = await a_busy_house(shop)
    await rebuild(shop.pg, shop.link)
    assert await customer.settle("01930000-0000-7000-8000-000000000001", 5) == "FENCED"
    await assert_books_balance(shop)


async def test_a_living_gateway_is_not_pulled_from_under(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    leases = Leases(shop.scripts, "worker-9", RedisClock(), 60.0)
    await leases.ensure(customer.partition)
    hold = await customer.hold(300)
    with pytest.raises(Conflict, match=r"1 workers still hold leases \(worker-9 for \d+ ms\)"):
        await rebuild(shop.pg, shop.link)
    assert await customer.settle(hold, 40) == "OK", "nothing was touched"
    await assert_books_balance(shop)


async def test_it_waits_for_the_lease_of_a_gateway_that_was_killed(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await Leases(shop.scripts, "worker-1", RedisClock(), 0.3).ensure(customer.partition)
    await customer.hold(300)
    report = await rebuild(shop.pg, shop.link, wait_s=30.0)
    assert (report.epoch, report.holds_ended) == (2, 1)
    await assert_books_balance(shop)


async def test_a_gateway_that_starts_in_the_middle_loses_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes its lease and admits after the check and before the fence."""
    customer = await shop.customer(1_000)
    real = Rebuild._close

    async def after_an_admission(self: Rebuild, names: Any) -> None:
        await Leases(shop.scripts, "worker-1", RedisClock(), 60.0).ensure(customer.partition)
        await customer.deliver(await customer.hold(300), 70)
        await customer.call(5)
        await real(self, names)
        assert await customer.settle("01930000-0000-7000-8000-000000000001", 5) == "FENCED"

    monkeypatch.setattr(Rebuild, "_close", after_an_admission)
    report = await rebuild(shop.pg, shop.link)
    assert (report.holds_ended, report.events_booked) == (1, 2)
    assert await customer.ledger_nanos() == 925
    await assert_books_balance(shop)


@pytest.mark.parametrize(
    "step", ["_lock", "_refuse_live_gateways", "_close", "_end_holds", "_drain", "commit", "_open", "_delete_before"]
)  # fmt: skip
async def test_killed_after_any_step_the_next_one_finishes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    customer = await a_busy_house(shop)
    name = "_open" if step == "commit" else step
    real = getattr(Rebuild, name)

    async def then_dies(self: Rebuild, *args: Any) -> Any:
        if step != "commit":
            await real(self, *args)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, name, then_dies)
        with pytest.raises(Crash):
            await rebuild(shop.pg, shop.link)
    committed = step in ("commit", "_open", "_delete_before")
    assert await shop.pg.fetchval("SELECT epoch FROM deployment") == (2 if committed else 1)
    report = await rebuild(shop.pg, shop.link)
    assert report.epoch == (3 if committed else 2)
    assert await customer.ledger_nanos() == 880
    assert await epochs_in_redis(shop) == {None: 64}
    customer.shop = await Shop.open(shop.pg, shop.link)
    await customer.load()
    assert await customer.redis_nanos() == 880
    await customer.call(10)
    await assert_books_balance(customer.shop)


async def test_two_at_once_are_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go = asyncio.Event(), asyncio.Event()
    real = Rebuild._close

    async def slowly(self: Rebuild, names: Any) -> None:
        inside.set()
        await go.wait()
        await real(self, names)

    monkeypatch.setattr(Rebuild, "_close", slowly)
    first = asyncio.create_task(rebuild(shop.pg, shop.link))
    await inside.wait()
    with pytest.raises(Conflict, match="another rebuild"):
        await rebuild(shop.pg, shop.link)
    go.set()
    assert (await first).epoch == 2
    await assert_books_balance(shop)


async def test_the_bookkeepers_follow_into_the_new_epoch(shop: Shop) -> None:
    customer = await a_busy_house(shop)
    consumer, credits, sweeper = (
        Consumer(shop.pg, shop.link, lease_s=0.3), Credits(shop.pg, shop.link), Sweeper(shop.pg, shop.link),
    )  # fmt: skip
    await consumer.run_once()
    await credits.run_once()
    await sweeper.run_once()
    stop = asyncio.Event()
    booking = asyncio.create_task(consumer.run(stop))
    assert (await rebuild(shop.pg, shop.link)).epoch == 2
    customer.shop = await Shop.open(shop.pg, shop.link)
    await customer.load()
    await customer.credit(70)
    await customer.hold(20)
    await customer.call(10)
    assert await credits.apply(customer.id, "USD", customer.partition) == 1
    await sweeper.run_once()
    assert await sweeper.run_once() in (0, 1)
    async with asyncio.timeout(30):
        while await customer.ledger_nanos() != 940:
            await asyncio.sleep(0.02)
    stop.set()
    await booking
    assert consumer.events >= 1
    await assert_books_balance(customer.shop)


async def test_a_redis_of_other_books_is_refused(shop: Shop) -> None:
    await shop.link.call("SET", shop.scripts.names.partition[9].epoch_key, "5")
    with pytest.raises(StoreError, match="partition 9 of Redis is in epoch 5, PostgreSQL in 1"):
        await rebuild(shop.pg, shop.link)


async def test_a_redis_that_came_back_empty(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await shop.link.call("FLUSHALL")
    assert (await rebuild(shop.pg, shop.link)).epoch == 2
    customer.shop = await Shop.open(shop.pg, shop.link)
    await customer.load()
    assert await customer.redis_nanos() == 1_000
    await assert_books_balance(customer.shop)


def test_the_epoch_of_a_key_is_in_its_name() -> None:
    assert epoch_of("rg:{p3.1}:e12:a:7") == 12
    assert epoch_of("rg:{k:" + "ab" * 32 + "}:e3") == 3
    assert epoch_of("rg:{p3.1}:epoch") is None
    assert epoch_of("other:{p3.1}:e12:a:7") is None
