"""Reads the calls of an entity in a span, and lets a draft of a plan judge them. Writes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from rabbitgw import statements
from rabbitgw.billing.degrade_targets import check_sold
from rabbitgw.billing.plan_assignments import entity_of
from rabbitgw.billing.plan_pricing import PriceRule, price_of
from rabbitgw.billing.plans import DailyLimit, checked_limit, get_plan
from rabbitgw.billing.price_book import history_of_plan, load_book
from rabbitgw.billing.prices import PriceBook
from rabbitgw.billing.usage_list import floor_id
from rabbitgw.billing.whatif import Draft, Model, Outcome
from rabbitgw.billing.windows import checked_zone
from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict, RequestInvalid
from rabbitgw.stores import Pool, connection, transaction

DAYS_MAX: Final = 92
CALLS_MAX: Final = 1_000_000
ROWS_AT_ONCE: Final = 500  # some milliseconds of the event loop
READS_AT_ONCE: Final = 2  # of the pool's connections, for which keys that are looked up wait too
RULES_MAX: Final = 100
_DAY_MS: Final = 86_400_000
_MS_SHIFT: Final = 80  # of a UUIDv7


async def draft_of_plan(pg: Pool, plan_id: int, timezone: str | None) -> Draft:
    """A plan as it is now. Raises: NotFound, RequestInvalid, PostgresUnavailable."""
    plan = await get_plan(pg, plan_id)
    async with connection(pg) as db:
        history = await history_of_plan(db, plan_id)
    now_us = now_ms() * 1000
    own = PriceBook(price for price in history if price.effective_from_us <= now_us)
    return Draft(plan.currency, plan.daily_limit, own, await load_book(pg), _checked(timezone))


async def draft_of_fields(
    pg: Pool, currency: str, limit: DailyLimit | None, rules: list[PriceRule], timezone: str | None
) -> Draft:
    """A plan that is not made. Raises: RequestInvalid, PostgresUnavailable."""
    if limit is None and not rules:
        raise RequestInvalid("daily_limit: give a plan_id, or a limit, or pricing", field="daily_limit")
    if len(rules) > RULES_MAX:
        raise RequestInvalid(f"pricing: at most {RULES_MAX} rules", field="pricing")
    own = PriceBook(replace(price_of(rule), currency=currency) for rule in rules)
    listed = await load_book(pg)
    if limit is not None:
        check_sold(checked_limit(limit).overflow, own, listed, currency)
    return Draft(currency, limit, own, listed, _checked(timezone))


async def currency_of(pg: Pool, entity_type: str, entity_id: int) -> str:
    """That the entity is billed in. Raises: RequestInvalid, NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        entity = await entity_of(db, entity_type, entity_id)
        return str(await db.fetchval(statements.plans.currency_of, entity.account_id))


async def replay(
    pg: Pool,
    turns: asyncio.Semaphore,
    draft: Draft,
    entity_type: str,
    entity_id: int,
    from_ms: int,
    to_ms: int,
) -> Outcome:
    """What the draft would have made of the entity's calls that came in from one moment until just before another.

    `turns`: how many may read at once (READS_AT_ONCE); one batch is one turn. A statement looks at a day at most: a
    team has no index of its own, and the calls of few may lie far apart.

    Raises: RequestInvalid (the span is too long, or holds too many calls), NotFound, Conflict (another currency),
    PostgresUnavailable.
    """
    if not from_ms < to_ms:
        raise RequestInvalid("from: must lie before to", field="from")
    if to_ms - from_ms > DAYS_MAX * _DAY_MS:
        raise RequestInvalid(f"from: at most {DAYS_MAX} days before to", field="from")
    async with connection(pg) as db:
        entity = await entity_of(db, entity_type, entity_id)
        currency = await db.fetchval(statements.plans.currency_of, entity.account_id)
    if currency != draft.currency:
        raise Conflict(
            f"the plan is in {draft.currency}, account {entity.account_id} in {currency}", field="plan_id"
        )
    model, after, end = Model(draft), floor_id(from_ms), floor_id(to_ms)
    while after < end:
        below = min(end, floor_id((after.int >> _MS_SHIFT) + _DAY_MS))
        async with turns, transaction(pg, readonly=True) as db:
            await db.fetchval(statements.session.plan_anew)
            rows = await db.fetch(
                statements.usage.replay, *entity.columns, after, below, currency, ROWS_AT_ONCE
            )
        for row in rows:
            model.add(dict(row))
        if model.outcome.totals.calls > CALLS_MAX:
            raise RequestInvalid(f"to: more than {CALLS_MAX} calls in that span; narrow it", field="to")
        after = rows[-1]["id"] if len(rows) == ROWS_AT_ONCE else below
        await asyncio.sleep(0)
    return model.outcome


def _checked(timezone: str | None) -> str | None:
    return None if timezone is None else checked_zone(timezone)
