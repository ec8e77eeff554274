"""Applies what a provider says of a payment to its order: each fact moves money once, and only forward.

Owns which facts are new, and what an order's status is. The caller has locked the order and knows that no later look at
the provider was applied. How money moves is booking.py's; disputes are dispute_facts.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from rabbitgw import statements, telemetry
from rabbitgw.clock import new_id
from rabbitgw.errors import BalanceLimit
from rabbitgw.payments import booking
from rabbitgw.payments.booking import ALIVE, CLAIMED, RefundMove
from rabbitgw.payments.codes import release_for_order, use_for_order
from rabbitgw.payments.contract import CHECKOUT_SESSION, PaymentState, PaymentStatus, RefundFact, RefundState
from rabbitgw.payments.currencies import nanos_of_minor
from rabbitgw.payments.dispute_facts import apply_disputes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from rabbitgw.stores import PoolConnection


@dataclass(frozen=True, slots=True)
class Applied:
    """`status`: the order's now. `review`: why it needs a person, if it came to that just now."""

    status: str
    review: str | None = None


async def apply_facts(
    db: PoolConnection, order: asyncpg.Record, facts: PaymentStatus, read: int, *, stray: bool = False
) -> Applied:
    """Apply one look at the provider. `stray`: it names the order, which is bound to another payment.

    Raises: RequestInvalid when an amount is beyond what books can hold.
    """
    payments = list(await db.fetch(statements.payments.of_order, order["order_id"]))
    payment_id = facts.payment_id or facts.provider_txn_id
    payment = next((one for one in payments if one["payment_id"] == payment_id), None)
    review = None
    fresh = payment is None and facts.received_minor > 0
    if fresh:
        review = misfit(order, facts, payments, stray=stray)
        try:
            async with db.transaction():
                payment = await _receive(db, order, facts, payment_id, review)
        except BalanceLimit as error:  # the money came in all the same
            review = error.message
            payment = await _receive(db, order, facts, payment_id, review)
        payments.append(payment)
    if payment is not None:
        if payment["fee_nanos"] is None and facts.fee_nanos is not None and facts.fee_currency is not None:
            await _fee(db, order, payment, facts.fee_currency, facts.fee_nanos)
        await _refunds(db, order, payment, facts.refunds)
        review = await apply_disputes(db, order, payment, facts.disputes) or review
    status = await status_of(db, order, payments, order["status"] if stray else facts.state.value)
    if review is not None:
        status = "needs_review"
    if status == PaymentState.CANCELED.value:
        await release_for_order(db, order["order_id"])
    # the payment of a session is no name of the session
    made = (
        None
        if order["mode"] == CHECKOUT_SESSION and facts.provider_txn_id == facts.payment_id
        else facts.provider_txn_id
    )
    await db.execute(
        statements.orders.applied,
        order["order_id"],
        read,
        status,
        order["failure_code"] if stray else facts.failure_code,
        review or order["review_reason"],
        None if stray else made,
        None if stray else payment_id if payment is not None else facts.payment_id,
        fresh,
    )
    return Applied(status, review)


def misfit(
    order: asyncpg.Record, facts: PaymentStatus, payments: Sequence[asyncpg.Record], *, stray: bool
) -> str | None:
    """Why money that came in is not what the order asked for, or None."""
    if stray or payments:
        return "another payment than the order's own"
    if facts.order_id is not None and facts.order_id != order["order_id"]:
        return f"the payment names order {facts.order_id}"
    if facts.currency != order["currency"]:
        return f"{order['currency']} were asked for, {facts.currency} came in"
    if facts.received_minor != order["amount_minor"]:
        return f"{order['amount_minor']} minor units of {facts.currency} were asked for, {facts.received_minor} came in"
    return None


async def _receive(
    db: PoolConnection, order: asyncpg.Record, facts: PaymentStatus, payment_id: str, review: str | None
) -> asyncpg.Record:
    amount_nanos = nanos_of_minor(facts.currency, facts.received_minor)
    to = booking.WALLET if review is None else booking.CLEARING
    bonus_nanos = 0
    if review is None:
        bonus_nanos = order["bonus_nanos"] + await use_for_order(db, order["order_id"])
    elif payment_id == order["provider_txn_id"]:
        await release_for_order(db, order["order_id"])
    transaction_id = await booking.book_payment(
        db, order, payment_id=payment_id, currency=facts.currency, amount_nanos=amount_nanos, bonus_nanos=bonus_nanos,
        to=to,
    )  # fmt: skip
    if review is None:
        await use_for_order(db, order["order_id"], transaction_id)
    row = await db.fetchrow(
        statements.payments.append,
        order["order_id"],
        order["provider"],
        payment_id,
        facts.currency,
        facts.received_minor,
        amount_nanos,
        bonus_nanos,
        to,
        transaction_id,
    )
    assert row is not None
    return row


async def _fee(
    db: PoolConnection, order: asyncpg.Record, payment: asyncpg.Record, currency: str, fee_nanos: int
) -> None:
    transaction_id = await booking.book_fee(
        db, order, payment_id=payment["payment_id"], currency=currency, fee_nanos=fee_nanos
    )
    await db.execute(statements.payments.fee, payment["id"], currency, fee_nanos, transaction_id)


# -- refunds --


