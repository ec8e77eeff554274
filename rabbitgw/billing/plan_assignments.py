"""Who is on which plan, and when: an account, a team, a user or a key.

Owns the rule that an entity is on one plan of a type at a time. An assignment is never deleted: ending one sets its
end, since what was counted under it is in the books. Each change raises the generation of the keys below.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX
from rabbitgw.billing.entities import ENTITY_TYPES, Entity, advance_keys_below, find_entity, lock_account
from rabbitgw.billing.plans import locked
from rabbitgw.billing.spend_windows import check_windows_above
from rabbitgw.billing.windows import checked_zone
from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.stores import Pool, PoolConnection, connection, transaction

ALIASES: Final = {"organization": "account"}
AHEAD_MAX: Final = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class Assignment:
    id: int
    plan_id: int
    account_id: int
    entity_type: str
    entity_id: int
    timezone: str | None
    effective_from: datetime
    effective_to: datetime | None
    created_at: datetime

    @property
    def entity(self) -> Entity:
        return Entity(self.entity_type, self.entity_id, self.account_id)


async def assign(
    pg: Pool,
    plan_id: int,
    entity_type: str,
    entity_id: int,
    *,
    timezone: str | None = None,
    effective_from: datetime | None = None,
    effective_to: datetime | None = None,
) -> Assignment:
    """Put an entity on a plan, from now on or from a later moment.

    Raises: RequestInvalid, NotFound, Conflict (the plan is archived or of another currency, or the entity is on
    another plan of that type in the same time, or too many windows are above a key), PostgresUnavailable.
    """
    if timezone is not None:
        checked_zone(timezone)
    starts = _checked_span(effective_from, effective_to)
    async with transaction(pg) as db:
        entity = await entity_of(db, entity_type, entity_id)
        await lock_account(db, entity.account_id)
        currency = await db.fetchval(statements.plans.currency_of, entity.account_id)
        plan = await locked(db, plan_id, None)
        if plan["currency"] != currency:
            raise Conflict(
                f"plan {plan_id} is in {plan['currency']}, account {entity.account_id} in {currency}",
                field="plan_id",
            )
        others = await db.fetch(
            statements.plans.overlapping, *entity.columns, plan["type"], starts, effective_to
        )
        if others:
            other = others[0]
            raise Conflict(
                f"{entity.type} {entity.id} is on plan {other['plan_id']} in that time (assignment {other['id']})",
                field="effective_from",
            )
        row = await db.fetchrow(
            statements.plans.assign, plan_id, *entity.columns, timezone, starts, effective_to
        )
        await check_windows_above(db, entity)
        await advance_keys_below(db, entity)
    return _assignment(row)


async def end_assignment(pg: Pool, assignment_id: int) -> Assignment:
    """End an assignment now; one that has ended stays as it is. Raises: NotFound, PostgresUnavailable."""
    async with transaction(pg) as db:
        row = await db.fetchrow(statements.plans.assignment, assignment_id)
        if row is None:
            raise NotFound(f"assignment {assignment_id} does not exist")
        await lock_account(db, row["account_id"])
        row = await db.fetchrow(statements.plans.end_assignment, assignment_id)
        ended = _assignment(row)
        await advance_keys_below(db, ended.entity)
    return ended


async def assignments_of(pg: Pool, entity_type: str, entity_id: int) -> list[Assignment]:
    """An entity's own, newest first, ended ones too. Raises: RequestInvalid, NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        entity = await entity_of(db, entity_type, entity_id)
        rows = await db.fetch(statements.plans.assignments_of, *entity.columns, PAGE_MAX)
    return [_assignment(row) for row in rows]


async def entity_of(db: PoolConnection, entity_type: str, entity_id: int) -> Entity:
    """Raises: RequestInvalid, NotFound."""
    kind = ALIASES.get(entity_type, entity_type)
    if kind not in ENTITY_TYPES:
        known = ", ".join((*ENTITY_TYPES, *ALIASES))
        raise RequestInvalid(f"entity_type: {entity_type!r} is none of {known}", field="entity_type")
    return await find_entity(db, kind, entity_id)


def _checked_span(starts: datetime | None, ends: datetime | None) -> datetime:
    """When it begins: now, where that is left out or past, since what was is not priced again."""
    now = datetime.fromtimestamp(now_ms() / 1000, UTC)
    for field, moment in (("effective_from", starts), ("effective_to", ends)):
        if moment is not None and moment.tzinfo is None:
            raise RequestInvalid(f"{field}: give the time zone, like 2027-01-31T00:00:00Z", field=field)
        if moment is not None and moment > now + AHEAD_MAX:
            raise RequestInvalid(f"{field}: at most {AHEAD_MAX.days} days ahead", field=field)
    begins = now if starts is None else max(starts, now)
    if ends is not None and ends <= begins:
        raise RequestInvalid("effective_to: must lie after effective_from, and ahead", field="effective_to")
    return begins


def _assignment(row: Any) -> Assignment:
    entity = Entity.of_columns(row["account_id"], row["team_id"], row["user_id"], row["key_id"])
    return Assignment(
        id=row["id"],
        plan_id=row["plan_id"],
        account_id=row["account_id"],
        entity_type=entity.type,
        entity_id=entity.id,
        timezone=row["zone"],
        effective_from=row["effective_from"],
        effective_to=row["effective_to"],
        created_at=row["created_at"],
    )
