"""Refunds: capped at what is left of a charge, at once or later, and sometimes taken back by the bank.

`charge.amount_refunded` counts every refund that has not failed, the pending ones too: it is cumulative, and falls
again when a refund fails.
"""

from __future__ import annotations

from tests.fakes.stripe import money, objects
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.disputes import HELD
from tests.fakes.stripe.errors import StripeRefusal, state_forbids
from tests.fakes.stripe.objects import Obj
from tests.fakes.stripe.tables import CARDS

OUTCOMES = ("succeeded", "pending", "failed")


def create(account: Account, params: Obj) -> Obj:
    charge = _charge(account, params)
    disputed = sum(
        found["amount"]
        for found in account.all("dispute")
        if found["charge"] == charge["id"] and found["status"] in HELD
    )
    left = charge["amount"] - charge["amount_refunded"]
    if left <= 0:
        raise state_forbids(f"Charge {charge['id']} has already been refunded.", "charge_already_refunded")
    if disputed and left - disputed <= 0:
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise state_forbids(message, "charge_disputed")
    left -= disputed
    amount = params.get("amount", left)
    if amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise state_forbids(message, "amount_too_large", param="amount")
    made = objects.refund(account.new_id("refund"), charge, amount)
    made |= {"reason": params.get("reason"), "metadata": params.get("metadata", {})}
    account.add(made)
    outcome = account.refund_outcomes.pop(0) if account.refund_outcomes else _usual(account, charge)
    made["balance_transaction"] = money.move(account, _kind(charge), made, -amount, category="refund")["id"]
    made["status"] = "succeeded" if outcome == "succeeded" else "pending"
    if made["status"] == "pending":
        made["pending_reason"] = "processing"
    account.emit("refund.created", made)
    _refunded(account, charge, amount)
    if outcome == "failed":
        fail(account, made)
    return made


def _charge(account: Account, params: Obj) -> Obj:
    if ("charge" in params) == ("payment_intent" in params):
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise StripeRefusal(message, code="parameter_missing", param="payment_intent")
    if "charge" in params:
        id: str | None = account.get("charge", params["charge"], param="charge", in_path=False)["id"]
    else:
        named = params["payment_intent"]
        id = account.get("payment_intent", named, param="payment_intent", in_path=False)["latest_charge"]
    charge = account.objects.get(id or "")
    if charge is None or charge["status"] != "succeeded":
        message = f"This {next(iter(params))} does not have a successful charge to refund."
        raise state_forbids(message, "charge_not_refundable")
    return charge


def _kind(charge: Obj) -> str:
    return "refund" if charge["payment_method_details"]["type"] == "card" else "payment_refund"


def _usual(account: Account, charge: Obj) -> str:
    """Alipay refunds take their time; a card's are there at once, but for one test card."""
    if charge["payment_method_details"]["type"] == "alipay":
        return "pending"
    method = account.objects.get(charge["payment_method"] or "", {})
    return "pending" if CARDS[method["_number"]].refunds_pending else "succeeded"


def _refunded(account: Account, charge: Obj, delta: int) -> None:
    total = charge["amount_refunded"] + delta
    type = "charge.refunded" if delta > 0 else "charge.updated"
    account.change(charge, type, amount_refunded=total, refunded=total == charge["amount"])


def succeed(account: Account, made: Obj) -> Obj:
    _require_pending(made, "pending")
    made.pop("pending_reason", None)
    account.change(made, "refund.updated", status="succeeded")
    account.emit("charge.refund.updated", made)
    return made


def fail(account: Account, made: Obj, reason: str = "expired_or_canceled_card") -> Obj:
    """The bank sent the money back: it is on the balance again."""
    _require_pending(made, "pending", "succeeded")
    charge = account.objects[made["charge"]]
    back = money.move(account, "refund_failure", made, made["amount"], category="refund_failure")
    made.pop("pending_reason", None)
    made |= {"failure_balance_transaction": back["id"], "failure_reason": reason}
    account.change(made, "refund.updated", status="failed")
    account.emit("refund.failed", made)
    account.emit("charge.refund.updated", made)
    _refunded(account, charge, -made["amount"])
    return made


def _require_pending(made: Obj, *statuses: str) -> None:
    if made["status"] not in statuses:
        message = f"Refund {made['id']} has a status of {made['status']}, not {' or '.join(statuses)}."
        raise state_forbids(message, "refund_unexpected_state")
