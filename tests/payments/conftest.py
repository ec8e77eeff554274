"""A shop for the payment tests: the whole house beside a Stripe that keeps state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import stripe as stripe_library

from rabbitgw.config import Settings
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool
from tests.books import Shop
from tests.fakes.stripe.fake import FakeStripe, open_fake_stripe
from tests.payments.harbour_world import PACKAGE, installed
from tests.payments.shop import STRIPE_KEY, PaymentShop, shop_settings


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with open_fake_stripe(STRIPE_KEY, "pk_test_of_the_shop") as fake:
        yield fake


@pytest.fixture
def payment_settings(stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return shop_settings(stripe)


@pytest.fixture
def hasty_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe's library sleeps half a second before it tries again."""
    monkeypatch.setattr(stripe_library.HTTPClient, "INITIAL_DELAY", 0.001)
    monkeypatch.setattr(stripe_library.HTTPClient, "MAX_DELAY", 0.001)


@pytest.fixture(scope="module")
def harbour_installed() -> Iterator[None]:
    """A third party's package with a payment provider."""
    with installed(PACKAGE):
        yield


@pytest.fixture
async def shop(
    dsn: str, pg: Pool, link: RedisLink, stripe: FakeStripe, payment_settings: Settings
) -> AsyncIterator[PaymentShop]:
    payments = Payments(pg, link, payment_settings)
    try:
        yield PaymentShop(await Shop.open(pg, link), payments, payment_settings, stripe, dsn)
    finally:
        await payments.close()
