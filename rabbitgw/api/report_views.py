"""Reports as JSON, and their columns as CSV."""

from __future__ import annotations

from datetime import date
from typing import Final

from pydantic import Field, SerializeAsAny

from rabbitgw.api.views import Nanos, Time, View
from rabbitgw.billing.report_sums import COUNTS

SUM_COLUMNS: Final = ("currency", *COUNTS, "cost_nanos", "cost")
MARGIN_COLUMNS: Final = (
    "currency", "calls", "calls_without_cost", "revenue_nanos", "costed_revenue_nanos", "upstream_cost_nanos",
    "margin_nanos", "margin", "margin_ratio",
)  # fmt: skip
PERIOD_COLUMNS: Final = ("span", "from", "to", *SUM_COLUMNS)


class Totals(View):
    """Sums of one currency. Token counts of a part are also in the count of the whole."""

    currency: str
    calls: int = Field(description="settled, partial or expired")
    released_calls: int = Field(description="failed with nothing delivered: not among `calls`, and free")
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    images: int = Field(description="made")
    audio_ms: int = Field(description="of sound, where it is stated or charged; milliseconds")
    characters: int = Field(description="of text that was spoken")
    cost_nanos: Nanos = Field(description="9223372036854775807 stands for more; `cost` says it")
    cost: str = Field(description="the same in units of the currency", examples=["12.345678900"])


class Group(Totals):
    """What it is grouped by is in it; null: the calls had none."""

    day: str = Field(default="", description="a date of the report's time zone", examples=["2027-01-31"])
    model: str | None = None
    key_id: int | None = None
    user_id: int | None = Field(default=None, description="whose key it was when the call was admitted")
    team_id: int | None = Field(default=None, description="the user's team when the call was admitted")
    tag: str | None = Field(
        default=None,
        description="of the call's key, as it is tagged now; a call with two tags is in two groups",
    )


class OfWhom(View):
    account_id: int | None = Field(description="null: all accounts")
    team_id: int | None
    user_id: int | None
    key_id: int | None


class SpanOfDays(View):
    from_: date = Field(alias="from")
    to: date = Field(description="the last day, which is in it")
    starts_at: Time
    ends_at: Time = Field(description="calls that came in before")


class SumsReport(OfWhom, SpanOfDays):
    timezone: str
    group_by: list[str]
    # As they were made: to make a thousand rows anew would hold up every stream of this process.
    rows: SerializeAsAny[list[Group]]
    totals: SerializeAsAny[list[Totals]] = Field(description="one per currency; each call is counted once")


class Margin(View):
    """What calls of one currency were charged, beside what upstream says they cost it."""

    currency: str
    calls: int = Field(description="settled, partial or expired")
    calls_without_cost: int = Field(
        description="of these, those of which upstream did not say what they cost"
    )
    revenue_nanos: Nanos = Field(description="what all of them were charged")
    costed_revenue_nanos: Nanos = Field(description="what those with a known cost were charged")
    upstream_cost_nanos: Nanos = Field(description="what those cost, in 10^-9 US dollars")
    margin_nanos: Nanos | None = Field(
        description="costed revenue less upstream's cost; null in another currency than US dollars"
    )
    margin: str | None = Field(description="the same in units", examples=["0.012345678"])
    margin_ratio: str | None = Field(
        description="the margin by the costed revenue; null where that is nothing", examples=["0.2500"]
    )


class MarginGroup(Margin):
    """What it is grouped by is in it; null: the calls had none."""

    day: str = Field(default="", description="a date of the report's time zone", examples=["2027-01-31"])
    model: str | None = None
    key_id: int | None = None


class MarginReport(OfWhom, SpanOfDays):
    timezone: str
    group_by: list[str]
    rows: SerializeAsAny[list[MarginGroup]]
    totals: SerializeAsAny[list[Margin]] = Field(description="one per currency")


class PeriodTotals(SpanOfDays):
    totals: SerializeAsAny[list[Totals]]


class Change(View):
    currency: str
    calls: int = Field(description="the current period's, less those of the one before")
    cost_nanos: Nanos
    cost: str
    cost_ratio: str | None = Field(
        description="the current cost by the one before, 1.0000 for the same; null where that was nothing"
    )


class PeriodReport(OfWhom):
    timezone: str
    period: str = Field(description="`month`, `week`, or `days` for those from `from` to `to`")
    current: PeriodTotals
    previous: PeriodTotals = Field(description="the month or week before, or as many days right before")
    change: list[Change]


class BudgetView(View):
    window_id: int
    level: str = Field(description="whose window it is: `key`, `user`, `team` or `account`")
    key_id: int | None
    user_id: int | None
    team_id: int | None
    plan_id: int | None = Field(description="the plan whose daily limit it is; null: a window of its own")
    kind: str
    timezone: str
    reset_time: str
    currency: str
    span: str | None = Field(description="its present span; null while one that opens with a call is shut")
    limit_nanos: Nanos
    extra_nanos: Nanos = Field(description="the temporary increase of the limit that holds now")
    used_nanos: Nanos = Field(description="charged and booked")
    held_nanos: Nanos | None = Field(
        description="set aside for calls that run, or charged a moment ago; null where Redis does not tell it"
    )
    remaining_nanos: Nanos = Field(description="negative where more was charged than the limit")
    share: str | None = Field(
        description="used or held, of the limit: 1.0000 is all; null where that is nothing"
    )
    resets_at: Time | None


class BudgetReport(OfWhom):
    windows: list[BudgetView]


class OverdraftView(View):
    account_id: int
    currency: str
    balance_nanos: Nanos = Field(description="the ledger's")
    balance: str
    overdrawn_nanos: Nanos = Field(description="how far it is below zero")
    overdrawn: str
    worst_nanos: Nanos = Field(description="the lowest balance that it ever had")
    worst: str
    since: Time | None = Field(description="since when it is below zero; null: it is not")


class OverdraftReport(View):
    wallets: list[OverdraftView]
    next: str | None = Field(description="what to send as `after`; null on the last page")
