"""The spend windows above a key, a user, a team or an account: what each allows now, and what is used of it.

What is used and held together is what Redis counts, which is what the next call meets. What of it is charged and booked
stands in the books; the rest is held: set aside for calls that run, or charged and not booked yet. Where Redis cannot
be asked, or does not know the account, only what is booked is told, and what is held is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import asyncpg

from rabbitgw import statements, telemetry
from rabbitgw.billing.key_record import ms_of
from rabbitgw.billing.report_subject import Subject
from rabbitgw.billing.windows import FIVE_HOURS, FIVE_HOURS_MS, LIFE_SPAN, LIFETIME, WindowRule, span_of
from rabbitgw.errors import RedisUnavailable, RequestInvalid
from rabbitgw.keynames import KeyNames
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import PoolConnection

WINDOWS_MAX: Final = 1_000

_SHARE_PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Budget:
    """A window now. `span` is null while a window that opens with a call is shut."""

    window_id: int
    level: str
    key_id: int | None
    user_id: int | None
    team_id: int | None
    plan_id: int | None
    kind: str
    timezone: str
    reset_time: str
    currency: str
    span: str | None
    limit_nanos: int
    extra_nanos: int
    used_nanos: int
    held_nanos: int | None
    resets_at: datetime | None

    @property
    def remaining_nanos(self) -> int:
        """Negative where more was charged than the limit."""
        return self.limit_nanos + self.extra_nanos - self.used_nanos - (self.held_nanos or 0)

    @property
    def share(self) -> str | None:
        """How much of the limit is used or held, 1.0000 for all of it; null where the limit is nothing."""
        limit_nanos = self.limit_nanos + self.extra_nanos
        if not limit_nanos:
            return None
        share = Decimal(limit_nanos - self.remaining_nanos) / limit_nanos
        return str(share.quantize(_SHARE_PLACES, ROUND_HALF_EVEN))


async def budgets(
    db: PoolConnection, link: RedisLink, names: KeyNames, subject: Subject, now_ms: int
) -> list[Budget]:
    """Raises: RequestInvalid (too many windows), PostgresUnavailable."""
    user_id, team_id = subject.above
    windows = await db.fetch(
        statements.reports.windows, subject.account_id, subject.key_id, user_id, team_id, WINDOWS_MAX + 1
    )
    if len(windows) > WINDOWS_MAX:
        raise RequestInvalid(f"account_id: has more than {WINDOWS_MAX} windows", field="account_id")
    if not windows:
        return []
    home = names.partition[windows[0]["partition"]].account(subject.account_id)
    opened = await _opened(link, home, windows)
    spans = [_span(window, opened.get(window["id"]), now_ms) for window in windows]
    of_span = [
        (window["id"], name) for window, (name, _) in zip(windows, spans, strict=True) if name is not None
    ]
    rows = await db.fetch(statements.audit.spans, [one for one, _ in of_span], [name for _, name in of_span])
    booked = {row["window_id"]: row["used_nanos"] for row in rows}
    # After the books: what they have, Redis has counted before.
    counted = await _counted(link, home, windows[0]["currency"], of_span)
    return [
        _budget(window, span, booked.get(window["id"], 0), counted, now_ms)
        for window, span in zip(windows, spans, strict=True)
    ]


async def _opened(link: RedisLink, home: str, windows: Sequence[asyncpg.Record]) -> Mapping[int, str]:
    """The latest span of each window that opens with a call."""
    ids = [window["id"] for window in windows if window["kind"] == FIVE_HOURS]
    values = await _ask(link, home, [f"ws:{window_id}" for window_id in ids]) if ids else None
    return (
        {} if values is None else {one: name.decode() for one, name in zip(ids, values, strict=True) if name}
    )


def _span(window: asyncpg.Record, opened: str | None, now_ms: int) -> tuple[str | None, datetime | None]:
    """The name of the window's present span and when it ends."""
    if window["kind"] == FIVE_HOURS:
        if opened is None or not opened.isdecimal() or int(opened) + FIVE_HOURS_MS <= now_ms:
            return None, None
        return opened, _moment(int(opened) + FIVE_HOURS_MS)
    if window["kind"] == LIFETIME:
        return LIFE_SPAN, None
    rule = WindowRule(
        window["id"], window["kind"], window["limit_nanos"], window["zone"], window["reset_time"]
    )
    span = span_of(rule, now_ms)
    return span.name, _moment(span.end_ms)


async def _counted(
    link: RedisLink, home: str, currency: str, of_span: Sequence[tuple[int, str]]
) -> Mapping[int, int] | None:
    """What Redis has counted in these spans; None where it does not know the account, or is away."""
    fields = [f"w:{window_id}:{name}" for window_id, name in of_span]
    values = await _ask(link, home, [f"b:{currency}", *fields])
    if values is None or values[0] is None:
        return None
    return {window_id: int(value or 0) for (window_id, _), value in zip(of_span, values[1:], strict=True)}


async def _ask(link: RedisLink, home: str, fields: Sequence[str]) -> list[bytes | None] | None:
    try:
        values: list[bytes | None] = await link.call("HMGET", home, *fields)
    except RedisUnavailable as error:
        telemetry.warn("budget_without_redis", error=error.message)
        return None
    return values


def _budget(
    window: asyncpg.Record,
    span: tuple[str | None, datetime | None],
    booked_nanos: int,
    counted: Mapping[int, int] | None,
    now_ms: int,
) -> Budget:
    until_ms = ms_of(window["extra_until"])
    held_nanos = None if counted is None else max(0, counted.get(window["id"], 0) - booked_nanos)
    level = next((kind for kind in ("key", "user", "team") if window[f"{kind}_id"] is not None), "account")
    return Budget(
        window_id=window["id"],
        level=level,
        key_id=window["key_id"],
        user_id=window["user_id"],
        team_id=window["team_id"],
        plan_id=window["plan_id"],
        kind=window["kind"],
        timezone=window["zone"],
        reset_time=window["reset_time"],
        currency=window["currency"],
        span=span[0],
        limit_nanos=window["limit_nanos"],
        extra_nanos=window["extra_nanos"] if until_ms is not None and now_ms < until_ms else 0,
        used_nanos=booked_nanos,
        held_nanos=held_nanos,
        resets_at=span[1],
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
