"""Which span of a window a moment lies in: "2026-11-21" of a daily window, "life" of a lifetime one.

Pure calendar arithmetic; knows no counter and reads no clock (the moment comes from Redis' clock). A span is
named by the date on which it begins in the window's zone, so the names of a window sort by time. Where a zone
changes its clocks a day has 23 or 25 hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rabbitgw.errors import RequestInvalid

LIFETIME = "lifetime"
DAY = "day"
LIFE_SPAN = "life"
NEVER_MS = 1 << 62  # a moment that does not come
ZONE_DEFAULT = "+08:00"
RESET_TIME_DEFAULT = "00:00"

_OFFSET = re.compile(r"([+-])(0\d|1[0-4]):([0-5]\d)")
_RESET_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class WindowRule:
    """A spend cap. `zone` is an offset ("+08:00") or an IANA name; `reset_time` is "HH:MM" in it."""

    window_id: int
    kind: str
    limit_nanos: int
    zone: str = ZONE_DEFAULT
    reset_time: str = RESET_TIME_DEFAULT


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_ms` until just before `end_ms`; `end_ms` 0: it never ends."""

    name: str
    start_ms: int
    end_ms: int

    def holds(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms and (at_ms < self.end_ms or not self.end_ms)


LIFE = Span(LIFE_SPAN, 0, 0)

# The span last asked for, per zone and reset time: nearly every request of a day gets its answer here.
_latest: dict[tuple[str, str], Span] = {}
_LATEST_MAX = 1000


def span_of(rule: WindowRule, at_ms: int) -> Span:
    """The span of `rule` that the moment `at_ms` lies in.

    Raises: RequestInvalid for a zone or reset time that cannot be understood; keys are checked when made.
    """
    if rule.kind == LIFETIME:
        return LIFE
    if rule.kind != DAY:
        raise RequestInvalid(f"window {rule.window_id}: unknown kind {rule.kind!r}")
    place = (rule.zone, rule.reset_time)
    span = _latest.get(place)
    if span is None or not span.holds(at_ms):
        if len(_latest) >= _LATEST_MAX:
            _latest.clear()
        span = _latest[place] = _day_span(zone_of(rule.zone), reset_time_of(rule.reset_time), at_ms)
    return span


@lru_cache(maxsize=1000)
def zone_of(text: str) -> tzinfo:
    """Raises: RequestInvalid."""
    offset = _OFFSET.fullmatch(text)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RequestInvalid(
            f"zone: {text!r} is neither an offset like +08:00 nor a time zone", field="zone"
        ) from None


def reset_time_of(text: str) -> time:
    """Raises: RequestInvalid."""
    match = _RESET_TIME.fullmatch(text)
    if match is None:
        raise RequestInvalid(f"reset_time: {text!r} is not HH:MM", field="reset_time")
    return time(int(match[1]), int(match[2]))


def _day_span(zone: tzinfo, reset: time, at_ms: int) -> Span:
    day = datetime.fromtimestamp(at_ms / 1000, zone).date()
    if at_ms < _start_ms(zone, reset, day):
        day -= timedelta(days=1)
    return Span(day.isoformat(), _start_ms(zone, reset, day), _start_ms(zone, reset, day + timedelta(days=1)))


def _start_ms(zone: tzinfo, reset: time, day: date) -> int:
    start = datetime.combine(day, reset, tzinfo=zone).astimezone(UTC)
    return (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
