"""What payments, refunds and disputes do to the books: literal nanos, each fact once, balanced in the end."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing.overspend import overspend_bounds
from rabbitgw.billing.users import create_user
from rabbitgw.errors import Conflict, PaymentUnavailable, RequestInvalid, TakeShort
from tests.payments.shop import DOLLAR, PaymentShop

TEN = 10 * DOLLAR
FEE = 590_000_000  # 2.9 % of 10.00 and 0.30


async def test_a_payment_credits_the_wallet_once_however_often_it_is_told(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    assert (made.init.type, await shop.status(made.order_id)) == ("client_secret", "paid")
    for _ in range(3):
        await shop.settle()
        await shop.payments.sync.look(shop.payments.providers.get("stripe"), made.init.provider_txn_id)
    assert await customer.ledger_nanos() == TEN
    assert await shop.house("cash:stripe") == -TEN + FEE
    assert await shop.house("fees:stripe") == -FEE
    await shop.balanced()


async def test_a_package_credits_what_was_paid_and_its_bonus(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer, 4500, bonus_nanos=5 * DOLLAR, package_credits=500)
    assert await customer.ledger_nanos() == 50 * DOLLAR
    assert await shop.house("bonus") == -5 * DOLLAR
    # a third of it goes back, with its third of the bonus
    refund = await shop.refund(made.order_id, 1500)
    assert (refund.state, refund.amount_minor) == ("succeeded", 1500)
    assert await customer.ledger_nanos() == 50 * DOLLAR - 15 * DOLLAR - 1_666_666_666
    assert await shop.status(made.order_id) == "partially_refunded"
    await shop.refund(made.order_id)
    assert await customer.ledger_nanos() == 0
    assert await shop.house("bonus") == 0
    assert await shop.status(made.order_id) == "refunded"
    await shop.settle()
    with pytest.raises(Conflict):
        await shop.refund(made.order_id, 1)
    await shop.balanced()


async def test_refunds_are_capped_at_what_was_paid_and_at_what_is_unspent(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    await customer.load()
    with pytest.raises(RequestInvalid, match="1000 of USD are left"):
        await shop.refund(made.order_id, 1001)
    await customer.call(4 * DOLLAR)
    with pytest.raises(TakeShort, match=r"6.000000000 USD available"):
        await shop.refund(made.order_id, 601)
    first = await shop.refund(made.order_id, 600, idempotency_key="once")
    again = await shop.refund(made.order_id, 600, idempotency_key="once")
    assert (first.state, again) == ("succeeded", first)
    assert await customer.redis_nanos() == 0
    assert (
        len([one for one in shop.stripe.requests if (one.method, one.path) == ("POST", "/v1/refunds")]) == 1
    )
    await shop.balanced()


async def test_a_refund_that_fails_later_is_in_the_wallet_again(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    refund = await shop.refund(made.order_id, 400)
    await shop.settle()
    assert await customer.ledger_nanos() == 6 * DOLLAR
    await shop.stripe.fail_refund(refund.provider_refund_id)
    await shop.settle()
    assert await customer.ledger_nanos() == TEN
    assert await shop.status(made.order_id) == "paid"
    assert await shop.house("cash:stripe") == -TEN + FEE
    await shop.balanced()


async def test_a_refund_that_the_provider_refuses_is_in_the_wallet_again(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    shop.stripe.fault("POST", "/v1/refunds", "status", status=500)
    waiting = await shop.refund(made.order_id, 400)
    assert waiting.state in ("taken", "succeeded")  # the library may have tried again at once
    await shop.settle()
    await shop.balanced()


async def test_a_refund_made_at_stripe_takes_the_money_though_it_be_spent(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    await customer.load()
    await customer.call(3 * DOLLAR)
    await customer.call(3 * DOLLAR)
    await shop.stripe.dashboard_refund(made.init.provider_txn_id, 1000)
    await shop.settle()
    assert (await overspend_bounds(shop.shop.pg, shop.settings))["taken"] == TEN
    assert await customer.redis_nanos() == -6 * DOLLAR
    assert await shop.status(made.order_id) == "refunded"
    await shop.balanced()


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_dispute_freezes_is_taken_and_is_given_back_or_not(shop: PaymentShop, end: str) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    dispute = await shop.stripe.dispute(made.init.provider_txn_id)
    await shop.settle()
    assert await shop.status(made.order_id) == "disputed"
    assert await customer.ledger_nanos() == 0
    with pytest.raises(Conflict, match="disputed"):
        await shop.refund(made.order_id, 100)
    await shop.stripe.withdraw_funds(dispute["id"])
    await shop.settle()
    assert await shop.house("disputes") == 0
    assert await customer.ledger_nanos() == 0
    if end == "won":
        await shop.stripe.reinstate_funds(dispute["id"])
    await shop.stripe.close_dispute(dispute["id"], end)
    await shop.settle()
    back = end == "won"
    assert await customer.ledger_nanos() == (TEN if back else 0)
    assert await shop.status(made.order_id) == ("paid" if back else "disputed")
    assert await shop.house("disputes") == 0
    await shop.balanced()


async def test_a_dispute_takes_the_bonus_that_a_refund_on_its_way_gave_back(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer, 4500, bonus_nanos=5 * DOLLAR, package_credits=500)
    shop.stripe.fault("POST", "/v1/refunds", "status", status=500, times=2)
    assert (await shop.refund(made.order_id, 1500)).state == "taken"
    dispute = await shop.stripe.dispute(made.init.provider_txn_id)
    await shop.settle()
    assert await shop.house("bonus") == 0
    await shop.as_owner("UPDATE refunds SET next_try_at = now()")
    await shop.payments.run_once()  # which Stripe refuses of a payment that is disputed
    assert await shop.house("bonus") == -1_666_666_666
    await shop.stripe.withdraw_funds(dispute["id"])
    await shop.stripe.close_dispute(dispute["id"], "lost")
    await shop.settle()
    assert (await shop.house("bonus"), await customer.ledger_nanos()) == (0, 0)
    await shop.balanced()


async def test_an_order_is_found_though_the_account_is_another_customer_meanwhile(shop: PaymentShop) -> None:
    customer = await shop.customer()
    shop.stripe.fault("POST", "/v1/payment_intents", "cut", when="after", times=2)
    with pytest.raises(PaymentUnavailable):
        await shop.checkout(customer, order_id="ORD-4")
    await shop.as_owner(
        f"INSERT INTO provider_customers VALUES ({customer.id}, 'stripe', false, '{await another(shop)}', now())"
    )
    made = await shop.checkout(customer, order_id="ORD-4")
    assert [one["id"] for one in await shop.stripe.all("payment_intent")] == [made.init.provider_txn_id]


async def test_a_program_may_sell_to_a_user_without_http(shop: PaymentShop) -> None:
    customer = await shop.customer()
    user = await create_user(shop.shop.pg, customer.id, "ann")
    init = await shop.payments.create_checkout(user.id, "stripe", "ORD-5", 1000, "USD")
    assert (init.type, set(init.payload)) == ("client_secret", {"client_secret"})
    await shop.stripe.pay(init.provider_txn_id)
    await shop.settle()
    assert (await shop.status("ORD-5"), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.balanced()


async def another(shop: PaymentShop) -> str:
    """A Customer at Stripe."""
    provider: Any = shop.payments.providers.get("stripe")
    return str((await provider._client.v1.customers.create_async({})).id)


async def test_an_inquiry_freezes_nothing(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    dispute = await shop.stripe.dispute(made.init.provider_txn_id, status="warning_needs_response")
    await shop.settle()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.stripe.close_dispute(dispute["id"], "warning_closed")
    await shop.settle()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.balanced()


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"amount_received": 999}, "1000 minor units of USD were asked for, 999 came in"),
        ({"currency": "eur"}, "USD were asked for, EUR came in"),
    ],
)
async def test_money_that_does_not_fit_goes_to_clearing(
    shop: PaymentShop, lie: dict[str, object], why: str
) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id)
    await shop.stripe.tamper(made.init.provider_txn_id, **lie)
    await shop.settle()
    order = await shop.payments.orders.get(made.order_id, None)
    assert (order["status"], order["review_reason"]) == ("needs_review", why)
    assert await customer.ledger_nanos() == 0
    currency = str(lie.get("currency", "usd")).upper()
    assert await shop.house("clearing", currency) == (9_990_000_000 if "amount_received" in lie else TEN)
    await shop.balanced()


async def test_what_another_program_sold_is_not_ours(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer, order_id="ORD-1")
    theirs = {"order_id": "ORD-1", "rabbitgw_deployment": "00000000-0000-4000-8000-000000000000"}
    await shop.stripe.pay_elsewhere(1000, "usd", theirs)
    await shop.stripe.pay_elsewhere(1000, "usd", {})
    await shop.settle()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("awaiting_payment", 0)
    outcomes = await shop.shop.pg.fetch("SELECT DISTINCT state, outcome FROM provider_events WHERE wanted")
    assert [tuple(row) for row in outcomes] == [("ignored", "no order of ours")]
    await shop.balanced()


async def test_a_second_payment_for_an_order_goes_to_clearing_and_can_be_refunded(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer, order_id="ORD-2")
    deployment = await shop.shop.pg.fetchval("SELECT id::text FROM deployment")
    await shop.stripe.pay_elsewhere(1000, "usd", {"order_id": "ORD-2", "rabbitgw_deployment": deployment})
    await shop.settle()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("needs_review", TEN)
    assert await shop.house("clearing") == TEN
    await shop.refund(made.order_id)
    await shop.settle()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    assert await shop.house("clearing") == 0
    await shop.refund(made.order_id)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("refunded", 0)
    await shop.settle()
    await shop.balanced()


async def test_what_a_lost_dispute_has_left_of_a_payment_can_be_refunded(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    dispute = await shop.stripe.dispute(made.init.provider_txn_id, amount=300)
    await shop.stripe.withdraw_funds(dispute["id"])
    await shop.settle()
    with pytest.raises(Conflict, match="the bank decides first"):
        await shop.refund(made.order_id, 100)
    await shop.stripe.close_dispute(dispute["id"], "lost")
    await shop.settle()
    with pytest.raises(RequestInvalid, match="700 of USD are left"):
        await shop.refund(made.order_id, 701)
    refund = await shop.refund(made.order_id)
    assert (refund.amount_minor, refund.state, await customer.ledger_nanos()) == (700, "succeeded", 0)
    await shop.settle()
    with pytest.raises(Conflict, match="nothing is left"):
        await shop.refund(made.order_id)
    await shop.balanced()


@pytest.mark.parametrize(
    ("currency", "amount_minor", "nanos", "told"),
    [
        ("JPY", 1000, 1000 * DOLLAR, 1000),
        ("KWD", 1000, DOLLAR, 1000),
        ("ISK", 500, 500 * DOLLAR, 50_000),
        ("EUR", 1234, 12_340_000_000, 1234),
    ],
)
async def test_currencies_are_paid_in_their_own_units(
    shop: PaymentShop, currency: str, amount_minor: int, nanos: int, told: int
) -> None:
    customer = await shop.customer(currency)
    made = await shop.paid(customer, amount_minor)
    (asked,) = [
        one for one in shop.stripe.requests if (one.method, one.path) == ("POST", "/v1/payment_intents")
    ]
    assert asked.params["amount"] == str(told)
    assert await customer.ledger_nanos() == nanos
    await shop.refund(made.order_id)
    assert await customer.ledger_nanos() == 0
    await shop.balanced()


async def test_amounts_below_the_least_and_other_currencies_are_refused_before_stripe_hears(
    shop: PaymentShop,
) -> None:
    customer = await shop.customer()
    before = len(shop.stripe.requests)
    with pytest.raises(RequestInvalid, match="amount_cents: Stripe takes 50"):
        await shop.checkout(customer, 49)
    with pytest.raises(RequestInvalid, match="billed in USD"):
        await shop.checkout(customer, currency="EUR")
    with pytest.raises(RequestInvalid, match="multiples of 10"):
        await shop.checkout(await shop.customer("KWD"), 1001)
    assert len(shop.stripe.requests) == before
    assert await shop.shop.pg.fetchval("SELECT count(*) FROM payment_orders") == 0


async def test_a_lost_answer_is_asked_for_again_and_nobody_pays_twice(shop: PaymentShop) -> None:
    customer = await shop.customer()
    shop.stripe.fault("POST", "/v1/payment_intents", "cut", when="after", times=2)
    with pytest.raises(PaymentUnavailable):
        await shop.checkout(customer, order_id="ORD-3")
    made = await shop.checkout(customer, order_id="ORD-3")
    assert made == await shop.checkout(customer, order_id="ORD-3")
    with pytest.raises(Conflict, match="order_id"):
        await shop.checkout(customer, 1001, order_id="ORD-3")
    intents = [key for key in shop.stripe.account.objects if key.startswith("pi_")]
    assert intents == [made.init.provider_txn_id]
    await shop.stripe.pay(intents[0])
    await shop.settle()
    assert await customer.ledger_nanos() == TEN
    await shop.balanced()
