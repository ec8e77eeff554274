"""Re-rating: what calls were charged by a wrong price is corrected once, in the books and in Redis."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from typing import Any

import asyncpg
import pytest

from rabbitgw.billing import rerate as rerate_module
from rabbitgw.billing.audit import audit
from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.price_book import load_book
from rabbitgw.config import Settings
from rabbitgw.errors import Conflict, NotFound, RabbitError, RequestInvalid
from tests.billing.rerated import CHEAPER, DEARER, HOUR_MS, WRONG, Till, sell
from tests.books import Customer, Shop, assert_books_balance, breaches, drain
from tests.flows.house import until


@pytest.fixture
async def till(shop: Shop) -> Till:
    await sell(shop.pg)
    return Till(shop)


async def written(till: Till) -> list[int]:
    """How many rows there are of everything that a re-rating writes."""
    tables = ("corrections", "rerates", "prices", "ledger_transactions", "wallet_credits")
    return [int(await till.shop.pg.fetchval(f"SELECT count(*) FROM {table}")) for table in tables]


async def unlocked(till: Till) -> bool:
    """Whether the server has seen the end of who had the turn."""
    return not await till.shop.pg.fetchval(
        "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
        " WHERE locktype = 'advisory' AND d.datname = current_database()"
    )


async def balances(customer: Customer) -> tuple[int, int]:
    return await customer.ledger_nanos(), await customer.redis_nanos()


# -- looking --


async def test_a_dry_run_tells_what_would_change_and_writes_nothing(till: Till) -> None:
    ann, bob = await till.shop.customer(10_000_000), await till.shop.customer(10_000_000)
    first = await till.call(ann)
    large = await till.call(ann, 2_040_000, input_tokens=2_000)
    of_bob = await till.call(bob)
    odd = await till.call(bob, 139_999)
    expired = await bob.hold(50_000, hold_id=till.new_id())
    await bob.deliver(expired, 20_000)
    await bob.expire(expired)
    await bob.release(await bob.hold(50_000, hold_id=till.new_id()))
    await drain(till.shop.pg, till.shop.link)
    before = await written(till)

    report = await till.look()
    assert (report.calls, report.accounts_count) == (3, 2)
    assert (report.old_nanos, report.new_nanos, report.difference_nanos) == (2_320_000, 1_280_000, -1_040_000)
    assert [(one.account_id, one.calls, one.difference_nanos) for one in report.accounts] == [
        (ann.id, 2, -1_010_000), (bob.id, 1, -30_000),
    ]  # fmt: skip
    assert [(one.id, one.difference_nanos) for one in report.largest] == [
        (large, -980_000), (first, -30_000), (of_bob, -30_000),
    ]  # fmt: skip
    assert [(one.code, one.calls, one.examples) for one in report.refused] == [
        ("counts_differ", 1, [odd]), ("no_counts", 1, [expired]),
    ]  # fmt: skip
    assert (report.dry_run, report.to_version, report.left_out) == (True, CHEAPER, [])

    assert (await till.look(account_id=bob.id)).calls == 1
    assert (await till.look(model="gp*")).calls == 3
    assert (await till.look(model="gpt-*")).calls == 0
    assert (await till.look(to_ms=till.began_ms - 600_000 + 2)).calls == 1
    assert await written(till) == before
    await assert_books_balance(till.shop)


WRONG_REQUESTS: list[tuple[dict[str, Any], type[RabbitError], str]] = [
    ({"price_version": 99}, NotFound, "price_version"),
    ({"to_version": 99}, NotFound, "to_version"),
    ({"to_version": WRONG}, RequestInvalid, "to_version"),
    ({"to_version": None}, RequestInvalid, "to_version"),
    ({"price": {"input_nanos_per_mtok": 1}}, RequestInvalid, "to_version"),
    ({"to_version": None, "price": {"input_nanos_per_mtok": 1}}, RequestInvalid, "price"),
    ({"to_version": None, "price": {"input": 1}}, RequestInvalid, "input"),
    ({"to_version": 6}, RequestInvalid, "to_version"),
    ({"to_version": 7}, RequestInvalid, "to_version"),
    ({"account_id": 99}, NotFound, "account_id"),
    ({"account_id": 1}, RequestInvalid, "account_id"),
    ({"model": ""}, RequestInvalid, "model"),
    ({"from_ms": 0}, RequestInvalid, "from"),
    ({"from_ms": HOUR_MS * 2, "to_ms": HOUR_MS * 2}, RequestInvalid, "from"),
    ({"from_ms": 1, "to_ms": 366 * 24 * HOUR_MS + 2}, RequestInvalid, "to"),
    ({"to_ms": 4_000_000_000_000}, RequestInvalid, "to"),
]


async def test_a_wrong_request_is_refused_by_field(till: Till) -> None:
    """Versions 6 and 7: in another currency, and one that takes from sale. Account 1 is billed in euros."""
    await till.shop.pg.execute(
        "INSERT INTO prices (pattern, currency, sold, origin, terms, effective_from)"
        " SELECT 'gpt', currency, sold, 'set', '{\"rates\": []}', now() + interval '1 day'"
        " FROM (VALUES ('EUR', true), ('USD', false)) AS p (currency, sold)"
    )
    await till.shop.customer(0, currency="EUR", load=False)
    before = await written(till)
    for run in (till.look, till.apply):
        for changes, error, field in WRONG_REQUESTS:
            with pytest.raises(error) as caught:
                await run(**changes)
            assert caught.value.field == field, (changes, caught.value.message)
    assert await written(till) == before


async def test_more_calls_than_one_run_may_look_at(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerate_module, "BATCH_CALLS", 1)
    customer = await till.shop.customer(10_000_000)
    for _ in range(3):
        await till.call(customer)
    await drain(till.shop.pg, till.shop.link)
    with pytest.raises(RequestInvalid, match="more than 2 calls lie between"):
        await rerate_module.dry_run(till.shop.pg, till.asked(), calls_max=2)


# -- correcting --


async def test_corrections_move_the_difference_once(till: Till) -> None:
    ann, bob = await till.shop.customer(1_000_000), await till.shop.customer(1_000_000, windows=1)
    calls = [await till.call(ann), await till.call(ann), await till.call(bob)]
    await drain(till.shop.pg, till.shop.link)
    report = await till.apply(key="first")
    assert (report.done, report.calls, report.difference_nanos, report.left_out) == (True, 3, -90_000, [])
    assert await balances(ann) == (780_000, 780_000)
    assert await balances(bob) == (890_000, 890_000)
    assert (await ann.bill(calls[0]))["charge_nanos"] == 140_000, "what was charged is not rewritten"

    moved = await written(till)
    assert await till.apply(key="first") == report
    assert (await till.apply(key="second")).calls == 0, "the calls are by the right price now"
    assert [now - then for now, then in zip(await written(till), moved, strict=True)] == [0, 1, 0, 0, 0]
    with pytest.raises(Conflict, match="idempotency_key"):
        await till.apply(DEARER, key="first")
    await assert_books_balance(till.shop)


async def test_what_comes_again_or_late_is_booked_beside_its_correction(till: Till) -> None:
    customer = await till.shop.customer(1_000_000)
    await till.call(customer)
    ((_, event),) = await till.shop.link.call("XRANGE", customer.events, "-", "+")
    hold = await customer.hold(200_000, hold_id=till.new_id())
    await customer.deliver(hold, 50_000)
    await customer.expire(hold)
    await drain(till.shop.pg, till.shop.link)
    report = await till.apply()
    assert (report.calls, [one.code for one in report.refused]) == (1, ["no_counts"])
    await till.shop.link.call("XADD", customer.events, "*", *event)
    assert await customer.settle(hold, 140_000) == "LATE"
    await drain(till.shop.pg, till.shop.link)
    assert await balances(customer) == (750_000, 750_000), (
        "the correction stays, the late charge is by the wrong price"
    )
    assert (await till.apply()).difference_nanos == -30_000
    assert await balances(customer) == (780_000, 780_000)
    await assert_books_balance(till.shop)


async def test_a_correction_is_corrected_and_undone(till: Till) -> None:
    customer = await till.shop.customer(1_000_000)
    call = await till.call(customer)
    same = await till.call(customer, 0, input_tokens=0, output_tokens=0)
    await drain(till.shop.pg, till.shop.link)
    await till.apply()
    assert (await till.apply(DEARER, price_version=CHEAPER)).difference_nanos == 170_000
    assert await balances(customer) == (720_000, 720_000)
    undone = await till.apply(WRONG, price_version=DEARER)
    assert (undone.calls, undone.difference_nanos) == (2, -140_000)
    assert await balances(customer) == (860_000, 860_000)
    rows = await till.shop.pg.fetch(
        "SELECT number, old_version, new_version, old_nanos, new_nanos FROM corrections WHERE usage_id = $1 ORDER BY 1",
        call,
    )
    assert [tuple(row) for row in rows] == [
        (1, 3, 4, 140_000, 110_000), (2, 4, 5, 110_000, 280_000), (3, 5, 3, 280_000, 140_000),
    ]  # fmt: skip
    assert await till.shop.pg.fetchval(
        "SELECT count(*) FROM corrections WHERE usage_id = $1 AND ledger_transaction_id IS NULL", same
    ) == 3, "what moves nothing is noted all the same"  # fmt: skip
    await assert_books_balance(till.shop)


async def test_the_right_price_by_its_fields_is_sold_from_then_on(till: Till) -> None:
    customer = await till.shop.customer(1_000_000)
    call = await till.call(customer)
    await drain(till.shop.pg, till.shop.link)
    await till.apply(DEARER)
    fields = {"input_nanos_per_mtok": 700_000_000, "output_nanos_per_mtok": 1_000_000_000}
    told = {"price_version": DEARER, "price": fields}
    assert ((await till.look(None, **told)).to_version, (await written(till))[2]) == (None, 5)
    report = await till.apply(None, key="k", **told)
    assert (report.to_version, report.difference_nanos) == (6, -190_000)
    assert await till.apply(None, key="k", **told) == report
    sold = (await load_book(till.shop.pg)).match("gpt")
    assert sold is not None
    assert sold.version == 6
    assert (await till.look(None, **told)).to_version == 6, "a price that says the same is found"
    assert await balances(customer) == (910_000, 910_000)
    assert (await customer.bill(call))["charge_nanos"] == 140_000
    await assert_books_balance(till.shop)


async def test_a_wallet_that_would_go_below_zero_is_left_out_unless_that_is_allowed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerate_module, "BATCH_CALLS", 1)
    poor, rich = await till.shop.customer(400_000), await till.shop.customer(1_000_000)
    for customer in (poor, rich):
        for _ in range(2):
            await till.call(customer)
    await drain(till.shop.pg, till.shop.link)
    assert (await till.look(DEARER)).left_out == [poor.id]
    report = await till.apply(DEARER)
    assert (report.left_out, report.calls, report.difference_nanos) == ([poor.id], 2, 280_000)
    assert await balances(poor) == (120_000, 120_000), "nothing of it, not even what the wallet would bear"
    running = await poor.hold(50_000)
    report = await till.apply(DEARER, allow_overdraft=True)
    assert (report.left_out, report.calls) == ([], 2)
    assert await balances(poor) == (-160_000, -160_000)
    assert await balances(rich) == (440_000, 440_000)
    assert await poor.settle(running, 50_000) == "OK"
    await drain(till.shop.pg, till.shop.link)
    told = await audit(till.shop.pg, till.shop.link, settings=Settings.load())
    assert (told.ok, told.worst_overspend_nanos) == (True, 210_000), (
        "by a class of its own, the audit bears it"
    )
    await assert_books_balance(till.shop)


async def test_two_operators_at_once(till: Till, dsn: str) -> None:
    first = await asyncpg.connect(dsn)
    await first.execute("SELECT pg_advisory_lock(hashtext('rabbitgw.rerate'))")
    with pytest.raises(Conflict, match="another re-rating is under way"):
        await till.apply()
    assert (await till.look()).calls == 0, "a dry run needs no turn"
    await first.close()
    await until(lambda: unlocked(till))
    assert (await till.apply()).done


DIES = """
import os, signal, sys
from rabbitgw import cli
from rabbitgw.billing import ledger, rerate
from rabbitgw.billing.credits import Credits

