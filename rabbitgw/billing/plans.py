"""Plans in PostgreSQL: made, changed, archived; each with at most one daily limit.

Owns what a plan may say. Who is on it is plan_assignments.py's, what it charges is plan_pricing.py's, what a gateway
makes of it is plan_book.py's. Every change raises the plan's revision, which is its ETag and what gateways follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX, checked_name
from rabbitgw.billing.degrade_targets import check_targets
from rabbitgw.billing.overflow import USUAL, Overflow, checked_overflow, overflow_of_row, unsaid
from rabbitgw.billing.price_terms import checked_currency
from rabbitgw.billing.versions import check_version
from rabbitgw.billing.windows import DAY, WindowRule, checked_zone, reset_time_of, span_of
from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, CENTS_MAX
from rabbitgw.stores import Pool, PoolConnection, connection, transaction

DAILY_LIMIT: Final = "daily_limit"
USAGE: Final = "usage"
TYPES: Final = (DAILY_LIMIT, USAGE)


@dataclass(frozen=True, slots=True)
class DailyLimit:
    """What a plan lets be spent per day in its zone, and what it does beyond. `id` is 0 until it is stored."""

    limit_nanos: int
    zone: str
    reset_time: str
    overflow: Overflow = USUAL
    id: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    id: int
    name: str
    type: str
    currency: str
    revision: int
    archived_at: datetime | None
    created_at: datetime
    daily_limit: DailyLimit | None


async def create_plan(pg: Pool, name: str, kind: str, currency: str) -> Plan:
    """Raises: RequestInvalid, PostgresUnavailable."""
    if kind not in TYPES:
        raise RequestInvalid(f"type: {kind!r} is none of {', '.join(TYPES)}", field="type")
    async with connection(pg) as db:
        plan_id = await db.fetchval(
            statements.plans.create, checked_name(name), kind, checked_currency(currency)
        )
    return await get_plan(pg, plan_id)


async def get_plan(pg: Pool, plan_id: int) -> Plan:
    """Raises: NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        row = await db.fetchrow(statements.plans.get, plan_id)
    if row is None:
        raise _unknown(plan_id)
    return _plan(row)


