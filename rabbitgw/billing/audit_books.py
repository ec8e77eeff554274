"""Checks the books against themselves, in one moment of PostgreSQL: usage, ledger, wallets, windows.

Owns the questions that need no Redis. Reads whole tables, in one read-only transaction with a time limit of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rabbitgw import statements
from rabbitgw.billing.audit_report import BREACHES_SHOWN
from rabbitgw.stores import transaction

if TYPE_CHECKING:
    from rabbitgw.billing.audit_report import Findings
    from rabbitgw.stores import Pool, PoolConnection

TIME_LIMIT: Final = "15min"
ROWS_MAX: Final = BREACHES_SHOWN + 1  # one more than is shown, to know whether there are more


async def check_books(pool: Pool, findings: Findings) -> int:
    """Add to the findings of invariants 1 to 6.

    Returns: the lowest balance that any wallet has had, in nanos, 0 where none was below.
    Raises:  PostgresUnavailable.
    """
    async with transaction(pool, isolation="repeatable_read", readonly=True) as pg:
        await pg.execute(statements.audit.long_statements, TIME_LIMIT)
        await _count(pg, findings)
        await _usage(pg, findings)
        await _corrections(pg, findings)
        await _cycles(pg, findings)
        await _payments(pg, findings)
        await _rollups(pg, findings)
        await _ledger(pg, findings)
        await _sums(pg, findings)
        worst = await pg.fetchrow(statements.audit.worst)
    findings[7].checked += 1
    return min(0, worst["worst_nanos"]) if worst else 0


async def _count(pg: PoolConnection, findings: Findings) -> None:
    counts = await pg.fetchrow(statements.audit.counts)
    assert counts is not None
    findings[1].checked += counts["calls"]
    findings[2].checked += counts["calls"]
    findings[3].checked += counts["calls"] + counts["corrections"]
    findings[4].checked += counts["transactions"]
    findings[5].checked += counts["wallets"]
    findings[6].checked += counts["spans"]


async def _usage(pg: PoolConnection, findings: Findings) -> None:
    for row in await pg.fetch(statements.audit.unadmitted, ROWS_MAX):
        findings[1].breach(
            f"call {row['id']} of account {row['account_id']}: {row['attempts']} attempts, no admission"
        )
    for row in await pg.fetch(statements.audit.misbooked, ROWS_MAX):
        findings[2].breach(
            f"call {row['id']} of account {row['account_id']}: charged {row['charge_nanos']} in all,"
            f" {row['expired_nanos']} at expiry, {row['moved_nanos']} by its last booking"
        )
    for row in await pg.fetch(statements.audit.dead, ROWS_MAX):
        findings[3].breach(
            f"partition {row['partition']}, event {row['stream_ms']}-{row['stream_seq']}:"
            f" could not be charged ({row['reason']})"
        )
    for row in await pg.fetch(statements.audit.usage_against_ledger, ROWS_MAX):
        findings[3].breach(
            f"account {row['account_id']}: its calls cost {int(row['charged_nanos'])} nanos of {row['currency']},"
            f" the ledger has {int(row['booked_nanos'])}"
        )


async def _corrections(pg: PoolConnection, findings: Findings) -> None:
    """A correction goes with its ledger entries, and begins where the charge or the correction before it ended."""
    for row in await pg.fetch(statements.audit.corrections_against_ledger, ROWS_MAX):
        findings[3].breach(
            f"account {row['account_id']}, correction transaction {row['transaction_id']}: its calls cost"
            f" {int(row['added_nanos'])} nanos of {row['currency']} more and {int(row['taken_nanos'])} less, the ledger"
            f" has {int(row['booked_added_nanos'])} and {int(row['booked_taken_nanos'])}"
        )
    for row in await pg.fetch(statements.audit.broken_corrections, ROWS_MAX):
        before = "nothing" if row["before_nanos"] is None else f"{row['before_nanos']} nanos"
        findings[3].breach(
            f"call {row['usage_id']} of account {row['account_id']}: correction {row['number']} begins at"
            f" {row['old_nanos']} nanos, before it is {before}"
        )


async def _cycles(pg: PoolConnection, findings: Findings) -> None:
    """What billing cycles granted and charged goes with its ledger entries."""
    for row in await pg.fetch(statements.audit.cycles_against_ledger, ROWS_MAX):
        findings[3].breach(
            f"account {row['account_id']}, transaction {row['transaction_id']}: its billing cycle moved"
            f" {int(row['cycle_nanos'])} nanos of {row['currency']}, the ledger has {int(row['booked_nanos'])}"
        )


async def _payments(pg: PoolConnection, findings: Findings) -> None:
    """What payments, refunds and disputes say goes with their ledger entries, on both sides."""
    for row in await pg.fetch(statements.audit.payments_against_ledger, ROWS_MAX):
        whose = "" if row["account_id"] is None else f" of account {row['account_id']}"
        findings[3].breach(
            f"{row['ledger_account']}{whose}: payments, refunds and disputes come to {int(row['expected_nanos'])} nanos"
            f" of {row['currency']}, the ledger has {int(row['found_nanos'])}"
        )


async def _rollups(pg: PoolConnection, findings: Findings) -> None:
    """What reports add up. Behind what it is made of, whose breaches are seen here too."""
    for row in await pg.fetch(statements.audit.rollups_against_usage, ROWS_MAX):
        findings[3].breach(
            f"account {row['account_id']}: its calls cost {int(row['expected_nanos'])} nanos of {row['currency']} in"
            f" {int(row['expected_calls'])} usage rows, the rollups ({row['form']}) have {int(row['found_nanos'])} in"
            f" {int(row['found_calls'])}"
        )


async def _ledger(pg: PoolConnection, findings: Findings) -> None:
    tally = findings[4]
    for row in await pg.fetch(statements.audit.unbalanced, ROWS_MAX):
        name = f"transaction {row['transaction_id']}"
        if row["kind"] is None:
            tally.breach(f"{name}: has lines but does not exist")
        elif row["currency"] is None:
            tally.breach(f"{name} ({row['kind']}): has no lines")
        else:
            tally.breach(
                f"{name} ({row['kind']}): {int(row['left_over_nanos'])} nanos of {row['currency']} left over"
            )
    for row in await pg.fetch(statements.audit.unguarded):
        tally.breach(f"{row['relation']}: the trigger {row['missing']} is missing or off")


async def _sums(pg: PoolConnection, findings: Findings) -> None:
    for row in await pg.fetch(statements.audit.wallets_against_ledger, ROWS_MAX):
        findings[5].breach(
            f"account {row['account_id']}: wallet in {row['currency']}, against its ledger entries:"
            f" expected {int(row['entries_nanos'])}, found {row['balance_nanos']}"
        )
    for row in await pg.fetch(statements.audit.spans_against_usage, ROWS_MAX):
        findings[6].breach(
            f"window {row['name'].replace(':', ', span ', 1)}, against its calls:"
            f" expected {int(row['charged_nanos'])}, found {int(row['used_nanos'])}"
        )
