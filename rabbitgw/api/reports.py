"""GET /v1/reports: what was used and what it cost, what budgets are left, who is overdrawn; as JSON or CSV.

A caller sees their own account and what is in it; the operator sees any, or all together. Thin: billing sums.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from aiohttp import web

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Nothing
from rabbitgw.api.report_forms import (
    MARGIN_GROUPS,
    DaysQuery,
    MarginQuery,
    OverdraftQuery,
    PeriodQuery,
    ReportQuery,
    SubjectQuery,
    SumsQuery,
)
from rabbitgw.api.report_views import (
    MARGIN_COLUMNS,
    PERIOD_COLUMNS,
    SUM_COLUMNS,
    BudgetReport,
    BudgetView,
    Change,
    MarginReport,
    OverdraftReport,
    OverdraftView,
    PeriodReport,
    PeriodTotals,
    SumsReport,
)
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.usage_csv import MEDIA, Lines, send_csv
from rabbitgw.api.usage_list import prefers_csv
from rabbitgw.billing.report_budget import budgets
from rabbitgw.billing.report_margin import margin_rows, margin_totals
from rabbitgw.billing.report_overdraft import overdrafts
from rabbitgw.billing.report_spans import (
    MONTH,
    Days,
    calendar_period,
    moment_of,
    report_zone,
    span_of_days,
    today,
)
from rabbitgw.billing.report_subject import EVERYBODY, Subject, find_subject
from rabbitgw.billing.report_sums import (
    DAY,
    GROUPS_MAX,
    ROWS_PER_TURN,
    ReportSums,
    Row,
    Sums,
    too_many,
    total_of,
    with_empty_days,
)
from rabbitgw.clock import now_ms
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.money import units
from rabbitgw.stores import connection

JSON_ROWS_MAX: Final = 1000
QueryT = TypeVar("QueryT", bound=ReportQuery)
Answer = web.StreamResponse

_DIMENSIONS: Final = {
    "day": "day",
    "model": "model",
    "key": "key_id",
    "user": "user_id",
    "team": "team_id",
    "tag": "tag",
}


class ReportRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg
        self._sums = ReportSums(deps.pg)

    def routes(self) -> list[AnyRoute]:
        path = "/v1/reports"
        how: dict[str, Any] = {"other": (MEDIA,), "refusals": (NotFound,)}
        either = Auth.EITHER
        return [
            Route(
                "GET", f"{path}/daily", self.daily_report, "Calls, tokens and cost per day", either, SumsReport,
                query=SumsQuery, **how,
            ),
            Route(
                "GET", f"{path}/summary", self.summary_report, "Calls, tokens and cost of a span of days, grouped",
                either, SumsReport, query=SumsQuery, **how,
            ),
            Route(
                "GET", f"{path}/period", self.period_report, "A month, a week or some days, beside those before",
                either, PeriodReport, query=PeriodQuery, **how,
            ),
            Route(
                "GET", f"{path}/budget", self.budget_report, "The spend windows above a key, user, team or account",
                either, BudgetReport, query=SubjectQuery, **how,
            ),
            Route(
                "GET", f"{path}/overdraft", self.overdraft_report, "Wallets that are or were below zero", either,
                OverdraftReport, query=OverdraftQuery, **how,
            ),
            Route(
                "GET", f"{path}/margin", self.margin_report, "What calls were charged, beside what upstream says they "
                "cost it", Auth.ADMIN, MarginReport, query=MarginQuery, **how,
            ),
        ]  # fmt: skip

    async def daily_report(self, asked: Asked[Nothing, SumsQuery]) -> SumsReport | Answer:
        return await self._grouped(asked, frozenset({DAY, *(asked.query.group_by or ())}), "daily")

    async def summary_report(self, asked: Asked[Nothing, SumsQuery]) -> SumsReport | Answer:
        return await self._grouped(asked, frozenset(asked.query.group_by or ()), "summary")

    async def period_report(self, asked: Asked[Nothing, PeriodQuery]) -> PeriodReport | Answer:
        query = asked.query
        current, previous = _period(query)
        subject = await self._subject(asked, query)
        bounds = [*previous.ends(), current.ends()[1]]
        sums = await self._sums.read(subject, bounds, frozenset({DAY}))
        both = [[_without_span(row) for row in sums.rows if row["span"] == span] for span in (0, 1)]
        if _as_csv(asked):
            named = (("previous", previous, both[0]), ("current", current, both[1]))
            lines = [
                {"span": name, "from": days.first.isoformat(), "to": days.last.isoformat(), **row}
                for name, days, rows in named
                for row in rows
            ]
            return await self._csv(asked, lines, PERIOD_COLUMNS, "period")
        return PeriodReport(
            **_of_whom(subject),
            timezone=query.timezone,
            period=_kind(query),
            current=_totals(current, both[1]),
            previous=_totals(previous, both[0]),
            change=_changes(both[1], both[0]),
        )

    async def budget_report(self, asked: Asked[Nothing, SubjectQuery]) -> BudgetReport | Answer:
        subject = await self._subject(asked, asked.query, own_key=True)
        if subject.account_id == EVERYBODY:
            raise RequestInvalid(
                "account_id: say whose windows; or a team, a user or a key", field="account_id"
            )
        names = self._deps.scripts.names
        async with connection(self._pg) as db:
            found = await budgets(db, self._deps.link, names, subject, now_ms())
        windows = [BudgetView.of(one) for one in found]
        if _as_csv(asked):
            lines = [window.model_dump(mode="json") for window in windows]
            return await self._csv(asked, lines, list(BudgetView.model_fields), "budget")
        return BudgetReport(**_of_whom(subject), windows=windows)

    async def overdraft_report(self, asked: Asked[Nothing, OverdraftQuery]) -> OverdraftReport | Answer:
        query = asked.query
        subject = await self._subject(asked, query)
        async with connection(self._pg) as db:
            found = await overdrafts(
                db, subject.account_id or None, after=query.after or (0, ""), rows_max=query.limit
            )
        wallets = [OverdraftView.of(one) for one in found]
        if _as_csv(asked):
            lines = [wallet.model_dump(mode="json") for wallet in wallets]
            return await self._csv(asked, lines, list(OverdraftView.model_fields), "overdraft")
        last = found[-1] if len(found) == query.limit else None
        return OverdraftReport(wallets=wallets, next=f"{last.account_id}:{last.currency}" if last else None)

    async def margin_report(self, asked: Asked[Nothing, MarginQuery]) -> MarginReport | Answer:
        query = asked.query
        groups = frozenset(query.group_by or ())
        days = _days(query)
        subject = await self._subject(asked, query)
        found = await self._sums.margins(subject, days.bounds() if DAY in groups else days.ends(), groups)
        named = {"day": "span", "model": "model", "key": "key_id"}
        rows = margin_rows(found, [named[group] for group in MARGIN_GROUPS if group in groups])
        if DAY in groups:
            names = [day.isoformat() for day in days.dates()]
            rows = [{"day": names[row["span"] - 1], **_without_span(row)} for row in rows]
        if _as_csv(asked):
            dimensions = [_DIMENSIONS[group] for group in MARGIN_GROUPS if group in groups]
            return await self._csv(asked, rows, [*dimensions, *MARGIN_COLUMNS], "margin")
        if len(rows) > JSON_ROWS_MAX:
            raise too_many(JSON_ROWS_MAX)
        return MarginReport.model_construct(
            **_of_whom(subject),
            **_span(days),
            timezone=query.timezone,
            group_by=[group for group in MARGIN_GROUPS if group in groups],
            rows=rows,
            totals=margin_totals(found),
        )

    async def _grouped(
        self, asked: Asked[Nothing, SumsQuery], groups: frozenset[str], name: str
    ) -> SumsReport | Answer:
        query = asked.query
        days = _days(query)
        bounds = days.bounds() if DAY in groups else days.ends()
        subject = await self._subject(asked, query)
        as_csv = _as_csv(asked)
        sums = await self._sums.read(
            subject, bounds, groups, groups_max=GROUPS_MAX if as_csv else JSON_ROWS_MAX
        )
        rows = _with_days(sums, days, groups, subject.currency)
        dimensions = [field for group, field in _DIMENSIONS.items() if group in groups]
        if as_csv:
            return await self._csv(asked, rows, [*dimensions, *SUM_COLUMNS], name)
        return SumsReport.model_construct(
            **_of_whom(subject),
            **_span(days),
            timezone=query.timezone,
            group_by=[group for group in _DIMENSIONS if group in groups],
            rows=rows,
            totals=sums.totals,
        )

    async def _subject(
        self, asked: Asked[Nothing, QueryT], query: ReportQuery, *, own_key: bool = False
    ) -> Subject:
        """Of whom; a caller who does not say: of their account, or of their key. Raises: NotFound."""
        ids = query.ids() if isinstance(query, SubjectQuery) else {}
        account_id = query.account_id
        if asked.key is not None:
            if account_id not in (None, asked.key.account_id):
                raise NotFound(f"account_id: account {account_id} does not exist", field="account_id")
            if own_key and account_id is None and not any(ids.values()):
                ids["key_id"] = asked.key.key_id
            account_id = asked.key.account_id
        async with connection(self._pg) as db:
            return await find_subject(db, account_id=account_id, **ids)

    async def _csv(
        self, asked: Asked[Nothing, QueryT], lines: Lines, columns: Sequence[str], name: str
    ) -> Answer:
        stall_timeout_s = self._deps.settings.client_stall_timeout_s
        first, rest = lines[:ROWS_PER_TURN], _parts(lines[ROWS_PER_TURN:])
        return await send_csv(
            asked.http, first, rest, stall_timeout_s, columns=columns, filename=f"{name}.csv"
        )


async def _parts(lines: Lines) -> AsyncIterator[Lines]:
    for start in range(0, len(lines), ROWS_PER_TURN):
        yield lines[start : start + ROWS_PER_TURN]


def _as_csv(asked: Asked[Nothing, QueryT]) -> bool:
    wanted = asked.query.format
    return wanted == "csv" if wanted else prefers_csv(asked.http.headers.get("accept", ""))


def _days(query: DaysQuery) -> Days:
    return span_of_days(query.from_, query.to, report_zone(query.timezone), now_ms())


def _kind(query: PeriodQuery) -> str:
    return "days" if query.from_ or query.to else query.period or MONTH


def _period(query: PeriodQuery) -> tuple[Days, Days]:
    """The days that are asked for, and those before. Raises: RequestInvalid."""
    if _kind(query) == "days":
        for field, given in (("period", query.period), ("day", query.day)):
            if given is not None:
                raise RequestInvalid(f"{field}: not together with `from` and `to`", field=field)
        days = _days(query)
        return days, days.before()
    zone = report_zone(query.timezone)
    return calendar_period(_kind(query), query.day or today(zone, now_ms()), zone)


def _with_days(sums: Sums, days: Days, groups: frozenset[str], currency: str | None) -> list[Row]:
    """The rows with dates instead of numbers of days; days alone without gaps."""
    if DAY not in groups:
        return sums.rows
    rows = sums.rows if len(groups) > 1 else with_empty_days(sums.rows, len(days), currency)
    names = [day.isoformat() for day in days.dates()]
    return [{"day": names[row["span"]], **_without_span(row)} for row in rows]


def _without_span(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "span"}


def _of_whom(subject: Subject) -> dict[str, Any]:
    return {
        "account_id": subject.account_id or None,
        "team_id": subject.team_id,
        "user_id": subject.user_id,
        "key_id": subject.key_id,
    }


def _span(days: Days) -> dict[str, Any]:
    start, end = days.ends()
    return {"from": days.first, "to": days.last, "starts_at": moment_of(start), "ends_at": moment_of(end)}


def _totals(days: Days, rows: Sequence[Row]) -> PeriodTotals:
    return PeriodTotals.model_construct(**_span(days), totals=rows)


def _changes(current: Iterable[Row], previous: Iterable[Row]) -> list[Change]:
    currencies = sorted({row["currency"] for rows in (current, previous) for row in rows})
    return [_change(total_of(current, one), total_of(previous, one)) for one in currencies]


def _change(current: Row, previous: Row) -> Change:
    cost_nanos = current["cost_nanos"] - previous["cost_nanos"]
    ratio = None
    if previous["cost_nanos"]:
        ratio = f"{Decimal(current['cost_nanos']) / previous['cost_nanos']:.4f}"
    return Change(
        currency=current["currency"],
        calls=current["calls"] - previous["calls"],
        cost_nanos=cost_nanos,
        cost=units(cost_nanos),
        cost_ratio=ratio,
    )
