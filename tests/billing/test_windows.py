"""Spans: which day, week or month a moment belongs to, and when that ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rabbitgw.billing.windows import LIFE, Span, WindowRule, check_of, reset_time_of, span_of, zone_of
from rabbitgw.errors import RequestInvalid
from rabbitgw.prepared import WindowCheck

HOUR_MS = 3_600_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def day(zone: str = "+08:00", reset_time: str = "00:00") -> WindowRule:
    return WindowRule(1, "day", 0, zone, reset_time)


def week(zone: str = "+08:00", reset_time: str = "00:00") -> WindowRule:
    return WindowRule(1, "week", 0, zone, reset_time)


def month(zone: str = "+08:00", reset_time: str = "00:00") -> WindowRule:
    return WindowRule(1, "month", 0, zone, reset_time)


@pytest.mark.parametrize(
    ("rule", "at", "name", "start", "end"),
    [
        (day(), "2026-11-20T16:00:00", "2026-11-21", "2026-11-20T16:00:00", "2026-11-21T16:00:00"),
        (day(), "2026-11-20T15:59:59.999", "2026-11-20", "2026-11-19T16:00:00", "2026-11-20T16:00:00"),
        (day(), "2026-12-31T23:00:00", "2027-01-01", "2026-12-31T16:00:00", "2027-01-01T16:00:00"),
        (
            day("+08:00", "06:30"),
            "2026-11-20T22:29:59.999",
            "2026-11-20",
            "2026-11-19T22:30:00",
            "2026-11-20T22:30:00",
        ),
        (
            day("+08:00", "06:30"),
            "2026-11-20T22:30:00",
            "2026-11-21",
            "2026-11-20T22:30:00",
            "2026-11-21T22:30:00",
        ),
        (day("-05:30"), "2026-03-01T05:29:00", "2026-02-28", "2026-02-28T05:30:00", "2026-03-01T05:30:00"),
        # Clocks change: a day of 23 hours, and one of 25.
        (
            day("Europe/Berlin"),
            "2026-03-29T12:00:00",
            "2026-03-29",
            "2026-03-28T23:00:00",
            "2026-03-29T22:00:00",
        ),
        (
            day("Europe/Berlin"),
            "2026-10-25T12:00:00",
            "2026-10-25",
            "2026-10-24T22:00:00",
            "2026-10-25T23:00:00",
        ),
        # A leap day, and the year without one.
        (day(), "2028-02-28T16:00:00", "2028-02-29", "2028-02-28T16:00:00", "2028-02-29T16:00:00"),
        (day(), "2028-02-29T16:00:00", "2028-03-01", "2028-02-29T16:00:00", "2028-03-01T16:00:00"),
        (day(), "2027-02-28T16:00:00", "2027-03-01", "2027-02-28T16:00:00", "2027-03-01T16:00:00"),
        (month(), "2028-02-29T15:59:59.999", "2028-02-01", "2028-01-31T16:00:00", "2028-02-29T16:00:00"),
        (month(), "2027-02-28T16:00:00", "2027-03-01", "2027-02-28T16:00:00", "2027-03-31T16:00:00"),
        (month(), "2026-12-31T16:00:00", "2027-01-01", "2026-12-31T16:00:00", "2027-01-31T16:00:00"),
        (
            month("Europe/Berlin", "06:00"),  # it begins before the clocks change and ends after
            "2026-10-01T03:59:59.999",
            "2026-09-01",
            "2026-09-01T04:00:00",
            "2026-10-01T04:00:00",
        ),
        (
            month("Europe/Berlin", "06:00"),
            "2026-10-01T04:00:00",
            "2026-10-01",
            "2026-10-01T04:00:00",
            "2026-11-01T05:00:00",
        ),
        # A week begins on Monday; that of New Year in the old year, and those in which clocks change.
        (week(), "2026-12-31T20:00:00", "2026-12-28", "2026-12-27T16:00:00", "2027-01-03T16:00:00"),
        (week(), "2027-01-03T16:00:00", "2027-01-04", "2027-01-03T16:00:00", "2027-01-10T16:00:00"),
        (
            week("+08:00", "06:30"),
            "2027-01-03T22:29:59.999",
            "2026-12-28",
            "2026-12-27T22:30:00",
            "2027-01-03T22:30:00",
        ),
        (
            week("Europe/Berlin"),
            "2026-03-29T12:00:00",
            "2026-03-23",
            "2026-03-22T23:00:00",
            "2026-03-29T22:00:00",
        ),
        (
            week("Europe/Berlin"),
            "2026-10-25T22:59:59.999",
            "2026-10-19",
            "2026-10-18T22:00:00",
            "2026-10-25T23:00:00",
        ),
    ],
)
def test_a_span_is_the_calendars_of_its_zone(
    rule: WindowRule, at: str, name: str, start: str, end: str
) -> None:
    assert span_of(rule, ms(at)) == Span(name, ms(start), ms(end))


@pytest.mark.parametrize("zone", ["+08:00", "-11:00", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize("reset_time", ["00:00", "02:30", "23:59"])
@pytest.mark.parametrize(
    ("kind", "spans", "hours"), [("day", 400, 24), ("week", 110, 168), ("month", 40, 720)]
)
def test_spans_follow_each_other_without_gap_and_names_sort(
    zone: str, reset_time: str, kind: str, spans: int, hours: int
) -> None:
    rule = WindowRule(1, kind, 0, zone, reset_time)
    span = span_of(rule, ms("2026-01-01T00:00:00"))
    for _ in range(spans):
        assert span_of(rule, span.start_ms) == span
        assert span_of(rule, span.end_ms - 1) == span
        following = span_of(rule, span.end_ms)
        assert following.start_ms == span.end_ms
        assert following.name > span.name
        slack = 50 if kind == "month" else 2
        assert abs(following.end_ms - following.start_ms - hours * HOUR_MS) <= slack * HOUR_MS
        span = following


def test_a_clock_that_steps_back_is_in_the_span_before() -> None:
    rule, midnight = day(), ms("2026-11-20T16:00:00")
    names = [span_of(rule, midnight + step).name for step in (-1, 0, 5, -7, 3, -1)]
    assert names == [f"2026-11-{date}" for date in (20, 21, 21, 20, 21, 20)]


def test_windows_of_one_zone_and_reset_time_do_not_share_a_span() -> None:
    at = ms("2026-11-20T16:00:00")
    names = [span_of(rule, at).name for rule in (day(), week(), month(), day(), week("+00:00"))]
    assert names == ["2026-11-21", "2026-11-16", "2026-11-01", "2026-11-21", "2026-11-16"]


@pytest.mark.parametrize(
    ("rule", "span", "at_ms", "check"),
    [
        (WindowRule(1, "day", 5), Span("d", 100, 900), 400, WindowCheck(1, "d", 100, 900, 5)),
        (
            WindowRule(1, "day", 5, extra_nanos=2, extra_until_ms=500),
            Span("d", 100, 900),
            499,
            WindowCheck(1, "d", 100, 500, 7),
        ),
        (
            WindowRule(1, "day", 5, extra_nanos=2, extra_until_ms=500),
            Span("d", 100, 900),
            500,
            WindowCheck(1, "d", 500, 900, 5),
        ),
        (
            WindowRule(1, "lifetime", 5, extra_nanos=2, extra_until_ms=500),
            LIFE,
            0,
            WindowCheck(1, "life", 0, 500, 7),
        ),
        (
            WindowRule(1, "day", 5, extra_nanos=2, extra_until_ms=2000),
            Span("d", 100, 900),
            400,
            WindowCheck(1, "d", 100, 900, 7),
        ),
    ],
)
def test_an_increase_ends_to_the_millisecond(
    rule: WindowRule, span: Span, at_ms: int, check: WindowCheck
) -> None:
    assert check_of(rule, span, at_ms) == check


def test_a_lifetime_never_ends() -> None:
    assert span_of(WindowRule(1, "lifetime", 5), ms("2026-11-20T00:00:00")) is LIFE
    assert Span("life", 0, 0) == LIFE
    assert LIFE.holds(ms("2999-01-01T00:00:00"))


@pytest.mark.parametrize("zone", ["", "+8", "+15:00", "UTC+8", "../etc/passwd", "Mars/Olympus", "a\0b"])
def test_a_wrong_zone_is_refused(zone: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        zone_of(zone)
    assert refused.value.field == "zone"


@pytest.mark.parametrize("text", ["24:00", "7:00", "07:60", "0700", ""])
def test_a_wrong_reset_time_is_refused(text: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        reset_time_of(text)
    assert refused.value.field == "reset_time"
