"""The days, weeks and months of a zone as quarter hours in UTC, by which the rollups are kept. Pure arithmetic.

Owns what a report's dates and zone may be. A quarter is the number of a quarter hour since 1970. A day begins at its
midnight in the zone, or at the first moment that it has where the clocks skip midnight; where they change it has 23 or
25 hours. A zone whose days do not begin at a quarter hour cannot be told apart by the rollups, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from rabbitgw.billing.windows import zone_of
from rabbitgw.errors import RequestInvalid

DAYS_DEFAULT: Final = 30
DAYS_MAX: Final = 366
QUARTER_MS: Final = 900_000
THIRD_QUARTERS: Final = 32  # of a day in UTC: the coarser grain of the rollups
YEAR_MIN: Final = 1971  # a day before 1970 has no quarter
YEAR_MAX: Final = 9000
MONTH: Final = "month"
WEEK: Final = "week"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER: Final = timedelta(milliseconds=QUARTER_MS)


@dataclass(frozen=True, slots=True)
class Days:
    """Calendar days of a zone, both ends included."""

    first: date
    last: date
    zone: tzinfo

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def before(self) -> Days:
        """As many days, right before these."""
        return Days(self.first - timedelta(days=len(self)), self.first - timedelta(days=1), self.zone)

    def dates(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range(len(self))]

    def bounds(self) -> list[int]:
        """The quarters at which each of the days begins, and the last one ends. Raises: RequestInvalid."""
        return [start_quarter(day, self.zone) for day in [*self.dates(), self.last + timedelta(days=1)]]

    def ends(self) -> list[int]:
        """The quarters at which the first of them begins and the last one ends. Raises: RequestInvalid."""
        return [start_quarter(self.first, self.zone), start_quarter(self.last + timedelta(days=1), self.zone)]


def split_thirds(bounds: Sequence[int]) -> list[int]:
    """The thirds of days in UTC that one of the bounds cuts in two."""
    return sorted({bound - bound % THIRD_QUARTERS for bound in bounds if bound % THIRD_QUARTERS})


def start_quarter(day: date, zone: tzinfo) -> int:
    """Raises: RequestInvalid."""
    quarter, rest = divmod(datetime.combine(day, time(), tzinfo=zone).astimezone(UTC) - _EPOCH, _QUARTER)
    if rest:
        raise RequestInvalid(
            f"timezone: on {day} its days do not begin at a quarter of an hour in UTC", field="timezone"
        )
    return quarter


def moment_of(quarter: int) -> datetime:
    return _EPOCH + quarter * _QUARTER


def report_zone(text: str) -> tzinfo:
    """Raises: RequestInvalid."""
    try:
        return zone_of(text)
    except RequestInvalid as error:
        raise RequestInvalid(error.message.replace("zone", "timezone", 1), field="timezone") from None


def today(zone: tzinfo, now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms / 1000, zone).date()


def span_of_days(first: date | None, last: date | None, zone: tzinfo, now_ms: int) -> Days:
    """From the first day to the last; the thirty days up to today if neither is given. Raises: RequestInvalid."""
    for field, day in (("from", first), ("to", last)):
        if day is not None and not YEAR_MIN <= day.year <= YEAR_MAX:
            raise RequestInvalid(f"{field}: a day of the years {YEAR_MIN} to {YEAR_MAX}", field=field)
    if last is None:
        last = today(zone, now_ms)
        if first is not None:
            last = max(first, min(last, first + timedelta(days=DAYS_MAX - 1)))
    if first is None:
        first = last - timedelta(days=DAYS_DEFAULT - 1)
    if first > last:
        raise RequestInvalid("from: lies after `to`", field="from")
    if (last - first).days >= DAYS_MAX:
        raise RequestInvalid(f"from: at most {DAYS_MAX} days to `to`", field="from")
    return Days(first, last, zone)


def calendar_period(kind: str, day: date, zone: tzinfo) -> tuple[Days, Days]:
    """The month or week (from Monday) that the day is in, and the one before. Raises: RequestInvalid."""
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise RequestInvalid(f"day: a day of the years {YEAR_MIN} to {YEAR_MAX}", field="day")
    if kind == WEEK:
        monday = day - timedelta(days=day.weekday())
        week = Days(monday, monday + timedelta(days=6), zone)
        return week, week.before()
    first = day.replace(day=1)
    last_before = first - timedelta(days=1)
    month = Days(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1), zone)
    return month, Days(last_before.replace(day=1), last_before, zone)
