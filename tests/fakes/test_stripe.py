"""The fake must do what Stripe documents, as the real stripe-python sees it, or the payment tests prove nothing."""

from __future__ import annotations

import asyncio
import json
import os
import typing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stripe as sdk
from yarl import URL

from tests.fakes.conftest import USD_10, Params
from tests.fakes.stripe import API_VERSION, FakeStripe
from tests.fakes.stripe.control import CALLS, LOOKS
from tests.fakes.stripe.tables import EVENT_TYPES

LINE: Params = {
    "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Credit"}},
    "quantity": 2,
}
SESSION: Params = {"mode": "payment", "line_items": [LINE], "success_url": "https://shop.example/ok"}
SECRET = "whsec_one"
# Fields that Stripe's own fixtures fill at random and the API answers on expansion only.
EXPANDED_ONLY = {"charge": {"refunds"}, "checkout.session": {"line_items"}}
CLASSES = {
    "payment_intent": sdk.PaymentIntent,
    "charge": sdk.Charge,
    "refund": sdk.Refund,
    "dispute": sdk.Dispute,
    "customer": sdk.Customer,
    "balance_transaction": sdk.BalanceTransaction,
    "payment_method": sdk.PaymentMethod,
    "checkout.session": sdk.checkout.Session,
    "event": sdk.Event,
    "account": sdk.Account,
    "balance": sdk.Balance,
}


# -- shapes


