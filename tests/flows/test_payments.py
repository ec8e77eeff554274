"""Buying credit over HTTP as customers and operators do it, on the whole house, beside a Stripe that keeps state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rabbitgw.billing import accounts, keys
from tests.books import assert_books_balance
from tests.flows.house import ADMIN_KEY
from tests.flows.till import DEV_KEY, PUBLISHABLE_KEY, RECEIPT_TO, Opened, Till, open_till

CENT = 10_000_000  # nanos


@pytest.fixture
async def till(house_with: Opened) -> AsyncIterator[Till]:
    async with open_till(house_with) as opened:
        yield opened
        await assert_books_balance(opened)


async def stranger(till: Till) -> tuple[int, str]:
    """Another account, and a key of it."""
    account = await accounts.create_account(till.stores.pg, "stranger")
    made = await keys.create_key(till.stores.pg, keys.NewKey(account_id=account.id, name="k"))
    return account.id, made.secret


async def test_a_checkout_is_answered_in_the_shapes_that_pages_are_written_against(till: Till) -> None:
    caller = till.house.secret
    their_id, theirs = await stranger(till)
    assert (await till.ask("/v1/config/stripe", key=""))["publishable_key"] == PUBLISHABLE_KEY

    # the guides' example, with each credential in either header; a key buys for its own account
    body = {"user_id": till.user_id, "amount_cents": 1000, "currency": "USD"}
    sent = {"x-request-id": "order-7", "content-type": "application/json"}
    for key, bearer in ((DEV_KEY, ""), ("", DEV_KEY), (ADMIN_KEY, ""), (caller, ""), ("", caller)):
        headers = {**sent, "authorization": f"Bearer {bearer}"} if bearer else sent
        reply = await till.reply("/v1/payments/checkout", body, key=key, **headers)
        made = reply.json()
        assert (reply.status, reply.headers["x-request-id"]) == (200, "order-7"), made
        assert set(made) == {"request_id", "order_id", "type", "payload", "provider_txn_id"}
        assert (made["request_id"], made["type"]) == ("order-7", "client_secret")
        secret = made["payload"].pop("client_secret")
        assert made["payload"] == {"order_id": made["order_id"], "amount_cents": 1000, "currency": "USD"}
        assert (await till.stripe.find(made["provider_txn_id"]))["client_secret"] == secret
    own = {"amount_cents": 1000, "currency": "USD"}
    order_id = (await till.ask("/v1/payments/checkout", own, key=caller, **{"content-type": "text/plain"}))[
        "order_id"
    ]

    status = await till.ask(f"/v1/payments/status?order_id={order_id}", key=caller)
    assert status.pop("request_id")
    assert status == {
        "order_id": order_id, "status": "awaiting_payment", "amount_cents": 1000, "refunded_cents": 0,
        "currency": "USD",
    }  # fmt: skip

    # others' accounts, users and orders are not there
    about, code = f"/v1/payments/status?order_id={order_id}", "not_found"
    assert (await till.refused(about, key=theirs, status=404))[:2] == (code, "order_id")
    for field, value in (("user_id", till.user_id), ("account_id", till.house.account.id), ("user_id", 999)):
        refusal = await till.refused("/v1/payments/checkout", {**own, field: value}, key=theirs, status=404)
        assert refusal[:2] == (code, field)
    both = {**body, "account_id": their_id}
    assert (await till.refused("/v1/payments/checkout", both, status=404))[:2] == (code, "user_id")
    assert (await till.refused("/v1/payments/checkout", own, status=400))[1] == "user_id"
    for path in ("/v1/payments/checkout", "/v1/payments/refund", "/billing/create-payment-intent", about):
        given = None if path == about else own
        assert (await till.refused(path, given, key="", status=401))[0] == "invalid_api_key"

    # a name of the buyer's own: the same again is the same, another one is refused
    named = {"order_id": "ORD-1", "receipt_email": RECEIPT_TO}
    first = await till.checkout(**named)
    again = await till.checkout(**named)
    assert {**again, "request_id": ""} == {**first, "request_id": ""}
    for other in ({"amount_cents": 1001}, {"receipt_email": None}, {"methods": ["card"]}):
        assert (await till.checkout(409, **{**named, **other}))["error"]["field"] == "order_id"
    taken = {**own, "order_id": "ORD-1"}
    assert (await till.refused("/v1/payments/checkout", taken, key=theirs, status=409))[1] == "order_id"
    assert [one.status for one in till.stripe.requests if one.path == "/v1/payment_intents"] == [200] * 7


async def test_an_order_that_stripe_did_not_answer_is_asked_for_again_by_its_name(till: Till) -> None:
    """And nothing of what was sent is quoted, to the caller or in the log with its stack."""
    named = {"order_id": "ORD-1", "receipt_email": RECEIPT_TO}
    for how in (
        {"kind": "status", "status": 500},
        {"kind": "cut", "when": "after"},
        {"kind": "garbage", "when": "after"},
    ):
        till.stripe.fault("POST", "/v1/payment_intents", times=2, **how)
        reply = await till.reply(
            "/v1/payments/checkout", {"user_id": till.user_id, "amount_cents": 1000, **named}
        )
        assert (reply.status, reply.json()["error"]["code"]) == (503, "payment_provider_unavailable")
        assert reply.headers["retry-after"]
        assert RECEIPT_TO not in reply.body.decode()
        assert await till.status("ORD-1") == "created"
        till.stripe.clear_faults()
    made = await till.checkout(**named)
    assert [one["id"] for one in await till.stripe.all("payment_intent")] == [made["provider_txn_id"]]
    unfit = await till.checkout(400, receipt_email=RECEIPT_TO.replace(".com", ""))
    assert unfit["error"]["field"] == "receipt_email"
    assert RECEIPT_TO.rpartition(".")[0] not in unfit["error"]["message"]


BAD: list[tuple[str, dict[str, Any] | bytes, str | None]] = [
    *(
        ("/v1/payments/checkout", {"amount_cents": amount}, "amount_cents")
        for amount in (0, -1000, 10.5, 1000.0, "1000", True, None, 10**8, 10**40, [1000], 49)
    ),
    ("/v1/payments/checkout", b'{"user_id": 1, "amount_cents": NaN}', None),
    ("/v1/payments/checkout", b'{"user_id": 1, "amount_cents": 1e400}', None),
    ("/v1/payments/checkout", b"[]", None),
    ("/v1/payments/checkout", {}, "amount_cents"),
    *(("/v1/payments/checkout", {"currency": one}, "currency") for one in ("EUR", "usd", "", "USDT", 840)),
    *(
        ("/v1/payments/checkout", {"order_id": one}, "order_id")
        for one in ("", "a b", "a/b", "'; --", "é", "o" * 65, "a\n", 7)
    ),
    *(
        ("/v1/payments/checkout", {"return_url": one, "mode": "checkout_session"}, "return_url")
        for one in (
            "javascript:alert(1)",
            "//x.example",
            "https://",
            "https://x y",
            "ftp://x",
            "https://" + "x" * 2048,
        )
    ),
    ("/v1/payments/checkout", {"mode": "checkout_session"}, "return_url"),
    ("/v1/payments/checkout", {"cancel_url": "data:text/html,x"}, "cancel_url"),
    ("/v1/payments/checkout", {"receipt_email": "nobody"}, "receipt_email"),
    ("/v1/payments/checkout", {"mode": "subscription"}, "mode"),
    ("/v1/payments/checkout", {"methods": ["Card"]}, "methods"),
    ("/v1/payments/checkout", {"methods": ["card"] * 11}, "methods"),
    ("/v1/payments/checkout", {"methods": ["barter"]}, "methods"),
    ("/v1/payments/checkout", {"bonus_nanos": 1}, "bonus_nanos"),
    ("/v1/payments/checkout", {"off_session": True}, "off_session"),
    ("/v1/payments/checkout", {"provider": "manual", "mode": "checkout_session"}, "mode"),
    ("/v1/payments/refund", {"order_id": "ORD-1", "provider_txn_id": "pi_1"}, "order_id"),
    ("/v1/payments/refund", {}, "order_id"),
    ("/v1/payments/refund", {"order_id": "ORD-1", "amount_cents": 0.5}, "amount_cents"),
    ("/v1/payments/refund", {"order_id": "ORD-1", "reason": "a\u0001"}, "reason"),
    ("/v1/payments/refund", {"order_id": "ORD-1", "idempotency_key": "k" * 256}, "idempotency_key"),
    ("/billing/create-payment-intent", {"credit_amount": 501}, "credit_amount"),
    ("/billing/create-payment-intent", {"credit_amount": 100, "amount_cents": 1}, "amount_cents"),
    ("/billing/create-payment-intent", {"credit_amount": 100, "currency": "EUR"}, "currency"),
    ("/billing/create-payment-intent", {"credit_amount": 100, "mode": "checkout_session"}, "mode"),
    ("/billing/create-payment-intent", {"credit_amount": 100, "provider": "manual"}, "provider"),
    ("/billing/confirm-payment", {"payment_intent_id": ""}, "payment_intent_id"),
]


async def test_what_makes_no_sense_is_one_clear_400_and_makes_no_order(till: Till) -> None:
    valid = {"user_id": till.user_id, "amount_cents": 1000, "currency": "USD"}
    for path, body, field in BAD:
        if path == "/v1/payments/checkout" and body:
            body = body if isinstance(body, bytes) else {**valid, **body}  # noqa: PLW2901
        key = till.house.secret if path.startswith("/billing") else DEV_KEY
        code, named, message = await till.refused(path, body, key=key, status=400)
        assert (code, named) == ("invalid_request", field), (body, message)
        assert field is None or message.startswith(field), message
    *_, message = await till.refused(
        "/billing/create-payment-intent", {"credit_amount": 501}, key=till.house.secret, status=400
    )
    assert message == "credit_amount: one of 100, 500, 1000, 2000, 5000"
    # the one that Stripe refused, since only Stripe knows its methods
    orders = await till.stores.pg.fetch("SELECT status FROM payment_orders")
    assert [row["status"] for row in orders] == ["failed"]
    assert not await till.stripe.all("payment_intent")
    missing = {**valid, "provider": "pigeon"}
    assert (await till.refused("/v1/payments/checkout", missing, status=404))[1] == "provider"


async def test_a_package_is_credited_once_whether_asked_for_or_told(till: Till) -> None:
    caller = till.house.secret
    _, theirs = await stranger(till)
    made = await till.ask(
        "/billing/create-payment-intent", {"credit_amount": 500}, key="", authorization=f"Bearer {caller}"
    )
    assert set(made) == {"client_secret", "payment_intent_id", "order_id", "amount", "currency", "request_id"}
    assert (made["amount"], made["currency"]) == (45, "USD")
    named = {"payment_intent_id": made["payment_intent_id"]}

    async def confirm() -> tuple[Any, ...]:
        said = await till.ask("/billing/confirm-payment", named, key=caller)
        assert set(said) == {"status", "credits_added", "balance", "request_id"}
        return said["status"], said["credits_added"], said["balance"]

    assert await confirm() == ("awaiting_payment", 0, "0.000000000")
    assert (await till.refused("/billing/confirm-payment", named, key=theirs, status=404))[
        1
    ] == "payment_intent_id"
    unknown = {"payment_intent_id": "pi_unknown"}
    assert (await till.refused("/billing/confirm-payment", unknown, key=caller, status=404))[
        1
    ] == "payment_intent_id"

    await till.stripe.pay(made["payment_intent_id"], card="4000000000000002")  # declined
    assert await confirm() == ("failed", 0, "0.000000000")
    await till.stripe.pay(made["payment_intent_id"])
    assert await confirm() == ("paid", 500, "50.000000000")
    assert await confirm() == ("paid", 500, "50.000000000")
    await till.heard()
    await till.stripe.deliver()
    assert await confirm() == ("paid", 500, "50.000000000")
    assert await till.balance_nanos() == 50_000_000_000

    # a second one, told by the webhook alone; then the history, a page at a time
    second = await till.ask("/billing/create-payment-intent", {"credit_amount": 100}, key=caller)
    await till.stripe.pay(second["payment_intent_id"])
    await till.heard()
    assert await till.status(second["order_id"]) == "paid"
    await till.ask("/billing/refund", {"order_id": second["order_id"], "amount_cents": 400})
    pages, after = [], ""
    while after is not None:
        page = await till.ask(f"/billing/history?limit=2{after and f'&after={after}'}", key=caller)
        pages.append(page["history"])
        after = page["next"]
    assert [
        [(one["type"], one["credits"], one["amount"], one["status"]) for one in page] for page in pages
    ] == [
        [("refund", None, 4, "succeeded"), ("purchase", 100, 10, "partially_refunded")],
        [("purchase", 500, 45, "paid")],
    ]
    assert set(pages[0][0]) == {
        "id", "type", "credits", "amount", "currency", "status", "stripe_payment_intent_id", "stripe_refund_id",
        "created",
    }  # fmt: skip
    assert pages[1][0]["stripe_payment_intent_id"] == made["payment_intent_id"]
    assert (await till.ask("/billing/history", key=theirs))["history"] == []
    elsewhere = f"/billing/history?after={pages[0][0]['id']}"
    assert (await till.refused(elsewhere, key=theirs, status=400))[1] == "after"
    assert await till.balance_nanos() == 56_000_000_000


async def test_refunds_are_the_operators_and_sent_once(till: Till) -> None:
    made = await till.checkout(order_id="ORD-1", amount_cents=1000)
    body = {"order_id": "ORD-1", "amount_cents": 400, "reason": "too much", "idempotency_key": "k"}
    for path in ("/v1/payments/refund", "/billing/refund"):
        assert (await till.refused(path, body, key=till.house.secret, status=401))[0] == "invalid_api_key"
        scoped = await till.house.new_key(scopes=["billing"])
        assert (await till.refused(path, body, key=scoped, status=403))[0] == "scope_missing"
        assert (await till.refused(path, body, status=409))[:2] == (
            "conflict",
            "order_id",
        )  # nothing was paid
    assert (await till.refused("/v1/payments/refund", {"order_id": "ORD-2"}, status=404))[1] == "order_id"
    by_txn = {"provider_txn_id": "pi_unknown"}
    assert (await till.refused("/v1/payments/refund", by_txn, status=404))[1] == "provider_txn_id"
    await till.stripe.pay(made["provider_txn_id"])
    await till.heard()

    refund = await till.ask("/v1/payments/refund", body)
    assert refund["ok"] is True
    assert refund["provider_refund_id"].startswith("re_")
    assert refund["request_id"]
    again = await till.ask("/billing/refund", body, key=ADMIN_KEY)
    assert again["provider_refund_id"] == refund["provider_refund_id"]
    assert len(await till.stripe.all("refund")) == 1
    assert await till.balance_nanos() == 600 * CENT
    too_much = {"order_id": "ORD-1", "amount_cents": 601}
    assert (await till.refused("/v1/payments/refund", too_much, status=400))[1] == "amount_cents"
    # the answer is lost: the worker goes on, and the money goes out once
    till.stripe.fault("POST", "/v1/refunds", "cut", when="after", times=2)
    lost = await till.ask(
        "/v1/payments/refund", {"provider_txn_id": made["provider_txn_id"], "amount_cents": 100}
    )
    assert (lost["ok"], lost["amount_cents"]) == (True, 100)
    await till.heard()
    status = await till.ask("/v1/payments/status?order_id=ORD-1")
    assert (status["status"], status["refunded_cents"]) == ("partially_refunded", 500)
    assert len(await till.stripe.all("refund")) == 2
    assert await till.balance_nanos() == 500 * CENT


async def test_a_bank_transfer_is_told_what_to_pay_and_confirmed_by_the_operator(till: Till) -> None:
    made = await till.checkout(provider="manual", order_id="ORD-1")
    assert (made["type"], made["provider_txn_id"]) == ("instructions", "manual:ORD-1")
    assert made["payload"] == {
        "instructions": "Rabbit Ltd, IBAN XX00", "reference": "ORD-1",
        "order_id": "ORD-1", "amount_cents": 1000, "currency": "USD",
    }  # fmt: skip
    line = {"id": "line 1", "type": "received", "order_id": "ORD-1", "amount_cents": 1000, "currency": "USD"}
    for key in ("", till.house.secret, DEV_KEY):
        assert (await till.refused("/v1/webhooks/manual", line, key=key, status=400))[
            0
        ] == "invalid_signature"
    for field, value in (("amount_cents", -1), ("currency", "usd"), ("type", "promised"), ("id", "")):
        wrong = {**line, field: value}
        assert (await till.refused("/v1/webhooks/manual", wrong, key=ADMIN_KEY, status=400))[1] == field
    assert await till.events() == 0
    for _ in range(2):
        assert (await till.ask("/v1/webhooks/manual", line, key=ADMIN_KEY))["received"] is True
    await till.worked_off()
    assert (await till.status("ORD-1"), await till.balance_nanos()) == ("paid", 1000 * CENT)
    refund = await till.ask("/v1/payments/refund", {"order_id": "ORD-1", "amount_cents": 250})
    assert refund["status"] == "pending"
    assert await till.balance_nanos() == 750 * CENT
    failed = {"id": "line 2", "type": "refund_failed", "order_id": "ORD-1", "refund_id": refund["refund_id"]}
    await till.ask("/v1/webhooks/manual", failed, key=ADMIN_KEY)
    await till.worked_off()
    assert (await till.status("ORD-1"), await till.balance_nanos()) == ("paid", 1000 * CENT)


async def test_pages_of_stripes_and_alipay_go_their_own_ways(till: Till) -> None:
    """A session may be complete and unpaid, and may expire; Alipay redirects, and is never asked off session."""
    there = {
        "mode": "checkout_session",
        "return_url": "https://shop.example/done?x=1",
        "cancel_url": "http://[::1]/",
    }
    sessions = []
    for name in ("ASYNC", "FAILS", "EXPIRES", "PAID"):
        made = await till.checkout(**there, order_id=name)
        assert made["type"] == "redirect_url"
        session = await till.stripe.find(made["provider_txn_id"])
        assert (made["payload"]["url"], session["success_url"]) == (session["url"], there["return_url"])
        sessions.append(made["provider_txn_id"])
    late, fails, expires, paid = sessions
    for one in (late, fails):
        await till.stripe.complete_session(one, paid=False)
    await till.heard()
    assert await till.balance_nanos() == 0
    assert await till.status("ASYNC") == "processing"
    await till.stripe.finish_session(late)
    await till.stripe.finish_session(fails, ok=False)
    await till.stripe.expire_session(expires)
    await till.stripe.complete_session(paid)
    await till.heard()
    states = [await till.status(name) for name in ("ASYNC", "FAILS", "EXPIRES", "PAID")]
    assert states == ["paid", "failed", "canceled", "paid"]
    assert await till.balance_nanos() == 2000 * CENT

    # Alipay, in a currency that it takes
    account = await accounts.create_account(till.stores.pg, "of yen", "JPY")
    yen = {"user_id": None, "account_id": account.id, "currency": "KRW", "methods": ["alipay"]}
    assert (await till.checkout(400, **yen))["error"]["field"] == "currency"
    won = await accounts.create_account(till.stores.pg, "of won", "KRW")
    refusal = (await till.checkout(400, **{**yen, "account_id": won.id}))["error"]
    assert (refusal["field"], "KRW" in refusal["message"]) == ("methods", True)
    for ok in (True, False):
        made = await till.checkout(methods=["alipay"], order_id=f"ALI-{ok}")
        txn_id = made["provider_txn_id"]
        intent = await till.stripe.pay(txn_id, method="alipay")
        assert intent["next_action"]["type"] == "alipay_handle_redirect"
        await till.heard()
        assert await till.status(f"ALI-{ok}") == "awaiting_payment"
        await till.stripe.finish_redirect(txn_id, ok=ok)
        await till.heard()
        assert await till.status(f"ALI-{ok}") == ("paid" if ok else "failed")
    assert await till.balance_nanos() == 3000 * CENT
    asked = [one.params for one in till.stripe.requests if one.method == "POST"]
    assert len(asked) > 6
    for params in asked:
        assert not {"off_session", "setup_future_usage", "payment_method", "payment_method_types"} & set(
            params
        )
        assert "setup_future_usage" not in str(params)


async def test_what_a_customer_pays_is_what_the_order_says(till: Till) -> None:
    """The amount stands at Stripe before the page sees it; if Stripe says that another came in, a person looks."""
    made = await till.checkout(order_id="ORD-1", amount_cents=5000)
    secret, txn_id = made["payload"]["client_secret"], made["provider_txn_id"]
    card = {"payment_method_data[type]": "card", "payment_method_data[card][number]": "4242424242424242"}
    tries: list[tuple[dict[str, str], int]] = [
        ({"amount": "50"}, 400),
        ({"amount_to_confirm": "50"}, 400),
        ({"client_secret": (await till.checkout(amount_cents=50))["payload"]["client_secret"]}, 400),
        ({}, 200),
    ]
    for lie, status in tries:
        form = {
            "key": PUBLISHABLE_KEY,
            "client_secret": secret,
            "return_url": "https://x.example",
            **card,
            **lie,
        }
        async with till.house.http.post(
            f"{till.stripe.url}/v1/payment_intents/{txn_id}/confirm", data=form
        ) as answer:
            assert answer.status == status, await answer.text()
    await till.heard()
    assert (await till.status("ORD-1"), await till.balance_nanos()) == ("paid", 5000 * CENT)

    less = await till.checkout(order_id="ORD-2", amount_cents=5000)
    await till.stripe.pay(less["provider_txn_id"])
    await till.stripe.tamper(less["provider_txn_id"], amount_received=50)
    await till.heard()
    assert (await till.status("ORD-2"), await till.balance_nanos()) == ("needs_review", 5000 * CENT)
