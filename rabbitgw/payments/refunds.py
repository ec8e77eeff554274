"""Refunds that we ask for: money is taken out of the wallet first, then sent back by the provider.

Owns the steps, each of which may be the last that a process makes; the next one to come goes on from there:

    requested   the row, under the order's lock: at most what was paid, less what went back, less what is disputed
    taken       out of the wallet into refunds:pending, by takes.py, so that no call spends it meanwhile
    pending     the provider has it, under an id of its own; succeeded or failed come by facts.py
    refused     the wallet had not enough left; nothing moved

The provider is asked outside of any transaction, by a key made of our id. What it will not do goes back where it was.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rabbitgw import metrics, statements, telemetry
from rabbitgw.billing import ledger
from rabbitgw.billing.wallets import KEY_CHARS_MAX
from rabbitgw.clock import new_id
from rabbitgw.errors import (
    Conflict,
    InvariantBroken,
    NotFound,
    PaymentError,
    PaymentsOff,
    PaymentUnavailable,
    RequestInvalid,
    StoreError,
    TakeShort,
)
from rabbitgw.payments import booking
from rabbitgw.payments.booking import CLAIMED, RefundMove, refund_lines
from rabbitgw.payments.contract import RefundState
from rabbitgw.payments.currencies import minor_of_nanos, nanos_of_minor
from rabbitgw.payments.facts import bonus_share, forward_refund, status_of
from rabbitgw.payments.leases import LEASE, pause_after
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.billing.takes import Takes
    from rabbitgw.payments.registry import Providers
    from rabbitgw.payments.sync import Sync
    from rabbitgw.stores import Pool, PoolConnection

REASON_CHARS_MAX: Final = 500
LOST: Final = "lost"  # of a dispute: what it took cannot be sent back as well


@dataclass(frozen=True, slots=True)
class Refund:
    """`state`: as in the table; `provider_refund_id` None: the provider has not answered yet."""

    id: UUID
    order_id: str
    state: str
    amount_minor: int
    provider_refund_id: str | None
    failure: str | None


class Refunds:
    """`unspent_only`: refund no more than the wallet has left."""

    def __init__(
        self, pg: Pool, takes: Takes, providers: Providers, sync: Sync, *, unspent_only: bool
    ) -> None:
        self._pg = pg
        self._takes = takes
        self._providers = providers
        self._sync = sync
        self._unspent_only = unspent_only

    async def refund(
        self,
        *,
        order_id: str | None,
        provider_txn_id: str | None,
        amount_minor: int | None,
        reason: str | None,
        idempotency_key: str | None,
    ) -> Refund:
        """Begin a refund and bring it as far as it goes now; what is left of the way the worker goes.

        Raises: NotFound, RequestInvalid (naming the field), Conflict (nothing left, disputed, the key is used
                otherwise), TakeShort, PaymentRefused (the money is in the wallet again), PaymentsOff, StoreError.
        """
        _check(reason, idempotency_key)
        async with connection(self._pg) as db:
            found = order_id or await db.fetchval(statements.orders.by_any_txn, provider_txn_id)
        if found is None:
            raise NotFound("there is no order of this provider_txn_id", field="provider_txn_id")
        row, fresh = await self._request(found, amount_minor, reason, idempotency_key)
        if fresh:
            await self.drive(row, raising=True)
        return await self._get(row["id"])

    async def _get(self, refund_id: UUID) -> Refund:
        async with connection(self._pg) as db:
            row = await db.fetchrow(statements.refunds.get, refund_id)
        assert row is not None
        return Refund(
            row["id"],
            row["order_id"],
            row["state"],
            row["amount_minor"],
            row["provider_refund_id"],
            row["failure"],
        )

    # -- requested --

    async def _request(
        self, order_id: str, amount_minor: int | None, reason: str | None, key: str | None
    ) -> tuple[asyncpg.Record, bool]:
        """The refund's row, and whether it was made just now: then it is ours to drive."""
        async with transaction(self._pg) as db:
            order = await db.fetchrow(statements.orders.lock, order_id)
            if order is None:
                raise NotFound(f"order {order_id} does not exist", field="order_id")
            self._providers.get(order["provider"])
            rows = await db.fetch(statements.refunds.of_order, order_id)
            known = next((row for row in rows if key is not None and row["idempotency_key"] == key), None)
            if known is not None:
                if amount_minor not in (None, known["amount_minor"]):
                    raise Conflict("idempotency_key: it was used for another refund", field="idempotency_key")
                return known, False
            payment, left_minor = await self._left(db, order, rows)
            amount_minor = left_minor if amount_minor is None else amount_minor
            if amount_minor > left_minor:
                raise RequestInvalid(
                    f"amount_cents: {left_minor} of {payment['currency']} are left to refund",
                    field="amount_cents",
                )
            row = await db.fetchrow(
                statements.refunds.create, new_id(), order_id, payment["id"], order["provider"], None, key,
                amount_minor, nanos_of_minor(payment["currency"], amount_minor),
                await bonus_share(db, order, payment, amount_minor), payment["booked_to"], reason, "requested", True,
                LEASE,
            )  # fmt: skip
        assert row is not None
        telemetry.log("refund_requested", **_shown(row))
        return row, True

    async def _left(
        self, db: PoolConnection, order: asyncpg.Record, refunds: list[asyncpg.Record]
    ) -> tuple[asyncpg.Record, int]:
        """The payment that can be refunded, and how much of it."""
        order_id, status = order["order_id"], order["status"]
        payments = await db.fetch(statements.payments.of_order, order_id)
        if not payments:
            raise Conflict(f"order {order_id} is {status}: nothing was paid", field="order_id")
        disputes = await db.fetch(statements.disputes.of_order, order_id)
        if any(one["frozen_nanos"] and one["status"] != LOST for one in disputes):
            raise Conflict(f"order {order_id} is disputed: the bank decides first", field="order_id")
        # what came in beside the order goes back first
        for payment in sorted(payments, key=lambda one: one["booked_to"] != booking.CLEARING):
            lost_nanos = sum(one["frozen_nanos"] for one in disputes if one["payment_id"] == payment["id"])
            gone = minor_of_nanos(payment["currency"], lost_nanos) + sum(
                row["amount_minor"]
                for row in refunds
                if row["payment_id"] == payment["id"] and row["state"] in CLAIMED
            )
            if payment["amount_minor"] > gone:
                return payment, payment["amount_minor"] - gone
        raise Conflict(f"order {order_id} is {status}: nothing is left to refund", field="order_id")

    # -- the steps --

    async def run_one(self) -> bool:
        """Drive one refund that waits. Returns: whether there was one. Raises: StoreError."""
        async with connection(self._pg) as db:
            row = await db.fetchrow(statements.refunds.claim, LEASE)
        if row is None:
            return False
        await self.drive(row)
        return True

    async def drive(self, row: asyncpg.Record, *, raising: bool = False) -> None:
        """Bring a refund on, from wherever it is. `raising`: tell who waits why it went no further."""
        try:
            if row["state"] == "requested":
                await self._take(row)
            await self._send(row)
        except TakeShort as error:
            await self._refuse(row, error.message)
            if raising:
                raise
        except (PaymentUnavailable, PaymentsOff, NotFound, StoreError) as error:
            # A provider that is not set up now may have had it in an earlier try: nothing is given back for that.
            pause = pause_after(row["attempts"])
            telemetry.warn("refund_waits", **_shown(row), reason=error.message, attempts=row["attempts"],
                           pause_s=int(pause.total_seconds()))  # fmt: skip
            async with connection(self._pg) as db:
                await db.execute(statements.refunds.try_again, row["id"], pause)
        except PaymentError as error:
            await self._give_back(row, error)
            if raising:
                raise

    async def _take(self, row: asyncpg.Record) -> None:
        async with transaction(self._pg) as db:
            order, refund = await _locked(db, row)
            if refund["state"] != "requested":
                return
            currency, move = (await _payment(db, refund))["currency"], RefundMove(refund)
            if move.taken_from == booking.CLEARING:
                taken = await booking.book_refund(db, order, currency, move)
            else:
                # the bound of overspend goes by what was set aside
                detail = {"refund_id": move.refund_id, "set_aside": self._unspent_only}
                moved = await self._takes.take(
                    db, account_id=order["account_id"], partition=order["partition"], currency=currency,
                    amount_nanos=move.total_nanos, take_id=refund["id"], lines=refund_lines(order, currency, move),
                    kind=ledger.REFUND, ref=order["order_id"], detail=detail, may_overdraw=not self._unspent_only,
                )  # fmt: skip
                taken = moved.ledger_transaction_id
            await db.execute(statements.refunds.move, refund["id"], "taken", None, None, taken, None, None)
            await _set_status(db, order)
        await self._sync.tell_redis(order)

    async def _send(self, row: asyncpg.Record) -> None:
        async with connection(self._pg) as db:
            refund = await db.fetchrow(statements.refunds.get, row["id"])
            assert refund is not None
            payment = await _payment(db, refund)
        if refund["state"] != "taken":
            return
        provider = self._providers.get(refund["provider"])
        result = await provider.refund(
            payment["payment_id"], refund["amount_minor"], refund["reason"], refund_id=str(refund["id"])
        )
        await self._forward(row, result.state, result.provider_refund_id, result.failure)

    async def _give_back(self, row: asyncpg.Record, error: PaymentError) -> None:
        telemetry.error("refund_failed", exc=error, **_shown(row))
        await self._forward(row, RefundState.FAILED, None, error.provider_code or error.code)

    async def _forward(
        self, row: asyncpg.Record, state: RefundState, provider_refund_id: str | None, failure: str | None
    ) -> None:
        async with transaction(self._pg) as db:
            order, refund = await _locked(db, row)
            payment = await _payment(db, refund)
            await forward_refund(db, order, payment, refund, state, provider_refund_id, failure)
            await _set_status(db, order)
        metrics.REFUNDED.add(1, order["provider"], state.value)
        telemetry.log("refund_forwarded", **_shown(row), state=state.value)
        await self._sync.tell_redis(order)

    async def _refuse(self, row: asyncpg.Record, why: str) -> None:
        """The wallet has not enough. What an earlier try set aside is given back after the decision."""
        async with transaction(self._pg) as db:
            order, refund = await _locked(db, row)
            if refund["state"] != "requested":
                return
            await db.execute(statements.refunds.move, refund["id"], "refused", None, why, None, None, None)
            payment = await _payment(db, refund)
        with suppress(StoreError):  # only a command that is still on its way could have set anything aside
            await self._takes.put_back(
                account_id=order["account_id"],
                partition=order["partition"],
                currency=payment["currency"],
                take_id=refund["id"],
            )
        telemetry.log("refund_refused", **_shown(row), reason=why)


