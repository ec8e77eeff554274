"""PaymentIntents and their charges: made, attempted, authenticated, canceled, as Stripe's states allow.

One intent has many attempts and at most one charge that succeeded. A failed attempt leaves a failed charge behind and
the intent back at requires_payment_method, from where it can still succeed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NoReturn

from tests.fakes.stripe import money, objects
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal, no_such, state_forbids
from tests.fakes.stripe.objects import Obj
from tests.fakes.stripe.parameters import CONFIRM_ONLY
from tests.fakes.stripe.tables import CARDS, LOCAL_CURRENCY, TEST_METHODS, Decline, words

PAYABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
COPIED = words("""customer description metadata receipt_email setup_future_usage shipping statement_descriptor
    statement_descriptor_suffix transfer_group""")
AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    "The provided PaymentMethod has failed authentication. You can provide a new one to attempt again.",
)
ATTEMPT_FAILED = Decline(
    "payment_intent_payment_attempt_failed", "The payment failed or was abandoned by the customer."
)
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required", "This transaction requires authentication.", "authentication_required"
)


def method_types(
    account: Account, currency: str, allowed: Sequence[str] | None, excluded: Sequence[str], redirects: bool
) -> list[str]:
    """The methods that fit this payment; those that do not vanish without a word, as on Stripe."""
    fits = [name for name in account.methods if name in (allowed if allowed is not None else account.methods)]
    if not redirects or currency not in ("cny", LOCAL_CURRENCY.get(account.country)):
        fits = [name for name in fits if name != "alipay"]
    return [name for name in fits if name not in excluded]


def create(account: Account, params: Obj) -> Obj:
    amount, currency = params["amount"], params["currency"]
    money.check_amount(amount, currency)
    _check_combination(params)
    automatic = params.get("automatic_payment_methods")
    allowed = params.get("allowed_payment_method_types")
    excluded = params.get("excluded_payment_method_types", [])
    redirects = automatic is None or automatic.get("allow_redirects", "always") == "always"
    types = method_types(account, currency, allowed, excluded, redirects)
    if not types:
        message = f"No payment method type fits a payment in {currency}."
        raise StripeRefusal(
            message, code="payment_method_not_available", param="allowed_payment_method_types"
        )
    if "customer" in params:
        account.get("customer", params["customer"], param="customer", in_path=False)
    if params.get("off_session") and _kind_named(params) == "alipay":
        _refuse_off_session()
    intent = objects.payment_intent(account.new_id("payment_intent"), amount, currency, account.letters(25))
    intent |= {name: copy.copy(params[name]) for name in COPIED if name in params}
    intent["payment_method_types"] = types
    intent["allowed_payment_method_types"] = allowed
    intent["excluded_payment_method_types"] = excluded or None
    intent["capture_method"] = params.get("capture_method", "automatic_async")
    if automatic is not None or allowed is None:
        automatic = automatic or {"enabled": True}
        intent["automatic_payment_methods"] = {"allow_redirects": "always", **automatic}
    if params.get("confirm"):
        _require_confirmable(account, intent, params)
    account.add(intent)
    account.emit("payment_intent.created", intent)
    if params.get("confirm"):
        confirm(account, intent, params)
    elif "payment_method" in params:
        kind, number = named_method(account, intent, params)
        intent["payment_method"] = _method(account, intent, kind, number)["id"]
        intent["status"] = "requires_confirmation"
    return intent


def _check_combination(params: Obj) -> None:
    clashing = ("automatic_payment_methods", "excluded_payment_method_types")
    if "allowed_payment_method_types" in params:
        for name in clashing:
            if name in params:
                message = (
                    f"You may only specify one of these parameters: allowed_payment_method_types, {name}."
                )
                raise StripeRefusal(message, param=name)
    automatic = params.get("automatic_payment_methods")
    if automatic is not None and not automatic["enabled"]:
        message = "automatic_payment_methods[enabled]=false leaves no payment method to pay with."
        raise StripeRefusal(message, param="automatic_payment_methods")
    for name in CONFIRM_ONLY:
        if name in params and not params.get("confirm"):
            raise StripeRefusal(f"`{name}` can only be used with `confirm=true`", param=name)


def _kind_named(params: Obj) -> str | None:
    data: Obj = params.get("payment_method_data", {})
    kind: str | None = data.get("type")
    return kind


def _refuse_off_session() -> NoReturn:
    message = "Alipay cannot be used off_session: the customer must approve each payment."
    raise StripeRefusal(message, code="payment_intent_invalid_parameter", param="off_session")


def named_method(account: Account, intent: Obj, params: Obj) -> tuple[str, str | None]:
    """("card", number) or ("alipay", None), from what a confirmation names."""
    data = params.get("payment_method_data")
    if data is not None:
        number = data.get("card", {}).get("number", "") if data["type"] == "card" else None
        return data["type"], number
    id = params.get("payment_method") or intent["payment_method"]
    if id is None:
        message = "You cannot confirm this PaymentIntent because it's missing a payment method."
        raise state_forbids(message, "payment_intent_unexpected_state", payment_intent=shown(intent))
    if id in TEST_METHODS:
        return "card", TEST_METHODS[id]
    found = account.objects.get(id)
    if found is None or found["object"] != "payment_method":
        raise no_such("PaymentMethod", id, param="payment_method", in_path=False)
    return found["type"], found.get("_number")


def shown(intent: Obj) -> Obj:
    return objects.answered(intent)


def _require_confirmable(account: Account, intent: Obj, params: Obj) -> None:
    """What makes a confirmation invalid whatever the card says: nothing is kept of it."""
    kind, number = named_method(account, intent, params)
    if kind not in intent["payment_method_types"]:
        message = (
            f"The payment method type {kind} is not valid for this PaymentIntent in {intent['currency']}."
        )
        raise StripeRefusal(
            message, code="payment_intent_incompatible_payment_method", param="payment_method"
        )
    if kind == "card" and number not in CARDS:
        raise StripeRefusal(
            "Your card number is incorrect.", status=402, type="card_error", code="incorrect_number"
        )
    if kind == "alipay":
        if params.get("off_session"):
            _refuse_off_session()
        if "return_url" not in params:
            message = "A return_url is needed to confirm a PaymentIntent with Alipay, which redirects."
            raise StripeRefusal(message, code="parameter_missing", param="return_url")


def require(intent: Obj, *statuses: str, doing: str) -> None:
    if intent["status"] not in statuses:
        message = f"You cannot {doing} this PaymentIntent because it has a status of {intent['status']}."
        raise state_forbids(message, "payment_intent_unexpected_state", payment_intent=shown(intent))


def confirm(account: Account, intent: Obj, params: Obj) -> Obj:
    """The confirmation over the API, by the server or by stripe.js: a decline is answered 402."""
    require(intent, *PAYABLE, doing="confirm")
    _require_confirmable(account, intent, params)
    kind, number = named_method(account, intent, params)
    back = params.get("return_url", "https://example.com/return")
    attempt(account, intent, kind, number, off_session=bool(params.get("off_session")), return_url=back)
    if intent["status"] == "requires_action" and params.get("error_on_requires_action"):
        fail(account, intent, AUTHENTICATION_REQUIRED)
    if intent["last_payment_error"] is not None:
        raise card_error(intent)
    return intent


def card_error(intent: Obj) -> StripeRefusal:
    error = intent["last_payment_error"]
    more = {name: error[name] for name in ("decline_code", "charge") if error.get(name)}
    type = error["type"]
    status = 402 if type == "card_error" else 400
    message, code = error["message"], error["code"]
    return StripeRefusal(
        message, status=status, type=type, code=code, kept=True, payment_intent=shown(intent), **more
    )


def attempt(
    account: Account,
    intent: Obj,
    kind: str,
    number: str | None,
    *,
    off_session: bool = False,
    processing: bool = False,
    return_url: str = "https://example.com/return",
) -> None:
    """One attempt to pay, to where it stands before anybody acts again."""
    method = _method(account, intent, kind, number)
    intent.update(payment_method=method["id"], last_payment_error=None, next_action=None)
    if kind == "alipay":
        address = f"https://hooks.stripe.com/redirect/authenticate/{intent['id']}"
        alipay = {"native_data": None, "native_url": None, "return_url": return_url, "url": address}
        action = {"type": "alipay_handle_redirect", "alipay_handle_redirect": alipay}
        account.change(intent, "payment_intent.requires_action", status="requires_action", next_action=action)
        return
    card = CARDS[number or ""]
    if card.asks_authentication and off_session:
        fail(account, intent, AUTHENTICATION_REQUIRED)
    elif card.asks_authentication:
        redirect = {"return_url": return_url, "url": f"https://hooks.stripe.com/3d_secure/{intent['id']}"}
        action = {"type": "redirect_to_url", "redirect_to_url": redirect}
        account.change(intent, "payment_intent.requires_action", status="requires_action", next_action=action)
    elif card.decline is not None:
        fail(account, intent, card.decline)
    elif processing:
        start_processing(account, intent)
    else:
        succeed(account, intent)


def _method(account: Account, intent: Obj, kind: str, number: str | None) -> Obj:
    made = objects.payment_method(account.new_id("payment_method"), kind, number, intent["customer"])
    made["_number"] = number  # for the fake only: never answered
    return account.add(made)


def _charge(account: Account, intent: Obj) -> Obj:
    """The charge of the attempt that is under way."""
    latest = account.objects.get(intent["latest_charge"] or "")
    if latest is not None and latest["status"] == "pending":
        return latest
    method = account.objects[intent["payment_method"]]
    number = method["_number"]
    details = objects.card_details(number, intent["amount"]) if number else objects.alipay_details()
    id = account.new_id("charge" if number else "payment")
    made = account.add(objects.charge(id, intent, details))
    if "presentment_details" in intent:
        made["presentment_details"] = intent["presentment_details"]
    intent["latest_charge"] = made["id"]
    return made


def start_processing(account: Account, intent: Obj) -> None:
    charge = _charge(account, intent)
    intent["next_action"] = None
    account.emit("charge.pending", charge)
    account.change(intent, "payment_intent.processing", status="processing")


def succeed(account: Account, intent: Obj) -> None:
    charge = _charge(account, intent)
    charge.update(
        status="succeeded", paid=True, captured=True, amount_captured=charge["amount"],
        outcome=objects.outcome(approved=True), receipt_url=f"https://pay.stripe.com/receipts/{charge['id']}",
    )  # fmt: skip
    if not account.balance_late:
        settle(account, charge)
    intent.update(next_action=None, amount_received=charge["amount"])
    account.emit("charge.succeeded", charge)
    account.change(intent, "payment_intent.succeeded", status="succeeded")


def settle(account: Account, charge: Obj) -> Obj:
    kind = "charge" if charge["payment_method_details"]["type"] == "card" else "payment"
    made = money.move(account, kind, charge, charge["amount"], category="charge", costs="charge")
    charge["balance_transaction"] = made["id"]
    return made


def fail(account: Account, intent: Obj, decline: Decline) -> None:
    charge = _charge(account, intent)
    method = account.objects[intent["payment_method"]]
    charge.update(
        status="failed", failure_code=decline.code, failure_message=decline.message,
        outcome=objects.outcome(False, decline.decline_code),
    )  # fmt: skip
    by_card = decline.decline_code is not None
    error = {
        "charge": charge["id"],
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": "https://stripe.com/docs/error-codes/" + decline.code.replace("_", "-"),
        "message": decline.message,
        "payment_method": objects.answered(method),
        "type": "card_error" if by_card else "invalid_request_error",
    }
    intent.update(payment_method=None, next_action=None, last_payment_error=error)
    account.emit("charge.failed", charge)
    account.change(intent, "payment_intent.payment_failed", status="requires_payment_method")


def cancel(account: Account, intent: Obj, reason: str | None) -> Obj:
    if any(found["payment_intent"] == intent["id"] for found in account.all("checkout.session")):
        message = (
            "You cannot cancel a PaymentIntent created by Checkout: expire the Checkout Session instead."
        )
        raise state_forbids(message, "payment_intent_unexpected_state", payment_intent=shown(intent))
    require(intent, *PAYABLE, "requires_capture", doing="cancel")
    account.change(
        intent, "payment_intent.canceled", status="canceled", canceled_at=account.now,
        cancellation_reason=reason, next_action=None,
    )  # fmt: skip
    return intent
