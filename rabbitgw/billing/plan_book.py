"""What running gateways know of plans: the daily limit of each, at most a second older than the table.

Owns following the table and which window a plan lays on a call. A key's record says which plans stand above it, and
when; what a plan says comes from here, so that a change of a plan is one row and no key is told.
While PostgreSQL is away the last book stays in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from rabbitgw import statements, telemetry
from rabbitgw.billing.feed import POLL_S, Feed
from rabbitgw.billing.overflow import ALLOWANCE, USUAL, Overflow, overflow_of_row
from rabbitgw.billing.windows import DAY, NEVER_MS, WindowRule
from rabbitgw.stores import Pool, connection

ROWS_MAX: Final = 1000  # of one read


@dataclass(frozen=True, slots=True)
class OnPlan:
    """That a caller is on a plan, as a key's record has it. Moments are ms since 1970; `to_ms` None: for good."""

    plan_id: int
    window_id: int | None  # that the plan's daily limit counts in
    zone: str | None  # instead of the plan's
    from_ms: int
    to_ms: int | None
    # what the plan's grace and degraded calls count in; not in records that Redis kept from before there were any
    grace_window_id: int | None = None
    degrade_window_id: int | None = None

    def holds(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms and (self.to_ms is None or at_ms < self.to_ms)


class Limit(NamedTuple):
    """A plan's daily limit. Until `before_until_ms` the day goes by the former zone and reset time, until
    `shadow_until_ms` the limit does not bind."""

    limit_nanos: int
    zone: str
    reset_time: str
    before_zone: str
    before_reset_time: str
    before_until_ms: int
    overflow: Overflow = USUAL
    shadow_until_ms: int = 0


class PlanLimit(NamedTuple):
    """What a plan above a caller lays on its calls: a window, and what becomes of a call that it does not cover.
    `grace` and `degrade` are the windows that calls beyond it count in; None: it has none, or no cap."""

    plan_id: int
    rule: WindowRule
    overflow: Overflow
    shadow: bool
    grace: WindowRule | None
    degrade: WindowRule | None


class PlanBook:
    """An immutable snapshot: every plan that has a daily limit."""

    __slots__ = ("_limits",)

    def __init__(self, limits: Mapping[int, Limit] | None = None) -> None:
        self._limits = dict(limits or {})

    def limits(self, plans: tuple[OnPlan, ...], at_ms: int) -> Iterator[PlanLimit]:
        """What the plans above a caller lay on its calls at a moment, the nearest first."""
        for on in plans:
            limit = self._limits.get(on.plan_id)
            if limit is None or on.window_id is None or not on.holds(at_ms):
                continue
            zone, reset_time = limit.zone, limit.reset_time
            if at_ms < limit.before_until_ms:
                zone, reset_time = limit.before_zone, limit.before_reset_time
            zone, overflow = on.zone or zone, limit.overflow
            grace, degrade = overflow.grace_nanos, overflow.degrade_nanos
            if degrade is None and overflow.funding == ALLOWANCE:
                degrade = limit.limit_nanos
            yield PlanLimit(
                on.plan_id,
                WindowRule(on.window_id, DAY, limit.limit_nanos, zone, reset_time),
                overflow,
                overflow.shadow or at_ms < limit.shadow_until_ms,
                None
                if on.grace_window_id is None
                else WindowRule(on.grace_window_id, DAY, grace, zone, reset_time),
                None
                if on.degrade_window_id is None or degrade is None
                else WindowRule(on.degrade_window_id, DAY, degrade, zone, reset_time),
            )

    def says_the_same(self, other: PlanBook, plans: tuple[OnPlan, ...]) -> bool:
        """Whether these plans are in both books what they were read as once."""
        return all(self._limits.get(on.plan_id) is other._limits.get(on.plan_id) for on in plans)

    def unchanged_ms(self, plans: tuple[OnPlan, ...], at_ms: int) -> tuple[int, int]:
        """From when until just before when `limits` says the same by itself as it does at `at_ms`."""
        moments = [moment for on in plans for moment in (on.from_ms, on.to_ms) if moment is not None]
        for limit in filter(None, (self._limits.get(on.plan_id) for on in plans)):
            moments += [limit.before_until_ms, limit.shadow_until_ms]
        past = max((moment for moment in moments if moment <= at_ms), default=0)
        return past, min((moment for moment in moments if moment > at_ms), default=NEVER_MS)

    def with_limits(self, newer: Mapping[int, Limit | None]) -> PlanBook:
        """A new book in which these are replaced; None takes one out."""
        limits = {**self._limits, **newer}
        return PlanBook({plan_id: limit for plan_id, limit in limits.items() if limit is not None})

    def __len__(self) -> int:
        return len(self._limits)


class PlanFeed(Feed):
    """A running gateway's book: `book` is always a whole, usable snapshot, replaced by each change."""

    def __init__(self, pool: Pool, *, poll_s: float = POLL_S) -> None:
        super().__init__(pool, poll_s=poll_s)
        self.book = PlanBook()
        self._revision = 0

    async def refresh(self) -> bool:
        """Take in what came since the last time; whether anything did. Raises: PostgresUnavailable."""
        newer: dict[int, Limit | None] = {}
        revision = self._revision
        while True:
            async with connection(self._pool) as db:
                rows = await db.fetch(statements.plans.newer, revision, ROWS_MAX)
            for row in rows:
                newer[row["id"]] = (
                    None
                    if row["limit_nanos"] is None
                    else Limit(
                        row["limit_nanos"],
                        row["zone"],
                        row["reset_time"],
                        row["before_zone"] or row["zone"],
                        row["before_reset_time"] or row["reset_time"],
                        row["before_until_ms"] or 0,
                        overflow_of_row(row),
                        row["shadow_until_ms"] or 0,
                    )
                )
                revision = row["revision"]
            if len(rows) < ROWS_MAX:
                break
        if not newer:
            return False
        self.book = self.book.with_limits(newer)
        self._revision = revision
        return True

    def tell_read(self) -> None:
        """Nothing: that a plan was changed is logged where it was."""

    def tell_stale(self, reason: str, error: Exception | None) -> None:
        telemetry.error("plan_book_stale", exc=error, reason=reason, plans=len(self.book))
