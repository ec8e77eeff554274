"""Lists of bill lines, newest first, read a hundred at a time.

A place in a list is the id of the line before it. Ids are UUIDv7, made when a call comes in, so they are in the order
of time, and what is booked meanwhile moves nothing: a line is seen once, or not at all if its call ended behind the
reader's back. Calls that still run are in Redis only and in no list.

No reading may keep the gateway's connections from its other work: one batch is one short transaction, few run at once,
and a filter without an index looks at a bounded number of rows before it says "none so far, go on from here".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from rabbitgw import statements
from rabbitgw.billing.bill_lines import booked_line
from rabbitgw.stores import Pool, transaction

MS_MAX: Final = 2**48 - 1  # of a UUIDv7
BATCH_ROWS: Final = 100  # a millisecond or two of the event loop, for which streams wait
SCAN_ROWS: Final = 10_000  # tens of milliseconds of PostgreSQL, if the rows must come from disk
SCANS_PER_PAGE: Final = 5
READS_AT_ONCE: Final = 2  # of the pool's connections, for which keys that are looked up wait too

_UUID_MAX: Final = UUID(int=2**128 - 1)
_MS_SHIFT: Final = 80
_WILD: Final = frozenset("*?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls; None is any.

    from_ms, to_ms: when a call came in, as its id says: from_ms <= then < to_ms.
    model: a name, or a pattern in which `*` is any text and `?` any character.
    """

    account_id: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    model: str | None = None
    key_id: int | None = None
    user_id: int | None = None
    status: str | None = None
    dialect: str | None = None
    caller_request_id: str | None = None

    @property
    def may_be_rare(self) -> bool:
        """Whether a filter has no index, so that few of the rows that are looked at may pass."""
        unindexed = (self.model, self.status, self.dialect)
        return any(unindexed) or (self.caller_request_id is not None and self.account_id is None)


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines, and the place to go on from: None when there is nothing behind it."""

    lines: list[dict[str, Any]]
    next: UUID | None


class UsageList:
    """One per process."""

    def __init__(self, pg: Pool) -> None:
        self._pg = pg
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    async def page(self, wanted: Wanted, after: UUID | None, rows_max: int) -> Batch:
        """Up to `rows_max` lines; fewer where a rare kind was looked for long enough. Raises: PostgresUnavailable."""
        lines: list[dict[str, Any]] = []
        scans = 0
        while True:
            batch = await self.batch(wanted, after, rows_max - len(lines))
            lines += batch.lines
            after = batch.next
            scans += wanted.may_be_rare and len(batch.lines) < BATCH_ROWS
            if after is None or len(lines) == rows_max or scans == SCANS_PER_PAGE:
                return Batch(lines, after)

    async def batch(self, wanted: Wanted, after: UUID | None, rows_max: int) -> Batch:
        """What one short look finds: up to BATCH_ROWS lines, maybe none. Raises: PostgresUnavailable."""
        rows_max = min(rows_max, BATCH_ROWS)
        least = floor_id(wanted.from_ms or 0)
        below = min(_UUID_MAX if wanted.to_ms is None else floor_id(wanted.to_ms), after or _UUID_MAX)
        whose = (wanted.key_id, wanted.user_id)
        stop: UUID | None = None
        async with self._turns, transaction(self._pg, readonly=True) as db:
            await db.fetchval(statements.session.plan_anew)
            if wanted.may_be_rare:
                stop = await db.fetchval(
                    statements.usage.scan_end, wanted.account_id, below, least, *whose, SCAN_ROWS - 1
                )
            rows = await db.fetch(
                statements.usage.page,
                wanted.account_id,
                below,
                stop or least,
                *whose,
                wanted.caller_request_id,
                *_exact_or_like(wanted.model),
                wanted.status,
                wanted.dialect,
                rows_max,
            )
        return Batch([booked_line(row) for row in rows], rows[-1]["id"] if len(rows) == rows_max else stop)


def floor_id(ms: int) -> UUID:
    """The lowest UUIDv7 of a moment."""
    return UUID(int=min(ms, MS_MAX) << _MS_SHIFT)


def _exact_or_like(model: str | None) -> tuple[str | None, str | None]:
    """The name that is meant exactly, or the pattern as LIKE has it."""
    if model is None or not _WILD & set(model):
        return model, None
    literal = model.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return None, literal.replace("*", "%").replace("?", "_")
