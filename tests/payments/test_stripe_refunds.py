"""Refunds that Stripe will not make, as the till sees them: the money is in the wallet again, the worker goes on."""

from __future__ import annotations

import pytest

from rabbitgw.errors import PaymentRefused
from tests.payments.shop import DOLLAR, PaymentShop


async def test_a_refund_of_what_went_back_unknown_to_us_is_in_the_wallet_again(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    await shop.stripe.dashboard_refund(made.init.provider_txn_id, 600)  # whose webhook has not come
    with pytest.raises(PaymentRefused, match="too large for Stripe"):
        await shop.refund(made.order_id, 1000)
    assert await customer.ledger_nanos() == 10 * DOLLAR
    await shop.settle()
    assert (await customer.ledger_nanos(), await shop.status(made.order_id)) == (
        4 * DOLLAR,
        "partially_refunded",
    )
    await shop.balanced()


async def test_a_refund_that_stripe_cannot_be_told_exactly_is_in_the_wallet_again(shop: PaymentShop) -> None:
    customer = await shop.customer("KWD")
    made = await shop.paid(customer, 5120)
    with pytest.raises(PaymentRefused, match="of KWD only multiples of 10 minor units"):
        await shop.refund(made.order_id, 1001)
    await shop.payments.run_once()
    assert (await customer.ledger_nanos(), await shop.status(made.order_id)) == (5_120_000_000, "paid")
    await shop.balanced()