def fits(annotation: Any, value: Any) -> bool:
    """Whether JSON holds what stripe-python's annotation promises; objects inside are not looked into."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union:
        return any(fits(one, value) for one in inside)
    if origin is typing.Literal:
        return value in inside
    if origin is list:
        return isinstance(value, list)
    if annotation in (int, float, str, bool):
        return isinstance(value, annotation) and (annotation is bool) == isinstance(value, bool)
    if annotation is type(None):
        return value is None
    return isinstance(value, dict)


# Fields that may be null and are there all the same; stripe-python's annotations do not tell these from absent ones.
NULLABLE = {
    "payment_intent": "canceled_at client_secret customer last_payment_error latest_charge next_action processing",
    "charge": "balance_transaction customer failure_code failure_message outcome payment_intent payment_method",
    "refund": "balance_transaction charge metadata payment_intent reason status",
    "dispute": "payment_intent payment_method_details",
    "customer": "address currency description email metadata name phone",
    "balance_transaction": "description exchange_rate source",
    "checkout.session": "amount_total client_reference_id currency customer metadata payment_intent status url",
    "event": "api_version request",
}
# Hashes whose inside depends on what the fixture happens to be about.
LOOSE = {"metadata", "settings", "data", "payment_method_details"}


def check_shape(made: Params, fixtures: Params) -> None:
    kind = made["object"]
    fields = {n: a for n, a in CLASSES[kind].__annotations__.items() if n != "OBJECT_NAME"}
    assert not made.keys() - fields.keys(), kind
    wrong = {name: value for name, value in made.items() if not fits(fields[name], value)}
    assert not wrong, kind
    owed = {name for name, annotation in fields.items() if type(None) not in typing.get_args(annotation)}
    owed |= set(NULLABLE.get(kind, "").split())
    assert not owed - made.keys(), kind
    fixture = fixtures.get(kind, {})
    of_cards = {"card"} if kind == "payment_method" and made["type"] != "card" else set()
    assert not fixture.keys() - made.keys() - EXPANDED_ONLY.get(kind, set()) - of_cards, kind
    for name in fixture.keys() & made.keys():
        ours, theirs = made[name], fixture[name]
        if ours is not None and theirs is not None:
            assert isinstance(ours, type(theirs)), f"{kind}.{name}"
            if isinstance(theirs, dict) and name not in LOOSE:
                assert not theirs.keys() - ours.keys(), f"{kind}.{name}"


async def test_every_object_has_the_fields_and_types_of_the_pinned_version(
    stripe: FakeStripe, client: Any
) -> None:
    assert sdk.StripeClient("sk_test_fake").v1 is not None
    assert sdk._api_version._ApiVersion.CURRENT == API_VERSION
    assert set(typing.get_args(sdk.Event.__annotations__["type"])) >= EVENT_TYPES
    named = os.environ.get("RABBITGW_STRIPE_FIXTURES")
    fixtures = json.loads(await asyncio.to_thread(Path(named).read_text))["resources"] if named else {}

    customer = await client.customers.create_async(
        {"email": "a@example.com", "metadata": {"account_id": "a"}}
    )
    asked = {**USD_10, "customer": customer.id, "description": "credit", "metadata": {"order_id": "o"}}
    one = (await client.payment_intents.create_async(asked)).id
    await stripe.pay(one)
    await client.refunds.create_async({"payment_intent": one, "amount": 100})
    other = await client.payment_intents.create_async({**USD_10, "currency": "cny"})
    await stripe.pay(other.id, method="alipay")
    await stripe.finish_redirect(other.id)
    await stripe.dispute(one, 500)
    session = await client.checkout.sessions.create_async({**SESSION, "customer": customer.id})
    await stripe.complete_session(session.id, card="4000000000000002")
    await stripe.complete_session(session.id)
    everything = [made for kind in CLASSES for made in await stripe.all(kind)]
    everything += await stripe.events()
    everything += [(await client.accounts.retrieve_current_async()).to_dict()]
    everything += [(await client.balance.retrieve_async()).to_dict()]
    assert {made["object"] for made in everything} == set(CLASSES)
    for made in everything:
        check_shape(made, fixtures)
    retrieved = await client.charges.retrieve_async(
        (await stripe.find(one))["latest_charge"], {"expand": ["refunds", "payment_intent.customer"]}
    )
    assert [refund.amount for refund in retrieved.refunds.data] == [100]
    assert retrieved.payment_intent.customer.email == "a@example.com"


def test_parameters_are_those_of_the_pinned_library() -> None:
    from stripe import params
    from stripe.params import checkout

    from tests.fakes.stripe import parameters as ours

    options = set(sdk._request_options.RequestOptions.__annotations__) | {"payment_method_types"}
    pairs = {
        params.PaymentIntentCreateParams: ours.PAYMENT_INTENT_CREATE,
        params.PaymentIntentConfirmParams: ours.PAYMENT_INTENT_CONFIRM,
        params.PaymentIntentCancelParams: ours.PAYMENT_INTENT_CANCEL,
        params.PaymentIntentListParams: ours.PAYMENT_INTENT_LIST,
        params.PaymentIntentSearchParams: ours.SEARCH,
        params.CustomerCreateParams: ours.CUSTOMER_CREATE,
        params.CustomerListParams: ours.CUSTOMER_LIST,
        params.RefundCreateParams: ours.REFUND_CREATE,
        params.RefundListParams: ours.OF_PAYMENT,
        params.DisputeListParams: ours.OF_PAYMENT,
        params.ChargeListParams: ours.CHARGE_LIST,
        params.EventListParams: ours.EVENT_LIST,
        checkout.SessionCreateParams: ours.SESSION_CREATE,
        checkout.SessionListParams: ours.SESSION_LIST,
        checkout.SessionCreateParamsPaymentIntentData: ours.SESSION_PAYMENT,
        checkout.SessionCreateParamsLineItem: ours.LINE,
        checkout.SessionCreateParamsLineItemPriceData: ours.PRICE,
    }
    for theirs, table in pairs.items():
        assert set(theirs.__annotations__) - options == set(table.fields) - options, theirs.__name__


def test_what_a_test_can_call_here_it_can_call_in_another_process() -> None:
    public = {name for name in dir(FakeStripe) if not name.startswith("_")}
    assert public - {"close"} == (CALLS | LOOKS) - {"url"}


# -- what is refused

REFUSED = [
    ({"amount": None}, 400, "parameter_missing", "amount"),
    ({"amount": "12.5"}, 400, "parameter_invalid_integer", "amount"),
    ({"amount": 49}, 400, "amount_too_small", "amount"),
    ({"amount": 29, "currency": "gbp"}, 400, "amount_too_small", "amount"),
    ({"amount": 100_000_000}, 400, "amount_too_large", "amount"),
    ({"amount": 10_050, "currency": "isk"}, 400, "invalid_charge_amount_no_decimal_compatible", "amount"),
    ({"amount": 10_005, "currency": "kwd"}, 400, "parameter_invalid_integer", "amount"),
    ({"currency": "usdt"}, 400, "parameter_invalid_string_too_long", "currency"),
    ({"currency": "xyz"}, 400, None, "currency"),
    (
        {"payment_method_types": ["card"]},
        400,
        "payment_method_types_no_longer_supported",
        "payment_method_types",
    ),
    ({"automatic_payment_methods": {"on": True}}, 400, "parameter_unknown", "automatic_payment_methods[on]"),
    ({"amuont": 5}, 400, "parameter_unknown", "amuont"),
    ({"metadata": {"k" * 41: "v"}}, 400, None, "metadata"),
    ({"metadata": {"k": "v" * 501}}, 400, None, "metadata[k]"),
    ({"metadata": {f"k{number}": "v" for number in range(51)}}, 400, None, "metadata"),
    ({"customer": "cus_none"}, 400, "resource_missing", "customer"),
    ({"allowed_payment_method_types": ["card"]}, 400, None, "automatic_payment_methods"),
    ({"return_url": "https://shop.example"}, 400, None, "return_url"),
    ({"transfer_group": ""}, 400, "parameter_invalid_empty", "transfer_group"),
    ({"application_fee_amount": 5}, 400, "fake_unserved", "application_fee_amount"),
    (
        {"confirm": True, "payment_method_data": {"type": "card", "card": {"number": "4242424242424242"}}},
        402,
        None,
        "payment_method_data[card]",
    ),
    ({"confirm": True, "payment_method_data": {"type": "alipay"}}, 400, "parameter_missing", "return_url"),
    (
        {"confirm": True, "off_session": True, "payment_method_data": {"type": "alipay"}},
        400,
        "payment_intent_invalid_parameter",
        "off_session",
    ),
    (
        {
            "currency": "eur",
            "confirm": True,
            "return_url": "https://shop.example",
            "payment_method_data": {"type": "alipay"},
        },
        400,
        "payment_intent_incompatible_payment_method",
        "payment_method",
    ),
]


async def test_what_stripe_refuses_is_refused_and_makes_nothing(stripe: FakeStripe, client: Any) -> None:
    for change, status, code, param in REFUSED:
        asked = {name: value for name, value in {**USD_10, **change}.items() if value is not None}
        with pytest.raises(sdk.StripeError) as refused:
            await client.payment_intents.create_async(asked, {"idempotency_key": "one key for all"})
        told = refused.value
        assert (told.http_status, told.code, getattr(told, "param", None)) == (status, code, param), change
        assert str(told.request_id).startswith("req_")
    assert await stripe.all("payment_intent") == []
    # Nothing began, so the key is free.
    await client.payment_intents.create_async(USD_10, {"idempotency_key": "one key for all"})


async def test_arrays_and_hashes_are_read_from_forms(stripe: FakeStripe, client: Any) -> None:
    metadata = {"0": "a digit", "order id": "ünï & = +", "emptied": ""}
    asked = {**USD_10, "metadata": metadata, "expand": ["customer", "latest_charge"]}
    made = await client.payment_intents.create_async(asked)
    assert made.metadata.to_dict() == {"0": "a digit", "order id": "ünï & = +"}
    assert stripe.requests[-1].params["expand"] == ["customer", "latest_charge"]
    headers = {"Authorization": "Bearer sk_test_fake", "Stripe-Version": API_VERSION}
    async with aiohttp.ClientSession(stripe.url, headers=headers) as session:
        for query, status in {
            "types[]=customer.created&types[]=refund.created": 200,
            "types=customer.created": 400,
            "limit=5&limit=6": 400,
            "types[x]=customer.created": 400,
            "created[gte]=0&created[lt]=1": 200,
            "created=%ff": 400,
        }.items():
            async with session.get(URL(f"/v1/events?{query}", encoded=True)) as response:
                assert response.status == status, query
                assert response.headers["Request-Id"] == stripe.requests[-1].request_id


async def test_a_request_must_say_who_asks_and_in_which_version(stripe: FakeStripe) -> None:
    basic = aiohttp.encode_basic_auth("sk_test_fake", "")
    version = {"Stripe-Version": API_VERSION}
    cases: list[tuple[int, str, dict[str, str]]] = [
        (200, "/v1/account", {"Authorization": "Bearer sk_test_fake", **version}),
        (200, "/v1/account", {"Authorization": basic, **version}),
        (401, "/v1/account", {"Authorization": "Bearer sk_test_other", **version}),
        (401, "/v1/account", version),
        (403, "/v1/account", {"Authorization": "Bearer pk_test_fake"}),
        (400, "/v1/account", {"Authorization": basic, "Stripe-Version": "2024-06-20"}),
        (400, "/v1/account", {"Authorization": basic}),
        (404, "/v1/payouts", {"Authorization": basic, **version}),
        (404, "/v1/refunds/re_none", {"Authorization": basic, **version}),
    ]
    async with aiohttp.ClientSession(stripe.url) as session:
        for status, path, headers in cases:
            async with session.get(path, headers=headers) as response:
                assert response.status == status, (path, headers)
                assert ("error" in await response.json()) == (status != 200)
        async with session.post("/v1/customers", json={}, headers={"Authorization": basic}) as response:
            assert response.status == 400
    assert "sk_test" not in repr(stripe.requests)


# -- idempotency and faults


async def test_a_key_gives_one_payment_until_it_ends_after_a_day(stripe: FakeStripe, client: Any) -> None:
    key = {"idempotency_key": "order-1"}
    first = await client.payment_intents.create_async(USD_10, key)
    again = await client.payment_intents.create_async(USD_10, key)
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert [request.replayed for request in stripe.requests] == [False, True]
    for call, asked in ((client.payment_intents, {**USD_10, "amount": 2000}), (client.customers, {})):
        with pytest.raises(sdk.IdempotencyError):
            await call.create_async(asked, key)
    await stripe.advance(24 * 3600)
    assert (await client.payment_intents.create_async(USD_10, key)).id != first.id


async def test_a_key_in_use_is_refused_and_the_first_request_goes_on(stripe: FakeStripe, client: Any) -> None:
    key = {"idempotency_key": "order-1"}
    for when, status in (("before", 409), ("after", None)):
        fault = stripe.fault("POST", "/v1/payment_intents", "hold", when=when)
        asked = {**USD_10, "metadata": {"when": when}}
        key = {"idempotency_key": when}
        first = asyncio.ensure_future(client.payment_intents.create_async(asked, key))
        await fault.met.wait()
        while when == "after" and not await stripe.all("payment_intent", metadata={"when": when}):
            await asyncio.sleep(0)
        if status is None:
            second = await client.payment_intents.create_async(asked, key)
            fault.gate.set()
            assert second.id == (await first).id
        else:
            with pytest.raises(sdk.StripeError) as refused:
                await client.payment_intents.create_async(asked, key)
            assert refused.value.http_status == status
            fault.gate.set()
            assert (await first).status == "requires_payment_method"


@pytest.mark.parametrize(
    ("fault", "made_at_once", "retried"),
    [
        ({"kind": "status", "status": 429}, 0, "made"),
        ({"kind": "status", "status": 500}, 0, "made"),
        ({"kind": "status", "status": 500, "when": "after"}, 1, "the 500 again"),
        ({"kind": "status", "status": 503, "when": "after", "keep": False}, 1, "made"),
        ({"kind": "cut"}, 0, "made"),
        ({"kind": "cut", "when": "after"}, 1, "replayed"),
        ({"kind": "garbage", "when": "after"}, 1, "replayed"),
        ({"kind": "bytes", "when": "before"}, 0, "made"),
    ],
)
async def test_a_fault_says_whether_the_work_was_done(
    stripe: FakeStripe, client: Any, fault: Params, made_at_once: int, retried: str
) -> None:
    stripe.fault("POST", "/v1/payment_intents", **fault)
    key = {"idempotency_key": "order-1"}
    # stripe-python lets bytes that are no UTF-8 through as an error that is not its own.
    with pytest.raises(UnicodeDecodeError if fault["kind"] == "bytes" else sdk.StripeError):
        await client.payment_intents.create_async(USD_10, key)
    assert len(await stripe.all("payment_intent")) == made_at_once
    if retried == "the 500 again":
        with pytest.raises(sdk.APIError):
            await client.payment_intents.create_async(USD_10, key)
    else:
        again = await client.payment_intents.create_async(USD_10, key)
        assert (again.last_response.headers.get("Idempotent-Replayed") == "true") == (retried == "replayed")
    # Without its key, the work that was done is done twice.
    assert len(await stripe.all("payment_intent")) == (2 if fault.get("keep") is False else 1)
