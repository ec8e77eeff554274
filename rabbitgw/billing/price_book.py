"""The price book in PostgreSQL: versions added, listed, and followed by running gateways.

Owns reading and appending versions; what they mean is prices.py's. A version is never changed or removed:
taking a model from sale is a version too. A gateway's book is at most a second older than the table while
PostgreSQL answers, and stays as it is while PostgreSQL is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from rabbitgw import statements, telemetry
from rabbitgw.billing.feed import POLL_S, Feed
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.pieces import without_overridden
from rabbitgw.billing.price_terms import price_from_terms, terms_json
from rabbitgw.billing.prices import Price, PriceBook
from rabbitgw.stores import Pool, PoolConnection, connection

ROWS_PER_TURN: Final = 200  # parsing a whole imported list at once would stop every stream for its length
HISTORY_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the prices given: new versions, and those whose newest version says the same already."""

    added: tuple[Price, ...]
    unchanged: tuple[Price, ...]


async def append_prices(pool: Pool, prices: Sequence[Price]) -> Appended:
    """Add a version for each price that says something new, all or none.

    A price whose `effective_from_us` is past, or 0, holds from now on. Versions are returned with their id.
    Raises: PostgresUnavailable (the same prices may be sent again).
    """
    current = await load_book(pool)
    wanted = list({(price.pattern, price.currency): price for price in prices}.values())
    news, unchanged = [], []
    for price in wanted:
        known = current.current(price.pattern, price.currency)
        same = known is not None and known.sold == price.sold and terms_json(known) == terms_json(price)
        # An announced price is stored even if equal: between now and then another may come.
        if known is not None and same and price.effective_from_us == 0:
            unchanged.append(known)
        else:
            news.append(price)
    if not news:
        return Appended((), tuple(unchanged))
    async with connection(pool) as db:
        added = await append(db, news)
    return Appended(added, tuple(unchanged))


async def append(db: PoolConnection, prices: Sequence[Price]) -> tuple[Price, ...]:
    """Add a version of each, in this order; returned with their ids and times."""
    rows = await db.fetch(
        statements.prices.append,
        [price.pattern for price in prices],
        [price.currency for price in prices],
        [price.sold for price in prices],
        [price.origin for price in prices],
        [terms_json(price) for price in prices],
        [price.effective_from_us // 1000 or None for price in prices],
        [price.plan_id for price in prices],
    )
    return tuple(
        replace(price, version=row["id"], effective_from_us=row["effective_from_us"])
        for price, row in zip(prices, sorted(rows, key=itemgetter("id")), strict=True)
    )


async def set_price(pool: Pool, price: Price) -> Price:
    """Add one version (or find that the newest one says the same) and return it with its id."""
    appended = await append_prices(pool, [price])
    return (*appended.added, *appended.unchanged)[0]


async def withdraw(pool: Pool, pattern: str, currency: str) -> Price | None:
    """Take a pattern from sale from now on; None if it has no price. Calls already admitted keep theirs."""
    known = (await load_book(pool)).current(pattern, currency)
    if known is None or not known.sold:
        return known
    return await set_price(pool, replace(known, sold=False, origin="set", version=0, effective_from_us=0))


async def load_book(pool: Pool) -> PriceBook:
    """The book as it stands now. Raises: PostgresUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(statements.prices.current)
    return PriceBook(price for price in await _prices(rows) if price.plan_id is None)


async def load_version(pool: Pool, version: int) -> Price | None:
    """One version by id, however old: what a call was admitted with. Raises: PostgresUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(statements.prices.version, version)
    return None if row is None else _price(row)


async def price_history(pool: Pool, pattern: str, currency: str) -> list[Price]:
    """Every version of one pattern, newest first, announced ones too. Raises: PostgresUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(statements.prices.history, None, pattern, currency, HISTORY_MAX)
    return await _prices(rows)


async def history_of_plan(db: PoolConnection, plan_id: int) -> list[Price]:
    """Every version of a plan's prices, newest first."""
    return await _prices(await db.fetch(statements.prices.history, plan_id, None, None, HISTORY_MAX))


class PriceFeed(Feed):
    """A running gateway's book: `book` is always a whole, usable snapshot.

    Each poll asks only for versions that came since. While PostgreSQL is away the last book stays in force, and
    `stale` says so.
    """

    def __init__(self, pool: Pool, *, poll_s: float = POLL_S) -> None:
        super().__init__(pool, poll_s=poll_s)
        self.book = PriceBook()
        self.plans: dict[int, PriceBook] = {}  # those of plans
        self._newest_id = 0
        self._newest_us = 0

    async def refresh(self) -> bool:
        """Take in what came since the last time; whether anything did. Raises: PostgresUnavailable."""
        async with connection(self._pool) as db:
            if self._newest_id == 0:
                rows = await db.fetch(statements.prices.current)
            else:
                rows = await db.fetch(statements.prices.newer, self._newest_id, self._newest_us)
        if not rows:
            return False
        newer = await _prices(rows)
        of_list = [price for price in newer if price.plan_id is None]
        if of_list:
            self.book = self.book.with_versions(of_list)
        for plan_id in {price.plan_id for price in newer if price.plan_id is not None}:
            book = self.plans.get(plan_id) or PriceBook()
            self.plans[plan_id] = book.with_versions(p for p in newer if p.plan_id == plan_id)
        self._newest_id = max(self._newest_id, *(row["id"] for row in rows))
        self._newest_us = max(self._newest_us, *(row["effective_from_us"] for row in rows))
        return True

    def match(self, key: KeyRecord, model: str, at_ms: int) -> Price | None:
        """The price of a model for a key: of the nearest plan with a rule for it, else of the list."""
        if key.plans:
            for on in key.plans:
                book = self.plans.get(on.plan_id)
                if book is not None and on.holds(at_ms):
                    price = book.match(model, key.currency)
                    if price is not None:
                        return completed(price, self.book.match(model, key.currency))
        return self.book.match(model, key.currency)

    def tell_read(self) -> None:
        telemetry.log("price_book_read", prices=len(self.book), newest_version=self._newest_id)

    def tell_stale(self, reason: str, error: Exception | None) -> None:
        telemetry.error("price_book_stale", exc=error, reason=reason, prices=len(self.book))


@lru_cache(maxsize=4096)
def completed(price: Price, listed: Price | None) -> Price:
    """A plan's price with what its rule does not say: the model's limits, and what is sold by the piece."""
    if listed is None:
        return price
    return replace(
        price,
        units={**without_overridden(listed.units, price.units), **price.units},
        max_input_tokens=listed.max_input_tokens,
        max_output_tokens=listed.max_output_tokens,
        image_tokens_max=listed.image_tokens_max,
        mode=listed.mode,
        reasons=listed.reasons,
        unsold=listed.unsold,
    )


async def _prices(rows: Sequence[Any]) -> list[Price]:
    prices = []
    for index, row in enumerate(rows):
        if index % ROWS_PER_TURN == ROWS_PER_TURN - 1:
            await asyncio.sleep(0)
        prices.append(_price(row))
    return prices


def _price(row: Any) -> Price:
    return price_from_terms(
        row["terms"],
        pattern=row["pattern"],
        currency=row["currency"],
        version=row["id"],
        sold=row["sold"],
        origin=row["origin"],
        plan_id=row["plan_id"],
        effective_from_us=row["effective_from_us"],
    )
