"""What is kept ready for a key is made anew when it is out of date, and not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rabbitgw.billing import desks as desks_module
from rabbitgw.billing.desks import Desk, Desks
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.plan_book import Limit, OnPlan, PlanBook, PlanFeed
from rabbitgw.billing.rate_rules import RateRule
from rabbitgw.billing.windows import WindowRule
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts
from tests.scripted import LookingLink, arguments

NOON_MS = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
KEY = KeyRecord(
    key_id=7,
    account_id=41,
    partition=2,
    currency="USD",
    generation=1,
    name="k",
    models=None,
    windows=(
        WindowRule(11, "lifetime", 500),
        WindowRule(12, "day", 50),
        WindowRule(13, "day", 60, zone="+00:00"),
    ),
    expires_at_ms=None,
    revoked=False,
)


NO_POOL: Any = None  # nothing is read


class NoLink(LookingLink):
    def call(self, *args: Any) -> Any:
        raise AssertionError("nothing is sent")


@pytest.fixture
def desks() -> Desks:
    return Desks(Scripts(NoLink(), KeyNames(4, 1)), PlanFeed(NO_POOL), "w-1", max_age_ms=1000, backlog_max=10)


def spans(desk: Desk) -> list[str]:
    """As they are written and as they are told."""
    said = arguments(desk.command.filled("h", desk.command.offers([]), b"{}"))
    names = [span.name for _, span in desk.windows]
    assert [said[said.index(b"%d" % rule.window_id, 12) + 1].decode() for rule, _ in desk.windows] == names
    return names


def test_it_is_kept_while_its_spans_last(desks: Desks) -> None:
    desk = desks.of(KEY, NOON_MS)
    assert spans(desk) == ["life", "2026-11-21", "2026-11-21"]
    assert desks.of(KEY, NOON_MS + 4 * HOUR_MS - 1) is desk
    assert desks.of(KEY, NOON_MS - 12 * HOUR_MS) is desk


def test_the_first_span_that_ends_and_the_last_that_began_decide(desks: Desks) -> None:
    assert spans(desks.of(KEY, NOON_MS + 4 * HOUR_MS)) == ["life", "2026-11-22", "2026-11-21"]
    assert spans(desks.of(KEY, NOON_MS + 12 * HOUR_MS)) == ["life", "2026-11-22", "2026-11-22"]
    assert spans(desks.of(KEY, NOON_MS)) == ["life", "2026-11-21", "2026-11-21"], "the clock was set back"


def test_without_windows_that_end_it_stays(desks: Desks) -> None:
    key = replace(KEY, windows=KEY.windows[:1])
    assert desks.of(key, NOON_MS) is desks.of(key, NOON_MS + 10**14)


def test_another_record_of_the_key_has_its_own(desks: Desks) -> None:
    desk = desks.of(KEY, NOON_MS)
    fresh = desks.of(replace(KEY, generation=2), NOON_MS)
    assert (fresh.key.generation, desk.key.generation) == (2, 1)
    assert fresh.command.filled("h", b"", b"") != desk.command.filled("h", b"", b"")


def test_it_ends_with_a_temporary_increase(desks: Desks) -> None:
    until_ms = NOON_MS + HOUR_MS
    raised = WindowRule(11, "lifetime", 500, extra_nanos=40, extra_until_ms=until_ms)
    key = replace(KEY, windows=(raised, *KEY.windows[1:]))
    desk = desks.of(key, NOON_MS)
    assert desks.of(key, until_ms - 1) is desk
    after = desks.of(key, until_ms)
    for made, limit in ((desk, b"540"), (after, b"500")):
        said = arguments(made.command.filled("h", b"", b"{}"))
        assert said[said.index(b"11", 12) + 4] == limit
    assert desks.of(key, until_ms - 1) is not after, "the clock was set back"


def test_their_number_is_bounded(desks: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks_module, "DESKS_MAX", 3)
    for key_id in range(10):
        desks.of(replace(KEY, key_id=key_id), NOON_MS)
        assert len(desks._desks) <= 3


def test_calls_under_other_rates_have_their_own(desks: Desks) -> None:
    rules = (RateRule(5, None, rpm=60, tpm=1000), RateRule(6, "gpt-*", parallel=3))
    key = replace(KEY, rates=rules)

    def rates(model: str, tokens: int | None) -> bytes:
        desk = desks.of(key, NOON_MS, (model, tokens))
        assert desks.of(key, NOON_MS, (model, tokens)) is desk
        assert desk.counts_tokens == (tokens is not None)
        return arguments(desk.command.filled("h", b"offers", b"{}", tokens or 0))[-3]

    assert rates("gpt-4o", 812) == b"5 60 1000 0;6 0 0 3;812"
    assert rates("claude", 5) == b"5 60 1000 0;5"
    assert rates("gpt-4o", None) == b"5 60 0 0;0", "what is free is a request and no more"
    assert arguments(desks.of(KEY, NOON_MS, ("gpt-4o", 5)).command.filled("h", b"", b"{}"))[-3] == b""


def test_it_is_made_anew_when_a_plan_above_its_key_changes_and_not_when_another_does() -> None:
    feed = PlanFeed(NO_POOL)
    plan, other = (Limit(nanos, "+08:00", "00:00", "+08:00", "00:00", 0) for nanos in (500, 900))
    feed.book = PlanBook({1: plan, 2: other})
    desks = Desks(Scripts(NoLink(), KeyNames(4, 1)), feed, "w-1", max_age_ms=1000, backlog_max=10)
    key = replace(KEY, plans=(OnPlan(1, 21, None, 0, None),))
    desk = desks.of(key, NOON_MS)
    assert [rule.limit_nanos for rule, _ in desk.windows[-1:]] == [500]
    feed.book = feed.book.with_limits({2: other._replace(limit_nanos=1)})
    kept = desks.of(key, NOON_MS)
    assert kept.command is desk.command
    assert desks.of(key, NOON_MS) is kept
    feed.book = feed.book.with_limits({1: plan._replace(limit_nanos=7)})
    assert [rule.limit_nanos for rule, _ in desks.of(key, NOON_MS).windows[-1:]] == [7]
    feed.book = feed.book.with_limits({1: None})
    assert len(desks.of(key, NOON_MS).windows) == 3
