"""Bank transfer, confirmed by an operator: a payment provider without anybody's API.

Owns what the customer is told to do, and what the operator's confirmations say. An operator confirms with POST
/v1/webhooks/manual and the admin key; it is stored like any provider's event, and what was stored is all that this
provider knows. Each `received` is a payment of its own, named by the order and the bank's line: what comes in beside
the first, or in another currency, is no part of the first and is not lost. A refund waits until the operator says that
it was sent, or could not be.

    {"id": "bank line 4711", "type": "received", "order_id": "ord_1", "amount_cents": 1000, "currency": "USD"}
    {"id": "…", "type": "refund_sent" | "refund_failed", "order_id": "ord_1", "refund_id": "…"}
"""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

from rabbitgw import clock, statements, telemetry
from rabbitgw.errors import PaymentRefused, PaymentsOff, RequestInvalid, SignatureInvalid
from rabbitgw.payments.booking import ALIVE
from rabbitgw.payments.contract import (
    CHECKOUT_SESSION,
    Backfilled,
    InitResult,
    Order,
    PaymentEvent,
    PaymentProvider,
    PaymentState,
    PaymentStatus,
    ProviderContext,
    RefundFact,
    RefundResult,
    RefundState,
)
from rabbitgw.payments.currencies import exponent
from rabbitgw.payments.orders import AMOUNT_MINOR_MAX, ORDER_ID_PATTERN
from rabbitgw.stores import connection

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.stores import Pool, PoolConnection

PREFIX: Final = "manual:"
RECEIVED: Final = "received"
REFUNDS: Final = {"refund_sent": RefundState.SUCCEEDED, "refund_failed": RefundState.FAILED}
ID_CHARS_MAX: Final = 180  # a transfer's name is made of it and the order's, and has 255 at most
OF_LINE: Final = "/"  # which no order id has

_ORDER_ID = re.compile(ORDER_ID_PATTERN)
_CURRENCY = re.compile(r"[A-Z]{3}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def make(context: ProviderContext) -> PaymentProvider | None:
    """None while RABBITGW_BANK_DETAILS is not set."""
    if not context.settings.bank_details:
        return None
    return ManualProvider(
        context.pg, context.settings.bank_details, context.settings.admin_key.get_secret_value()
    )


class ManualProvider:
    name: ClassVar[str] = "manual"
    livemode = True  # a bank knows no other money

    def __init__(self, pg: Pool, details: str, admin_key: str) -> None:
        self._pg = pg
        self._details = details
        self._admin_key = admin_key

    async def close(self) -> None:
        pass

    async def check(self) -> str:
        return "bank transfers are confirmed by the operator"

    def check_order(self, order: Order) -> None:
        if order.methods:
            raise RequestInvalid("methods: a bank transfer knows none", field="methods")
        if order.mode == CHECKOUT_SESSION:
            raise RequestInvalid("mode: a bank transfer has no page to go to", field="mode")

    async def create_payment(self, order: Order) -> InitResult:
        return self._instructions(order.order_id)

    async def resume(self, provider_txn_id: str) -> InitResult:
        order_id, _ = _named(provider_txn_id)
        async with connection(self._pg) as db:
            await self._order(db, order_id)
        return self._instructions(order_id)

    def _instructions(self, order_id: str) -> InitResult:
        payload = {"instructions": self._details, "reference": order_id}
        return InitResult("instructions", payload, f"{PREFIX}{order_id}")

    async def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent:
        if not self._admin_key:
            raise PaymentsOff("RABBITGW_ADMIN_KEY is not set: nobody can confirm a transfer")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        given = headers.get("x-api-key") or bearer
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._admin_key.encode()):
            raise SignatureInvalid("a transfer is confirmed with the admin key")
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise RequestInvalid("the body is no JSON") from None
        if not isinstance(fields, dict):
            raise RequestInvalid("the body must be a JSON object")
        check_confirmation(fields)
        return PaymentEvent(
            event_id=fields["id"],
            type=fields["type"],
            livemode=True,
            wanted=True,
            provider_txn_id=f"{PREFIX}{fields['order_id']}",
            order_id=fields["order_id"],
            made_at=datetime.fromtimestamp(clock.now_ms() / 1000, UTC),
            exact=True,
        )

    async def refund(
        self, provider_txn_id: str, amount: int | None, reason: str | None, *, refund_id: str
    ) -> RefundResult:
        """Nothing is sent by this: it waits for the operator's word, under the id that was answered."""
        status = await self.query(provider_txn_id)
        for known in status.refunds:
            if known.refund_id == refund_id:
                return RefundResult(known.provider_refund_id, known.state)
        async with connection(self._pg) as db:
            rows = await self._refund_rows(db, str(status.order_id), str(status.payment_id))
        left_minor = status.received_minor - sum(
            row["amount_minor"] for row in rows if row["state"] in ALIVE and str(row["id"]) != refund_id
        )
        if left_minor < (amount or 1):
            raise PaymentRefused(
                f"{left_minor} of {status.currency} are left of transfer {status.payment_id}"
            )
        return RefundResult(f"{PREFIX}{refund_id}", RefundState.PENDING)

    async def query(self, provider_txn_id: str) -> PaymentStatus:
        """Of an order: its first transfer, and with it the further ones. Of a transfer: that one."""
        order_id, line_id = _named(provider_txn_id)
        async with connection(self._pg) as db:
            order = await self._order(db, order_id)
            deployment = await db.fetchval(statements.deployment.id)
            rows = await db.fetch(statements.provider_events.confirmations, self.name, f"{PREFIX}{order_id}")
            said = [orjson.loads(row["body"]) for row in rows]
            lines = [one for one in said if one["type"] == RECEIVED and line_id in (None, one["id"])]
            found = [
                PaymentStatus(
                    provider_txn_id=provider_txn_id,
                    payment_id=_payment_id(order_id, line["id"]),
                    state=PaymentState.SUCCEEDED,
                    amount_minor=order["amount_minor"],
                    received_minor=line["amount_cents"],
                    currency=line["currency"],
                    livemode=True,
                    order_id=order_id,
                    deployment=deployment,
                    refunds=await self._refunds(db, order_id, line["id"], said),
                )
                for line in lines
            ]
        spoken_of = {one["refund_id"] for one in said if one["type"] in REFUNDS}
        unknown = spoken_of - {fact.refund_id for status in found for fact in status.refunds}
        if line_id is None and unknown:
            telemetry.warn("transfer_refund_unknown", order_id=order_id, refund_ids=sorted(unknown)[:10])
        if found:
            return replace(found[0], further=tuple(found[1:]))
        if line_id is not None:
            raise PaymentRefused(f"there is no transfer {line_id[:ID_CHARS_MAX]} of order {order_id}")
        return PaymentStatus(
            provider_txn_id=provider_txn_id,
            state=PaymentState.AWAITING,
            amount_minor=order["amount_minor"],
            received_minor=0,
            currency=order["currency"],
            livemode=True,
            order_id=order_id,
            deployment=deployment,
        )

    async def _order(self, db: PoolConnection, order_id: str) -> asyncpg.Record:
        order = await db.fetchrow(statements.orders.get, order_id)
        if order is None or order["provider"] != self.name:
            raise PaymentRefused(f"no transfer is expected for order {order_id}")
        return order

    async def _refunds(
        self, db: PoolConnection, order_id: str, line_id: str, said: list[dict[str, Any]]
    ) -> tuple[RefundFact, ...]:
        """Those of one transfer that the operator has spoken of; the last word on each counts."""
        last = {one["refund_id"]: REFUNDS[one["type"]] for one in said if one["type"] in REFUNDS}
        if not last:
            return ()
        rows = await self._refund_rows(db, order_id, _payment_id(order_id, line_id))
        return tuple(
            RefundFact(f"{PREFIX}{row['id']}", row["amount_minor"], last[str(row["id"])], str(row["id"]))
            for row in rows
            if str(row["id"]) in last
        )

    async def _refund_rows(self, db: PoolConnection, order_id: str, payment_id: str) -> list[asyncpg.Record]:
        """The refunds that were asked for of one transfer."""
        payments = await db.fetch(statements.payments.of_order, order_id)
        numbers = {row["id"] for row in payments if row["payment_id"] == payment_id}
        rows = await db.fetch(statements.refunds.of_order, order_id)
        return [row for row in rows if row["payment_id"] in numbers]

    async def events(self, since: datetime) -> AsyncIterator[Backfilled]:
        kept: tuple[Backfilled, ...] = ()  # a bank keeps none for us
        for one in kept:
            yield one


