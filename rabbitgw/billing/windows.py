"""Which span of a window a moment lies in: "2026-11-21" of a daily window, "life" of a lifetime one.

A window of five hours opens at an admission, which only the reserve script can see: its span is asked for by OPENING,
and named by the millisecond at which it opened.

Pure calendar arithmetic; knows no counter and reads no clock (the moment comes from Redis' clock). A span is
named by the date on which it begins in the window's zone (a week by that of its Monday), so the names of a window
sort by time. Where a zone changes its clocks a day has 23 or 25 hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rabbitgw.errors import RequestInvalid
from rabbitgw.prepared import WindowCheck

LIFETIME = "lifetime"
DAY = "day"
WEEK = "week"
MONTH = "month"
FIVE_HOURS = "5h"
FIVE_HOURS_MS = 5 * 3_600_000
CALENDAR = frozenset({DAY, WEEK, MONTH})
LIFE_SPAN = "life"
ZONE_DEFAULT = "+08:00"
RESET_TIME_DEFAULT = "00:00"
NEVER_MS = 1 << 62  # a moment that does not come

_OFFSET = re.compile(r"([+-])(0\d|1[0-4]):([0-5]\d)")
_RESET_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class WindowRule:
    """A spend cap. `zone` is an offset ("+08:00") or an IANA name; `reset_time` is "HH:MM" in it. `extra_nanos` is a
    temporary increase of the limit."""

    window_id: int
    kind: str
    limit_nanos: int
    zone: str = ZONE_DEFAULT
    reset_time: str = RESET_TIME_DEFAULT
    extra_nanos: int = 0
    extra_until_ms: int = 0  # 0: there is no increase

    def limit_at(self, at_ms: int) -> int:
        return self.limit_nanos + self.extra_nanos if at_ms < self.extra_until_ms else self.limit_nanos


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_ms` until just before `end_ms`; `end_ms` 0: it never ends."""

    name: str
    start_ms: int
    end_ms: int

    def holds(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms and (at_ms < self.end_ms or not self.end_ms)


LIFE = Span(LIFE_SPAN, 0, 0)
OPENING = Span(f"*{FIVE_HOURS_MS}", 0, 0)

# The span last asked for, per kind, zone and reset time: nearly every request of a day gets its answer here.
_latest: dict[tuple[str, str, str], Span] = {}
_LATEST_MAX = 1000


def span_of(rule: WindowRule, at_ms: int) -> Span:
    """The span of `rule` that the moment `at_ms` lies in.

    Raises: RequestInvalid for a zone or reset time that cannot be understood; keys are checked when made.
    """
    if rule.kind == LIFETIME:
        return LIFE
    if rule.kind == FIVE_HOURS:
        return OPENING
    if rule.kind not in CALENDAR:
        raise RequestInvalid(f"window {rule.window_id}: unknown kind {rule.kind!r}")
    place = (rule.kind, rule.zone, rule.reset_time)
    span = _latest.get(place)
    if span is None or not span.holds(at_ms):
        if len(_latest) >= _LATEST_MAX:
            _latest.clear()
        span = _latest[place] = _calendar_span(
            rule.kind, zone_of(rule.zone), reset_time_of(rule.reset_time), at_ms
        )
    return span


def check_of(rule: WindowRule, span: Span, at_ms: int) -> WindowCheck:
    """The window as reserve is told of it: good as long as both its span and its present limit are."""
    start_ms, end_ms, until_ms = span.start_ms, span.end_ms, rule.extra_until_ms
    if at_ms < until_ms:
        end_ms = min(end_ms or NEVER_MS, until_ms)
    else:
        start_ms = max(start_ms, until_ms)
    return WindowCheck(rule.window_id, span.name, start_ms, end_ms, rule.limit_at(at_ms))


def named_span(span: Span, name: str) -> Span:
    """The span that a script has answered in: `span` as it was asked for, or the one that was open."""
    if span is not OPENING:
        return span
    return Span(name, int(name), int(name) + FIVE_HOURS_MS)


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


def checked_zone(text: str) -> str:
    """A zone that an operator gives. Raises: RequestInvalid of `timezone`."""
    try:
        zone_of(text)
    except RequestInvalid:
        raise RequestInvalid(
            f"timezone: {text!r} is neither an offset like +08:00 nor a time zone", field="timezone"
        ) from None
    return text


def reset_time_of(text: str) -> time:
    """Raises: RequestInvalid."""
    match = _RESET_TIME.fullmatch(text)
    if match is None:
        raise RequestInvalid(f"reset_time: {text!r} is not HH:MM", field="reset_time")
    return time(int(match[1]), int(match[2]))


def _calendar_span(kind: str, zone: tzinfo, reset: time, at_ms: int) -> Span:
    first = _first_day(kind, datetime.fromtimestamp(at_ms / 1000, zone).date())
    if at_ms < _start_ms(zone, reset, first):
        first = _first_day(kind, first - timedelta(days=1))
    start_ms, end_ms = (_start_ms(zone, reset, day) for day in (first, _next_first_day(kind, first)))
    return Span(first.isoformat(), start_ms, end_ms)


def _first_day(kind: str, day: date) -> date:
    """Of the day, week or month that `day` is in."""
    if kind == WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == MONTH else day


def _next_first_day(kind: str, first: date) -> date:
    if kind == MONTH:
        return _first_day(MONTH, first + timedelta(days=31))
    return first + timedelta(days=7 if kind == WEEK else 1)


def _start_ms(zone: tzinfo, reset: time, day: date) -> int:
    start = datetime.combine(day, reset, tzinfo=zone).astimezone(UTC)
    return (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
