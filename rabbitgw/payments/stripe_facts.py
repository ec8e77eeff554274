"""What Stripe's objects and events say, in the contract's words. Pure; knows no connection.

Traps that stand here once: a failed try puts a PaymentIntent back to `requires_payment_method`; a Checkout Session may
be complete and unpaid; a Charge's `amount_refunded` is cumulative and never read, Refunds are counted by their ids; an
inquiry (`warning_…`) moves no money; what a dispute took is what its balance transactions say; what Stripe keeps of a
payment may be known after it succeeded only, and is told by `charge.updated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.money import NANOS_PER_UNIT
from rabbitgw.payments.contract import (
    DisputeFact,
    PaymentEvent,
    PaymentState,
    PaymentStatus,
    RefundFact,
    RefundState,
)
from rabbitgw.payments.currencies import from_stripe_amount, nanos_per_minor

ORDER_KEY: Final = "order_id"  # of metadata
DEPLOYMENT_KEY: Final = "rabbitgw_deployment"
REFUND_KEY: Final = "rabbitgw_refund"

WANTED_TYPES: Final = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.canceled",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.updated",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
_OPEN: Final = frozenset({"needs_response", "under_review", "appeal_needs_response", "appeal_under_review"})
_REFUNDS: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.FAILED,
}
_INTENTS: Final = {
    "processing": PaymentState.PROCESSING,
    "requires_capture": PaymentState.PROCESSING,
    "succeeded": PaymentState.SUCCEEDED,
    "canceled": PaymentState.CANCELED,
}

Json = Mapping[str, Any]


def read_event(event: Any) -> PaymentEvent:
    """An event's envelope. Raises: RequestInvalid when it is none (a thin event, another API's)."""
    try:
        if event["object"] != "event":
            raise ValueError
        kind, subject = event["type"], event["data"]["object"]
        metadata = subject.get("metadata") or {}
        if kind.startswith(("payment_intent.", "checkout.session.")):
            txn_id = subject["id"]
        else:
            txn_id = _id(subject.get("payment_intent"))
        return PaymentEvent(
            event_id=_text(event["id"]),
            type=_text(kind),
            livemode=bool(event["livemode"]),
            wanted=kind in WANTED_TYPES and txn_id is not None,
            provider_txn_id=txn_id,
            order_id=metadata.get(ORDER_KEY),
            made_at=datetime.fromtimestamp(event["created"], UTC),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise RequestInvalid("the body is no event of Stripe's") from None


def intent_status(intent: Json, refunds: Iterable[Json], disputes: Iterable[Json]) -> PaymentStatus:
    """A PaymentIntent with its `latest_charge.balance_transaction` expanded."""
    currency = intent["currency"].upper()
    state = _INTENTS.get(intent["status"], PaymentState.AWAITING)
    failure = intent.get("last_payment_error") or {}
    if state is PaymentState.AWAITING and failure and intent["status"] == "requires_payment_method":
        state = PaymentState.FAILED
    charge = intent.get("latest_charge")
    fee = charge.get("balance_transaction") if isinstance(charge, Mapping) else None
    fee_currency = fee["currency"].upper() if isinstance(fee, Mapping) else None
    metadata = intent.get("metadata") or {}
    return PaymentStatus(
        provider_txn_id=intent["id"],
        payment_id=intent["id"],
        state=state,
        amount_minor=from_stripe_amount(currency, intent["amount"]),
        received_minor=_received(intent, currency) if state is PaymentState.SUCCEEDED else 0,
        currency=currency,
        livemode=bool(intent["livemode"]),
        order_id=metadata.get(ORDER_KEY),
        deployment=metadata.get(DEPLOYMENT_KEY),
        failure_code=failure.get("decline_code") or failure.get("code"),
        fee_nanos=None if fee is None or fee_currency is None else _stripe_nanos(fee_currency, fee["fee"]),
        fee_currency=fee_currency,
        refunds=tuple(_refund(refund, currency) for refund in refunds),
        disputes=tuple(_dispute(dispute) for dispute in disputes),
    )


def session_status(session: Json) -> PaymentStatus:
    """A Checkout Session whose customer has not begun to pay: it has no PaymentIntent."""
    currency = session["currency"].upper()
    metadata = session.get("metadata") or {}
    expired = session["status"] == "expired"
    return PaymentStatus(
        provider_txn_id=session["id"],
        payment_id=_id(session.get("payment_intent")),
        state=PaymentState.CANCELED if expired else PaymentState.AWAITING,
        amount_minor=from_stripe_amount(currency, session["amount_total"]),
        received_minor=0,
        currency=currency,
        livemode=bool(session["livemode"]),
        order_id=metadata.get(ORDER_KEY),
        deployment=metadata.get(DEPLOYMENT_KEY),
    )


def refund_state(status: str) -> RefundState:
    """A word that we do not know is not yet an end."""
    return _REFUNDS.get(status, RefundState.PENDING)


def _received(intent: Json, currency: str) -> int:
    return _minor(currency, intent["amount_received"])


def _minor(currency: str, amount: Any) -> int:
    return from_stripe_amount(currency, int(amount))


def _refund(refund: Json, currency: str) -> RefundFact:
    return RefundFact(
        provider_refund_id=refund["id"],
        amount_minor=from_stripe_amount(currency, refund["amount"]),
        state=refund_state(refund["status"]),
        refund_id=(refund.get("metadata") or {}).get(REFUND_KEY),
        failure=refund.get("failure_reason"),
    )


def _dispute(dispute: Json) -> DisputeFact:
    currency = dispute["currency"].upper()
    moves = [one for one in dispute["balance_transactions"] if one["currency"].upper() == currency]
    return DisputeFact(
        dispute_id=dispute["id"],
        amount_minor=from_stripe_amount(currency, dispute["amount"]),
        currency=currency,
        status=dispute["status"],
        open=dispute["status"] in _OPEN,
        lost=dispute["status"] == "lost",
        withdrawn_minor=max(0, -sum(_minor(currency, one["amount"]) for one in moves)),
        fee_minor=sum(_minor(currency, one["fee"]) for one in moves),
        reason=dispute.get("reason"),
    )


def _stripe_nanos(currency: str, amount: int) -> int:
    """Fees in the unit that Stripe counts the currency in; it may be finer than what can be paid with."""
    try:
        return from_stripe_amount(currency, amount) * nanos_per_minor(currency)
    except RequestInvalid:  # half a króna
        return amount * NANOS_PER_UNIT // 100


def _id(value: Any) -> str | None:
    """Of an object that may be expanded."""
    if isinstance(value, Mapping):
        value = value["id"]
    return value if isinstance(value, str) else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise ValueError
    return value
