"""Bank transfer, confirmed by an operator: a payment provider without anybody's API.

Owns what the customer is told to do, and what the operator's confirmations say. An operator confirms with POST
/v1/webhooks/manual and the admin key; it is stored like any provider's event, and what was stored is all that this
provider knows: `query` adds it up. A refund waits until the operator says that it was sent, or could not be.

    {"id": "bank line 4711", "type": "received", "order_id": "ord_1", "amount_cents": 1000, "currency": "USD"}
    {"id": "…", "type": "refund_sent" | "refund_failed", "order_id": "ord_1", "refund_id": "…"}
"""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

from rabbitgw import clock, statements
from rabbitgw.errors import PaymentRefused, PaymentsOff, RequestInvalid, SignatureInvalid
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
from rabbitgw.payments.orders import AMOUNT_MINOR_MAX, ORDER_ID_PATTERN
from rabbitgw.stores import connection

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

PREFIX: Final = "manual:"
RECEIVED: Final = "received"
REFUNDS: Final = {"refund_sent": RefundState.SUCCEEDED, "refund_failed": RefundState.FAILED}
ID_CHARS_MAX: Final = 200

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
        return self._instructions(_order_id(provider_txn_id))

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
        )

    async def refund(
        self, provider_txn_id: str, amount: int | None, reason: str | None, *, refund_id: str
    ) -> RefundResult:
        for known in (await self.query(provider_txn_id)).refunds:
            if known.refund_id == refund_id:
                return RefundResult(known.provider_refund_id, known.state)
        return RefundResult(f"{PREFIX}{refund_id}", RefundState.PENDING)

    async def query(self, provider_txn_id: str) -> PaymentStatus:
        order_id = _order_id(provider_txn_id)
        async with connection(self._pg) as db:
            order = await db.fetchrow(statements.orders.get, order_id)
            rows = await db.fetch(statements.provider_events.confirmations, self.name, provider_txn_id)
        if order is None or order["provider"] != self.name:
            raise PaymentRefused(f"there is no transfer of order {order_id}")
        said = [orjson.loads(row["body"]) for row in rows]
        received = [one for one in said if one["type"] == RECEIVED]
        currency = received[0]["currency"] if received else order["currency"]
        return PaymentStatus(
            provider_txn_id=provider_txn_id,
            payment_id=provider_txn_id,
            state=PaymentState.SUCCEEDED if received else PaymentState.AWAITING,
            amount_minor=order["amount_minor"],
            received_minor=sum(one["amount_cents"] for one in received if one["currency"] == currency),
            currency=currency,
            livemode=True,
            order_id=order_id,
            refunds=tuple(await self._refunds(said)),
        )

    async def _refunds(self, said: list[dict[str, Any]]) -> list[RefundFact]:
        """The last word on each refund counts."""
        last = {one["refund_id"]: one["type"] for one in said if one["type"] in REFUNDS}
        found = []
        for refund_id, word in last.items():
            async with connection(self._pg) as db:
                row = await db.fetchrow(statements.refunds.get, refund_id)
            if row is not None and row["provider"] == self.name:
                found.append(
                    RefundFact(
                        f"{PREFIX}{refund_id}", row["amount_minor"], REFUNDS[word], refund_id=refund_id
                    )
                )
        return found

    async def events(self, since: datetime) -> AsyncIterator[Backfilled]:
        kept: tuple[Backfilled, ...] = ()  # a bank keeps none for us
        for one in kept:
            yield one


def check_confirmation(fields: dict[str, Any]) -> None:
    """Raises: RequestInvalid naming the field."""
    word = fields.get("type")
    if word != RECEIVED and word not in REFUNDS:
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


def _order_id(txn_id: str) -> str:
    return txn_id.removeprefix(PREFIX)
