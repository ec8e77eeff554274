"""The consumer while things die: itself at any step, its lease, and the stores. Nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from rabbitgw.billing import booking
from rabbitgw.billing import consumer as consumer_module
from rabbitgw.billing.consumer import Consumer
from rabbitgw.errors import PostgresUnavailable, RedisUnavailable
from rabbitgw.stores import open_postgres
from tests.books import Shop, assert_books_balance, drain


class Crash(BaseException):
    """A process that ends here."""


async def test_events_left_between_commit_and_trim_are_not_charged_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)

    async def dies(*args: Any) -> None:
        raise Crash

    first = Consumer(shop.pg, shop.link, lease_s=0.2)
    await first._claim()
    with monkeypatch.context() as patch:
        patch.setattr(consumer_module, "trim", dies)
        with pytest.raises(Crash):
            await first.run_once()
    assert await shop.link.call("XLEN", customer.events) == 1
    assert await customer.ledger_nanos() == 960
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 960
    assert await shop.pg.fetchval("SELECT count(*) FROM usage") == 1
    await assert_books_balance(shop)


@pytest.mark.parametrize("step", ["_advance", "_move_money", "_bury", "commit"])
async def test_a_consumer_killed_at_any_step_loses_and_doubles_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Each step is done, and the process ends right after it."""
    customer = await shop.customer(1_000, windows=1)
    await customer.call(40)
    await customer.emit(id="nonsense")
    consumer = Consumer(shop.pg, shop.link, lease_s=0.2)
    module, name = (consumer_module, "book") if step == "commit" else (booking, step)
    real = getattr(module, name)

    async def then_dies(*args: Any) -> None:
        await real(*args)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(module, name, then_dies)
        with pytest.raises(Crash):
            await consumer.run_once()
    assert await customer.ledger_nanos() == (960 if step == "commit" else 1_000)
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 960
    assert await shop.pg.fetchval("SELECT count(*) FROM usage") == 1
    assert await shop.pg.fetchval("SELECT count(*) FROM dead_events") == 1
    assert await shop.pg.fetchval("SELECT used_nanos FROM window_spans") == 40


async def test_two_consumers_never_book_one_partition_twice(shop: Shop) -> None:
    customers = [await shop.customer(100_000) for _ in range(6)]
    consumers = [Consumer(shop.pg, shop.link, partitions_max=40, lease_s=5) for _ in range(2)]

    async def spend() -> None:
        for _ in range(30):
            await asyncio.gather(*(customer.call(11) for customer in customers))

    async def book(consumer: Consumer) -> None:
        while not spending.done() or await consumer.run_once():
            await consumer.run_once()
            await asyncio.sleep(0.002)

    spending = asyncio.create_task(spend())
    await asyncio.gather(spending, *(book(consumer) for consumer in consumers))
    assert not consumers[0].partitions & consumers[1].partitions
    assert sum(consumer.events for consumer in consumers) == 180
    assert [await customer.ledger_nanos() for customer in customers] == [99_670] * 6
    for consumer in consumers:
        await consumer.release()
    await assert_books_balance(shop)


async def test_a_consumer_that_lost_its_lease_books_nothing(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    slow = Consumer(shop.pg, shop.link)
    assert await slow.run_once() == 0
    await customer.call(40)
    await shop.pg.execute("UPDATE consumer_cursors SET lease_until = now() - interval '1 s'")
    quick = Consumer(shop.pg, shop.link)
    assert await quick.run_once() == 1
    await customer.call(40)
    assert await slow.run_once() == 0, "it finds out by the cursor"
    assert await slow.run_once() == 0, "the partitions are another's now"
    assert not slow.partitions
    assert await quick.run_once() == 1
    assert await customer.ledger_nanos() == 920
    await quick.release()
    await assert_books_balance(shop)


async def test_postgres_away_loses_nothing(shop: Shop, dsn: str) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)
    pool = await open_postgres(dsn, max_size=1)
    consumer = Consumer(pool, shop.link, lease_s=0.2)
    await consumer.run_once()
    await pool.close()
    await customer.call(40)
    with pytest.raises(PostgresUnavailable):
        await consumer.run_once()
    assert await shop.link.call("XLEN", customer.events) == 1
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 920
    await assert_books_balance(shop)


async def test_postgres_killed_in_the_middle_of_a_booking(
    shop: Shop, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)
    real = booking._move_money
    kills = iter([True])

    async def killed(connection: Any, *args: Any) -> None:
        if next(kills, None):
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            owner = await asyncpg.connect(dsn)
            await owner.execute("SELECT pg_terminate_backend($1, 10000)", pid)
            await owner.close()
        await real(connection, *args)

    monkeypatch.setattr(booking, "_move_money", killed)
    consumer = Consumer(shop.pg, shop.link)
    with pytest.raises(PostgresUnavailable):
        await consumer.run_once()
    assert await customer.ledger_nanos() == 1_000
    assert await consumer.run_once() == 1
    assert await customer.ledger_nanos() == 960
    await consumer.release()
    await assert_books_balance(shop)


async def test_what_was_read_ahead_is_read_again_when_the_booking_before_it_failed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers = [await shop.customer(1_000) for _ in range(3)]
    for number in range(12):
        await customers[number % 3].call(10)
    real = consumer_module.book
    outcomes = iter(["booked", "refused", "booked and not told"])

    async def book(*args: Any) -> int:
        outcome = next(outcomes, "booked")
        if outcome == "refused":
            raise PostgresUnavailable("away")
        booked = await real(*args)
        if outcome == "booked and not told":
            raise PostgresUnavailable("the connection was lost during COMMIT")
        return booked

    monkeypatch.setattr(consumer_module, "book", book)
    consumer = Consumer(shop.pg, shop.link, events_max=4)
    assert await consumer.run_once() == 4
    for _ in range(2):
        with pytest.raises(PostgresUnavailable):
            await consumer.run_once()
    assert [await consumer.run_once() for _ in range(2)] == [4, 0]
    assert [await customer.ledger_nanos() for customer in customers] == [960] * 3
    assert await shop.pg.fetchval("SELECT sum(events) FROM consumer_cursors") == 12
    await consumer.release()
    await assert_books_balance(shop)


async def test_the_loop_goes_on_after_both_stores_were_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)
    outages = iter([PostgresUnavailable("away"), RedisUnavailable("away"), PostgresUnavailable("away")])
    real = Consumer._read

    async def away(self: Consumer, cursors: Any) -> Any:
        outage = next(outages, None)
        if outage is not None:
            raise outage
        return await real(self, cursors)

    monkeypatch.setattr(Consumer, "_read", away)
    stop = asyncio.Event()
    running = asyncio.create_task(Consumer(shop.pg, shop.link).run(stop))
    async with asyncio.timeout(30):
        while await customer.ledger_nanos() != 960:
            await asyncio.sleep(0.02)
    stop.set()
    await running
    assert await shop.pg.fetchval("SELECT count(*) FROM consumer_cursors WHERE lease_owner IS NOT NULL") == 0
    await assert_books_balance(shop)
