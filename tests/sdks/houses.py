"""The houses in which the cases happen: one for most, one per setting that must differ, one whose Redis is stopped.

They share one PostgreSQL and Redis, but for the last, which has both to itself. In each lives a customer with good
keys and bad ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from rabbitgw.billing import accounts, keys, wallets
from rabbitgw.billing.key_push import push_key
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.clock import new_id
from rabbitgw.dev.redis import RedisServer, start_redis
from rabbitgw.proxy import front
from tests.books import assert_books_balance
from tests.flows.house import UNIT, House, house_settings, open_house, until
from tests.sdks.cases import PATTERNS
from tests.sdks.post_counter import PostCounter
from tests.sdks.situations import BODY_BYTES_MAX, CALLER_TIMEOUT_S

CREDIT_NANOS = 1000 * UNIT
THIN_CREDIT_NANOS = 300_000_000  # 300 tokens of output, of an answer that has 400
EXPIRES_AFTER = timedelta(seconds=2)
FIRST_BYTE_TIMEOUT_S = 0.5
REDIS_TIMEOUT_S = 20.0  # a busy machine is no lost Redis


@dataclass
class Places:
    """The open houses by name, the port in front of each, and the credentials of each."""

    redis_folder: Path
    own_redis: RedisServer  # of the house without a store
    houses: dict[str, House] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    keys: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def base_url(self, house: str) -> str:
        return f"http://127.0.0.1:{self.ports[house]}"

    async def thin_key(self) -> str:
        """A key of an account of its own with little credit."""
        return await customer(self.houses["main"], THIN_CREDIT_NANOS)

    async def stop_redis(self) -> None:
        await self.own_redis.stop()

    async def close_books(self) -> None:
        """Redis comes back; every house comes to rest, and all books balance."""
        self.own_redis = await start_redis(self.redis_folder, port=self.own_redis.port)
        for name in ("no-store", "main"):
            await at_rest(self.houses[name])

    async def furnish(self, name: str, house: House) -> None:
        """Make the keys of a house."""
        self.houses[name] = house
        self.keys[name, "good"] = house.secret
        self.keys[name, "none"] = None
        self.keys[name, "unknown"] = "rk-nobody-knows-this-key"
        self.keys[name, "poor"] = await customer(house, 0)
        if name == "main":
            self.keys[name, "revoked"] = await revoked_key(house)
            self.keys[name, "expired"] = await house.new_key(expires_at=datetime.now(UTC) + EXPIRES_AFTER)
            self.keys[name, "narrow"] = await house.new_key(models=["listed-*"])
            self.keys[name, "day-used"] = await house.new_key(daily_limit_nanos=100)


async def customer(house: House, credit_nanos: int) -> str:
    """The key of another account."""
    pg = house.stores.pg
    account = await accounts.create_account(pg, "customer")
    if credit_nanos:
        await credit(house, account, credit_nanos)
    return (await keys.create_key(pg, keys.NewKey(account_id=account.id, name="customer"))).secret


async def credit(house: House, account: accounts.Account, amount_nanos: int) -> None:
    """Houses share a database, so `House.credit` would give the same idempotency key twice."""
    await wallets.credit(
        house.stores.pg, account, currency="USD", amount_nanos=amount_nanos, idempotency_key=new_id()
    )
    house.books.credits.wake()


async def revoked_key(house: House) -> str:
    secret = await house.new_key()
    newest = max(await keys.list_keys(house.stores.pg, house.account.id), key=lambda key: key.id)
    await keys.revoke_key(house.stores.pg, newest.id)
    assert await push_key(house.stores.pg, house.stores.scripts, newest.id)
    return secret


@asynccontextmanager
async def open_houses(
    dsns: tuple[str, str], redis_url: str, upstream_url: str, folder: Path, counter: PostCounter
) -> AsyncIterator[Places]:
    """All houses, selling what PATTERNS prices; the last one's Redis is down."""
    redis_folder = folder / "redis"
    redis_folder.mkdir()
    places = Places(redis_folder, await start_redis(redis_folder))
    async with AsyncExitStack() as stack:
        # an SDK that gives up closes its socket: in a silent stream nothing but this tells that from a closed half
        stack.enter_context(patch.object(front, "HALF_CLOSED_SILENCE_S", CALLER_TIMEOUT_S / 2))
        stack.push_async_callback(places.stop_redis)
        for name, dsn, redis, changes in (
            ("main", dsns[0], redis_url, {"body_bytes_max": BODY_BYTES_MAX}),
            ("balance-402", dsns[0], redis_url, {"balance_status": 402}),
            ("hasty", dsns[0], redis_url, {"upstream_first_byte_timeout_s": FIRST_BYTE_TIMEOUT_S}),
            ("no-store", dsns[1], places.own_redis.url, {}),
        ):
            data_dir = folder / name
            data_dir.mkdir()
            settings = house_settings(
                dsn, redis, upstream_url, data_dir, redis_timeout_s=REDIS_TIMEOUT_S, **changes
            )
            house = await stack.enter_async_context(open_house(settings, credit_nanos=0))
            await credit(house, house.account, CREDIT_NANOS)
            await places.furnish(name, house)
            places.ports[name] = await counter.before(house.gateway.port)
        for name in ("main", "no-store"):
            prices = [price_from_text(pattern, rates) for pattern, rates in PATTERNS.items()]
            await append_prices(places.houses[name].stores.pg, prices)
        for house in places.houses.values():
            await until(lambda house=house: sells(house, "listed-a"))
        await asyncio.sleep(EXPIRES_AFTER.total_seconds())
        await places.stop_redis()
        yield places


async def sells(house: House, model: str) -> bool:
    reply = await house.get("/v1/models")
    return reply.status == 200 and model in [one["id"] for one in reply.json()["data"]]


async def at_rest(house: House) -> None:
    """Nothing is held any more, and the books balance."""

    async def idle() -> bool:
        reply = await house.get("/v1/wallets")
        return reply.status == 200 and all(one["held_nanos"] == 0 for one in reply.json()["wallets"])

    await until(idle)
    await assert_books_balance(house)
