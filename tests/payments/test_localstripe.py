"""An independent Stripe bears witness: StripeProvider against localstripe, by the conformance checks and by a sale."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from rabbitgw.errors import SignatureInvalid
from rabbitgw.payments.conformance import Check, checks_of
from rabbitgw.payments.contract import PaymentState, RefundState
from rabbitgw.payments.events import receive_webhook
from rabbitgw.payments.orders import NewOrder
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool
from tests.books import Shop, assert_books_balance
from tests.fakes.localstripe_process import LocalStripe
from tests.loops import until
from tests.payments.localstripe_world import (
    HOOK,
    NOT_WITNESSED,
    SECRET,
    Adapter,
    LocalStripeWorld,
    adapted,
    settings_at,
    witnessed,
)

DOLLAR = 1_000_000_000


@pytest.mark.parametrize("check", witnessed(), ids=lambda check: check.name)
async def test_the_contract_is_kept(check: Check, localstripe: LocalStripe) -> None:
    async with LocalStripeWorld.open(localstripe) as world:
        await check.run(world)


def test_what_it_does_not_witness_is_a_check() -> None:
    assert {check.name for check in checks_of(LocalStripeWorld)} >= NOT_WITNESSED


async def test_a_sale_with_its_webhooks_and_a_refund(
    localstripe: LocalStripe, pg: Pool, link: RedisLink
) -> None:
    async with adapted(localstripe) as adapter:
        await asyncio.to_thread(localstripe.deliver_to, adapter.url + HOOK, SECRET)
        payments = Payments(pg, link, settings_at(adapter, admin_key=SecretStr("admin")))
        try:
            await sold(adapter, payments, await Shop.open(pg, link))
        finally:
            await payments.close()


async def sold(adapter: Adapter, payments: Payments, shop: Shop) -> None:
    customer, stripe = await shop.customer(0), payments.providers.get("stripe")
    new = NewOrder(provider="stripe", amount_minor=1000, currency="USD")
    made = await payments.orders.checkout(customer.account, new, "ORD-1")
    intent_id = made.init.provider_txn_id
    assert made.init == (await payments.orders.checkout(customer.account, new, "ORD-1")).init
    _, at_stripe = await adapter.ask("GET", f"/v1/customers/{made.init.customer_ref}")
    assert at_stripe["metadata"]["account_id"] == str(customer.id)

    await adapter.pay(intent_id)
    await until(lambda: any(intent_id.encode() in one.body for one in adapter.webhooks), "a webhook")
    genuine = next(one for one in adapter.webhooks if intent_id.encode() in one.body)
    forged = genuine.body.replace(b"1000", b"9000")
    assert forged != genuine.body
    with pytest.raises(SignatureInvalid):
        await receive_webhook(shop.pg, stripe, genuine.headers, forged)
    assert await receive_webhook(shop.pg, stripe, genuine.headers, genuine.body)
    assert not await receive_webhook(shop.pg, stripe, genuine.headers, genuine.body)
    assert await payments.run_once() == 1
    assert (await customer.ledger_nanos(), await customer.redis_nanos()) == (10 * DOLLAR, 10 * DOLLAR)

    refund = await payments.refunds.refund(
        order_id="ORD-1", provider_txn_id=None, amount_minor=400, reason=None, idempotency_key=None
    )
    assert refund.state == "succeeded"
    status = await stripe.query(intent_id)
    assert (status.state, status.received_minor, status.fee_nanos) == (PaymentState.SUCCEEDED, 1000, 0)
    (fact,) = status.refunds
    assert (fact.refund_id, fact.amount_minor, fact.state) == (str(refund.id), 400, RefundState.SUCCEEDED)
    await payments.sync.look(stripe, intent_id)
    assert await customer.ledger_nanos() == 6 * DOLLAR
    assert (await payments.orders.get("ORD-1", None))["status"] == "partially_refunded"
    await assert_books_balance(shop)
