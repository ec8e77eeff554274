"""Every provider keeps the contract, as far as the suite that the package offers can tell; and the suite can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from rabbitgw.payments.conformance import Check, World, checks_of
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import open_postgres
from tests.conftest import PostgresForTests
from tests.payments.harbour_world import HarbourWorld
from tests.payments.worlds import CheckoutWorld, ManualWorld, StripeWorld


@pytest.fixture(scope="module")
def one_dsn(postgres_server: PostgresForTests) -> Iterator[str]:
    """One database for all checks: their orders differ."""
    dsn = postgres_server.new_database()
    yield dsn
    postgres_server.drop(dsn)


@pytest.fixture
async def one_pg(one_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_postgres(one_dsn, min_size=1, max_size=8)
    yield pool
    await pool.close()


pytestmark = pytest.mark.usefixtures("hasty_retries")


def rules(world: type[World]) -> Any:
    return pytest.mark.parametrize("check", checks_of(world), ids=lambda check: check.name)


@rules(StripeWorld)
async def test_stripe(check: Check) -> None:
    async with StripeWorld.open() as world:
        await check.run(world)


@rules(CheckoutWorld)
async def test_stripe_checkout(check: Check) -> None:
    async with CheckoutWorld.open() as world:
        await check.run(world)


@rules(ManualWorld)
async def test_manual(check: Check, one_pg: asyncpg.Pool, link: RedisLink) -> None:
    await check.run(ManualWorld(one_pg, link))


@rules(HarbourWorld)
async def test_a_third_partys(check: Check, harbour_installed: None) -> None:
    await check.run(HarbourWorld())
