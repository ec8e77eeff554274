"""Books what happens to a payment: money in, fees, refunds out and back. One ledger transaction per fact.

Owns the lines, for every provider. The caller has locked the order, has found that the fact is new, and commits the
fact's row with it; so each moves money once. Knows no provider and no Redis: whose wallets moved is told to credits.py
after the commit.

    payment     wallet +45 cash:stripe -45, and wallet +5 bonus -5; if it does not fit: clearing +45 cash:stripe -45
    accepted    clearing -45 wallet +45
    fee         cash:stripe +1.60  fees:stripe -1.60
    refund      wallet -10 refunds:pending +10,  and wallet -1.11 bonus +1.11: a bonus goes back with what it came with
    paid        refunds:pending -10 cash:stripe +10
    returned    the refund's lines the other way; from cash:stripe if it had been paid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rabbitgw.billing import ledger
from rabbitgw.billing.ledger import Line, house_line, wallet_line
from rabbitgw.billing.moves import lock_wallet, move
from rabbitgw.errors import InvariantBroken

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.stores import PoolConnection

WALLET = "wallet"
CLEARING = "clearing"
# States of refunds: those that are out of the wallet, or gone; and with them those that have a claim to it.
ALIVE: Final = ("taken", "pending", "succeeded")
CLAIMED: Final = (*ALIVE, "requested")


async def book_payment(
    db: PoolConnection,
    order: asyncpg.Record,
    *,
    payment_id: str,
    currency: str,
    amount_nanos: int,
    bonus_nanos: int,
    to: str,
) -> int:
    """Money came in. Returns: the ledger transaction's id."""
    lines = [
        *_owner(order, to, currency, amount_nanos),
        house_line(ledger.cash(order["provider"]), currency, -amount_nanos),
    ]
    lines += bonus_lines(order, to, currency, bonus_nanos)
    return await _append(db, order, currency, ledger.PAYMENT, lines, {"payment_id": payment_id})


async def book_accepted(db: PoolConnection, order: asyncpg.Record, payment: asyncpg.Record) -> int:
    """A person has decided that money in clearing is the account's."""
    nanos, currency = payment["amount_nanos"], payment["currency"]
    lines = [*_owner(order, WALLET, currency, nanos), *_owner(order, CLEARING, currency, -nanos)]
    return await _append(
        db, order, currency, ledger.PAYMENT_ACCEPTED, lines, {"payment_id": payment["payment_id"]}
    )


async def book_fee(
    db: PoolConnection, order: asyncpg.Record, *, payment_id: str, currency: str, fee_nanos: int
) -> int | None:
    """What the provider kept. Returns: the ledger transaction's id; None for nothing."""
    if not fee_nanos:
        return None
    provider = order["provider"]
    lines = [
        house_line(ledger.cash(provider), currency, fee_nanos),
        house_line(ledger.fees(provider), currency, -fee_nanos),
    ]
    return await _append(db, order, currency, ledger.FEE, lines, {"payment_id": payment_id})


def refund_lines(order: asyncpg.Record, currency: str, refund: RefundMove) -> list[Line]:
    """Out of the wallet, or out of clearing."""
    return [
        *_owner(order, refund.taken_from, currency, -refund.amount_nanos),
        house_line(ledger.REFUNDS_PENDING, currency, refund.amount_nanos),
        *bonus_lines(order, refund.taken_from, currency, -refund.bonus_nanos),
    ]


async def book_refund(db: PoolConnection, order: asyncpg.Record, currency: str, refund: RefundMove) -> int:
    """Take a refund that the provider has begun, or begins whatever the wallet has left."""
    lines = refund_lines(order, currency, refund)
    return await _append(db, order, currency, ledger.REFUND, lines, {"refund_id": refund.refund_id})


