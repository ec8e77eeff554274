"""Which windows plans lay on a call, at which moment; no store."""

from __future__ import annotations

from datetime import datetime

from rabbitgw.billing.plan_book import Limit, OnPlan, PlanBook
from rabbitgw.billing.windows import NEVER_MS, WindowRule


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-11-28T12:00:00+08:00")
MIDNIGHT = ms("2026-11-29T00:00:00+08:00")
PLAIN = Limit(500, "+08:00", "00:00", "+08:00", "00:00", 0)


def on(plan_id: int, window_id: int | None, *, zone: str | None = None, to_ms: int | None = None) -> OnPlan:
    return OnPlan(plan_id, window_id, zone, NOON, to_ms)


def rules(book: PlanBook, plans: tuple[OnPlan, ...], at_ms: int) -> list[WindowRule]:
    return [limit.rule for limit in book.limits(plans, at_ms)]


def test_every_plan_above_a_caller_counts_and_its_assignment_may_have_a_zone() -> None:
    book = PlanBook({1: PLAIN, 2: Limit(900, "+08:00", "06:00", "", "", 0)})
    both = (on(1, 11, zone="Europe/Berlin"), on(2, 12), on(3, 13))  # the third has no daily limit
    assert rules(book, both, NOON) == [
        WindowRule(11, "day", 500, "Europe/Berlin", "00:00"),
        WindowRule(12, "day", 900, "+08:00", "06:00"),
    ]


def test_an_assignment_holds_from_its_begin_until_just_before_its_end() -> None:
    book = PlanBook({1: PLAIN})
    plans = (on(1, 11, to_ms=MIDNIGHT),)
    assert (rules(book, plans, NOON - 1)) == []
    assert len(rules(book, plans, NOON)) == 1
    assert len(rules(book, plans, MIDNIGHT - 1)) == 1
    assert (rules(book, plans, MIDNIGHT)) == []
    assert book.unchanged_ms(plans, NOON - 1) == (0, NOON)
    assert book.unchanged_ms(plans, NOON) == (NOON, MIDNIGHT)
    assert book.unchanged_ms(plans, MIDNIGHT) == (MIDNIGHT, NEVER_MS)


def test_another_zone_holds_from_the_next_day_on() -> None:
    book = PlanBook({1: Limit(500, "UTC", "03:00", "+08:00", "00:00", MIDNIGHT)})
    plans = (on(1, 11),)
    assert (rules(book, plans, MIDNIGHT - 1)) == [WindowRule(11, "day", 500, "+08:00", "00:00")]
    assert (rules(book, plans, MIDNIGHT)) == [WindowRule(11, "day", 500, "UTC", "03:00")]
    assert book.unchanged_ms(plans, NOON) == (NOON, MIDNIGHT)


def test_a_new_book_replaces_and_takes_out() -> None:
    book = PlanBook({1: PLAIN, 2: PLAIN})
    newer = book.with_limits({1: PLAIN._replace(limit_nanos=7), 2: None})
    assert [rule.limit_nanos for rule in rules(newer, (on(1, 11), on(2, 12)), NOON)] == [7]
    assert len(book) == 2