rerate.BATCH_CALLS = 2
where, left = sys.argv[1], [int(sys.argv[2])]
owner, name = {
    "before a commit": (ledger, "append"),
    "between two batches": (rerate, "_next_batch"),
    "telling Redis": (Credits, "apply"),
}[where]
real = getattr(owner, name)

async def dies(*given, **named):
    left[0] -= 1
    if left[0] == 0:
        if where == "before a commit":
            await real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    return await real(*given, **named)

setattr(owner, name, dies)
sys.exit(cli.main(sys.argv[3:]))
"""
DEATHS = {
    "before a commit": 4,
    "between two batches": 4,
    "telling Redis": 2,
}  # and at which time at the latest


async def test_killed_in_the_middle_the_same_command_goes_on(
    till: Till, dsn: str, redis_url: str, tmp_path: Any
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    customers = [await till.shop.customer(10_000_000) for _ in range(3)]
    for number in range(24):
        await till.call(customers[number % 3])
    await drain(till.shop.pg, till.shop.link)
    command = [
        "rerate", "--price-version", str(WRONG), "--to-version", str(DEARER), "--from", str(till.began_ms - HOUR_MS),
        "--to", str(till.began_ms), "--apply", "--idempotency-key", "k",
    ]  # fmt: skip
    env = {**os.environ, "DATABASE_URL": dsn, "REDIS_URL": redis_url}
    died_of = (dice.choice(["before a commit", "between two batches"]), "telling Redis")
    for where, times in ((where, DEATHS[where]) for where in died_of):
        words = [sys.executable, "-c", DIES, where, str(dice.randint(1, times)), *command]
        process = await asyncio.create_subprocess_exec(*words, env=env, cwd=tmp_path)
        assert await process.wait() == -signal.SIGKILL
        await until(lambda: unlocked(till))
        done = await till.shop.pg.fetchval("SELECT count(*) FROM corrections")
        assert (done == 24) == (where == "telling Redis")
        assert done % 2 == 0
        assert breaches(await audit(till.shop.pg, till.shop.link)) == {}
    report = await till.apply(DEARER, key="k")
    assert (report.done, report.calls, report.difference_nanos) == (True, 24, 3_360_000)
    await Credits(till.shop.pg, till.shop.link).run_once()
    assert [await balances(customer) for customer in customers] == [(7_760_000, 7_760_000)] * 3
    await assert_books_balance(till.shop)


async def test_under_traffic_the_books_are_exact_at_every_moment(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerate_module, "BATCH_CALLS", 3)
    shop, stop = till.shop, asyncio.Event()
    customers = [await shop.customer(10**15, windows=1) for _ in range(3)]
    for number in range(30):
        await till.call(customers[number % 3])
    await drain(shop.pg, shop.link)
    later = 0

    async def trade(customer: Customer) -> None:
        nonlocal later
        while not stop.is_set():
            await customer.call(70_000)
            later += 1
            await asyncio.sleep(0)

    tasks = [
        asyncio.create_task(work)
        for work in (
            Consumer(shop.pg, shop.link, events_max=20).run(stop),
            Credits(shop.pg, shop.link).run(stop),
            *map(trade, customers),
        )
    ]
    try:
        run = asyncio.create_task(till.apply(DEARER))
        audits = 0
        while not run.done() or not audits:
            assert breaches(await audit(shop.pg, shop.link)) == {}
            audits += 1
        assert (await run).calls == 30
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert later > 0
    await assert_books_balance(shop)
    nanos = [await balances(customer) for customer in customers]
    assert sum(ledger for ledger, _ in nanos) == 3 * 10**15 - 30 * 280_000 - later * 70_000
    assert all(ledger == redis for ledger, redis in nanos)