def check_confirmation(fields: dict[str, Any]) -> None:
    """Raises: RequestInvalid naming the field."""
    word = fields.get("type")
    if not isinstance(word, str) or (word != RECEIVED and word not in REFUNDS):
        raise RequestInvalid(f"type: {RECEIVED}, {' or '.join(REFUNDS)}", field="type")
    wanted = {
        "id",
        "type",
        "order_id",
        *(("amount_cents", "currency") if word == RECEIVED else ("refund_id",)),
    }
    for name in sorted({*fields} ^ wanted):
        problem = "this field is required" if name in wanted else "this field is not supported"
        raise RequestInvalid(f"{name[:ID_CHARS_MAX]}: {problem}", field=name[:ID_CHARS_MAX])
    event_id = fields["id"]
    if not isinstance(event_id, str) or not 1 <= len(event_id) <= ID_CHARS_MAX or not event_id.isprintable():
        raise RequestInvalid(
            f"id: 1 to {ID_CHARS_MAX} printable characters, the bank's for this line", field="id"
        )
    if not isinstance(fields["order_id"], str) or not _ORDER_ID.fullmatch(fields["order_id"]):
        raise RequestInvalid("order_id: 1 to 64 letters, digits and . _ : -", field="order_id")
    if word != RECEIVED:
        if not isinstance(fields["refund_id"], str) or not _UUID.fullmatch(fields["refund_id"]):
            raise RequestInvalid("refund_id: as the refund was answered", field="refund_id")
        return
    amount = fields["amount_cents"]
    if type(amount) is not int or not 1 <= amount <= AMOUNT_MINOR_MAX:
        raise RequestInvalid(f"amount_cents: 1 to {AMOUNT_MINOR_MAX}", field="amount_cents")
    if not isinstance(fields["currency"], str) or not _CURRENCY.fullmatch(fields["currency"]):
        raise RequestInvalid("currency: three capital letters", field="currency")
    exponent(fields["currency"])


def _payment_id(order_id: str, line_id: str) -> str:
    return f"{PREFIX}{order_id}{OF_LINE}{line_id}"


def _named(provider_txn_id: str) -> tuple[str, str | None]:
    """The order, and the transfer if it is one's name."""
    order_id, mark, line_id = provider_txn_id.removeprefix(PREFIX).partition(OF_LINE)
    return order_id, line_id if mark else None
