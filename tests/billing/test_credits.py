"""The credit worker: Redis gets every booked credit once, in order, whatever dies in between."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from rabbitgw.billing.credits import Credits
from rabbitgw.errors import InvariantBroken, RedisUnavailable
from rabbitgw.scripts import Scripts
from tests.books import Shop, assert_books_balance


async def outstanding(shop: Shop) -> int:
    return int(await shop.pg.fetchval("SELECT count(*) FROM wallet_credits WHERE applied_at IS NULL"))


async def test_credits_reach_redis_in_order_and_once(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    for amount in (5, 70, 900):
        await customer.credit(amount)
    assert await customer.redis_nanos() == 1_000
    credits = Credits(shop.pg, shop.link)
    assert await credits.run_once() == 3
    assert await customer.redis_nanos() == 1_975
    assert await credits.run_once() == 0
    assert await customer.redis_nanos() == 1_975
    assert await outstanding(shop) == 0
    await assert_books_balance(shop)


async def test_the_immediate_attempt_sends_what_is_missing(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.credit(5)
    await customer.credit(70)
    credits = Credits(shop.pg, shop.link)
    assert await credits.apply(customer.id, "USD", customer.partition) == 2
    assert await customer.redis_nanos() == 1_075
    assert await outstanding(shop) == 0
    await assert_books_balance(shop)


async def test_redis_own_number_decides_and_no_note_of_ours(shop: Shop) -> None:
    """Redis lost its tail: two credits that were noted as applied are gone from it."""
    customer = await shop.customer(1_000)
    credits = Credits(shop.pg, shop.link)
    for amount in (5, 70):
        await customer.credit(amount)
    await credits.run_once()
    await shop.link.call("HSET", customer.key, "b:USD", "1000", "s:USD", "1")
    await customer.credit(900)
    assert await credits.run_once() == 3
    assert await customer.redis_nanos() == 1_975
    await assert_books_balance(shop)


async def test_a_worker_killed_between_redis_and_its_note_sends_nothing_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    customer = await shop.customer(1_000)
    for amount in (5, 70, 900):
        await customer.credit(amount)
    real = Scripts.credit
    sent: list[int] = []

    async def dies_after(self: Scripts, *args: Any, **named: Any) -> Any:
        reply = await real(self, *args, **named)
        sent.append(named["seq"])
        if len(sent) == 2:
            raise Crash
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(Scripts, "credit", dies_after)
        with pytest.raises(Crash):
            await Credits(shop.pg, shop.link).run_once()
    assert await customer.redis_nanos() == 1_075
    assert await outstanding(shop) == 4, "the one of the first load is outstanding too"
    assert await Credits(shop.pg, shop.link).run_once() == 1
    assert await customer.redis_nanos() == 1_975
    assert await outstanding(shop) == 0
    await assert_books_balance(shop)


async def test_many_workers_at_once_apply_each_credit_once(shop: Shop) -> None:
    customer = await shop.customer(0)
    for _ in range(20):
        await customer.credit(3)
    applied = await asyncio.gather(*(Credits(shop.pg, shop.link).run_once() for _ in range(4)))
    assert sum(applied) == 20
    assert await customer.redis_nanos() == 60
    await assert_books_balance(shop)


async def test_a_cold_account_needs_no_telling_once_no_load_can_be_under_way(shop: Shop, dsn: str) -> None:
    customer = await shop.customer(500, load=False)
    credits = Credits(shop.pg, shop.link)
    assert await credits.run_once() == 0
    assert await outstanding(shop) == 1, "a load that read the balance before may still be coming"
    owner = await asyncpg.connect(dsn)
    await owner.execute("UPDATE wallet_credits SET created_at = now() - interval '2 minutes'")
    await owner.close()
    assert await credits.run_once() == 0
    assert await outstanding(shop) == 0
    await customer.load()
    assert await customer.redis_nanos() == 500
    await assert_books_balance(shop)


async def test_a_credit_booked_while_an_account_was_loading_is_sent(shop: Shop) -> None:
    customer = await shop.customer(500, load=False)
    credits = Credits(shop.pg, shop.link)
    fields = {"b:USD": 500, "h:USD": 0, "s:USD": 1}
    await customer.credit(70)
    assert await credits.run_once() == 0
    assert await shop.scripts.load(customer.partition, customer.id, fields) == "OK"
    assert await credits.run_once() == 1
    assert await customer.redis_nanos() == 570
    await assert_books_balance(shop)


async def test_redis_away_leaves_credits_outstanding_and_the_loop_sends_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await shop.customer(1_000)
    await customer.credit(70)
    real = Scripts.credit
    refusals = iter(range(3))

    async def away(self: Scripts, *args: Any, **named: Any) -> Any:
        if next(refusals, None) is not None:
            raise RedisUnavailable("away")
        return await real(self, *args, **named)

    monkeypatch.setattr(Scripts, "credit", away)
    with pytest.raises(RedisUnavailable):
        await Credits(shop.pg, shop.link).run_once()
    stop = asyncio.Event()
    worker = Credits(shop.pg, shop.link)
    running = asyncio.create_task(worker.run(stop))
    async with asyncio.timeout(30):
        while await customer.redis_nanos() != 1_070:
            worker.wake()
            await asyncio.sleep(0.02)
    stop.set()
    await running
    await assert_books_balance(shop)


async def test_a_gap_in_the_numbers_is_false_books(shop: Shop, dsn: str) -> None:
    customer = await shop.customer(1_000)
    await customer.credit(5)
    await customer.credit(70)
    owner = await asyncpg.connect(dsn)
    await owner.execute("DELETE FROM wallet_credits WHERE seq = 2")
    await owner.close()
    with pytest.raises(InvariantBroken, match="credit 3 in USD follows 1"):
        await Credits(shop.pg, shop.link).run_once()
