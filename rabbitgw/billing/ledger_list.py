"""Lists of what moved wallets, newest first, from the ledger.

A place in a list is a line: the number of its transaction and its own. Numbers are taken as transactions are made, and
what is booked meanwhile moves nothing: a line is seen once, or not at all if it was committed behind the reader's back.

As with bill lines, one look is one short transaction, and a filter without an index looks at a bounded number of rows
before it says "none so far, go on from here". Times are no index; whole months are partitions, and those beside them
are not looked at.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg

from rabbitgw import statements
from rabbitgw.stores import Pool, transaction

PLACE_PATTERN: Final = r"^[0-9]{1,18}-[0-9]{1,5}$"
SCAN_ROWS: Final = 5_000  # tens of milliseconds of PostgreSQL: each is looked up
SCANS_PER_PAGE: Final = 5
READS_AT_ONCE: Final = 1  # of the pool's connections, for which keys that are looked up wait too

_PLACE: Final = re.compile(PLACE_PATTERN)
# Beyond what a ledger of ours can have: there, partitions of all months are looked at.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 1, tzinfo=UTC)


class Place(NamedTuple):
    """A line of the ledger, which comes before others of lower numbers."""

    transaction_id: int
    line: int

    def __str__(self) -> str:
        return f"{self.transaction_id}-{self.line}"

    @classmethod
    def read(cls, text: str) -> Place:
        """From text that fits PLACE_PATTERN."""
        assert _PLACE.fullmatch(text)
        transaction_id, _, line = text.partition("-")
        return cls(int(transaction_id), int(line))


_TOP: Final = Place(2**63 - 1, 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines; None is any. An account comes with its currency. at_or_after <= when it was booked < before."""

    account_id: int | None = None
    currency: str | None = None
    kind: str | None = None
    at_or_after: datetime | None = None
    before: datetime | None = None

    @property
    def may_be_rare(self) -> bool:
        """Whether a filter has no index, so that few of the rows that are looked at may pass."""
        by_currency = self.account_id is None and self.currency is not None
        return by_currency or any((self.kind, self.at_or_after, self.before))

    @property
    def months(self) -> tuple[datetime, datetime]:
        """Whole months around the wanted times: from the first's begin to the last's end."""
        least = _EARLIEST if self.at_or_after is None else month_of(self.at_or_after)
        if self.before is None or self.before >= _LATEST:
            return least, _LATEST
        return least, month_of(month_of(self.before) + timedelta(days=31))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a wallet, and why it is there."""

    place: Place
    account_id: int
    currency: str
    amount_nanos: int
    kind: str
    ref: str | None
    created_at: datetime

    @property
    def id(self) -> str:
        return str(self.place)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, and the place to go on from: None when there is nothing behind it."""

    entries: list[Entry]
    next: Place | None


class LedgerList:
    """One per process."""

    def __init__(self, pg: Pool) -> None:
        self._pg = pg
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    async def page(self, wanted: Wanted, after: Place | None, rows_max: int) -> Page:
        """Up to `rows_max` lines; fewer where a rare kind was looked for long enough. Raises: PostgresUnavailable."""
        entries: list[Entry] = []
        for _ in range(SCANS_PER_PAGE):
            found = await self._look(wanted, after, rows_max - len(entries))
            entries += found.entries
            after = found.next
            if after is None or len(entries) == rows_max:
                break
        return Page(entries, after)

    async def _look(self, wanted: Wanted, after: Place | None, rows_max: int) -> Page:
        looked_at = SCAN_ROWS if wanted.may_be_rare else rows_max
        async with self._turns, transaction(self._pg, readonly=True) as db:
            await db.fetchval(statements.session.plan_anew)
            rows = await db.fetch(
                statements.ledger.page,
                wanted.account_id,
                wanted.currency,
                *(after or _TOP),
                looked_at,
                *wanted.months,
                wanted.kind,
                wanted.at_or_after,
                wanted.before,
                rows_max,
            )
        entries = [_entry(row) for row in rows if row["wanted"]]
        more = bool(rows) and (len(rows) == rows_max or rows[-1]["number"] == looked_at)
        return Page(entries, _place(rows[-1]) if more else None)


def month_of(moment: datetime) -> datetime:
    """The begin of its month in UTC, which a partition has."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _place(row: asyncpg.Record) -> Place:
    return Place(row["transaction_id"], row["line"])


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        _place(row),
        row["account_id"],
        row["currency"],
        row["amount_nanos"],
        row["kind"],
        row["ref"],
        row["created_at"],
    )
