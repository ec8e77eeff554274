"""Wallets that are below zero, or have been: by how much, how far at worst, and since when. As the ledger has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rabbitgw import statements
from rabbitgw.money import units
from rabbitgw.stores import PoolConnection


@dataclass(frozen=True, slots=True)
class Overdraft:
    """`worst_nanos`: the lowest balance that the wallet ever had, in Redis or in the books. `since`: since when it has
    been below zero; null where it is not."""

    account_id: int
    currency: str
    balance_nanos: int
    worst_nanos: int
    since: datetime | None

    @property
    def overdrawn_nanos(self) -> int:
        return max(0, -self.balance_nanos)

    @property
    def overdrawn(self) -> str:
        return units(self.overdrawn_nanos)

    @property
    def balance(self) -> str:
        return units(self.balance_nanos)

    @property
    def worst(self) -> str:
        return units(self.worst_nanos)


async def overdrafts(
    db: PoolConnection, account_id: int | None, *, after: tuple[int, str] = (0, ""), rows_max: int
) -> list[Overdraft]:
    """Wallets by account and currency, those behind `after`. Raises: PostgresUnavailable."""
    rows = await db.fetch(statements.reports.overdrafts, account_id, *after, rows_max)
    return [
        Overdraft(
            row["account_id"],
            row["currency"],
            row["balance_nanos"],
            min(row["worst_nanos"], row["balance_nanos"]),
            row["below_since"],
        )
        for row in rows
    ]