async def book_refund_paid(
    db: PoolConnection, order: asyncpg.Record, currency: str, refund: RefundMove
) -> int:
    """The provider has sent it back."""
    lines = [
        house_line(ledger.REFUNDS_PENDING, currency, -refund.amount_nanos),
        house_line(ledger.cash(order["provider"]), currency, refund.amount_nanos),
    ]
    return await _append(db, order, currency, ledger.REFUND_PAID, lines, {"refund_id": refund.refund_id})


async def book_refund_returned(
    db: PoolConnection, order: asyncpg.Record, currency: str, refund: RefundMove, *, was_paid: bool
) -> int:
    """It was not sent after all: back to where it was taken from."""
    source = ledger.cash(order["provider"]) if was_paid else ledger.REFUNDS_PENDING
    lines = [
        *_owner(order, refund.taken_from, currency, refund.amount_nanos),
        house_line(source, currency, -refund.amount_nanos),
        *bonus_lines(order, refund.taken_from, currency, refund.bonus_nanos),
    ]
    return await _append(db, order, currency, ledger.REFUND_RETURNED, lines, {"refund_id": refund.refund_id})


class RefundMove:
    """The amounts of a refund's row."""

    __slots__ = ("amount_nanos", "bonus_nanos", "refund_id", "taken_from")

    def __init__(self, row: asyncpg.Record) -> None:
        self.refund_id = str(row["id"])
        self.amount_nanos: int = row["amount_nanos"]
        self.bonus_nanos: int = row["bonus_nanos"]
        self.taken_from: str = row["taken_from"]

    @property
    def total_nanos(self) -> int:
        return self.amount_nanos + self.bonus_nanos


async def book_dispute(
    db: PoolConnection,
    order: asyncpg.Record,
    currency: str,
    *,
    dispute_id: str,
    taken_from: str,
    frozen_nanos: int,
    bonus_nanos: int,
    withdrawn_nanos: int,
    fee_nanos: int,
) -> None:
    """Changes of what a dispute has frozen, of the bonus with it, of what the provider has taken, and of its fees."""
    provider = order["provider"]
    moves = [
        *_owner(order, taken_from, currency, -frozen_nanos),
        *bonus_lines(order, taken_from, currency, -bonus_nanos),
        house_line(ledger.DISPUTES, currency, frozen_nanos - withdrawn_nanos),
        house_line(ledger.cash(provider), currency, withdrawn_nanos + fee_nanos),
        house_line(ledger.fees(provider), currency, -fee_nanos),
    ]
    lines = [line for line in moves if line.amount_nanos]
    if lines:
        await _append(db, order, currency, ledger.DISPUTE, lines, {"dispute_id": dispute_id})


def bonus_lines(order: asyncpg.Record, owner: str, currency: str, bonus_nanos: int) -> list[Line]:
    if not bonus_nanos:
        return []
    if owner != WALLET:
        raise InvariantBroken(f"order {order['order_id']}: a bonus of {bonus_nanos} nanos without a wallet")
    return list(ledger.credit_lines(order["account_id"], currency, bonus_nanos, ledger.BONUS))


def _owner(order: asyncpg.Record, owner: str, currency: str, amount_nanos: int) -> list[Line]:
    """The line of whose money it is."""
    if owner == WALLET:
        return [wallet_line(order["account_id"], currency, amount_nanos)]
    return [house_line(ledger.CLEARING, currency, amount_nanos)]


async def _append(
    db: PoolConnection,
    order: asyncpg.Record,
    currency: str,
    kind: str,
    lines: Sequence[Line],
    detail: dict[str, Any],
) -> int:
    account_id, ref = order["account_id"], order["order_id"]
    own_nanos = sum(line.amount_nanos for line in lines if line.ledger_account == ledger.WALLET)
    if not own_nanos:
        return await ledger.append_one(db, kind, lines, account_id=account_id, ref=ref, detail=detail)
    wallet = await lock_wallet(db, account_id, currency)
    moved = await move(db, wallet, own_nanos, lines, kind=kind, ref=ref, detail=detail)
    return moved.ledger_transaction_id
