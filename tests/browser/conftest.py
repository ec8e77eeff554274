"""One Chromium a run, Debian's, and one house behind the demo page. Collected only where there is a Chromium.

All of it, tests included, runs in the run's own loop: a browser belongs to the loop that started it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import redis
from playwright.async_api import Browser, async_playwright
from pydantic import SecretStr

from rabbitgw.billing import users
from rabbitgw.dev.redis import RedisServer
from tests.books import assert_books_balance
from tests.browser.visit import KEY, PUBLISHABLE_KEY, Visit
from tests.conftest import CHROMIUM, PostgresForTests
from tests.fakes.stripe import FakeStripe, open_fake_stripe
from tests.flows.house import House, house_settings, open_house

STRIPE_KEY = "sk_test_of_the_house"
START_TIMEOUT_MS = 100_000  # half a second on an idle machine
WEBHOOK_SECRET = "whsec_of_the_house"

collect_ignore_glob = [] if CHROMIUM.exists() else ["test_*.py"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, timeout=START_TIMEOUT_MS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stripe() -> AsyncIterator[FakeStripe]:
    """What the gateway asks; the page does not know it."""
    async with open_fake_stripe(STRIPE_KEY, PUBLISHABLE_KEY) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    postgres_server: PostgresForTests, redis_server: RedisServer, stripe: FakeStripe
) -> AsyncIterator[House]:
    """A gateway with Stripe and user 1."""
    dsn = postgres_server.new_database()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    folder = Path(tempfile.mkdtemp(prefix="rabbitgw-browser-"))
    settings = house_settings(
        dsn,
        redis_server.url,
        "http://127.0.0.1:9",
        folder,
        dev_api_key=SecretStr(KEY),
        stripe_secret_key=SecretStr(STRIPE_KEY),
        stripe_publishable_key=PUBLISHABLE_KEY,
        stripe_webhook_secret=SecretStr(WEBHOOK_SECRET),
        stripe_api_base=stripe.url,
    )
    async with open_house(settings) as opened:
        await users.create_user(opened.stores.pg, opened.account.id, "Ann")
        webhooks = f"{opened.base_url}/v1/webhooks/stripe"
        await stripe.add_endpoint(webhooks, secrets=[WEBHOOK_SECRET], auto=True)
        yield opened
        await stripe.idle()
        await assert_books_balance(opened)
    postgres_server.drop(dsn)
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def window(browser: Browser, house: House) -> AsyncIterator[Visit]:
    """A window for all visits, one after the other: a new one costs more than a test."""
    context = await browser.new_context()
    yield await Visit.begin(context, house.base_url)
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(window: Visit) -> AsyncIterator[Visit]:
    """What holds of every visit is checked at its end."""
    await window.renew()
    yield window
    await window.check()


@pytest_asyncio.fixture(loop_scope="session")
async def timed_visit(browser: Browser, house: House) -> AsyncIterator[Visit]:
    """One whose clock the test turns; a window keeps such a clock."""
    context = await browser.new_context()
    visit = await Visit.begin(context, house.base_url)
    await visit.renew()
    await visit.page.clock.install()
    yield visit
    await visit.check()
    await context.close()
