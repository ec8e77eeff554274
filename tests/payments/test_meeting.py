"""Refunds, disputes, calls and lost stores that meet on one order: whoever comes first, the books end balanced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import stripe as stripe_library

from rabbitgw.errors import Conflict, NotFound, PaymentRefused, PostgresUnavailable
from rabbitgw.payments import sync
from rabbitgw.stores import Pool, PoolConnection
from rabbitgw.stores import transaction as real_transaction
from tests.payments.dying import overdue, quiesce
from tests.payments.shop import DOLLAR, PaymentShop

TEN = 10 * DOLLAR
FEE = 590_000_000  # 2.9 % of 10.00 and 0.30


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe's library tries again after half a second; here at once."""
    monkeypatch.setattr(stripe_library.HTTPClient, "_sleep_time_seconds", lambda *_: 0)


@pytest.mark.parametrize("first", ["refund", "dispute"])
async def test_a_refund_and_a_dispute_at_once(shop: PaymentShop, first: str) -> None:
    """The bank disputes all of it while a refund is on its way: Stripe has done it, or will not do it any more."""
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.paid(customer)
    txn = made.init.provider_txn_id
    fault = stripe.fault("POST", "/v1/refunds", "hold", when="after" if first == "refund" else "before")
    refund = asyncio.create_task(shop.refund(made.order_id, 400))
    await fault.met.wait()
    await stripe.dispute(txn, 600 if first == "refund" else None)
    await shop.settle()
    assert await customer.ledger_nanos() == (0 if first == "refund" else -4 * DOLLAR)
    fault.gate.set()
    if first == "refund":
        assert (await refund).state == "succeeded"
    else:
        with pytest.raises(PaymentRefused):
            await refund
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("disputed", 0)
    assert await customer.redis_nanos() == 0
    frozen = 6 * DOLLAR if first == "refund" else TEN
    assert await shop.booked() == {"disputes": frozen, "cash:stripe": -frozen + FEE, "fees:stripe": -FEE}
    await shop.balanced()


async def test_a_refund_of_more_than_stripe_has_left_is_given_back(shop: PaymentShop) -> None:
    """Half of it is disputed, and nobody has heard of that. The worker meets it, and goes on to the next."""
    customer, stripe = await shop.customer(), shop.stripe
    made, other = await shop.paid(customer), await shop.paid(customer)
    stripe.fault("POST", "/v1/refunds", "cut", times=4)
    for one in (made, other):
        assert (await shop.refund(one.order_id)).state == "taken"
    await stripe.dispute(made.init.provider_txn_id, 500)
    await overdue(shop.shop.pg)
    await shop.payments.refunds.run_one()
    await shop.payments.refunds.run_one()
    rows = await shop.shop.pg.fetch("SELECT order_id, state FROM refunds")
    assert dict(rows) == {made.order_id: "failed", other.order_id: "succeeded"}
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("disputed", 5 * DOLLAR)
    await shop.balanced()


async def test_a_refund_waits_where_stripe_does_not_know_the_payment(shop: PaymentShop) -> None:
    """Somebody has put in another account's key: the money may be on its way by the right one."""
    customer = await shop.customer()
    made = await shop.paid(customer)
    shop.stripe.fault("POST", "/v1/refunds", "cut", when="after", times=2)
    assert (await shop.refund(made.order_id, 400)).state == "taken"
    intent = shop.stripe.account.objects.pop(made.init.provider_txn_id)
    await overdue(shop.shop.pg)
    await shop.payments.refunds.run_one()
    assert await shop.shop.pg.fetchval("SELECT state FROM refunds") == "taken"
    shop.stripe.account.objects[made.init.provider_txn_id] = intent
    await quiesce(shop)
    assert await shop.shop.pg.fetchval("SELECT state FROM refunds") == "succeeded"
    assert await customer.ledger_nanos() == 6 * DOLLAR
    await shop.balanced()


