"""A deployment in order, on real stores of its own and the scripted upstream, for a doctor to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from redis import Redis

from rabbitgw import stores
from rabbitgw.billing import accounts
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.cli_doctor import Doctor
from rabbitgw.config import Settings
from rabbitgw.dev.redis import RedisServer, start_redis
from rabbitgw.findings import Finding, State
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool
from tests.conftest import FOR_TESTS
from tests.fakes.openai_upstream import FakeUpstream, Refuse
from tests.flows.house import house_settings

ADMIN_KEY = "Vd8qLw3ZrYt6bNc1xKp9sMh4"
MASTER_KEY = "Zk2pQm7RvXs5wJd0yTn8cFg3"
RATES = {"input": "1", "output": "2"}
# The tests' own PostgreSQL runs without fsync, its user is a superuser, and no worker runs here.
USUAL = {"postgres.durability": State.FAILED, "books.worker": State.WARNING, "redis.memory": State.WARNING}


class Deployment:
    """What a doctor is called to, in order until a test breaks it."""

    def __init__(self, settings: Settings, pg: Pool, redis: RedisServer, link: RedisLink) -> None:
        self.settings = settings
        self.pg = pg
        self.redis = redis
        self.link = link

    async def look(self, **changes: Any) -> dict[str, Finding]:
        found = await Doctor(self.settings.model_copy(update=changes)).findings()
        assert len({one.check for one in found}) == len(found), "a check was made twice"
        for one in found:
            assert bool(one.mend) == (one.state is not State.OK), one
        return {one.check: one for one in found}

    async def unusual(self, **changes: Any) -> dict[str, Finding]:
        """The findings that are not as they are in a deployment in order."""
        found = await self.look(**changes)
        return {name: one for name, one in found.items() if one.state is not USUAL.get(name, State.OK)}

    async def execute(self, statement: str) -> None:
        db = await asyncpg.connect(self.settings.database_url.get_secret_value())
        try:
            await db.execute(statement)
        finally:
            await db.close()


@pytest.fixture(autouse=True)
def no_variables_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tests find their old SDKs and LiteLLM is no setting of the program: a doctor would name it."""
    for name in FOR_TESTS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def doctors_redis(servers_folder: Path) -> Iterator[RedisServer]:
    """A Redis that tests may set up wrongly."""
    server = asyncio.run(start_redis(servers_folder / "doctor"))
    try:
        yield server
    finally:
        asyncio.run(server.stop())


@pytest.fixture
def redis(doctors_redis: RedisServer) -> Iterator[RedisServer]:
    yield doctors_redis
    with Redis.from_url(doctors_redis.url) as client:
        client.replicaof("NO", "ONE")
        client.config_set("maxmemory", 0)
        client.flushall()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "everysec")
        client.acl_deluser("narrow")


@pytest.fixture
async def deployment(
    dsn: str, upstream: FakeUpstream, redis: RedisServer, tmp_path: Path
) -> AsyncIterator[Deployment]:
    settings = house_settings(
        dsn,
        redis.url,
        upstream.base_url,
        tmp_path / "data",
        admin_key=SecretStr(ADMIN_KEY),
        litellm_master_key=SecretStr(MASTER_KEY),
    )
    (settings.data_dir / "spool").mkdir(parents=True)
    litellm(upstream)
    pg = await stores.open_postgres(dsn)
    link = await stores.open_redis(redis.url)
    await publish_epoch(link, await read_names(pg))
    await Partitions(pg).run_once()
    await accounts.create_account(pg, "Acme")
    await append_prices(pg, [price_from_text("fake-gpt", RATES)])
    try:
        yield Deployment(settings, pg, redis, link)
    finally:
        await link.close()
        await pg.close()


def litellm(upstream: FakeUpstream, version: str = "1.106.2") -> None:
    """Let the fake upstream tell of itself what a LiteLLM proxy tells."""
    told = {"status": "healthy", "litellm_version": version}
    upstream.script("/health/liveliness", Refuse(200, b"I'm alive!"))
    upstream.script("/health/readiness", Refuse(200, told))
    upstream.script("/router/settings", Refuse(200, {"fields": []}))
