"""Audits the live deployment: the seven invariants, read only, exact while traffic runs.

Owns the walk over partitions and accounts. How a partition is compared is audit_live.py's, how the books are
compared with themselves audit_books.py's. A breach is told as it was found: nothing is tried again until it is
green. The one race that no order of reading removes is a new epoch; the audit then begins again in that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rabbitgw import statements
from rabbitgw.billing.audit_books import check_books
from rabbitgw.billing.audit_live import EpochChanged, LivePartition
from rabbitgw.billing.audit_report import AuditReport, Findings
from rabbitgw.billing.epoch import read_names
from rabbitgw.billing.overspend import overspend_bounds as bounds_of
from rabbitgw.errors import StoreError
from rabbitgw.scripts import SNAPSHOT_ACCOUNTS_MAX, Scripts
from rabbitgw.stores import connection

if TYPE_CHECKING:
    from rabbitgw.config import Settings
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

ACCOUNTS_AT_ONCE: Final = 5_000
EPOCHS_MAX: Final = 3


async def audit(
    pool: Pool,
    link: RedisLink,
    *,
    settings: Settings | None = None,
    overspend_bounds: Mapping[str, int] | None = None,
) -> AuditReport:
    """Check all seven invariants.

    `settings`: judge overspend by the bounds of what was served (overspend.py), read after everything else, so
    that a class of calls that began meanwhile is among them; or by `overspend_bounds` as given, nanos per wallet
    and class. Without either, overspend is told and not judged.
    Raises: RedisUnavailable, PostgresUnavailable, StoreError when epochs go on changing.
    """
    for _ in range(EPOCHS_MAX):
        findings = Findings()
        try:
            worst_nanos = await _check_live(pool, link, findings)
        except EpochChanged:
            continue
        worst_nanos = min(worst_nanos, await check_books(pool, findings))
        if settings is not None:
            overspend_bounds = await bounds_of(pool, settings)
        return _judged(findings, overspend_bounds, -worst_nanos)
    raise StoreError(
        "the epoch of Redis is not that of PostgreSQL: wait for the rebuild, or run `rabbitgw rebuild`"
    )


def _judged(
    findings: Findings, overspend_bounds: Mapping[str, int] | None, worst_overspend_nanos: int
) -> AuditReport:
    if overspend_bounds is not None:
        bound_nanos = sum(overspend_bounds.values())
        if worst_overspend_nanos > bound_nanos:
            findings[7].breach(
                f"a wallet went {worst_overspend_nanos} nanos below zero, the bound is {bound_nanos}"
            )
    return findings.report(overspend_bounds, worst_overspend_nanos)


async def _check_live(pool: Pool, link: RedisLink, findings: Findings) -> int:
    """Compare every partition. Returns the lowest balance that Redis has kept, 0 where none was below zero."""
    names = await read_names(pool)
    scripts = Scripts(link, names, timeout_s=10.0)
    homes = await _accounts(pool, names.partitions)
    worst_nanos = 0
    for partition, accounts in enumerate(homes):
        keys = names.partition[partition]
        there = await asyncio.gather(*(link.call("EXISTS", keys.account(one)) for one in accounts))
        loaded = [account for account, exists in zip(accounts, there, strict=True) if exists]
        live = LivePartition(pool, link, scripts, partition, findings)
        holders: set[int] = set()
        # With no account loaded there may still be holds and events, which there must not be.
        for start in range(0, max(1, len(loaded)), SNAPSHOT_ACCOUNTS_MAX):
            holders |= await live.check(loaded[start : start + SNAPSHOT_ACCOUNTS_MAX])
        # Accounts that were loaded after we had looked, and holds of accounts that are not there at all.
        others = sorted(holders.difference(loaded))
        for start in range(0, len(others), SNAPSHOT_ACCOUNTS_MAX):
            await live.check(others[start : start + SNAPSHOT_ACCOUNTS_MAX])
        worst_nanos = min(worst_nanos, live.worst_nanos)
        await _check_set_aside(pool, live, findings)
    return worst_nanos


async def _check_set_aside(pool: Pool, live: LivePartition, findings: Findings) -> None:
    """What nobody means to take would be kept from the account's calls for ever."""
    if not live.set_aside:
        return
    async with connection(pool) as pg:
        rows = await pg.fetch(statements.audit.takes_wanted, [one.take_id for one in live.set_aside])
    wanted = {row["id"] for row in rows}
    for one in live.set_aside:
        if one.take_id not in wanted:
            findings[1].breach(
                f"account {one.account_id}: {one.amount_nanos} nanos of {one.currency} are set aside for take"
                f" {one.take_id}, which nobody means to take"
            )


async def _accounts(pool: Pool, partitions: int) -> list[list[int]]:
    """The ids of all accounts, by partition."""
    homes: list[list[int]] = [[] for _ in range(partitions)]
    after = 0
    while True:
        async with connection(pool) as pg:
            page = await pg.fetch(statements.audit.accounts, after, ACCOUNTS_AT_ONCE)
        for account_id, partition in page:
            homes[partition].append(account_id)
            after = account_id
        if len(page) < ACCOUNTS_AT_ONCE:
            return homes
