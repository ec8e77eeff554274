"""Applies disputes: what a cardholder's bank may take back is frozen at once, clawed back when it is taken.

Owns what a dispute keeps from the wallet. Frozen is its amount while it is open, while the provider has taken money for
it, and for good when it is lost; an inquiry freezes nothing. A bonus is frozen in proportion. The wallet may go below
zero: the money was spent, and is owed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rabbitgw import statements, telemetry
from rabbitgw.payments import booking
from rabbitgw.payments.currencies import nanos_of_minor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from rabbitgw.payments.contract import DisputeFact
    from rabbitgw.stores import PoolConnection


async def apply_disputes(
    db: PoolConnection, order: asyncpg.Record, payment: asyncpg.Record, facts: Sequence[DisputeFact]
) -> str | None:
    """Returns: why a person must look at the order, if one must."""
    if not facts:
        return None
    rows = {row["dispute_id"]: row for row in await db.fetch(statements.disputes.of_order, order["order_id"])}
    review = None
    for fact in facts:
        row = rows.get(fact.dispute_id)
        if fact.currency != payment["currency"]:
            # No rate of ours turns one into the other: a person decides.
            review = f"dispute {fact.dispute_id} is in {fact.currency}, the payment in {payment['currency']}"
            await _keep(db, order, payment, fact, (0, 0, 0, 0))
            continue
        was = (
            (0, 0, 0, 0)
            if row is None
            else (row["frozen_nanos"], row["frozen_bonus_nanos"], row["withdrawn_nanos"], row["fee_nanos"])
        )
        now = await _wanted(db, order, payment, fact)
        changes = [after - before for before, after in zip(was, now, strict=True)]
        await booking.book_dispute(
            db, order, payment["currency"], dispute_id=fact.dispute_id, taken_from=payment["booked_to"],
            frozen_nanos=changes[0], bonus_nanos=changes[1], withdrawn_nanos=changes[2], fee_nanos=changes[3],
        )  # fmt: skip
        await _keep(db, order, payment, fact, now)
        if row is None or row["status"] != fact.status:
            telemetry.warn("payment_dispute", order_id=order["order_id"], provider=order["provider"],
                           dispute_id=fact.dispute_id, status=fact.status, amount_cents=fact.amount_minor,
                           currency=fact.currency)  # fmt: skip
    return review


async def _wanted(
    db: PoolConnection,
    order: asyncpg.Record,
    payment: asyncpg.Record,
    fact: DisputeFact,
) -> tuple[int, int, int, int]:
    """Frozen, of the bonus, withdrawn, fees: as they are to be."""
    currency = payment["currency"]
    withdrawn_nanos = nanos_of_minor(currency, fact.withdrawn_minor)
    fee_nanos = nanos_of_minor(currency, fact.fee_minor)
    if not (fact.open or fact.lost or withdrawn_nanos):
        return 0, 0, withdrawn_nanos, fee_nanos
    frozen_nanos = nanos_of_minor(currency, fact.amount_minor)
    bonus_nanos = await _bonus_share(db, order, payment, fact)
    return max(frozen_nanos, withdrawn_nanos), bonus_nanos, withdrawn_nanos, fee_nanos


async def _bonus_share(
    db: PoolConnection, order: asyncpg.Record, payment: asyncpg.Record, fact: DisputeFact
) -> int:
    """Of the bonus, in proportion, as far as others have left it. Anew at each look: a refund that was on its way and
    came back had less of it frozen."""
    bonus_nanos: int = payment["bonus_nanos"]
    share = bonus_nanos * fact.amount_minor // int(payment["amount_minor"])
    refunds = await db.fetch(statements.refunds.of_order, order["order_id"])
    disputes = await db.fetch(statements.disputes.of_order, order["order_id"])
    gone = sum(row["bonus_nanos"] for row in refunds if row["state"] in booking.CLAIMED)
    gone += sum(row["frozen_bonus_nanos"] for row in disputes if row["dispute_id"] != fact.dispute_id)
    return max(0, min(share, bonus_nanos - int(gone)))


async def _keep(
    db: PoolConnection,
    order: asyncpg.Record,
    payment: asyncpg.Record,
    fact: DisputeFact,
    amounts: tuple[int, int, int, int],
) -> None:
    await db.execute(
        statements.disputes.keep, order["provider"], fact.dispute_id, order["order_id"], payment["id"], fact.currency,
        nanos_of_minor(fact.currency, fact.amount_minor), fact.status, fact.reason, *amounts,
    )  # fmt: skip
