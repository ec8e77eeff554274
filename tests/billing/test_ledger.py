"""The ledger: what the database refuses, whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from rabbitgw.billing import ledger
from rabbitgw.billing.ledger import Line, Transaction, house_line, wallet_line
from rabbitgw.billing.partitions import Partitions
from rabbitgw.errors import InvariantBroken
from rabbitgw.stores import Pool, transaction

TABLES = ("ledger_entries", "ledger_transactions")


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection with the rights of the database's owner."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def book(pg: Pool, *amounts: int) -> int:
    lines = [wallet_line(1, "USD", amount) for amount in amounts]
    async with transaction(pg) as connection:
        return await ledger.append_one(
            connection, ledger.CREDIT, [*lines, house_line(ledger.CREDIT_OPERATOR, "USD", -sum(amounts))],
            account_id=1, ref="first", detail={"by": "test"},
        )  # fmt: skip


async def test_a_transaction_keeps_its_lines_in_order(pg: Pool) -> None:
    transaction_id = await book(pg, 300, -100)
    rows = await pg.fetch(
        "SELECT line, ledger_account, account_id, currency, amount_nanos FROM ledger_entries"
        " WHERE transaction_id = $1 ORDER BY line",
        transaction_id,
    )
    assert [tuple(row) for row in rows] == [
        (1, "wallet", 1, "USD", 300),
        (2, "wallet", 1, "USD", -100),
        (3, "credit:operator", None, "USD", -200),
    ]
    head = await pg.fetchrow("SELECT kind, account_id, ref, detail FROM ledger_transactions")
    assert head is not None
    assert tuple(head) == ("credit", 1, "first", '{"by": "test"}')


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (wallet_line(1, "USD", 5),),
        (wallet_line(1, "USD", 5), house_line("revenue", "USD", -4)),
        (wallet_line(1, "USD", 5), house_line("revenue", "EUR", -5)),
    ],
)
async def test_lines_that_leave_something_over_are_not_sent(pg: Pool, lines: tuple[Line, ...]) -> None:
    with pytest.raises(InvariantBroken):
        async with transaction(pg) as connection:
            await ledger.append(connection, [Transaction(1, "usage", lines)])
    assert await pg.fetchval("SELECT count(*) FROM ledger_transactions") == 0


async def test_the_database_refuses_lines_that_do_not_sum_to_zero(
    pg: Pool, owner: asyncpg.Connection
) -> None:
    await Partitions(pg).run_once()
    (month,) = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relname = 'ledger_entries_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
    )
    insert = (
        "INSERT INTO {} (transaction_id, line, ledger_account, account_id, currency, amount_nanos) VALUES"
        " (1, 1, 'wallet', 1, 'USD', 5), (1, 2, 'revenue', NULL, 'USD', -5), (2, 1, 'revenue', NULL, 'USD', {})"
    )
    for table in ("ledger_entries", month["relname"]):
        with pytest.raises(
            asyncpg.CheckViolationError, match="ledger transaction 2 does not sum to zero: 7 nanos"
        ):
            await owner.execute(insert.format(table, 7))
    assert await owner.fetchval("SELECT count(*) FROM ledger_entries") == 0


@pytest.mark.parametrize("table", TABLES)
async def test_nobody_changes_what_was_booked(pg: Pool, owner: asyncpg.Connection, table: str) -> None:
    await Partitions(pg).run_once()
    await book(pg, 300)
    partitions = await owner.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass", table
    )
    assert len(partitions) == 5
    for name in (table, *(row["name"] for row in partitions)):
        with pytest.raises(asyncpg.RestrictViolationError, match="append only"):
            await owner.execute(f"TRUNCATE {name}")
    filled = await owner.fetchval(f"SELECT tableoid::regclass::text FROM {table} LIMIT 1")
    assert filled != f"{table}_default"
    for name in (table, filled):
        with pytest.raises(asyncpg.RestrictViolationError, match="append only"):
            await owner.execute(f"DELETE FROM {name}")
        with pytest.raises(asyncpg.RestrictViolationError, match="append only"):
            await owner.execute(f"UPDATE {name} SET account_id = account_id")


@pytest.mark.parametrize("table", [*TABLES, "usage"])
async def test_the_application_reaches_the_books_through_the_parents_only(
    pg: Pool, owner: asyncpg.Connection, table: str
) -> None:
    await Partitions(pg).run_once()
    granted = await owner.fetch(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = 'rabbitgw_app' AND table_name ~ ('^' || $1 || '(_default|_[0-9]{4}_[0-9]{2})?$')",
        table,
    )
    expected = {"SELECT", "INSERT"} | ({"UPDATE"} if table == "usage" else set())
    assert {(row["table_name"], row["privilege_type"]) for row in granted} == {
        (table, one) for one in expected
    }


async def test_partitions_are_made_once_and_only_where_the_default_has_no_rows(
    pg: Pool, owner: asyncpg.Connection
) -> None:
    await book(pg, 300)  # before any month has a partition
    assert await Partitions(pg, months_ahead=2).run_once() == 3 * 3 - 2, (
        "two ledger tables already have this month"
    )
    assert await Partitions(pg, months_ahead=2).run_once() == 0
    assert await Partitions(pg, months_ahead=3).run_once() == 3
    bounds = await owner.fetch(
        "SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class"
        " WHERE relkind = 'r' AND relname ~ '^usage_2' ORDER BY relname"
    )
    uppers = [row["bound"].split("TO ('")[1][:36] for row in bounds]
    lowers = [row["bound"].split("FROM ('")[1][:36] for row in bounds]
    assert lowers[1:] == uppers[:-1], "no gap and no overlap"


async def test_a_month_begins_with_the_lowest_id_of_its_first_millisecond(owner: asyncpg.Connection) -> None:
    # 1234567890123 ms = 0x011f71fb04cb
    floor = await owner.fetchval("SELECT uuid7_floor(timestamptz 'epoch' + 1234567890123 * interval '1 ms')")
    assert str(floor) == "011f71fb-04cb-0000-0000-000000000000"