async def list_plans(pg: Pool, *, after_id: int = 0, rows_max: int = PAGE_MAX) -> list[Plan]:
    """Plans by id, archived ones too. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.plans.list, after_id, min(rows_max, PAGE_MAX))
    return [_plan(row) for row in rows]


async def rename_plan(pg: Pool, plan_id: int, name: str, *, revision: int | None = None) -> Plan:
    """Raises: RequestInvalid, NotFound, Conflict (archived), PreconditionFailed, PostgresUnavailable."""
    checked = checked_name(name)
    async with transaction(pg) as db:
        await locked(db, plan_id, revision)
        await db.execute(statements.plans.touch, plan_id, checked, False)
    return await get_plan(pg, plan_id)


async def archive_plan(pg: Pool, plan_id: int, *, revision: int | None = None) -> Plan:
    """Take a plan that nobody is on out of use, for good. Again changes nothing.

    Raises: NotFound, Conflict (somebody is on it), PreconditionFailed, PostgresUnavailable.
    """
    async with transaction(pg) as db:
        if (await locked(db, plan_id, revision, archived=True))["archived_at"] is None:
            if await db.fetchval(statements.plans.assigned, plan_id):
                raise Conflict(f"plan {plan_id} is assigned; end its assignments first")
            await db.execute(statements.plans.touch, plan_id, None, True)
    return await get_plan(pg, plan_id)


async def add_daily_limit(pg: Pool, plan_id: int, limit: DailyLimit) -> DailyLimit:
    """Raises: RequestInvalid, NotFound (of the plan), Conflict (it has one, or is archived), PostgresUnavailable."""
    limit = checked_limit(limit)
    await check_targets(pg, plan_id, (await get_plan(pg, plan_id)).currency, limit.overflow)
    async with transaction(pg) as db:
        plan = await locked(db, plan_id, None)
        if plan["type"] != DAILY_LIMIT:
            raise Conflict(f"plan {plan_id} is of type {plan['type']}, not {DAILY_LIMIT}", field="plan_id")
        limit_id = await db.fetchval(statements.plans.add_daily_limit, plan_id, *_columns(limit))
        if limit_id is None:
            raise Conflict(f"plan {plan_id} has a daily limit; change that one", field="plan_id")
        await db.execute(statements.plans.touch, plan_id, None, False)
    return replace(limit, id=limit_id)


async def change_daily_limit(
    pg: Pool, limit_id: int, changes: dict[str, Any], *, revision: int | None = None
) -> tuple[int, DailyLimit]:
    """Change some of limit_nanos, zone, reset_time and the fields of Overflow. Zone and reset time hold from the next
    day on, the others at once; where shadow is taken off, what was counted under it does not bind on that day.

    Returns: the plan's id, and the limit.
    Raises:  RequestInvalid, NotFound, Conflict (archived), PreconditionFailed, PostgresUnavailable.
    """
    async with connection(pg) as db:
        plan_id = await db.fetchval(statements.plans.plan_of_daily_limit, limit_id)
    if plan_id is None:
        raise NotFound(f"daily limit {limit_id} does not exist")
    if changes.keys() & {"degrade_map", "degrade_default"}:
        plan = await get_plan(pg, plan_id)
        assert plan.daily_limit is not None
        await check_targets(pg, plan_id, plan.currency, _changed(plan.daily_limit, changes).overflow)
    async with transaction(pg) as db:
        await locked(db, plan_id, revision)
        row = (await db.fetch(statements.plans.daily_limit, limit_id))[0]
        limit = checked_limit(_changed(_limit(row, limit_id), changes))
        before = (row["before_zone"], row["before_reset_time"], row["before_until"])
        until, shadow_until = row["before_until"], row["shadow_until"]
        if until is None or until <= datetime.fromtimestamp(now_ms() / 1000, UTC):
            ends = _day_end(row["zone"], row["reset_time"])
            if (limit.zone, limit.reset_time) != (row["zone"], row["reset_time"]):
                before = (row["zone"], row["reset_time"], ends)
        else:
            ends = until  # a change of a change, on the same day, still leaves that day as it began
        if row["shadow"] and not limit.overflow.shadow:
            shadow_until = ends
        await db.execute(
            statements.plans.change_daily_limit, limit_id, *_columns(limit), *before, shadow_until
        )
        await db.execute(statements.plans.touch, plan_id, None, False)
    return plan_id, limit


async def locked(db: PoolConnection, plan_id: int, revision: int | None, *, archived: bool = False) -> Any:
    """Lock a plan for a change in this transaction. `revision`: the one that the change was made upon, if it says.

    Raises: NotFound, PreconditionFailed (it has changed since), Conflict (it is archived, unless that is allowed).
    """
    row: Any = await db.fetchrow(statements.plans.lock, plan_id)
    if row is None:
        raise _unknown(plan_id)
    check_version(f"plan {plan_id}", row["revision"], revision)
    if row["archived_at"] is not None and not archived:
        raise Conflict(f"plan {plan_id} is archived", field="plan_id")
    return row


def checked_limit(limit: DailyLimit) -> DailyLimit:
    if not 0 <= limit.limit_nanos <= AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"daily_limit_cents: 0 to {CENTS_MAX}", field="daily_limit_cents")
    checked_zone(limit.zone)
    reset_time_of(limit.reset_time)
    checked_overflow(limit.overflow)
    return limit


def _limit(row: Any, limit_id: int) -> DailyLimit:
    return DailyLimit(row["limit_nanos"], row["zone"], row["reset_time"], overflow_of_row(row), limit_id)


def _changed(limit: DailyLimit, changes: dict[str, Any]) -> DailyLimit:
    own = {name: value for name, value in changes.items() if name in ("limit_nanos", "zone", "reset_time")}
    beyond = {name: value for name, value in changes.items() if name not in own}
    if "policies" in changes:  # what was said of a policy goes with it
        beyond = {**unsaid(changes["policies"]), **beyond}
    return replace(limit, **own, overflow=replace(limit.overflow, **beyond))


def _columns(limit: DailyLimit) -> tuple[Any, ...]:
    """As add_daily_limit.sql and change_daily_limit.sql take them."""
    overflow = limit.overflow
    return (
        limit.limit_nanos,
        limit.zone,
        limit.reset_time,
        list(overflow.policies),
        overflow.grace_nanos,
        overflow.grace_charged,
        orjson.dumps(dict(overflow.degrade_map)).decode(),
        overflow.degrade_default,
        overflow.degrade_nanos,
        overflow.funding,
        overflow.shadow,
    )


def _day_end(zone: str, reset_time: str) -> datetime:
    """Of the plan's present day."""
    end_ms = span_of(WindowRule(0, DAY, 0, zone, reset_time), now_ms()).end_ms
    return datetime.fromtimestamp(end_ms / 1000, UTC)


def _unknown(plan_id: int) -> NotFound:
    return NotFound(f"plan {plan_id} does not exist", field="plan_id")


def _plan(row: Any) -> Plan:
    limit = None if row["limit_id"] is None else _limit(row, row["limit_id"])
    return Plan(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        currency=row["currency"],
        revision=row["revision"],
        archived_at=row["archived_at"],
        created_at=row["created_at"],
        daily_limit=limit,
    )
