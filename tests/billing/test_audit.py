"""The audit: exact while traffic runs, and each breach is named."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rabbitgw.billing import audit as audit_module
from rabbitgw.billing import audit_live
from rabbitgw.billing.audit import audit
from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.sweeper import Sweeper
from rabbitgw.clock import RedisClock
from rabbitgw.errors import StoreError
from rabbitgw.scripts import Scripts
from tests.books import Customer, Shop, assert_books_balance, breaches, drain


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that triggers do not stop."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def found(shop: Shop) -> dict[int, str]:
    return breaches(await audit(shop.pg, shop.link))


async def test_books_without_a_breach(shop: Shop) -> None:
    customer = await shop.customer(1_000, windows=1)
    await customer.call(40)
    await customer.hold(100)
    report = await audit(shop.pg, shop.link, overspend_bounds={"streamed": 5, "estimated": 2})
    assert report.ok, breaches(report)
    await drain(shop.pg, shop.link)
    said = json.loads(
        json.dumps((await assert_books_balance(shop, overspend_bounds={"streamed": 5})).to_json())
    )
    assert {key: said[key] for key in ("ok", "overspend_bound_nanos", "worst_overspend_nanos")} == {
        "ok": True, "overspend_bound_nanos": 5, "worst_overspend_nanos": 0,
    }  # fmt: skip
    assert [one["id"] for one in said["invariants"]] == [1, 2, 3, 4, 5, 6, 7]
    assert all(one["ok"] and one["name"] and not one["detail"] for one in said["invariants"])
    assert [one["checked"] for one in said["invariants"]] == [2, 2, 1, 2, 2, 2, 1]


async def test_an_empty_house_is_in_order(shop: Shop) -> None:
    assert await found(shop) == {}


async def test_the_audit_writes_nothing(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)
    before = await shop.link.call("INFO", "persistence"), await shop.link.call("DBSIZE")
    await audit(shop.pg, shop.link)
    after = await shop.link.call("INFO", "persistence"), await shop.link.call("DBSIZE")

    def changes(info: bytes) -> bytes:
        return next(line for line in info.splitlines() if line.startswith(b"rdb_changes_since_last_save"))

    assert (changes(after[0]), after[1]) == (changes(before[0]), before[1])


# -- exact at every moment --


async def expire_and_settle_late(customer: Customer) -> None:
    hold = await customer.hold(300)
    await customer.deliver(hold, 50)
    assert await customer.expire(hold) == "OK"
    assert await customer.settle(hold, 120) == "LATE"


async def expired_before_late_after(customer: Customer) -> None:
    """The expiry is booked, the late settle is not."""
    hold = await customer.hold(300)
    await customer.deliver(hold, 50)
    await customer.expire(hold)
    await drain(customer.shop.pg, customer.shop.link)
    assert await customer.settle(hold, 20) == "LATE"


MOVES: dict[str, Callable[[Customer], Awaitable[Any]]] = {
    "a call": lambda customer: customer.call(40),
    "an open hold": lambda customer: customer.hold(40),
    "an expiry and its late settle": expire_and_settle_late,
    "a late settle of a booked expiry": expired_before_late_after,
    "a credit": lambda customer: customer.credit(70),
}


@pytest.mark.parametrize("move", MOVES)
async def test_exact_when_everything_is_booked_after_redis_was_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    """Redis is read, then the consumer and the credit worker catch up, then PostgreSQL is read."""
    customer = await shop.customer(10_000, windows=2)
    await customer.call(7)
    await MOVES[move](customer)
    await audit_after_catching_up(shop, monkeypatch, lambda: asyncio.sleep(0))


@pytest.mark.parametrize("move", MOVES)
async def test_exact_when_more_happens_after_redis_was_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    customer = await shop.customer(10_000, windows=2)
    await customer.call(7)
    await audit_after_catching_up(shop, monkeypatch, lambda: MOVES[move](customer))


async def audit_after_catching_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, more: Callable[[], Awaitable[Any]]
) -> None:
    real = Scripts.snapshot
    again = iter([True])

    async def then_catch_up(self: Scripts, partition: int, account_ids: Any) -> Any:
        reply = await real(self, partition, account_ids)
        if reply.accounts and next(again, None):
            await more()
            await drain(shop.pg, shop.link)
            await Credits(shop.pg, shop.link).run_once()
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(Scripts, "snapshot", then_catch_up)
        assert await found(shop) == {}
    await assert_books_balance(shop)


async def test_a_partition_with_many_accounts_is_compared_in_groups(
    shop: Shop, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "SNAPSHOT_ACCOUNTS_MAX", 2)
    monkeypatch.setattr(audit_module, "ACCOUNTS_AT_ONCE", 3)
    monkeypatch.setattr(audit_live, "EVENTS_AT_ONCE", 2)
    neighbours = []
    for number in range(5):
        await owner.execute("SELECT setval('accounts_id_seq', $1)", 64 * number + 6)
        neighbours.append(await shop.customer(1_000))
    assert {customer.partition for customer in neighbours} == {7}
    for customer in neighbours:
        await customer.call(40)
    assert await found(shop) == {}
    await shop.link.call("HINCRBY", neighbours[4].key, "b:USD", 1)
    assert await found(shop) == {
        5: "account 263: Redis balance in USD: expected 960, found 961, off by 1 nanos"
    }


async def test_twenty_audits_under_load_find_nothing_and_then_a_seeded_breach(shop: Shop) -> None:
    customers = [await shop.customer(10**9, windows=2) for _ in range(8)]
    leases = Leases(shop.scripts, shop.worker_id, RedisClock(), 60.0)
    for customer in customers:
        await leases.ensure(customer.partition)
    stop = asyncio.Event()
    dice = random.Random(7)
    calls = 0

    async def spend(customer: Customer) -> None:
        nonlocal calls
        while not stop.is_set():
            hold = await customer.hold(dice.randrange(1, 500), max_age_ms=dice.choice([0, 3_600_000]))
            await asyncio.sleep(dice.random() / 50)
            await customer.deliver(hold, dice.randrange(50)) if dice.random() < 0.3 else None
            if dice.random() < 0.1:
                assert await customer.release(hold) in ("OK", "DONE")
            else:
                assert await customer.settle(hold, dice.randrange(600)) in ("OK", "LATE")
            calls += 1

    async def deliver_safely(customer: Customer) -> None:
        try:
            await spend(customer)
        except AssertionError as error:
            if "GONE" not in str(error):
                raise
            await deliver_safely(customer)  # the sweeper was first

    async def pay() -> None:
        while not stop.is_set():
            await dice.choice(customers).credit(dice.randrange(1, 1_000))
            await asyncio.sleep(0.01)

    workers = [
        Consumer(shop.pg, shop.link, events_max=20).run(stop),
        Credits(shop.pg, shop.link).run(stop),
        Sweeper(shop.pg, shop.link).run(stop),
        pay(),
        *(deliver_safely(customer) for customer in customers for _ in range(2)),
    ]
    tasks = [asyncio.create_task(worker) for worker in workers]
    try:
        for _ in range(20):
            assert await found(shop) == {}
        assert calls > 20
        await shop.link.call("HINCRBY", customers[3].key, "b:USD", -1)
        assert f"account {customers[3].id}: Redis balance in USD" in (await found(shop))[5]
        assert "off by -1 nanos" in (await found(shop))[5]
        await shop.link.call("HINCRBY", customers[3].key, "b:USD", 1)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    await assert_books_balance(shop)


# -- one breach of each kind, named --


async def test_1_money_set_aside_without_a_hold(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.hold(100)
    await shop.link.call("HINCRBY", customer.key, "h:USD", 1)
    assert await found(shop) == {
        1: f"account {customer.id}: held in USD, against its holds and takes: expected 100, found 101, off by 1 nanos"
    }


async def test_1_money_set_aside_for_a_take(shop: Shop, owner: asyncpg.Connection) -> None:
    """In order while a refund is to take it, and its credit is on the way; a breach when that is applied, or booked
    otherwise."""
    customer = await shop.customer(1_000)
    set_aside, take = shop.scripts.set_aside, UUID(int=10)
    arguments: dict[str, Any] = {"currency": "USD", "take_id": take, "amount_nanos": 400, "seq": 1}
    assert (await set_aside(customer.partition, customer.id, **arguments)).word == "OK"
    assert await found(shop) == {
        1: f"account {customer.id}: 400 nanos of USD are set aside for take {take}, which nobody means to take"
    }
    await owner.execute(
        "INSERT INTO refunds (id, order_id, payment_id, provider, amount_minor, amount_nanos, bonus_nanos, taken_from,"
        " state, ours) VALUES ($1, 'o', 1, 'manual', 1, 400, 0, 'wallet', 'requested', true)",
        take,
    )
    assert await found(shop) == {}
    await shop.link.call("HINCRBY", customer.key, "h:USD", -1)
    assert await found(shop) == {
        1: f"account {customer.id}: held in USD, against its holds and takes: expected 400, found 399, off by -1"
        " nanos"
    }
    await shop.link.call("HINCRBY", customer.key, "h:USD", 1)
    await customer.credit(-400 + 1_400)
    await owner.execute("UPDATE wallet_credits SET take_id = $1 WHERE seq = 2", take)
    said = f"account {customer.id}: take {take}, 400 nanos of USD: set aside"
    assert await found(shop) == {1: f"{said} otherwise than booked, credit 2"}
    await owner.execute("UPDATE wallet_credits SET take_id = NULL")
    await customer.credit(5)
    await owner.execute("UPDATE wallet_credits SET take_id = $1, amount_nanos = -400 WHERE seq = 3", take)
    await owner.execute("UPDATE wallets SET balance_nanos = balance_nanos - 405")
    assert 1 not in await found(shop)
    for seq, amount_nanos in ((2, 1_000), (3, -400)):  # by a gateway that knows nothing of takes
        await shop.scripts.credit(
            customer.partition, customer.id, currency="USD", seq=seq, amount_nanos=amount_nanos
        )
    assert (await found(shop))[1] == f"{said} although its credit 3 is applied"


async def test_1_a_hold_of_an_account_that_is_not_there(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.hold(100)
    await shop.link.call("DEL", customer.key)
    assert await found(shop) == {1: f"hold {hold}: its account {customer.id} is not in Redis"}


async def test_1_a_call_that_was_never_admitted(shop: Shop, owner: asyncpg.Connection) -> None:
    customer = await shop.customer(1_000)
    call = await customer.call(40)
    await drain(shop.pg, shop.link)
    await owner.execute("UPDATE usage SET admitted_at = NULL")
    assert await found(shop) == {1: f"call {call} of account {customer.id}: 1 attempts, no admission"}


async def test_2_a_hold_that_is_open_again(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.hold(100)
    holds = shop.scripts.names.partition[customer.partition].holds
    packed = await shop.link.call("HGET", holds, hold)
    await customer.settle(hold, 40)
    await shop.link.call("HSET", holds, hold, packed)
    await shop.link.call("HINCRBY", customer.key, "h:USD", 100)
    assert await found(shop) == {2: f"hold {hold}: open in Redis, settled in the stream"}
    await drain(shop.pg, shop.link)
    assert await found(shop) == {
        2: f"hold {hold} of account {customer.id}: open in Redis, settled in the books"
    }


async def test_2_a_call_that_ended_twice(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.call(40)
    (event,) = await shop.link.call("XRANGE", customer.events, "-", "+")
    await shop.link.call("XADD", customer.events, "*", *event[1])
    assert (await found(shop))[2] == f"hold {hold}: ended twice in the stream, settled and settled"


async def test_2_a_late_end_whose_parts_do_not_add_up(shop: Shop, owner: asyncpg.Connection) -> None:
    customer = await shop.customer(1_000)
    await expired_before_late_after(customer)
    await drain(shop.pg, shop.link)
    await owner.execute("UPDATE usage SET moved_nanos = moved_nanos + 1")
    assert "charged 20 in all, 50 at expiry, -29 by its last booking" in (await found(shop))[2]


async def test_3_a_charge_without_its_usage_row(shop: Shop, owner: asyncpg.Connection) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)
    await drain(shop.pg, shop.link)
    await owner.execute("DELETE FROM usage")
    await owner.execute("DELETE FROM usage_deltas")  # its triggers do not run for this owner
    assert await found(shop) == {
        3: f"account {customer.id}: its calls cost 0 nanos of USD, the ledger has 40"
    }


async def test_3_an_event_that_could_not_be_charged(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.emit(id="nonsense")
    said = (await found(shop))[3]
    assert said.startswith(f"partition {customer.partition}, event ")
    assert "cannot be read" in said
    await drain(shop.pg, shop.link)
    assert "could not be charged" in (await found(shop))[3]


async def test_4_lines_that_leave_something_over(shop: Shop, owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO ledger_transactions (id, kind) VALUES (77, 'credit'), (78, 'credit');"
        "INSERT INTO ledger_entries (transaction_id, line, ledger_account, currency, amount_nanos)"
        " VALUES (77, 1, 'revenue', 'USD', 5), (79, 1, 'revenue', 'USD', 5), (79, 2, 'clearing', 'USD', -5)"
    )
    assert await found(shop) == {
        4: "transaction 77 (credit): 5 nanos of USD left over; transaction 78 (credit): has no lines;"
        " transaction 79: has lines but does not exist"
    }


async def test_4_a_guard_that_is_off(shop: Shop, owner: asyncpg.Connection) -> None:
    await owner.execute("ALTER TABLE ledger_entries_default DISABLE TRIGGER refuse_change")
    assert await found(shop) == {4: "ledger_entries_default: the trigger refuse_change is missing or off"}


async def test_5_one_nano_too_many_in_redis(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await customer.call(40)
    await customer.credit(5)
    await shop.link.call("HINCRBY", customer.key, "b:USD", 1)
    assert await found(shop) == {
        5: f"account {customer.id}: Redis balance in USD: expected 960, found 961, off by 1 nanos"
    }


async def test_5_a_credit_that_nobody_booked(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    await shop.scripts.credit(customer.partition, customer.id, currency="USD", seq=2, amount_nanos=9)
    assert await found(shop) == {
        5: f"account {customer.id}: Redis balance in USD: expected 1000, found 1009, off by 9 nanos;"
        f" account {customer.id}: Redis has applied credit 2 in USD, booked are 1"
    }


async def test_5_a_wallet_that_is_not_the_sum_of_its_entries(shop: Shop, owner: asyncpg.Connection) -> None:
    customer = await shop.customer(1_000, load=False)
    await owner.execute("UPDATE wallets SET balance_nanos = balance_nanos - 1")
    assert await found(shop) == {
        5: f"account {customer.id}: wallet in USD, against its ledger entries: expected 1000, found 999"
    }


async def test_6_a_counter_that_is_off(shop: Shop) -> None:
    customer = await shop.customer(1_000, windows=1)
    await customer.call(40)
    await customer.hold(100)
    (window,) = customer.windows
    await shop.link.call("HINCRBY", customer.key, f"w:{window}:life", -1)
    assert await found(shop) == {
        6: f"account {customer.id}: window {window}, span life: expected 140, found 139, off by -1 nanos"
    }
    await shop.link.call("HDEL", customer.key, f"w:{window}:life")
    assert await found(shop) == {6: f"account {customer.id}: window {window} has no counter of life"}


async def test_6_a_span_that_is_not_the_sum_of_its_calls(shop: Shop, owner: asyncpg.Connection) -> None:
    customer = await shop.customer(1_000, windows=1)
    await customer.call(40)
    await drain(shop.pg, shop.link)
    await owner.execute("UPDATE window_spans SET used_nanos = 41")
    said = (await found(shop))[6]
    assert f"window {customer.windows[0]}, span life, against its calls: expected 40, found 41" in said


async def test_7_overspend_beyond_its_bound(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.hold(900)
    await customer.settle(hold, 1_250)
    for bound, ok in ((250, True), (249, False)):
        report = await audit(shop.pg, shop.link, overspend_bounds={"streamed": bound - 9, "estimated": 9})
        assert (report.ok, report.worst_overspend_nanos, report.overspend_bound_nanos) == (ok, 250, bound)
    assert breaches(report) == {7: "a wallet went 250 nanos below zero, the bound is 249"}


async def test_many_breaches_are_counted_and_the_first_named(shop: Shop) -> None:
    customers = [await shop.customer(1_000) for _ in range(8)]
    for customer in customers:
        await shop.link.call("HINCRBY", customer.key, "b:USD", 1)
    said = (await found(shop))[5]
    assert said.count("off by 1 nanos") == 5
    assert said.endswith("; and 3 more")


async def test_redis_in_another_epoch_is_no_breach_but_an_error(shop: Shop) -> None:
    await shop.link.call("SET", shop.scripts.names.partition[5].epoch_key, "2")
    with pytest.raises(StoreError, match="epoch"):
        await audit(shop.pg, shop.link)
