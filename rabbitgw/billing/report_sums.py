"""What calls used and cost, summed over spans of days and grouped, from the rollups: exact to the booked usage rows.

A reading is one statement, so it is of one moment, and few run at once, so that reports never keep the pool's
connections from other work. A tag is one that the call's key has now: a call of a key with two tags is in two groups,
and the totals count it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.report_spans import split_thirds
from rabbitgw.billing.report_subject import EVERYBODY, Subject
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import units
from rabbitgw.stores import Pool, PoolConnection, transaction

DAY: Final = "day"
TAG: Final = "tag"
GROUPS: Final = (DAY, "model", "key", "user", "team", TAG)
COUNTS: Final = (
    "calls", "released_calls", "input_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "images", "audio_ms",
    "characters",
)  # fmt: skip
GROUPS_MAX: Final = 10_000
READS_AT_ONCE: Final = 2  # of the pool's connections, for which keys that are looked up wait too
ROWS_PER_TURN: Final = 100  # a millisecond or two of the event loop, for which streams wait

_INT64_MAX: Final = 2**63 - 1
_FIELDS: Final = {DAY: "span", "model": "model", "key": "key_id", "user": "user_id", "team": "team_id"}
_OF_ACCOUNTS: Final = frozenset({DAY, "model"})  # what the sums of whole accounts can be grouped by
SCOPE_ALL, SCOPE_ACCOUNT, SCOPE_PARTS = 0, 1, 2  # of usage_rollups

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sums:
    """`rows`: one per group and currency, in order. `totals`: one per currency. A row's `span` counts from 0."""

    rows: list[Row]
    totals: list[Row]


class ReportSums:
    """One per process."""

    def __init__(self, pg: Pool) -> None:
        self._pg = pg
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    async def margins(
        self, subject: Subject, bounds: Sequence[int], groups: frozenset[str]
    ) -> Sequence[asyncpg.Record]:
        """What calls were charged and cost upstream (sql/reports/margins.sql), between the bounds, by group.

        Raises: RequestInvalid (groups that are not kept, or too many of them), PostgresUnavailable.
        """
        async with self._turns, transaction(self._pg, readonly=True) as db:
            found = await fetch_sums(db, statements.reports.margins, subject, bounds, groups)
        if len(found) > GROUPS_MAX:
            raise too_many(GROUPS_MAX)
        return found

    async def read(
        self, subject: Subject, bounds: Sequence[int], groups: frozenset[str], *, groups_max: int = GROUPS_MAX
    ) -> Sums:
        """The sums between the bounds (quarters); by each two neighbours of them if DAY is among the groups.

        Raises: RequestInvalid (groups that are not kept, or too many of them), PostgresUnavailable.
        """
        columns = {"key" if group == TAG else group for group in groups}
        async with self._turns, transaction(self._pg, readonly=True) as db:
            found = await fetch_sums(db, statements.reports.sums, subject, bounds, groups)
            tags = await _tags(db, found) if TAG in groups else None
        rows = await _rows(found, [field for group, field in _FIELDS.items() if group in columns])
        totals = _added(rows, ())
        if tags is not None:
            wanted = [field for group, field in _FIELDS.items() if group in groups]
            rows = _added(_tagged(rows, tags), (*wanted, TAG))
        if max(len(rows), len(found)) > groups_max:
            raise too_many(groups_max)
        for row in (*rows, *totals):
            _fit(row)
        return Sums(rows, totals)


async def fetch_sums(
    db: PoolConnection, statement: str, subject: Subject, bounds: Sequence[int], groups: frozenset[str]
) -> Sequence[asyncpg.Record]:
    """The rows of a statement with the arguments of sql/reports/sums.sql, in a transaction of their own.

    Raises: RequestInvalid (groups that are not kept).
    """
    scope = _scope(subject, groups)
    bounds = list(bounds) if DAY in groups else [bounds[0], bounds[-1]]
    columns = {"key" if group == TAG else group for group in groups}
    await db.fetchval(statements.session.plan_anew)
    return await db.fetch(
        statement,
        subject.account_id,
        scope,
        subject.key_id,
        subject.user_id,
        subject.team_id,
        bounds,
        split_thirds(bounds),
        *(group in columns for group in GROUPS if group != TAG),
        GROUPS_MAX + 1,
    )


