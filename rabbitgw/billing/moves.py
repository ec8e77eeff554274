"""Moves a wallet in the books: ledger lines, balance and the number for Redis, in the caller's SQL transaction.

Owns the order of the steps and the limit of a balance. Knows nobody who pays or is paid, and no Redis: credits.py tells
it after the commit. Charges of calls do not come here; they are in Redis first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rabbitgw import statements
from rabbitgw.billing import ledger
from rabbitgw.errors import BalanceLimit, InvariantBroken
from rabbitgw.money import AMOUNT_NANOS_MAX

if TYPE_CHECKING:
    from rabbitgw.stores import PoolConnection


@dataclass(frozen=True, slots=True)
class LockedWallet:
    """A wallet as the books have it, locked for the rest of the SQL transaction."""

    account_id: int
    currency: str
    balance_nanos: int
    credit_seq: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A booked movement. `balance_nanos` is the ledger's, right after it; `seq` is its number in the wallet."""

    amount_nanos: int
    seq: int
    balance_nanos: int
    ledger_transaction_id: int


async def lock_wallet(db: PoolConnection, account_id: int, currency: str) -> LockedWallet:
    """Lock the wallet of an account in its own currency."""
    row = await db.fetchrow(statements.wallets.lock, account_id, currency)
    if row is None:
        raise InvariantBroken(f"account {account_id} has no wallet in its own currency, {currency}")
    return LockedWallet(account_id, currency, row["balance_nanos"], row["credit_seq"])


async def move(
    db: PoolConnection,
    wallet: LockedWallet,
    amount_nanos: int,
    lines: Sequence[ledger.Line],
    *,
    kind: str,
    ref: str | None,
    detail: dict[str, Any] | None = None,
    take_id: UUID | None = None,
) -> Moved:
    """Book one movement of a wallet, once per locked wallet: into it, or out of it where the amount is negative.

    `lines`: the whole ledger transaction, the wallet's own lines among them. `take_id`: see takes.py.
    Raises: BalanceLimit when the wallet cannot hold, or owe, that much; InvariantBroken when the lines do not move the
            wallet by the amount, or leave something over.
    """
    account_id, currency = wallet.account_id, wallet.currency
    own = [one for one in lines if (one.ledger_account, one.account_id) == (ledger.WALLET, account_id)]
    if amount_nanos != sum(one.amount_nanos for one in own if one.currency == currency):
        raise InvariantBroken(
            f"account {account_id}: the lines ({kind}, {ref}) do not move {amount_nanos} nanos"
        )
    if abs(wallet.balance_nanos + amount_nanos) > AMOUNT_NANOS_MAX:
        raise BalanceLimit(
            f"amount_nanos: the wallet holds {wallet.balance_nanos} nanos, its limit is {AMOUNT_NANOS_MAX}",
            field="amount_nanos",
        )
    transaction_id = await ledger.append_one(db, kind, lines, account_id=account_id, ref=ref, detail=detail)
    row = await db.fetchrow(
        statements.wallets.credit, account_id, currency, amount_nanos, transaction_id, take_id
    )
    if row is None:
        raise InvariantBroken(f"account {account_id}: its wallet in {currency} is gone")
    return Moved(amount_nanos, row["credit_seq"], row["balance_nanos"], transaction_id)


async def put(
    db: PoolConnection,
    *,
    account_id: int,
    currency: str,
    amount_nanos: int,
    lines: Sequence[ledger.Line],
    kind: str,
    ref: str | None,
    detail: dict[str, Any] | None = None,
) -> Moved:
    """Put money into a wallet, inside a transaction that has locked whatever decides that it happens once.

    Raises: as `move`.
    """
    wallet = await lock_wallet(db, account_id, currency)
    return await move(db, wallet, amount_nanos, lines, kind=kind, ref=ref, detail=detail)