async def test_a_dispute_of_what_was_left_by_a_refund(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.paid(customer, bonus_nanos=DOLLAR)
    await shop.refund(made.order_id, 400)
    assert await customer.ledger_nanos() == 6_600_000_000
    dispute = await stripe.dispute(made.init.provider_txn_id, 600)
    await stripe.withdraw_funds(dispute["id"])
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("disputed", 0)
    await stripe.close_dispute(dispute["id"], "lost")
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("disputed", 0)
    assert await shop.booked() == {
        "cash:stripe": FEE + 15 * DOLLAR,
        "fees:stripe": -FEE - 15 * DOLLAR,
    }
    await shop.balanced()


async def test_a_wallet_goes_below_zero_by_a_dispute_and_comes_back(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.paid(customer)
    await customer.call(6 * DOLLAR // 2)
    await customer.call(6 * DOLLAR // 2)
    dispute = await stripe.dispute(made.init.provider_txn_id)
    await quiesce(shop)
    assert await customer.redis_nanos() == -6 * DOLLAR
    again = await shop.checkout(customer, 2000)
    await stripe.pay(again.init.provider_txn_id)
    await quiesce(shop)
    assert await customer.redis_nanos() == 14 * DOLLAR, "what is owed is paid first"
    await stripe.close_dispute(dispute["id"], "won")
    await quiesce(shop)
    assert await customer.redis_nanos() == 24 * DOLLAR
    await customer.call(DOLLAR)
    await shop.balanced()
    assert await customer.ledger_nanos() == 23 * DOLLAR


async def test_a_refund_is_not_refunded(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    refund = await shop.refund(made.order_id)
    with pytest.raises(NotFound, match="no order of this provider_txn_id"):
        await shop.refund(None, provider_txn_id=refund.provider_refund_id)
    for names in (
        {"order_id": made.order_id},
        {"order_id": None, "provider_txn_id": made.init.provider_txn_id},
    ):
        with pytest.raises(Conflict, match="refunded"):
            await shop.refund(**names)
    await quiesce(shop)
    assert len(await shop.stripe.all("refund")) == 1
    assert await shop.booked() == {"cash:stripe": FEE, "fees:stripe": -FEE}
    await shop.balanced()


async def test_a_session_that_expired_and_was_paid_nevertheless(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.checkout(customer, mode="checkout_session", return_url="https://shop.test/back")
    txn = made.init.provider_txn_id
    await stripe.complete_session(txn, paid=False)
    await quiesce(shop)
    assert await shop.status(made.order_id) == "processing"
    # as if it had expired first: what was under way is not seen in it
    intent = (await stripe.find(txn))["payment_intent"]
    await stripe.tamper(txn, status="expired", payment_intent=None)
    (completed,) = await stripe.events("checkout.session.completed")
    await shop.deliver({**completed, "id": "evt_expired", "type": "checkout.session.expired"})
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("canceled", 0)
    await stripe.finish_processing(intent)
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.balanced()


async def test_what_does_not_fit_can_go_back_in_the_currency_that_it_came_in(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.checkout(customer)
    await stripe.pay(made.init.provider_txn_id)
    (charge,) = stripe.account.all("charge")
    for one in (made.init.provider_txn_id, charge["id"]):
        await stripe.tamper(one, currency="eur")
    await quiesce(shop)
    assert (await shop.status(made.order_id), await shop.house("clearing", "EUR")) == ("needs_review", TEN)
    await shop.refund(made.order_id)
    await quiesce(shop)
    assert (await shop.status(made.order_id), await shop.house("clearing", "EUR")) == ("refunded", 0)
    assert await shop.house("cash:stripe", "EUR") == 0
    assert (await customer.ledger_nanos(), await customer.redis_nanos()) == (0, 0)
    await shop.balanced()


async def test_a_wallet_that_cannot_hold_a_payment_leaves_it_in_clearing(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.checkout(customer)
    await customer.credit(9_000_000_000 * DOLLAR)
    await stripe.pay(made.init.provider_txn_id)
    await quiesce(shop)
    assert (await shop.status(made.order_id), await shop.house("clearing")) == ("needs_review", TEN)
    await shop.refund(made.order_id)
    await quiesce(shop)
    assert (await shop.status(made.order_id), await shop.house("clearing")) == ("refunded", 0)
    await shop.balanced()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_postgresql_that_is_gone_at_the_commit_of_a_payment(
    shop: PaymentShop, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The server ends the session at that moment: before it, or with the answer under way."""
    customer = await shop.customer()
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id)
    await shop.take_webhooks()

    @asynccontextmanager
    async def cut_off(pool: Pool, **how: Any) -> AsyncIterator[PoolConnection]:
        async with real_transaction(pool, **how) as db:
            yield db
            if when == "before":
                session = await db.fetchval("SELECT pg_backend_pid()")
                owner = await asyncpg.connect(shop.dsn)
                await owner.execute("SELECT pg_terminate_backend($1, 10000)", session)
                await owner.close()
        raise PostgresUnavailable("PostgreSQL: the answer to COMMIT is lost")

    with monkeypatch.context() as patched:
        patched.setattr(sync, "transaction", cut_off)
        with pytest.raises(PostgresUnavailable):
            await shop.payments.run_once()
    assert await customer.ledger_nanos() == (0 if when == "before" else TEN)
    await quiesce(shop)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    assert await customer.redis_nanos() == TEN
    assert await shop.booked() == {"wallet": TEN, "cash:stripe": -TEN + FEE, "fees:stripe": -FEE}
    await shop.balanced()