def too_many(groups_max: int) -> RequestInvalid:
    return RequestInvalid(
        f"group_by: more than {groups_max} groups; ask for fewer days or fewer groupings", field="group_by"
    )


def with_empty_days(rows: Iterable[Row], days: int, currency: str | None) -> list[Row]:
    """Rows by day alone, and those without calls between them; without any row, days of `currency`."""
    found = {(row["span"], row["currency"]): row for row in rows}
    currencies = sorted({name for _, name in found} or ({currency} if currency else set()))
    return [
        found.get((span, name)) or _nothing({"span": span, "currency": name})
        for span in range(days)
        for name in currencies
    ]


def total_of(totals: Iterable[Row], currency: str) -> Row:
    """The total in a currency, which may be nothing."""
    return next((row for row in totals if row["currency"] == currency), _nothing({"currency": currency}))


def _fit(row: Row) -> None:
    """Keep counts within 64 bits, which is what JSON can carry to most programs; `cost` says all of it."""
    for name in (*COUNTS, "cost_nanos"):
        row[name] = min(row[name], _INT64_MAX)


def _nothing(dimensions: Row) -> Row:
    return {**dimensions, **dict.fromkeys(COUNTS, 0), "cost_nanos": 0, "cost": units(0)}


def _scope(subject: Subject, groups: frozenset[str]) -> int:
    if subject.is_part:
        return SCOPE_PARTS
    if groups <= _OF_ACCOUNTS:
        return SCOPE_ALL if subject.account_id == EVERYBODY else SCOPE_ACCOUNT
    if subject.account_id == EVERYBODY:
        raise RequestInvalid("group_by: of all accounts together, by day and model only", field="group_by")
    return SCOPE_PARTS


async def _tags(db: PoolConnection, found: Iterable[asyncpg.Record]) -> dict[int, list[str]]:
    rows = await db.fetch(statements.reports.tags, list({record["key_id"] for record in found}))
    return {row["id"]: row["tags"] for row in rows}


async def _rows(found: Sequence[asyncpg.Record], fields: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for number, record in enumerate(found):
        if number % ROWS_PER_TURN == ROWS_PER_TURN - 1:
            await asyncio.sleep(0)
        row: Row = {}
        for field in fields:
            row[field] = record["span"] - 1 if field == "span" else record[field] or None
        row["currency"] = record["currency"]
        for name in COUNTS:
            row[name] = int(record[name])
        row["cost_nanos"] = int(record["charge_nanos"])
        row["cost"] = units(row["cost_nanos"])
        rows.append(row)
    return rows


def _tagged(rows: Iterable[Row], tags: Mapping[int, Sequence[str]]) -> Iterator[Row]:
    """Each row once per tag of its key; once without any where the key has none."""
    for row in rows:
        for tag in dict.fromkeys(tags.get(row["key_id"], ())) or (None,):
            yield {**row, TAG: tag}


def _added(rows: Iterable[Row], fields: Sequence[str]) -> list[Row]:
    """The rows added up by these fields and the currency; groups without a value come last."""
    sums: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        group = {field: row[field] for field in (*fields, "currency")}
        into = sums.setdefault(tuple(group.values()), _nothing(group))
        for name in (*COUNTS, "cost_nanos"):
            into[name] += row[name]
    for into in sums.values():
        into["cost"] = units(into["cost_nanos"])
    return [sums[key] for key in sorted(sums, key=lambda key: [(value is None, value or 0) for value in key])]
