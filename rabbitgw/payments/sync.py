"""Looks at a payment at its provider and applies what is so: what every event, poll and confirmation comes down to.

Owns which order a payment belongs to, and that an earlier look is not applied after a later one: a look takes its
number before it asks, and what it saw is left alone when a higher number was applied meanwhile. It looks again then:
the later one may have been at another payment of the order.

The provider is asked outside of any transaction. A payment is matched by the provider's id; else by the order that it
names, in this deployment. What names none of our orders is not ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rabbitgw import metrics, statements, telemetry
from rabbitgw.errors import PaymentUnavailable
from rabbitgw.payments.contract import CHECKOUT_SESSION, PaymentState
from rabbitgw.payments.facts import Applied, apply_facts
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.billing.credits import Credits
    from rabbitgw.payments.contract import PaymentProvider, PaymentStatus
    from rabbitgw.stores import Pool

NOT_OURS: Final = "no order of ours"
OTHER_MODE: Final = "of the other mode, test or live"
LOOKS_MAX: Final = 8  # each event of an order that is worked off beside may overtake once


@dataclass(frozen=True, slots=True)
class Look:
    """`order_id` None: the payment is not ours; `outcome` says why, or what the order is now."""

    order_id: str | None
    outcome: str
    facts: PaymentStatus | None = None


class Sync:
    def __init__(self, pg: Pool, credits: Credits) -> None:
        self._pg = pg
        self._credits = credits

    async def look(self, provider: PaymentProvider, txn_id: str) -> Look:
        """Read a payment and apply it.

        Raises: PaymentUnavailable, StoreError: nothing was applied, look again. PaymentRefused: the provider does not
                know it. RequestInvalid: it says what our books cannot hold.
        """
        async with connection(self._pg) as db:
            order_id = await db.fetchval(statements.orders.by_txn, provider.name, txn_id)
        if order_id is None:
            facts = await provider.query(txn_id)
            if facts.livemode != provider.livemode:
                return Look(None, OTHER_MODE, facts)
            if facts.order_id is not None:
                async with connection(self._pg) as db:
                    order_id = await db.fetchval(
                        statements.orders.by_name, provider.name, facts.order_id, facts.deployment
                    )
            if order_id is None:
                return Look(None, NOT_OURS, facts)
        for _ in range(LOOKS_MAX):
            async with connection(self._pg) as db:
                read = await db.fetchval(statements.orders.begin_read, order_id)
            facts = await provider.query(txn_id)
            if facts.livemode != provider.livemode:
                return Look(None, OTHER_MODE, facts)
            applied = await self._apply(order_id, facts, read)
            if applied is not None:
                return Look(order_id, applied.status, facts)
        raise PaymentUnavailable(
            f"order {order_id}: {LOOKS_MAX} looks at {txn_id} were overtaken by later ones"
        )

    async def _apply(self, order_id: str, facts: PaymentStatus, read: int) -> Applied | None:
        """None: a later look was applied."""
        async with transaction(self._pg) as db:
            order = await db.fetchrow(statements.orders.lock, order_id)
            assert order is not None
            if order["applied_read"] > read:
                return None
            applied = await apply_facts(db, order, facts, read, stray=is_stray(order, facts))
            for one in facts.further:
                now = await db.fetchrow(statements.orders.lock, order_id)  # as the one before has left it
                assert now is not None
                after = await apply_facts(db, now, one, read, stray=is_stray(now, one))
                applied = Applied(after.status, after.review or applied.review)
        tell(order, facts, applied)
        await self.tell_redis(order)
        return applied

    async def tell_redis(self, order: asyncpg.Record) -> None:
        """What is booked and not told is told by the credits worker. `order`: as it was locked."""
        await self._credits.apply_if_reached(order["account_id"], order["currency"], order["partition"])


def is_stray(order: asyncpg.Record, facts: PaymentStatus) -> bool:
    """Whether it names an order that is bound to another payment."""
    if (
        order["provider_txn_id"] in (None, facts.provider_txn_id)
        or facts.payment_id == order["payment_id"] is not None
    ):
        return False
    # the payment of a session is not known by name before it has begun
    return not (order["mode"] == CHECKOUT_SESSION and order["payment_id"] is None)


def tell(order: asyncpg.Record, facts: PaymentStatus, applied: Applied) -> None:
    """The line in the log."""
    what = {
        "order_id": order["order_id"],
        "provider": order["provider"],
        "amount_cents": order["amount_minor"],
        "currency": order["currency"],
        "account_id": order["account_id"],
        "status": applied.status,
    }
    if applied.status != order["status"]:
        metrics.PAYMENTS.add(1, order["provider"], applied.status)
        if applied.status == PaymentState.SUCCEEDED.value:
            metrics.PAID.add(order["amount_minor"], order["provider"], order["currency"])
    if applied.review is not None and order["status"] != "needs_review":
        telemetry.error("payment_needs_review", reason=applied.review, **what)
    elif applied.status != order["status"]:
        telemetry.log("payment_applied", was=order["status"], **what)
    if facts.state is PaymentState.FAILED and order["failure_code"] != facts.failure_code:
        telemetry.log("payment_try_failed", failure_code=facts.failure_code, **what)
