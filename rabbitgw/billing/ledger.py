"""The double-entry ledger: names of its accounts, and the one way to append to it.

Owns which ledger accounts exist and that lines sum to zero before they are sent. Knows no wallet row, no Redis.
A transaction and all its lines go in by one statement; the database refuses, on its own, lines that do not sum
to zero and any change of what was written. A mistake is corrected by a transaction that reverses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from rabbitgw import statements
from rabbitgw.errors import InvariantBroken

if TYPE_CHECKING:
    from typing import Any

    from rabbitgw.stores import Connection, PoolConnection

# Ledger accounts. Money that we owe customers is positive in `wallet`; house accounts hold the other side and
# have no balance row, so that no row is a bottleneck.
WALLET = "wallet"  # one per account and currency
REVENUE = "revenue"  # what calls have cost
CREDIT_OPERATOR = "credit:operator"  # credit that an operator gave
GRANTS = "grants"  # credit that plans gave
COMMITMENTS = "commitments"  # what was charged for being short of a plan's minimum
CLEARING = "clearing"  # money that came in and belongs nowhere yet
BONUS = "bonus"  # credit given on top of what was paid
REFUNDS_PENDING = "refunds:pending"  # taken out of wallets, and not yet sent back by the provider
DISPUTES = "disputes"  # taken out of wallets, and not yet taken from us by the provider


def cash(provider: str) -> str:
    """What a payment provider has of ours: below zero, as what customers are owed is above."""
    return f"cash:{provider}"


def fees(provider: str) -> str:
    """What a payment provider kept."""
    return f"fees:{provider}"


# Kinds of transactions.
USAGE = "usage"
CREDIT = "credit"
GRANT = "grant"  # of a usage plan's billing cycle
REDEEM = "redeem"  # of a code
COMMITMENT = "commitment"  # what a billing cycle was short of its minimum
CORRECTION = "correction"  # of what calls were charged by a wrong price
PAYMENT = "payment"  # money that came in, with its bonus
PAYMENT_ACCEPTED = "payment_accepted"  # out of clearing, by an operator
FEE = "payment_fee"  # what the provider kept of it
REFUND = "refund"  # out of the wallet, on its way back
REFUND_PAID = "refund_paid"  # the provider has sent it
REFUND_RETURNED = "refund_returned"  # it could not be sent: in the wallet again
DISPUTE = "dispute"  # frozen, taken by the provider, given back


@dataclass(frozen=True, slots=True)
class Line:
    """One signed line. `account_id` is whose wallet it is, and None for a house account."""

    ledger_account: str
    account_id: int | None
    currency: str
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A movement of money. `account_id`, `ref` and `detail` say for whom and why; only `lines` move anything."""

    id: int
    kind: str
    lines: tuple[Line, ...]
    account_id: int | None = None
    ref: str | None = None
    detail: dict[str, Any] | None = None


def wallet_line(account_id: int, currency: str, amount_nanos: int) -> Line:
    return Line(WALLET, account_id, currency, amount_nanos)


def house_line(ledger_account: str, currency: str, amount_nanos: int) -> Line:
    return Line(ledger_account, None, currency, amount_nanos)


def credit_lines(account_id: int, currency: str, amount_nanos: int, house: str) -> tuple[Line, ...]:
    """What a house account gives to a wallet, or gets from it where the amount is negative."""
    return wallet_line(account_id, currency, amount_nanos), house_line(house, currency, -amount_nanos)


def charge_lines(
    account_id: int, currency: str, *, charged_nanos: int, returned_nanos: int = 0
) -> tuple[Line, ...]:
    """What calls of a wallet have cost, and what of their cost is given back: each seen by itself in the ledger."""
    lines: list[Line] = []
    for nanos in (charged_nanos, -returned_nanos):
        if nanos:
            lines.append(wallet_line(account_id, currency, -nanos))
            lines.append(house_line(REVENUE, currency, nanos))
    return tuple(lines)


async def take_ids(connection: Connection | PoolConnection, count: int) -> list[int]:
    """Ids for transactions to come, rising. Those not used leave gaps, which mean nothing."""
    return [row["id"] for row in await connection.fetch(statements.ledger.take_ids, count)]


async def append(connection: Connection | PoolConnection, transactions: Sequence[Transaction]) -> None:
    """Append transactions with all their lines, in one statement, inside the caller's SQL transaction.

    Raises: InvariantBroken when the lines of one do not sum to zero in each currency; nothing is sent then.
    """
    if not transactions:
        return
    for transaction in transactions:
        _check(transaction)
    lines = [
        (transaction.id, number, line)
        for transaction in transactions
        for number, line in enumerate(transaction.lines, 1)
    ]
    await connection.execute(
        statements.ledger.append,
        [transaction.id for transaction in transactions],
        [transaction.kind for transaction in transactions],
        [transaction.account_id for transaction in transactions],
        [transaction.ref for transaction in transactions],
        [_json(transaction.detail) for transaction in transactions],
        [transaction_id for transaction_id, _, _ in lines],
        [number for _, number, _ in lines],
        [line.ledger_account for _, _, line in lines],
        [line.account_id for _, _, line in lines],
        [line.currency for _, _, line in lines],
        [line.amount_nanos for _, _, line in lines],
    )


async def append_one(
    connection: Connection | PoolConnection,
    kind: str,
    lines: Sequence[Line],
    *,
    account_id: int | None = None,
    ref: str | None = None,
    detail: dict[str, Any] | None = None,
) -> int:
    """Append one transaction, inside the caller's SQL transaction.

    Returns: its id.
    Raises:  InvariantBroken when the lines do not sum to zero in each currency.
    """
    (transaction_id,) = await take_ids(connection, 1)
    await append(connection, [Transaction(transaction_id, kind, tuple(lines), account_id, ref, detail)])
    return transaction_id


def _check(transaction: Transaction) -> None:
    sums: dict[str, int] = {}
    for line in transaction.lines:
        sums[line.currency] = sums.get(line.currency, 0) + line.amount_nanos
    left_over = {currency: nanos for currency, nanos in sums.items() if nanos}
    if left_over or not sums:
        raise InvariantBroken(
            f"ledger transaction {transaction.id} ({transaction.kind}, {transaction.ref}): "
            + (f"lines leave over {left_over} nanos" if left_over else "no lines")
        )


def _json(detail: dict[str, Any] | None) -> str | None:
    return None if detail is None else orjson.dumps(detail).decode()
