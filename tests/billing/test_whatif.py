"""A draft of a plan against stored calls, call by call, in literal nanos; no store."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

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
    }
    return row(nanos, input_tokens=10, **{**known, **facts})


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
