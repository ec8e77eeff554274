"""Spend windows on accounts, teams, users and keys: made, listed, changed, removed, in PostgreSQL.

A call must pass every window above its key, WINDOWS_MAX at most: whatever would bring more is refused. A change raises
the generation of the keys below in its own transaction and holds from their next request; a call that runs goes on by
what it was admitted under. Nothing is deleted: what a window has counted is in the books under its id. Kind and place
of a window stay; zone and reset time too, since its spans are named by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX
from rabbitgw.billing.entities import (
    Entity,
    advance_keys_below,
    check_number_above,
    find_entity,
    lock_account,
)
from rabbitgw.billing.key_record import ms_of
from rabbitgw.billing.versions import check_version
from rabbitgw.billing.windows import (
    CALENDAR,
    FIVE_HOURS,
    LIFETIME,
    RESET_TIME_DEFAULT,
    ZONE_DEFAULT,
    checked_zone,
    reset_time_of,
)
from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX
from rabbitgw.stores import Pool, PoolConnection, connection, transaction

WINDOWS_MAX: Final = 16  # above a call: what the reserve script reads and moves for it
KINDS: Final = (*sorted(CALENDAR), LIFETIME, FIVE_HOURS)


@dataclass(frozen=True, slots=True)
class NewWindow:
    """`timezone` and `reset_time` None: the defaults; only a window of the calendar has them."""

    entity_type: str
    entity_id: int
    kind: str
    limit_nanos: int
    timezone: str | None = None
    reset_time: str | None = None


@dataclass(frozen=True, slots=True)
class Increase:
    """What a limit is raised by, and until when. `until` None ends an increase now."""

    nanos: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    id: int
    entity: Entity
    kind: str
    limit_nanos: int
    timezone: str | None  # of a window of the calendar
    reset_time: str | None
    extra_nanos: int
    extra_until: datetime | None
    created_at: datetime
    removed_at: datetime | None
    version: int

    @property
    def account_id(self) -> int:
        return self.entity.account_id

    @property
    def entity_type(self) -> str:
        return self.entity.type

    @property
    def entity_id(self) -> int:
        return self.entity.id


async def create_window(pg: Pool, new: NewWindow) -> Window:
    """Raises: RequestInvalid, NotFound (no such entity), Conflict (too many above a key), PostgresUnavailable."""
    terms = _checked_terms(new)
    async with transaction(pg) as db:
        entity = await find_entity(db, new.entity_type, new.entity_id)
        await lock_account(db, entity.account_id)
        row = await db.fetchrow(statements.windows.create, *entity.columns, *terms)
        await check_windows_above(db, entity)
        await advance_keys_below(db, entity)
    assert row is not None
    return _window(row)


async def list_windows(
    pg: Pool, account_id: int | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[Window]:
    """Windows in force by id, of one account or of all. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.windows.list, account_id, after_id, min(rows_max, PAGE_MAX))
    return [_window(row) for row in rows]


async def change_window(
    pg: Pool,
    window_id: int,
    *,
    limit_nanos: int | None = None,
    increase: Increase | None = None,
    version: int | None = None,
) -> Window:
    """Change its limit, raise it for a time, or both; None leaves it.

    version: that the window must still have; None: whatever it is, and the last change wins.
    Raises: RequestInvalid, NotFound, Conflict (it was removed), PreconditionFailed, PostgresUnavailable.
    """
    if limit_nanos is not None:
        _check_nanos(limit_nanos, "limit_nanos")
    extra_nanos, extra_until = _checked_increase(increase) if increase else (0, None)
    async with transaction(pg) as db:
        await _locked(db, window_id, version)
        row = await db.fetchrow(
            statements.windows.change, window_id, limit_nanos, increase is not None, extra_nanos, extra_until
        )
        if row is None:
            raise Conflict(f"window {window_id} was removed; make a new one")
        window = _window(row)
        if window.limit_nanos + window.extra_nanos > AMOUNT_NANOS_MAX:
            raise RequestInvalid(
                f"extra_nanos: with limit_nanos at most {AMOUNT_NANOS_MAX} nanos", field="extra_nanos"
            )
        await advance_keys_below(db, window.entity)
    return window