def _check(reason: str | None, key: str | None) -> None:
    for field, text, chars_max in (
        ("reason", reason, REASON_CHARS_MAX),
        ("idempotency_key", key, KEY_CHARS_MAX),
    ):
        if text is not None and not (1 <= len(text) <= chars_max and text.isprintable()):
            raise RequestInvalid(f"{field}: 1 to {chars_max} printable characters", field=field)


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    """A refund in the log, of a row that has its currency."""
    return {
        "order_id": row["order_id"],
        "provider": row["provider"],
        "refund_id": str(row["id"]),
        "amount_cents": row["amount_minor"],
        "currency": row["currency"],
    }


async def _locked(db: PoolConnection, row: asyncpg.Record) -> tuple[asyncpg.Record, asyncpg.Record]:
    """The order first, as everywhere."""
    order = await db.fetchrow(statements.orders.lock, row["order_id"])
    refund = await db.fetchrow(statements.refunds.lock, row["id"])
    if order is None or refund is None:
        raise InvariantBroken(f"refund {row['id']} of order {row['order_id']} is gone")
    return order, refund


async def _payment(db: PoolConnection, refund: asyncpg.Record) -> asyncpg.Record:
    payments = await db.fetch(statements.payments.of_order, refund["order_id"])
    return next(payment for payment in payments if payment["id"] == refund["payment_id"])


async def _set_status(db: PoolConnection, order: asyncpg.Record) -> None:
    payments = await db.fetch(statements.payments.of_order, order["order_id"])
    await db.execute(
        statements.orders.set_status, order["order_id"], await status_of(db, order, payments, order["status"])
    )
