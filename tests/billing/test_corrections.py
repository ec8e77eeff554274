"""Corrections in the books: append only, and the audit names one that was touched, or that lost its entries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from rabbitgw.billing.audit import audit
from tests.billing.rerated import Till, sell
from tests.books import Customer, Shop, assert_books_balance, breaches, drain


@pytest.fixture
async def till(shop: Shop) -> Till:
    await sell(shop.pg)
    return Till(shop)


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that triggers do not stop."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def corrected(till: Till) -> tuple[Customer, str, int]:
    """A call corrected by 30 000 nanos less, and one by nothing; the books balance."""
    customer = await till.shop.customer(1_000_000)
    call = await till.call(customer)
    await drain(till.shop.pg, till.shop.link)
    await till.apply()
    await assert_books_balance(till.shop)
    transaction_id = await till.shop.pg.fetchval("SELECT ledger_transaction_id FROM corrections")
    return customer, call, transaction_id


async def found(till: Till) -> dict[int, str]:
    return breaches(await audit(till.shop.pg, till.shop.link))


async def test_a_correction_that_is_off_by_a_nano_is_a_breach(till: Till, owner: asyncpg.Connection) -> None:
    customer, call, transaction_id = await corrected(till)
    named = f"account {customer.id}, correction transaction {transaction_id}: its calls cost "
    await owner.execute("UPDATE corrections SET new_nanos = new_nanos + 1")
    said = await found(till)
    assert set(said) == {3}
    # behind it are the reports, which no longer add up either
    assert said[3].startswith(
        f"{named}0 nanos of USD more and 29999 less, the ledger has 0 and 30000; account "
    )
    await owner.execute("UPDATE corrections SET new_nanos = new_nanos - 1, old_nanos = old_nanos - 1")
    said = await found(till)
    assert set(said) == {3}
    assert said[3].startswith(
        f"{named}0 nanos of USD more and 29999 less, the ledger has 0 and 30000; call {call} of account"
        f" {customer.id}: correction 1 begins at 139999 nanos, before it is 140000 nanos"
    )
    await owner.execute("DELETE FROM corrections")
    said = await found(till)
    assert set(said) == {3}
    assert said[3].startswith(f"{named}0 nanos of USD more and 0 less, the ledger has 0 and 30000")


async def test_a_correction_without_its_entries_is_a_breach(till: Till, owner: asyncpg.Connection) -> None:
    customer, _, transaction_id = await corrected(till)
    await owner.execute("DELETE FROM ledger_entries WHERE transaction_id = $1", transaction_id)
    said = await found(till)
    assert said[3] == (
        f"account {customer.id}, correction transaction {transaction_id}: its calls cost 0 nanos of USD more and 30000"
        " less, the ledger has 0 and 0"
    )
    assert set(said) == {3, 4, 5}
    await owner.execute("DELETE FROM ledger_transactions WHERE id = $1", transaction_id)
    assert set(await found(till)) == {3, 5}


async def test_corrections_are_append_only(till: Till, owner: asyncpg.Connection) -> None:
    await corrected(till)
    for statement in (
        "UPDATE corrections SET new_nanos = 0",
        "DELETE FROM corrections",
        "TRUNCATE corrections",
    ):
        with pytest.raises(asyncpg.PostgresError, match=r"append only|permission denied"):
            await till.shop.pg.execute(statement)
    await owner.execute("ALTER TABLE corrections DISABLE TRIGGER refuse_change")
    assert await found(till) == {4: "corrections: the trigger refuse_change is missing or off"}
