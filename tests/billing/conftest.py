"""What tests of the money plane share: the scripts, in the epoch of the test's database; and alone, in a world
without PostgreSQL whose clock the test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.scripts import Scripts
from tests.billing.money_world import World
from tests.books import Shop

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


@pytest.fixture
async def scripts(pg: Pool, link: RedisLink) -> Scripts:
    names = await read_names(pg)
    await publish_epoch(link, names)
    return Scripts(link, names)


@pytest.fixture
async def world(link: RedisLink) -> World:
    """A loaded account with 1000 nanos, a key, and a worker with a lease."""
    return await World(link).open()


@pytest.fixture
async def shop(pg: Pool, link: RedisLink) -> Shop:
    """Accounts that hold and settle without a gateway, on the test's own database."""
    return await Shop.open(pg, link)
