"""The price book in PostgreSQL: versions only ever added, and followed by running gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from rabbitgw import clock
from rabbitgw.billing.price_book import (
    PriceFeed,
    append_prices,
    load_book,
    load_version,
    price_history,
    set_price,
    withdraw,
)
from rabbitgw.billing.prices import PriceBook, cost_nanos
from rabbitgw.billing.usage import Usage
from rabbitgw.errors import PostgresUnavailable
from tests.billing.price_cases import price_of

LIMIT_S = 20.0
USAGE = Usage(input_tokens=1_000)


async def until(true: Callable[[], bool]) -> None:
    """Wait with a generous limit; how fast it is is for benchmarks."""
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.02)


def cost_in(book: PriceBook, model: str = "m") -> int | None:
    price = book.match(model)
    return None if price is None else cost_nanos(price, USAGE)


@pytest.fixture
async def feed(pg: asyncpg.Pool) -> AsyncIterator[PriceFeed]:
    feed = PriceFeed(pg, poll_s=0.05)
    await feed.start()
    yield feed
    await feed.stop()


async def test_a_price_set_is_the_price_loaded(pg: asyncpg.Pool) -> None:
    stored = await set_price(pg, replace(price_of(input=3_000_000, output=9), max_output_tokens=7))
    assert stored.version > 0
    loaded = (await load_book(pg)).match("m")
    assert loaded is not None
    assert (loaded.version, loaded.max_output_tokens, loaded.effective_from_us) == (
        stored.version,
        7,
        stored.effective_from_us,
    )
    assert cost_nanos(loaded, USAGE) == 3_000


async def test_a_new_version_never_reprices_the_past(pg: asyncpg.Pool) -> None:
    old = await set_price(pg, price_of(input=1_000_000))
    new = await set_price(pg, replace(price_of(input=2_000_000), effective_from_us=1))
    assert new.version > old.version
    assert new.effective_from_us > old.effective_from_us, "a past time counts as now"
    assert cost_in(await load_book(pg)) == 2_000
    then = await load_version(pg, old.version)
    assert then is not None
    assert cost_nanos(then, USAGE) == 1_000
    assert [price.version for price in await price_history(pg, "m", "USD")] == [new.version, old.version]
    assert await load_version(pg, new.version + 1_000) is None


@pytest.mark.parametrize(
    "statement", ["UPDATE prices SET sold = false", "DELETE FROM prices", "TRUNCATE prices"]
)
async def test_versions_cannot_be_changed_or_removed(pg: asyncpg.Pool, dsn: str, statement: str) -> None:
    await set_price(pg, price_of(input=1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pg.execute(statement)
    owner = await asyncpg.connect(dsn)
    try:
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await owner.execute(statement)
    finally:
        await owner.close()
    assert len(await load_book(pg)) == 1


async def test_the_same_price_again_makes_no_version(pg: asyncpg.Pool) -> None:
    first = await set_price(pg, price_of(input=1, output=2))
    again = await append_prices(pg, [price_of(input=1, output=2), price_of("other", input=3)])
    assert [price.version for price in again.unchanged] == [first.version]
    assert [price.pattern for price in again.added] == ["other"]


async def test_many_prices_are_added_in_order_and_all_or_none(pg: asyncpg.Pool) -> None:
    appended = await append_prices(pg, [price_of(f"m-{number}", input=number + 1) for number in range(1_000)])
    versions = [price.version for price in appended.added]
    assert versions == sorted(versions)
    assert cost_in(await load_book(pg), "m-999") == 1
    with pytest.raises(asyncpg.CheckViolationError):
        await append_prices(
            pg, [price_of("fine", input=1), replace(price_of("bad", input=1), currency="usd")]
        )
    assert (await load_book(pg)).match("fine") is None


async def test_prices_in_two_currencies_stand_side_by_side(pg: asyncpg.Pool) -> None:
    await append_prices(
        pg, [price_of("m", input=1_000_000), replace(price_of("m", input=7_000_000), currency="CNY")]
    )
    book = await load_book(pg)
    assert cost_in(book) == 1_000
    yuan = book.match("m", "CNY")
    assert yuan is not None
    assert cost_nanos(yuan, USAGE) == 7_000


async def test_a_withdrawn_price_is_not_sold_and_can_come_back(pg: asyncpg.Pool) -> None:
    await set_price(pg, price_of(input=1_000_000))
    gone = await withdraw(pg, "m", "USD")
    assert gone is not None
    assert not gone.sold
    assert (await load_book(pg)).match("m") is None
    assert await withdraw(pg, "m", "USD") is not None
    assert await withdraw(pg, "never", "USD") is None
    await set_price(pg, price_of(input=1_000_000))
    assert cost_in(await load_book(pg)) == 1_000


async def test_a_running_feed_sees_a_new_price(pg: asyncpg.Pool, feed: PriceFeed) -> None:
    assert cost_in(feed.book) is None
    await set_price(pg, price_of(input=1_000_000))
    await until(lambda: cost_in(feed.book) == 1_000)
    held = feed.book.match("m")
    await set_price(pg, price_of(input=2_000_000))
    await until(lambda: cost_in(feed.book) == 2_000)
    assert held is not None
    assert cost_nanos(held, USAGE) == 1_000, "a call under way keeps the version it was admitted with"
    await withdraw(pg, "m", "USD")
    await until(lambda: cost_in(feed.book) is None)


async def test_a_feed_misses_no_version_that_commits_late(pg: asyncpg.Pool, feed: PriceFeed) -> None:
    """A writer that took its id first holds the others back until it commits."""
    connection: Any
    async with pg.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        columns = "pattern, currency, effective_from, origin, terms"
        insert = f"INSERT INTO prices ({columns}) VALUES ($1, 'USD', now(), 'set', $2)"
        terms = '{"rates": [{"tier": "", "above_tokens": 0, "nanos_per_mtok": {"input": 5000000}}]}'
        await connection.execute(insert, "late", terms)
        other = asyncio.create_task(set_price(pg, price_of("early", input=1_000_000)))
        await asyncio.sleep(0.2)
        assert not other.done()
        await transaction.commit()
    await other
    await until(lambda: cost_in(feed.book, "late") == 5_000 and cost_in(feed.book, "early") == 1_000)


async def test_an_announced_price_takes_effect_in_its_time(pg: asyncpg.Pool, feed: PriceFeed) -> None:
    await set_price(pg, price_of(input=1_000_000))
    await until(lambda: cost_in(feed.book) == 1_000)
    soon_us = (clock.now_ms() + 1_500) * 1_000
    announced = await set_price(pg, replace(price_of(input=2_000_000), effective_from_us=soon_us))
    assert announced.effective_from_us == soon_us
    await set_price(pg, price_of("other", input=1_000_000))
    await until(lambda: cost_in(feed.book, "other") == 1_000)
    assert cost_in(feed.book) == 1_000 or clock.now_ms() * 1_000 >= soon_us
    await until(lambda: cost_in(feed.book) == 2_000)
    assert clock.now_ms() * 1_000 >= soon_us


async def test_a_feed_keeps_its_book_while_postgres_is_away_and_catches_up(dsn: str) -> None:
    from rabbitgw.stores import open_postgres

    pool = await open_postgres(dsn, min_size=0, max_size=2)
    database = dsn.rpartition("/")[2]
    admin = await asyncpg.connect(dsn.rpartition("/")[0] + "/postgres")
    feed = PriceFeed(pool, poll_s=0.05)
    try:
        await set_price(pool, price_of(input=1_000_000))
        await feed.start()
        await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
        )
        with pytest.raises(PostgresUnavailable):
            await load_book(pool)
        await until(lambda: feed.stale)
        assert cost_in(feed.book) == 1_000
        await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        await set_price(pool, price_of(input=2_000_000))
        await until(lambda: cost_in(feed.book) == 2_000)
        await until(lambda: not feed.stale)
    finally:
        await feed.stop()
        await admin.close()
        await pool.close()
