"""Spans: which day a moment belongs to, and when that day ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rabbitgw.billing.windows import LIFE, Span, WindowRule, reset_time_of, span_of, zone_of
from rabbitgw.errors import RequestInvalid

HOUR_MS = 3_600_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def day(zone: str = "+08:00", reset_time: str = "00:00") -> WindowRule:
    return WindowRule(1, "day", 0, zone, reset_time)


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
    ],
)
def test_a_day_is_the_calendar_day_of_its_zone(
    rule: WindowRule, at: str, name: str, start: str, end: str
) -> None:
    assert span_of(rule, ms(at)) == Span(name, ms(start), ms(end))


@pytest.mark.parametrize("zone", ["+08:00", "-11:00", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize("reset_time", ["00:00", "02:30", "23:59"])
def test_spans_follow_each_other_without_gap_and_names_sort(zone: str, reset_time: str) -> None:
    rule = day(zone, reset_time)
    span = span_of(rule, ms("2026-01-01T00:00:00"))
    for _ in range(400):
        assert span_of(rule, span.start_ms) == span
        assert span_of(rule, span.end_ms - 1) == span
        following = span_of(rule, span.end_ms)
        assert following.start_ms == span.end_ms
        assert following.name > span.name
        assert 22 * HOUR_MS <= following.end_ms - following.start_ms <= 26 * HOUR_MS
        span = following


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