async def _refunds(
    db: PoolConnection, order: asyncpg.Record, payment: asyncpg.Record, facts: Sequence[RefundFact]
) -> None:
    if not facts:
        return
    rows = await db.fetch(statements.refunds.of_order, order["order_id"])
    known = {row["provider_refund_id"]: row for row in rows if row["provider_refund_id"] is not None}
    ours = {str(row["id"]): row for row in rows if row["ours"]}
    # What failed frees its share of a bonus for what was made after it. Ours have their shares already.
    for fact in sorted(facts, key=lambda one: (one.state is not RefundState.FAILED, one.refund_id is None)):
        row = known.get(fact.provider_refund_id) or ours.get(fact.refund_id or "")
        if row is None:
            row = await _foreign_refund(db, order, payment, fact)
        await forward_refund(db, order, payment, row, fact.state, fact.provider_refund_id, fact.failure)


async def _foreign_refund(
    db: PoolConnection, order: asyncpg.Record, payment: asyncpg.Record, fact: RefundFact
) -> asyncpg.Record:
    """One that somebody made at the provider: it is taken whatever the wallet has left."""
    bonus_nanos = await bonus_share(db, order, payment, fact.amount_minor, at_provider=True)
    row = await db.fetchrow(
        statements.refunds.create, new_id(), order["order_id"], payment["id"], order["provider"],
        fact.provider_refund_id, None, fact.amount_minor, nanos_of_minor(payment["currency"], fact.amount_minor),
        bonus_nanos, payment["booked_to"], None, "requested", False, timedelta(),
    )  # fmt: skip
    assert row is not None
    return row


async def forward_refund(
    db: PoolConnection,
    order: asyncpg.Record,
    payment: asyncpg.Record,
    row: asyncpg.Record,
    state: RefundState,
    provider_refund_id: str | None,
    failure: str | None,
) -> None:
    """Bring a refund, whose order is locked, to where the provider has it. Never back from where it is."""
    before, currency, refund = row["state"], payment["currency"], RefundMove(row)
    taken = paid = returned = None
    failed = state is RefundState.FAILED
    if before in ("requested", "refused"):
        if not failed:
            taken = await booking.book_refund(db, order, currency, refund)
        after = "taken"
    elif before == "failed" or (before == "succeeded" and not failed):
        if not failed and before == "failed":
            telemetry.error("refund_after_failure", order_id=order["order_id"], refund_id=refund.refund_id)
        return
    else:
        after = before
    if failed:
        if before in ALIVE:
            returned = await booking.book_refund_returned(
                db, order, currency, refund, was_paid=before == "succeeded"
            )
        after = "failed"
    elif state is RefundState.SUCCEEDED:
        paid = await booking.book_refund_paid(db, order, currency, refund)
        after = "succeeded"
    else:
        after = "pending"
    await db.execute(
        statements.refunds.move, row["id"], after, provider_refund_id, failure, taken, paid, returned
    )  # fmt: skip


async def bonus_share(
    db: PoolConnection,
    order: asyncpg.Record,
    payment: asyncpg.Record,
    amount_minor: int,
    *,
    at_provider: bool = False,
) -> int:
    """What of a payment's bonus goes back with an amount of it: in proportion, over all refunds together.

    `at_provider`: over those that the provider has. One of ours that is on its way it will refuse if it does not fit.
    """
    if not payment["bonus_nanos"]:
        return 0
    rows = [
        row
        for row in await db.fetch(statements.refunds.of_order, order["order_id"])
        if row["payment_id"] == payment["id"]
        and row["state"] in CLAIMED
        and not (at_provider and row["provider_refund_id"] is None)
    ]
    back_minor = min(payment["amount_minor"], sum(row["amount_minor"] for row in rows) + amount_minor)
    frozen = [
        row["frozen_bonus_nanos"] for row in await db.fetch(statements.disputes.of_order, order["order_id"])
    ]
    gone_nanos = sum(row["bonus_nanos"] for row in rows)
    bonus_nanos: int = payment["bonus_nanos"]
    share: int = bonus_nanos * back_minor // payment["amount_minor"] - gone_nanos
    return max(0, min(share, bonus_nanos - int(gone_nanos) - int(sum(frozen))))


# -- status --


async def status_of(
    db: PoolConnection, order: asyncpg.Record, payments: Sequence[asyncpg.Record], unpaid: str
) -> str:
    """What an order's status is, from its rows; `unpaid`: what it is while no money has come in."""
    if not payments:
        return PaymentState.CANCELED.value if order["status"] == PaymentState.CANCELED.value else unpaid
    refunds = await db.fetch(statements.refunds.of_order, order["order_id"])
    back = {
        payment["id"]: sum(
            row["amount_minor"]
            for row in refunds
            if row["payment_id"] == payment["id"] and row["state"] in ALIVE
        )
        for payment in payments
    }
    left = [one for one in payments if back[one["id"]] < one["amount_minor"]]
    if any(one["booked_to"] == booking.CLEARING for one in left):
        return "needs_review"
    disputes = await db.fetch(statements.disputes.of_order, order["order_id"])
    if any(row["frozen_nanos"] for row in disputes):
        return "disputed"
    if not left:
        return "refunded"
    own = (one for one in payments if one["booked_to"] == booking.WALLET)
    return "partially_refunded" if any(back[one["id"]] for one in own) else "paid"
