"""What reports are asked by: of whom, over which days, grouped how. Shape only; billing decides what makes sense."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from rabbitgw.api.forms import INT64_MAX, Form, QueryRows
from rabbitgw.billing.report_spans import DAYS_DEFAULT, DAYS_MAX
from rabbitgw.billing.report_sums import GROUPS
from rabbitgw.billing.windows import ZONE_DEFAULT

ZONE_CHARS_MAX: Final = 64
MARGIN_GROUPS: Final = ("day", "model", "key")
OVERDRAFT_ROWS: Final = 100  # if it is not said

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_AFTER = re.compile(r"(\d{1,18}):([A-Z]{3})", re.ASCII)


def _day(value: Any) -> date:
    text = str(value)
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("must be a day like 2027-01-31")


def _zone(value: Any) -> str:
    """A + that was not written %2B has become a blank."""
    text = str(value)
    return f"+{text[1:]}" if text.startswith(" ") else text


def _groups(value: Any) -> tuple[str, ...]:
    names = tuple(str(value).split(","))
    for name in names:
        if name not in GROUPS:
            raise ValueError(f"{name[:50]!r} is none of {', '.join(GROUPS)}")
    if len(set(names)) < len(names):
        raise ValueError("names one twice")
    return names


def _after(value: Any) -> tuple[int, str]:
    match = _AFTER.fullmatch(str(value))
    if match is None:
        raise ValueError("must be `next` of the page before")
    return int(match[1]), match[2]


QueryDay = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2027-01-31"]}),
]
QueryZone = Annotated[str, BeforeValidator(_zone), Field(min_length=1, max_length=ZONE_CHARS_MAX)]
QueryGroups = Annotated[
    tuple[str, ...],
    BeforeValidator(_groups),
    WithJsonSchema({"type": "string", "examples": ["model", "day,key"]}),
]
QueryAfter = Annotated[
    tuple[int, str], BeforeValidator(_after), WithJsonSchema({"type": "string", "examples": ["17:USD"]})
]
OneId = Annotated[int, Field(ge=1, le=INT64_MAX)]


class ReportQuery(Form):
    account_id: OneId | None = Field(default=None, description="a caller's own; the operator's: any")
    format: Literal["json", "csv"] | None = Field(default=None, description="goes before the header `Accept`")


class SubjectQuery(ReportQuery):
    """Of whom. More than one id: what is of all of them."""

    team_id: OneId | None = None
    user_id: OneId | None = None
    key_id: OneId | None = None

    def ids(self) -> dict[str, int | None]:
        return {"key_id": self.key_id, "user_id": self.user_id, "team_id": self.team_id}


class DaysQuery(SubjectQuery):
    from_: QueryDay | None = Field(
        default=None,
        alias="from",
        description=f"the first day; {DAYS_DEFAULT} days up to `to` if left out, {DAYS_MAX} at most",
    )
    to: QueryDay | None = Field(
        default=None, description="the last day, which is in the report; today if left out"
    )
    timezone: QueryZone = Field(
        default=ZONE_DEFAULT, description="whose days: an offset (a + is written %2B) or an IANA name"
    )


class SumsQuery(DaysQuery):
    group_by: QueryGroups | None = Field(
        default=None, description=f"some of {', '.join(GROUPS)}, with commas between"
    )


def _margin_groups(value: Any) -> tuple[str, ...]:
    names = _groups(value)
    for name in names:
        if name not in MARGIN_GROUPS:
            raise ValueError(f"{name!r} is none of {', '.join(MARGIN_GROUPS)}")
    return names


class MarginQuery(DaysQuery):
    group_by: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(_margin_groups),
            WithJsonSchema({"type": "string", "examples": ["model", "day,key"]}),
        ]
        | None
    ) = Field(default=None, description=f"some of {', '.join(MARGIN_GROUPS)}, with commas between")


class PeriodQuery(DaysQuery):
    period: Literal["month", "week"] | None = Field(
        default=None, description="of the calendar; a month if neither this nor `from` and `to` are given"
    )
    day: QueryDay | None = Field(default=None, description="a day in the month or week; today if left out")


class OverdraftQuery(ReportQuery):
    after: QueryAfter | None = Field(default=None, description="`next` of the page before")
    limit: QueryRows = OVERDRAFT_ROWS
