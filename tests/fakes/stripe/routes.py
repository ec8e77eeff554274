"""Which request does what: a table of methods, paths, parameters and the work behind them. Knows no HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.stripe import answers, checkout, payments, refunds, standing
from tests.fakes.stripe import parameters as takes
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.forms import Shape
from tests.fakes.stripe.objects import Obj, answered, customer
from tests.fakes.stripe.tables import EVENTS_KEPT_S, words

Work = Callable[[Account, Obj, str], Obj]  # account, parameters, id from the path
# What a browser may see of a PaymentIntent.
BROWSER_FIELDS = words("""id object amount automatic_payment_methods canceled_at cancellation_reason capture_method
    client_secret confirmation_method created currency description last_payment_error livemode next_action
    payment_method payment_method_types processing receipt_email setup_future_usage shipping status""")


@dataclass(frozen=True)
class Route:
    method: str
    path: re.Pattern[str]
    takes: Shape
    work: Work
    from_browser: bool = False


def _route(method: str, path: str, takes: Shape, work: Work, *, from_browser: bool = False) -> Route:
    whole = re.compile("/v1/" + path.replace("{id}", r"(?P<id>[A-Za-z0-9_]+)"))
    return Route(method, whole, takes, work, from_browser)


def _read(kind: str) -> Work:
    def work(account: Account, params: Obj, id: str) -> Obj:
        return answers.expanded(account, account.get(kind, id), params.get("expand", []))

    return work


def _list(kind: str, url: str, *filters: str) -> Work:
    def work(account: Account, params: Obj, id: str) -> Obj:
        wanted = {name: params[name] for name in filters if name in params}
        found = [
            made
            for made in account.all(kind)
            if all(made.get(name) == value for name, value in wanted.items())
        ]
        return answers.page(account, url, found, params)

    return work


def _make(create: Callable[[Account, Obj], Obj]) -> Work:
    def work(account: Account, params: Obj, id: str) -> Obj:
        return answers.expanded(account, create(account, params), params.get("expand", []))

    return work


def _change(kind: str, change: Callable[[Account, Obj, Obj], Obj]) -> Work:
    def work(account: Account, params: Obj, id: str) -> Obj:
        made = change(account, account.get(kind, id), params)
        return answers.expanded(account, made, params.get("expand", []))

    return work


def _search(account: Account, params: Obj, id: str) -> Obj:
    return answers.search(account, "/v1/payment_intents/search", "payment_intent", params)


def _create_customer(account: Account, params: Obj) -> Obj:
    made = customer(account.new_id("customer"))
    made |= {name: value for name, value in params.items() if name != "expand"}
    account.add(made)
    account.emit("customer.created", made)
    return made


def _cancel(account: Account, intent: Obj, params: Obj) -> Obj:
    return payments.cancel(account, intent, params.get("cancellation_reason"))


def _account(account: Account, params: Obj, id: str) -> Obj:
    return answered(account.account)


def _balance(account: Account, params: Obj, id: str) -> Obj:
    sums: dict[str, int] = {account.currency: 0}
    for moved in account.all("balance_transaction"):
        sums[moved["currency"]] = sums.get(moved["currency"], 0) + moved["net"]
    return standing.balance(sums, account.livemode)


def _event(account: Account, params: Obj, id: str) -> Obj:
    for event in account.events:
        if event["id"] == id:
            return answers.expanded(account, event, params.get("expand", []))
    return account.get("event", id)  # which refuses


def _events(account: Account, params: Obj, id: str) -> Obj:
    if "type" in params and "types" in params:
        message = "You may only specify one of these parameters: type, types."
        raise StripeRefusal(message, param="types")
    types = params.get("types", [params["type"]] if "type" in params else None)
    delivered = params.get("delivery_success")
    found = [
        event
        for event in account.events
        if event["created"] > account.now - EVENTS_KEPT_S
        and (types is None or event["type"] in types or _under(event["type"], types))
        and (delivered is None or (event["pending_webhooks"] == 0) == delivered)
    ]
    return answers.page(account, "/v1/events", found, params)


def _under(type: str, types: list[str]) -> bool:
    """`charge.*` stands for all that begin so."""
    return any(name.endswith("*") and type.startswith(name[:-1]) for name in types)


def _with_secret(account: Account, id: str, params: Obj) -> Obj:
    intent = account.get("payment_intent", id)
    if params["client_secret"] != intent["client_secret"]:
        message = "The client_secret provided does not match any associated PaymentIntent."
        raise StripeRefusal(
            message, status=400, code="payment_intent_invalid_parameter", param="client_secret"
        )
    return intent


def _browser_read(account: Account, params: Obj, id: str) -> Obj:
    intent = _with_secret(account, id, params)
    return {name: value for name, value in answered(intent).items() if name in BROWSER_FIELDS}


def _browser_confirm(account: Account, params: Obj, id: str) -> Obj:
    payments.confirm(account, _with_secret(account, id, params), params)
    return _browser_read(account, params, id)


ROUTES = (
    _route("POST", "payment_intents", takes.PAYMENT_INTENT_CREATE, _make(payments.create)),
    _route("GET", "payment_intents", takes.PAYMENT_INTENT_LIST,
           _list("payment_intent", "/v1/payment_intents", "customer")),
    _route("GET", "payment_intents/search", takes.SEARCH, _search),
    _route("GET", "payment_intents/{id}", takes.READ, _read("payment_intent")),
    _route("POST", "payment_intents/{id}/confirm", takes.PAYMENT_INTENT_CONFIRM,
           _change("payment_intent", payments.confirm)),
    _route("POST", "payment_intents/{id}/cancel", takes.PAYMENT_INTENT_CANCEL, _change("payment_intent", _cancel)),
    _route("GET", "payment_intents/{id}", takes.BROWSER_READ, _browser_read, from_browser=True),
    _route("POST", "payment_intents/{id}/confirm", takes.BROWSER_CONFIRM, _browser_confirm, from_browser=True),
    _route("POST", "customers", takes.CUSTOMER_CREATE, _make(_create_customer)),
    _route("GET", "customers", takes.CUSTOMER_LIST, _list("customer", "/v1/customers", "email")),
    _route("GET", "customers/{id}", takes.READ, _read("customer")),
    _route("POST", "refunds", takes.REFUND_CREATE, _make(refunds.create)),
    _route("GET", "refunds", takes.OF_PAYMENT, _list("refund", "/v1/refunds", "charge", "payment_intent")),
    _route("GET", "refunds/{id}", takes.READ, _read("refund")),
    _route("GET", "charges", takes.CHARGE_LIST, _list("charge", "/v1/charges", "customer", "payment_intent")),
    _route("GET", "charges/{id}", takes.READ, _read("charge")),
    _route("GET", "disputes", takes.OF_PAYMENT, _list("dispute", "/v1/disputes", "charge", "payment_intent")),
    _route("GET", "disputes/{id}", takes.READ, _read("dispute")),
    _route("POST", "checkout/sessions", takes.SESSION_CREATE, _make(checkout.create)),
    _route("GET", "checkout/sessions", takes.SESSION_LIST,
           _list("checkout.session", "/v1/checkout/sessions", "customer", "payment_intent", "status")),
    _route("GET", "checkout/sessions/{id}", takes.READ, _read("checkout.session")),
    _route("POST", "checkout/sessions/{id}/expire", takes.READ,
           _change("checkout.session", lambda account, made, params: checkout.expire(account, made))),
    _route("GET", "balance_transactions/{id}", takes.READ, _read("balance_transaction")),
    _route("GET", "events", takes.EVENT_LIST, _events),
    _route("GET", "events/{id}", takes.READ, _event),
    _route("GET", "account", takes.READ, _account),
    _route("GET", "balance", takes.READ, _balance),
)  # fmt: skip


def find(method: str, path: str, from_browser: bool) -> tuple[Route, str] | None:
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match is not None and route.method == method and route.from_browser == from_browser:
            return route, match.groupdict().get("id") or ""
    return None
