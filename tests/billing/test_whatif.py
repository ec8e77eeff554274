"""A draft of a plan against stored calls, call by call, in literal nanos; no store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from rabbitgw.billing import whatif
from rabbitgw.billing.overflow import Overflow
from rabbitgw.billing.plans import DailyLimit
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.prices import PriceBook
from rabbitgw.billing.whatif import Draft, Model, Sums
from tests.billing.test_recosting import row

LISTED = PriceBook(
    [price_from_text("gpt-4o", {"input": "2", "output": "8"}), price_from_text("mini", {"input": "1"})]
)


def call(nanos: int, at: str = "2026-11-28T12:00:00+08:00", number: int = 0, **facts: Any) -> dict[str, Any]:
    """A call of gpt-4o with ten tokens of input, charged so much."""
    ms = int(datetime.fromisoformat(at).timestamp() * 1000)
    known = {
        "id": UUID(int=(ms << 80) | (7 << 76) | (2 << 62) | number),
        "model": "gpt-4o",
        "model_asked": None,
        "input_tokens": 10,
    }
    return row(nanos, **{**known, **facts})


def draft(
    limit_nanos: int | None, overflow: Overflow | None = None, *, zone: str = "+08:00", own: Any = ()
) -> Model:
    limit = None if limit_nanos is None else DailyLimit(limit_nanos, zone, "00:00", overflow or Overflow())
    return Model(Draft("USD", limit, PriceBook(own), LISTED))


def would(model: Model) -> tuple[dict[str, int], int, int]:
    """(calls by policy, charged, borne) of all."""
    totals = model.outcome.totals
    return dict(totals.by_policy), totals.would_charge_nanos, totals.would_bear_nanos


def run(model: Model, *calls: dict[str, Any]) -> Model:
    for one in calls:
        model.add(one)
    return model


def test_a_limit_refuses_what_it_does_not_cover_and_a_smaller_call_may_still_pass() -> None:
    model = run(draft(100), call(60), call(50, number=1), call(40, number=2), call(1, number=3))
    assert would(model) == ({"within": 2, "block": 2}, 100, 0)
    assert model.outcome.totals.charged_nanos == 151
    assert [UUID(one).int & 3 for one in model.outcome.refused] == [1, 3]


def test_each_day_of_the_plan_s_zone_begins_anew() -> None:
    before, after = "2026-11-28T23:59:59+08:00", "2026-11-29T00:00:00+08:00"
    model = run(draft(100), call(90, before), call(90, after))
    assert would(model) == ({"within": 2}, 180, 0)
    assert list(model.outcome.days) == ["2026-11-28", "2026-11-29"]
    same = run(draft(100, zone="UTC"), call(90, before), call(90, after))
    assert would(same) == ({"within": 1, "block": 1}, 90, 0)


def test_a_day_is_as_long_as_its_zone_has_it() -> None:
    """Berlin's 25 October 2026 has 25 hours."""
    spans = ("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00", "2026-10-26T00:00:00+01:00")
    model = run(draft(100, zone="Europe/Berlin"), *(call(60, at) for at in spans))
    assert would(model) == ({"within": 2, "block": 1}, 120, 0)


def test_grace_is_so_much_a_day_charged_or_not() -> None:
    calls = [call(60, number=number) for number in range(4)]
    free = run(draft(60, Overflow(("grace", "block"), 130)), *calls)
    assert would(free) == ({"within": 1, "grace": 2, "block": 1}, 60, 120)
    charged = run(draft(60, Overflow(("grace",), 130, grace_charged=True)), *calls)
    assert would(charged) == ({"within": 1, "grace": 2, "block": 1}, 180, 0)


def test_a_lesser_model_costs_its_own_price_up_to_its_cap() -> None:
    overflow = Overflow(("degrade", "block"), degrade_map=(("gpt-*", "mini"),), degrade_nanos=25_000)
    model = run(draft(0, overflow), *(call(20_000, number=number) for number in range(3)))
    # ten tokens of input at a dollar a million are 10 000 nanos
    assert would(model) == ({"degrade": 2, "block": 1}, 20_000, 0)


def test_an_allowance_bears_then_spills() -> None:
    overflow = Overflow(("degrade", "spill"), degrade_default="mini", funding="allowance")
    model = run(draft(15_000, overflow), *(call(12_000, number=number) for number in range(4)))
    # degraded calls are capped by the limit itself: one of 10 000
    assert would(model) == ({"within": 1, "degrade": 1, "spill": 2}, 24_000, 22_000)


def test_shadow_serves_all_and_tells() -> None:
    model = run(
        draft(100, Overflow(("spill",), funding="allowance", shadow=True)), call(60), call(60, number=1)
    )
    assert would(model) == ({"within": 2}, 120, 0)
    assert model.outcome.totals.shadowed == 1


