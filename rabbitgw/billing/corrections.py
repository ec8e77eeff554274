"""Corrections in the books: what calls were charged too much or too little, booked once per call and never in place.

Owns the SQL transaction's part that moves money: locked wallets, one ledger transaction per wallet, numbered changes
for Redis, a row per call. Knows no price and no run. A usage row keeps what was charged at the time. The windows in
which a call counted keep that too: what a limit let through is not decided anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from rabbitgw import statements
from rabbitgw.billing import ledger
from rabbitgw.billing.recosting import Change
from rabbitgw.money import AMOUNT_NANOS_MAX

if TYPE_CHECKING:
    from rabbitgw.stores import PoolConnection


class Told(NamedTuple):
    """A wallet whose change Redis has to learn."""

    account_id: int
    partition: int


@dataclass(slots=True)
class Sums:
    """Changes of one account. `added_nanos` and `taken_nanos` are what its calls cost more and less, both >= 0."""

    calls: int = 0
    old_nanos: int = 0
    new_nanos: int = 0
    added_nanos: int = 0
    taken_nanos: int = 0

    def add(self, change: Change) -> None:
        self.calls += 1
        self.old_nanos += change.old_nanos
        self.new_nanos += change.new_nanos
        if change.new_nanos > change.old_nanos:
            self.added_nanos += change.difference_nanos
        else:
            self.taken_nanos -= change.difference_nanos

    @property
    def difference_nanos(self) -> int:
        return self.new_nanos - self.old_nanos

    @property
    def moves(self) -> bool:
        return bool(self.added_nanos or self.taken_nanos)


def sums_of(changes: Sequence[Change]) -> dict[int, Sums]:
    """By account."""
    found: dict[int, Sums] = {}
    for change in changes:
        found.setdefault(change.account_id, Sums()).add(change)
    return found


def overdraws(balance_nanos: int, difference_nanos: int) -> bool:
    """Would a correction leave a wallet below zero that it makes smaller?"""
    return difference_nanos > 0 and balance_nanos < difference_nanos


@dataclass(slots=True)
class Booked:
    """`left_out`: accounts whose wallets would not have borne it, or that have none."""

    told: list[Told] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)


async def book_corrections(
    db: PoolConnection,
    rerate_id: int,
    changes: Sequence[Change],
    *,
    versions: tuple[int, int],
    currency: str,
    may_overdraw: bool,
) -> Booked:
    """Book changes of calls, inside the caller's transaction.

    `versions`: the wrong one and the right one.
    Raises: asyncpg.UniqueViolationError when one of the calls was corrected meanwhile.
    """
    sums = sums_of(changes)
    wallets = await db.fetch(statements.wallets.lock_many, sorted(sums), currency)
    booked = Booked(left_out=set(sums))
    for account_id, _, balance_nanos in wallets:
        after_nanos = balance_nanos - sums[account_id].difference_nanos
        short = not may_overdraw and overdraws(balance_nanos, sums[account_id].difference_nanos)
        if not short and abs(after_nanos) <= AMOUNT_NANOS_MAX:
            booked.left_out.discard(account_id)
    moving = [
        Told(account_id, partition)
        for account_id, partition, _ in wallets
        if account_id not in booked.left_out and sums[account_id].moves
    ]
    ids = await _move_wallets(db, rerate_id, [one.account_id for one in moving], sums, currency)
    booked.told = [one for one in moving if sums[one.account_id].difference_nanos]
    await _append(db, rerate_id, [one for one in changes if one.account_id not in booked.left_out],
                  versions, currency, ids)  # fmt: skip
    return booked


async def _move_wallets(
    db: PoolConnection, rerate_id: int, accounts: Sequence[int], sums: dict[int, Sums], currency: str
) -> dict[int, int]:
    """Ledger transactions, balances, numbers for Redis. Returns the transactions' ids by account."""
    if not accounts:
        return {}
    ids = dict(zip(accounts, await ledger.take_ids(db, len(accounts)), strict=True))
    transactions = [
        ledger.Transaction(
            ids[account_id],
            ledger.CORRECTION,
            ledger.charge_lines(
                account_id,
                currency,
                charged_nanos=sums[account_id].added_nanos,
                returned_nanos=sums[account_id].taken_nanos,
            ),
            account_id,
            f"rerate:{rerate_id}",
        )
        for account_id in accounts
    ]
    await ledger.append(db, transactions)
    # What adds up to nothing moves no balance, and Redis needs no telling of it.
    moved = [account_id for account_id in accounts if sums[account_id].difference_nanos]
    await db.execute(
        statements.wallets.credit_many,
        currency,
        moved,
        [-sums[account_id].difference_nanos for account_id in moved],
        [ids[account_id] for account_id in moved],
    )
    return ids


async def _append(
    db: PoolConnection,
    rerate_id: int,
    changes: Collection[Change],
    versions: tuple[int, int],
    currency: str,
    ids: dict[int, int],
) -> None:
    await db.execute(
        statements.corrections.append,
        rerate_id,
        *versions,
        currency,
        [change.usage_id for change in changes],
        [change.number for change in changes],
        [change.account_id for change in changes],
        [change.old_nanos for change in changes],
        [change.new_nanos for change in changes],
        [ids[change.account_id] if change.difference_nanos else None for change in changes],
    )


async def corrections_of(db: PoolConnection, usage_id: UUID) -> list[dict[str, Any]]:
    """The corrections of a call, as its bill line shows them."""
    return [
        {
            "rerate_id": row["rerate_id"],
            "corrected_at": row["created_at"],
            "old_price_version": row["old_version"],
            "price_version": row["new_version"],
            "old_nanos": row["old_nanos"],
            "new_nanos": row["new_nanos"],
        }
        for row in await db.fetch(statements.corrections.of_call, usage_id)
    ]
