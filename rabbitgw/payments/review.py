"""Orders that need a person: listed, and money in clearing accepted for the wallet. Refunds send it back instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rabbitgw import statements, telemetry
from rabbitgw.errors import Conflict, NotFound
from rabbitgw.payments import booking
from rabbitgw.payments.facts import status_of
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.payments.sync import Sync
    from rabbitgw.stores import Pool

ROWS_MAX: Final = 1000


async def list_orders(
    pg: Pool, *, status: str | None, account_id: int | None, before: int | None, rows_max: int
) -> list[asyncpg.Record]:
    """Newest first. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        return await db.fetch(statements.orders.list, status, account_id, before, min(rows_max, ROWS_MAX))


async def accept(pg: Pool, sync: Sync, order_id: str) -> str:
    """Credit the wallet with what came in for an order and did not fit it: as it came, without a bonus.

    Returns: the order's status. Raises: NotFound, Conflict (nothing is in clearing, or not in the account's currency,
    or some of it went back or is disputed), PostgresUnavailable.
    """
    async with transaction(pg) as db:
        order = await db.fetchrow(statements.orders.lock, order_id)
        if order is None:
            raise NotFound(f"order {order_id} does not exist", field="order_id")
        payments = await db.fetch(statements.payments.of_order, order_id)
        kept = [one for one in payments if one["booked_to"] == booking.CLEARING]
        if not kept:
            raise Conflict(f"order {order_id}: nothing of it is in clearing", field="order_id")
        refunds = await db.fetch(statements.refunds.of_order, order_id)
        disputes = await db.fetch(statements.disputes.of_order, order_id)
        touched = {one["payment_id"] for one in refunds if one["state"] not in ("failed", "refused")}
        touched |= {one["payment_id"] for one in disputes}
        fit = [one for one in kept if one["id"] not in touched and one["currency"] == order["currency"]]
        if not fit:
            raise Conflict(
                f"order {order_id}: what is in clearing is of another currency, went back, or is disputed",
                field="order_id",
            )
        for payment in fit:
            await booking.book_accepted(db, order, payment)
            await db.execute(statements.payments.accept, payment["id"])
        payments = await db.fetch(statements.payments.of_order, order_id)
        status = await status_of(db, order, payments, order["status"])
        await db.execute(statements.orders.set_status, order_id, status)
    telemetry.log("payment_accepted", order_id=order_id, provider=order["provider"], account_id=order["account_id"],
                  amount_cents=sum(one["amount_minor"] for one in fit), currency=order["currency"])  # fmt: skip
    await sync.tell_redis(order)
    return status
