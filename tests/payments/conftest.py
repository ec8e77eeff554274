"""A shop for the payment tests: the whole house beside a Stripe that keeps state."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rabbitgw.config import Settings
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool
from tests.books import Shop
from tests.fakes.stripe.fake import FakeStripe, open_fake_stripe
from tests.payments.shop import STRIPE_KEY, PaymentShop, shop_settings


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with open_fake_stripe(STRIPE_KEY, "pk_test_of_the_shop") as fake:
        yield fake


@pytest.fixture
def payment_settings(stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return shop_settings(stripe)


@pytest.fixture
async def shop(
    dsn: str, pg: Pool, link: RedisLink, stripe: FakeStripe, payment_settings: Settings
) -> AsyncIterator[PaymentShop]:
    payments = Payments(pg, link, payment_settings)
    try:
        yield PaymentShop(await Shop.open(pg, link), payments, payment_settings, stripe, dsn)
    finally:
        await payments.close()