def test_the_draft_s_price_takes_the_place_of_what_was_charged() -> None:
    own = [price_from_text("gpt-*", {"input": "3"}), price_from_text("mini", {"input": "0.5"})]
    model = run(
        draft(None, own=own),
        call(20_000),  # 10 x 3 000
        call(7, number=1, status="expired"),
        call(9, number=2, output_tokens=4),  # which the draft does not price
        call(500, number=3, model="claude"),  # of which it says nothing
        call(4, number=4, model="mini", model_asked="gpt-4o"),  # a plan had another serve
    )
    assert would(model) == ({"within": 5}, 30_000 + 7 + 9 + 500 + 30_000, 0)
    assert model.outcome.kept_cost == {"expired": 1, "not_priced": 1}
    assert model.outcome.models["gpt-4o"].calls == 4


def test_what_plans_bore_counts_as_cost() -> None:
    model = run(draft(100), call(0, included_nanos=80), call(30, number=1))
    assert would(model) == ({"within": 1, "block": 1}, 80, 0)
    assert model.outcome.totals == Sums(2, model.outcome.totals.by_policy, 0, 30, 80, 80, 0)


def test_a_day_begins_at_the_reset_time_of_the_zone_that_an_assignment_gives() -> None:
    calls = [call(60, f"2026-11-28T{at}+08:00") for at in ("00:00:00", "05:59:59", "06:00:00")]
    limit = DailyLimit(100, "UTC", "06:00", Overflow())
    model = run(Model(Draft("USD", limit, PriceBook(), LISTED, "+08:00")), *calls)
    assert would(model) == ({"within": 2, "block": 1}, 120, 0)
    assert {day: sums.calls for day, sums in model.outcome.days.items()} == {"2026-11-27": 2, "2026-11-28": 1}
    priced = run(Model(Draft("USD", None, PriceBook(), LISTED, "UTC")), call(60, "2026-11-28T07:59:59+08:00"))
    assert list(priced.outcome.days) == ["2026-11-27"]


OWN = [price_from_text("gpt-*", {"input": "3", "output": "4"}), price_from_text("mini", {"input": "0.5"})]
SHARED = '[{"m": "mini", "in": 4, "out": 0}]'


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"status": "expired"}, "expired"),
        ({"per_model": SHARED, "cached_input_tokens": 5}, "shares_not_kept"),
        ({"output_tokens": 4, "tools": '{"web_search_requests": 2}'}, "not_priced"),
        ({"input_tokens": 10**16}, "too_large"),
        ({"model": "mini", "model_asked": "gone"}, "not_priced"),
    ],
)
def test_a_call_that_cannot_be_costed_keeps_its_cost_and_is_told_of_once(
    facts: dict[str, Any], reason: str
) -> None:
    overflow = Overflow(("grace", "degrade", "block"), 100, degrade_default="mini")
    for limit_nanos in (0, 50_000):  # beyond the limit it is looked at twice more
        model = run(draft(limit_nanos, overflow, own=OWN), call(60, **facts))
        assert would(model) == ({"within": 1}, 60, 0) if limit_nanos else ({"grace": 1}, 0, 60)
        assert model.outcome.kept_cost == {reason: 1}


def test_an_expired_call_keeps_its_cost_by_a_lesser_model_and_is_told_of_once() -> None:
    model = run(draft(0, Overflow(("degrade",), degrade_default="mini"), own=OWN), call(60, status="expired"))
    assert would(model) == ({"degrade": 1}, 60, 0)
    assert model.outcome.kept_cost == {"expired": 1}
    capped = Overflow(("degrade",), degrade_default="mini", degrade_nanos=59)
    refused = run(draft(0, capped), call(60, status="expired"))
    assert would(refused) == ({"block": 1}, 0, 0)
    assert refused.outcome.kept_cost == {}


def test_a_lesser_model_that_does_not_sell_a_call_or_is_too_small_for_it_serves_nobody() -> None:
    overflow = Overflow(("degrade", "block"), degrade_default="mini")
    unsold = run(draft(0, overflow), call(90_000, output_tokens=4))  # mini has no price of output
    small = PriceBook(
        [*LISTED.prices(), replace(price_from_text("mini", {"input": "1"}), max_input_tokens=9)]
    )
    limit = DailyLimit(0, "+08:00", "00:00", overflow)
    large = run(Model(Draft("USD", limit, PriceBook(), small)), call(20_000), call(18_000, input_tokens=9))
    assert would(unsold) == ({"block": 1}, 0, 0)
    assert would(large) == ({"block": 1, "degrade": 1}, 9_000, 0)
    assert unsold.outcome.kept_cost == large.outcome.kept_cost == {}


def test_names_of_models_are_told_apart_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "MODELS_SEEN_MAX", 2)
    model = run(draft(None), *(call(1, model=name) for name in ("a", "b", "c", "a")))
    assert {name: sums.calls for name, sums in model.outcome.models.items()} == {"a": 2, "b": 1}
    assert model.outcome.totals.calls == 4