async def remove_window(pg: Pool, window_id: int, *, version: int | None = None) -> Window:
    """Take it out of force; again changes nothing. Raises: NotFound, PreconditionFailed, PostgresUnavailable."""
    async with transaction(pg) as db:
        window = await _locked(db, window_id, version)
        row = await db.fetchrow(statements.windows.remove, window_id)
        if row is None:
            return window
        await advance_keys_below(db, window.entity)
    return _window(row)


async def check_windows_above(db: PoolConnection, entity: Entity) -> None:
    """After a change that may have put more windows above keys; the account is locked. Raises: Conflict."""
    await check_number_above(db, entity, "windows", "spend windows", WINDOWS_MAX)


async def _locked(db: PoolConnection, window_id: int, version: int | None) -> Window:
    """The window as it is while its account is locked. Raises: NotFound, PreconditionFailed."""
    row = await db.fetchrow(statements.windows.get, window_id)
    if row is None:
        raise NotFound(f"window {window_id} does not exist")
    await lock_account(db, row["account_id"])
    row = await db.fetchrow(statements.windows.get, window_id)
    assert row is not None, "windows are never deleted"
    check_version(f"window {window_id}", row["version"], version)
    return _window(row)


def _checked_terms(new: NewWindow) -> tuple[str, int, str, str]:
    """kind, limit_nanos, zone, reset_time."""
    if new.kind not in KINDS:
        raise RequestInvalid(f"kind: {new.kind!r} is none of {', '.join(KINDS)}", field="kind")
    _check_nanos(new.limit_nanos, "limit_nanos")
    for field, value in (("timezone", new.timezone), ("reset_time", new.reset_time)):
        if value is not None and new.kind not in CALENDAR:
            raise RequestInvalid(f"{field}: a window of kind {new.kind} has none", field=field)
    zone = ZONE_DEFAULT if new.timezone is None else new.timezone
    reset_time = RESET_TIME_DEFAULT if new.reset_time is None else new.reset_time
    if new.timezone is not None:
        checked_zone(new.timezone)
    reset_time_of(reset_time)
    return new.kind, new.limit_nanos, zone, reset_time


def _checked_increase(increase: Increase) -> tuple[int, datetime | None]:
    _check_nanos(increase.nanos, "extra_nanos")
    until = increase.until
    if until is None:
        if increase.nanos:
            raise RequestInvalid("extra_until: say until when", field="extra_until")
        return 0, None
    if until.tzinfo is None:
        raise RequestInvalid(
            "extra_until: give the time zone, like 2027-01-31T00:00:00Z", field="extra_until"
        )
    if (ms_of(until) or 0) <= now_ms():
        raise RequestInvalid("extra_until: lies in the past", field="extra_until")
    return increase.nanos, until.astimezone(UTC)


def _check_nanos(nanos: int, field: str) -> None:
    if not 0 <= nanos <= AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"{field}: 0 to {AMOUNT_NANOS_MAX} nanos", field=field)


def _window(row: asyncpg.Record) -> Window:
    of_calendar = row["kind"] in CALENDAR
    return Window(
        id=row["id"],
        entity=Entity.of_columns(row["account_id"], row["team_id"], row["user_id"], row["key_id"]),
        kind=row["kind"],
        limit_nanos=row["limit_nanos"],
        timezone=row["zone"] if of_calendar else None,
        reset_time=row["reset_time"] if of_calendar else None,
        extra_nanos=row["extra_nanos"],
        extra_until=row["extra_until"],
        created_at=row["created_at"],
        removed_at=row["removed_at"],
        version=row["version"],
    )
