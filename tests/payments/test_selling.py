"""Coupons with orders, orders that need a person, back-fills, and the figures of it all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict
from rabbitgw.payments import review
from rabbitgw.payments.code_stock import Terms, create_codes
from rabbitgw.payments.events import Backfill
from rabbitgw.payments.figures import PackageFigure, figures
from tests.payments.shop import DOLLAR, PaymentShop

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def coupon(shop: PaymentShop) -> str:
    (made,) = await create_codes(shop.shop.pg, Terms(kind="bonus_percent", percent=20))
    return made.text


async def uses(shop: PaymentShop) -> list[str]:
    rows = await shop.shop.pg.fetch("SELECT state FROM credit_code_uses ORDER BY id")
    return [row["state"] for row in rows]


async def test_a_coupon_adds_its_bonus_once_and_is_free_again_when_nobody_pays(shop: PaymentShop) -> None:
    customer, other = await shop.customer(), await shop.customer()
    code = await coupon(shop)
    left = await shop.checkout(customer, 4500, code=code, bonus_nanos=5 * DOLLAR, package_credits=500)
    with pytest.raises(Conflict, match="code"):
        await shop.checkout(other, code=code)
    await shop.stripe.cancel_by_dashboard(left.init.provider_txn_id)
    await shop.settle()
    assert (await shop.status(left.order_id), await uses(shop)) == ("canceled", ["released"])
    await shop.paid(customer, 4500, code=code, bonus_nanos=5 * DOLLAR, package_credits=500)
    assert await customer.ledger_nanos() == 59 * DOLLAR
    assert await shop.house("bonus") == -14 * DOLLAR
    assert await uses(shop) == ["released", "used"]
    await shop.balanced()


async def test_an_order_that_waits_too_long_is_paid_without_its_coupon(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer, code=await coupon(shop))
    await shop.as_owner("UPDATE credit_code_uses SET created_at = created_at - interval '25 hours'")
    await shop.payments.backfill.run_once()
    assert await uses(shop) == ["released"]
    await shop.stripe.pay(made.init.provider_txn_id)
    await shop.settle()
    assert await customer.ledger_nanos() == 10 * DOLLAR
    await shop.balanced()


async def test_a_person_accepts_what_did_not_fit(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    with pytest.raises(Conflict, match="nothing of it is in clearing"):
        await review.accept(shop.shop.pg, shop.payments.sync, made.order_id)
    await shop.stripe.pay(made.init.provider_txn_id)
    await shop.stripe.tamper(made.init.provider_txn_id, amount_received=700)
    await shop.settle()
    (found,) = await review.list_orders(
        shop.shop.pg, status="needs_review", account_id=None, before=None, rows_max=10
    )
    assert found["order_id"] == made.order_id
    assert await review.accept(shop.shop.pg, shop.payments.sync, made.order_id) == "paid"
    assert (await customer.ledger_nanos(), await shop.house("clearing")) == (7 * DOLLAR, 0)
    with pytest.raises(Conflict):
        await review.accept(shop.shop.pg, shop.payments.sync, made.order_id)
    await shop.refund(made.order_id)
    assert (await customer.ledger_nanos(), await shop.status(made.order_id)) == (0, "refunded")
    await shop.settle()
    await shop.balanced()


async def test_a_back_fill_finds_events_that_never_came(shop: PaymentShop) -> None:
    customer = await shop.customer()
    assert await shop.payments.backfill.run_once() == 0  # without an order there is nothing to ask for
    assert not [one for one in shop.stripe.requests if one.path == "/v1/events"]
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id)
    assert await shop.payments.backfill.run_once() == 1  # payment_intent.succeeded: others are not asked for
    assert await shop.payments.backfill.run_once() == 0  # its day is not over
    await shop.payments.run_once()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", 10 * DOLLAR)
    await shop.settle()  # and then they come
    assert await customer.ledger_nanos() == 10 * DOLLAR
    sources = await shop.shop.pg.fetch(
        "SELECT source, count(*) FROM provider_events WHERE wanted GROUP BY source"
    )
    assert [tuple(row) for row in sources] == [("backfill", 1)]
    await shop.balanced()


async def test_a_back_fill_looks_at_orders_that_nobody_was_heard_of(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id)
    await shop.as_owner("UPDATE payment_orders SET created_at = created_at - interval '2 hours'")
    since = datetime.fromtimestamp(now_ms() / 1000 + 60, UTC)  # no event is that new
    ask = Backfill(shop.shop.pg, shop.payments.providers, shop.payments.sync).ask
    assert await ask(shop.payments.providers.get("stripe"), since) == 0
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", 10 * DOLLAR)
    await shop.balanced()


async def test_the_figures_say_how_selling_goes(shop: PaymentShop) -> None:
    customer = await shop.customer()
    now = datetime.fromtimestamp(now_ms() / 1000, UTC)
    empty = await figures(shop.shop.pg, "USD", LONG_AGO, now)
    assert (empty.payment_success_rate, empty.average_order_value, empty.refund_rate) == (None, None, None)
    for _ in range(2):
        await shop.paid(customer, 4500, bonus_nanos=5 * DOLLAR, package_credits=500)
    plain = await shop.paid(customer, 1000)
    declined = await shop.checkout(customer, 1000)
    await shop.stripe.pay(declined.init.provider_txn_id, card="4000000000000002")
    await shop.checkout(customer, 1000)
    await shop.settle()
    await shop.refund(plain.order_id, 500)
    found = await figures(shop.shop.pg, "USD", LONG_AGO, now + timedelta(minutes=5))
    assert found.orders == {"awaiting_payment": 1, "failed": 1, "paid": 2, "partially_refunded": 1}
    assert found.payment_success_rate == Decimal("0.75")
    assert (found.payments, found.paid, found.average_order_value) == (3, Decimal("100.00"), Decimal("33.33"))
    assert (found.refunded, found.refund_rate) == (Decimal("5.00"), Decimal("0.0500"))
    assert found.packages == [
        PackageFigure(500, 2, Decimal("0.6667")),
        PackageFigure(None, 1, Decimal("0.3333")),
    ]
    (webhooks,) = found.webhooks
    assert (webhooks.provider, webhooks.success_rate, webhooks.waiting) == ("stripe", 1, 0)
    assert webhooks.repeated > 0  # this test's own way of delivering
    await shop.balanced()
