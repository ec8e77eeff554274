"""Checkout Sessions: Stripe's own page, from its making to paid, unpaid, expired.

The PaymentIntent is made when the customer first tries to pay, not before: a new session names none. A session may
complete unpaid and be paid, or not, days later. Its metadata is not copied to the PaymentIntent.
"""

from __future__ import annotations

from tests.fakes.stripe import money, objects, payments
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal, state_forbids
from tests.fakes.stripe.objects import Obj
from tests.fakes.stripe.tables import SESSION_OPEN_LEAST_S, SESSION_OPEN_S, words

COPIED = words("""allowed_payment_method_types billing_address_collection cancel_url client_reference_id customer
    customer_creation customer_email excluded_payment_method_types locale metadata redirect_on_completion return_url
    submit_type success_url""")


def create(account: Account, params: Obj) -> Obj:
    lines = params["line_items"]
    currency = lines[0]["price_data"]["currency"]
    if any(line["price_data"]["currency"] != currency for line in lines):
        raise StripeRefusal("All line items must have the same currency.", param="line_items")
    total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in lines)
    money.check_amount(total, currency, "line_items")
    _check_urls(params)
    if "customer" in params:
        if "customer_email" in params:
            message = "You may only specify one of these parameters: customer, customer_email."
            raise StripeRefusal(message, param="customer_email")
        account.get("customer", params["customer"], param="customer", in_path=False)
    expires = params.get("expires_at", account.now + SESSION_OPEN_S)
    if not account.now + SESSION_OPEN_LEAST_S - 60 <= expires <= account.now + SESSION_OPEN_S + 60:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now."
        raise StripeRefusal(message, param="expires_at")
    allowed, excluded = (
        params.get("allowed_payment_method_types"),
        params.get("excluded_payment_method_types", []),
    )
    types = payments.method_types(account, currency, allowed, excluded, redirects=True)
    if not types:
        message = f"No payment method type fits a payment in {currency}."
        raise StripeRefusal(
            message, code="payment_method_not_available", param="allowed_payment_method_types"
        )
    made = objects.session(account.new_id("checkout.session"), params, total, currency)
    made |= {name: params[name] for name in COPIED if name in params}
    made |= {"expires_at": expires, "payment_method_types": types}
    made["_lines"] = [_line(account, line) for line in lines]
    made["_intent"] = params.get("payment_intent_data", {})
    return account.add(made)


def _check_urls(params: Obj) -> None:
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    wanted, refused = ("success_url", "return_url") if hosted else ("return_url", "success_url")
    if refused in params or (not hosted and "cancel_url" in params):
        raise StripeRefusal(f"`{refused}` is not allowed with this ui_mode.", param=refused)
    if wanted not in params:
        message = f"Missing required param: {wanted}."
        raise StripeRefusal(message, code="parameter_missing", param=wanted)


def _line(account: Account, line: Obj) -> Obj:
    price = line["price_data"]
    total = price["unit_amount"] * line["quantity"]
    return {
        "id": account.id("li_1"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": price["product_data"]["name"],
        "metadata": line.get("metadata", {}),
        "price": {
            "id": account.id("price_1"),
            "object": "price",
            "currency": price["currency"],
            "type": "one_time",
            "unit_amount": price["unit_amount"],
        },
        "quantity": line["quantity"],
    }


def require_open(made: Obj) -> None:
    if made["status"] != "open":
        message = f"Only Checkout Sessions with a status in [open] can be used; this one is {made['status']}."
        raise state_forbids(message, "checkout_session_unexpected_state")


def intent_of(account: Account, made: Obj) -> Obj:
    """The session's PaymentIntent, made if this is the first try."""
    if made["payment_intent"] is not None:
        return account.objects[made["payment_intent"]]
    intent = objects.payment_intent(
        account.new_id("payment_intent"), made["amount_total"], made["currency"], account.letters(25)
    )
    intent |= {"customer": made["customer"], "payment_method_types": list(made["payment_method_types"])}
    intent |= {name: value for name, value in made["_intent"].items() if name in intent}
    made["payment_intent"] = intent["id"]
    account.add(intent)
    account.emit("payment_intent.created", intent)
    return intent


def complete(
    account: Account, made: Obj, *, paid: bool, card: str, method: str, presentment: tuple[int, str] | None
) -> Obj:
    """The customer pays on Stripe's page; a declined card leaves the session open."""
    require_open(made)
    intent = intent_of(account, made)
    if presentment is not None:
        amount, currency = presentment
        shown = {"presentment_amount": amount, "presentment_currency": currency}
        made["presentment_details"] = intent["presentment_details"] = shown
    if method == "alipay":
        payments.attempt(account, intent, "alipay", None)
        (payments.succeed if paid else payments.start_processing)(account, intent)
    else:
        payments.attempt(account, intent, "card", card, processing=not paid)
        if intent["status"] == "requires_action":
            payments.succeed(account, intent)  # authenticated on Stripe's page
    if intent["status"] not in ("succeeded", "processing"):
        return made
    email = made["customer_email"] or account.objects.get(made["customer"] or "", {}).get("email")
    details: Obj = {
        **dict.fromkeys(("business_name", "individual_name", "name", "phone")),
        "address": {**objects.ADDRESS, "country": "US"},
        "email": email or "customer@example.com",
        "tax_exempt": "none",
        "tax_ids": [],
    }
    status = "paid" if intent["status"] == "succeeded" else "unpaid"
    made.update(status="complete", payment_status=status, customer_details=details, url=None)
    account.emit("checkout.session.completed", made)
    return made


def finish(account: Account, made: Obj, ok: bool) -> Obj:
    """What became of a payment that was under way when the session completed."""
    if made["status"] != "complete" or made["payment_status"] != "unpaid":
        message = f"Checkout Session {made['id']} awaits no payment."
        raise state_forbids(message, "checkout_session_unexpected_state")
    intent = account.objects[made["payment_intent"]]
    payments.require(intent, "processing", doing="finish")
    if ok:
        payments.succeed(account, intent)
        made["payment_status"] = "paid"
        account.emit("checkout.session.async_payment_succeeded", made)
    else:
        payments.fail(account, intent, payments.ATTEMPT_FAILED)
        account.emit("checkout.session.async_payment_failed", made)
    return made


def expire(account: Account, made: Obj) -> Obj:
    require_open(made)
    made.update(status="expired", url=None)
    account.emit("checkout.session.expired", made)
    intent = account.objects.get(made["payment_intent"] or "")
    if intent is not None and intent["status"] in payments.PAYABLE:
        account.change(
            intent, "payment_intent.canceled", status="canceled", canceled_at=account.now,
            cancellation_reason="automatic", next_action=None,
        )  # fmt: skip
    return made


def expire_overdue(account: Account) -> None:
    for made in account.all("checkout.session"):
        if made["status"] == "open" and made["expires_at"] <= account.now:
            expire(account, made)
