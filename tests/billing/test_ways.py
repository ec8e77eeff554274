"""By which ways a call may be taken under the plans above its key: what counts, what binds, who pays. No store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rabbitgw.billing.overflow import Overflow, Way, checked_overflow
from rabbitgw.billing.plan_book import Limit, OnPlan, PlanBook
from rabbitgw.billing.ways import Laid, laid
from rabbitgw.billing.windows import NEVER_MS, WindowRule
from rabbitgw.errors import RequestInvalid

NOON = int(datetime.fromisoformat("2026-11-28T12:00:00+08:00").timestamp() * 1000)
MORNING = NOON - 12 * 3_600_000
OWN = (WindowRule(7, "lifetime", 9000),)


def limit(
    policies: tuple[str, ...], limit_nanos: int = 500, *, shadow_until_ms: int = 0, **fields: Any
) -> Limit:
    overflow = Overflow(policies, **fields)
    return Limit(limit_nanos, "+08:00", "00:00", "+08:00", "00:00", 0, overflow, shadow_until_ms)


def laid_by(*limits: Limit, gating: str = "off", own: tuple[WindowRule, ...] = OWN) -> Laid:
    """The limits of plans 1, 2 ...: their windows are 10, 20 ..., 11 ... for grace, 12 ... for degraded calls."""
    book = PlanBook(dict(enumerate(limits, 1)))
    plans = tuple(OnPlan(i, 10 * i, None, 0, None, 10 * i + 1, 10 * i + 2) for i in range(1, len(limits) + 1))
    return laid(own, book.limits(plans, NOON), NOON, gating)


def ids(how: Laid) -> list[int]:
    return [rule.window_id for rule in how.rules]


def told(ways: tuple[Way, ...]) -> list[tuple[str, bytes, bytes, bool]]:
    return [(way.policy, way.enforce, way.how, way.borne) for way in ways]


def test_without_plans_every_window_binds_and_the_wallet_pays() -> None:
    assert laid_by() == Laid(OWN, b"1", b"", False, (), (None,))


def test_a_plan_that_blocks_has_no_ways() -> None:
    how = laid_by(limit(("block",)))
    assert (ids(how), how.enforce, how.ways, how.plan_of) == ([7, 10], b"11", (), (None, 1))


def test_grace_counts_by_itself_and_is_borne_unless_it_is_charged() -> None:
    how = laid_by(limit(("grace", "block"), grace_nanos=60))
    assert ids(how) == [7, 10, 11]
    assert [rule.limit_nanos for rule in how.rules] == [9000, 500, 60]
    assert how.enforce == b"11-"
    assert told(how.ways) == [("grace", b"1-1", b"~", True)]
    charged = laid_by(limit(("grace",), grace_nanos=60, grace_charged=True))
    assert told(charged.ways) == [("grace", b"1-1", b"", False)]


def test_degraded_calls_of_the_wallet_are_capped_only_if_the_plan_says_so() -> None:
    free = laid_by(limit(("degrade", "block"), degrade_default="mini"))
    assert (ids(free), told(free.ways)) == ([7, 10], [("degrade", b"1-", b"", False)])
    capped = laid_by(limit(("degrade",), degrade_default="mini", degrade_nanos=80))
    assert (ids(capped), told(capped.ways)) == ([7, 10, 12], [("degrade", b"1-1", b"", False)])


def test_an_allowance_pays_and_its_degraded_calls_are_capped_by_the_limit_itself() -> None:
    how = laid_by(
        limit(("degrade", "grace", "spill"), degrade_default="mini", grace_nanos=60, funding="allowance")
    )
    assert (how.how, how.borne, how.enforce) == (b"~", True, b"11--")
    assert [(rule.window_id, rule.limit_nanos) for rule in how.rules[1:]] == [(10, 500), (11, 60), (12, 500)]
    assert told(how.ways) == [
        ("degrade", b"1--1", b"~", True),
        ("grace", b"1-1-", b"~", True),
        ("spill", b"1---", b"", False),
    ]


def test_a_way_leaves_out_one_plan_and_passes_the_others() -> None:
    nearer = limit(("spill",), funding="allowance")
    outer = limit(("grace",), 900, grace_nanos=60, grace_charged=True)
    how = laid_by(nearer, outer)
    assert (ids(how), how.enforce, how.how) == ([7, 10, 20, 21], b"111-", b"~")
    # beyond the outer plan the nearer one's allowance still pays
    assert told(how.ways) == [("spill", b"1-1-", b"", False), ("grace", b"11-1", b"~", True)]


def test_the_nearest_allowance_pays_and_another_one_only_caps() -> None:
    both = limit(("spill",), funding="allowance")
    assert told(laid_by(both, both).ways) == [("spill", b"1-1", b"", False), ("spill", b"11-", b"~", True)]


def test_a_limit_in_shadow_counts_and_does_nothing_else_and_so_does_one_that_was_until_its_day_ends() -> None:
    in_shadow = limit(("spill",), funding="allowance", shadow=True)
    for shadowed in (in_shadow, limit(("spill",), funding="allowance", shadow_until_ms=NOON + 1)):
        how = laid_by(shadowed)
        assert (how.enforce, how.how, how.borne, how.ways) == (b"10", b"", False, ())
        assert how.plan_of == (None, 1)
    assert laid_by(limit(("spill",), funding="allowance", shadow_until_ms=NOON)).borne
    over = PlanBook({1: limit(("block",), shadow_until_ms=NOON + 1)})
    plans = (OnPlan(1, 10, None, 0, None),)
    assert over.unchanged_ms(plans, NOON) == (0, NOON + 1)
    assert over.unchanged_ms(plans, NOON + 1) == (NOON + 1, NEVER_MS)


def test_an_account_below_zero_is_kept_from_its_allowance_if_that_is_set() -> None:
    plan = limit(("degrade", "grace", "spill"), degrade_default="mini", grace_nanos=60, funding="allowance")
    gate = b"^%d" % MORNING
    blocked = laid_by(plan, gating="block", own=())
    assert blocked.how == b"~" + gate
    assert [way.how for way in blocked.ways] == [b"~" + gate, b"~" + gate, b""]
    degraded = laid_by(plan, gating="degrade", own=())
    assert degraded.how == b"~" + gate
    assert told(degraded.ways) == [
        ("degrade", b"1--", b"~", True),  # within the limit
        ("degrade", b"--1", b"~", True),
        ("grace", b"-1-", b"~" + gate, True),
        ("spill", b"---", b"", False),
    ]


def test_a_record_without_counters_for_what_is_beyond_has_no_such_ways() -> None:
    policies = limit(("grace", "degrade"), grace_nanos=60, degrade_default="mini", funding="allowance")
    how = laid((), PlanBook({1: policies}).limits((OnPlan(1, 10, None, 0, None),), NOON), NOON, "off")
    assert how.ways == ()


def test_the_lesser_model_is_that_of_the_name_then_of_the_longest_pattern_then_the_default() -> None:
    overflow = Overflow(
        ("degrade",),
        degrade_map=(("gpt-*", "small"), ("gpt-4*", "medium"), ("gpt-4o", "mini")),
        degrade_default="any",
    )
    named = {
        model: overflow.degraded(model) for model in ("gpt-4o", "gpt-4.1", "gpt-5", "claude", "any", "medium")
    }
    assert named == {
        "gpt-4o": "mini", "gpt-4.1": "medium", "gpt-5": "small", "claude": "any", "any": None, "medium": "any",
    }  # fmt: skip
    assert replace(overflow, degrade_default=None).degraded("claude") is None


GRACE = {"policies": ("grace", "block"), "grace_nanos": 60}
DEGRADE = {"policies": ("degrade",), "degrade_default": "mini"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no policy": ({"policies": ()}, "overflow_policy"),
    "one that is none": ({"policies": ("deny",)}, "overflow_policy"),
    "one twice": ({"policies": ("grace", "grace"), "grace_nanos": 1}, "overflow_policy"),
    "one behind block": ({"policies": ("block", "grace"), "grace_nanos": 1}, "overflow_policy"),
    "spill without an allowance": ({"policies": ("spill",)}, "overflow_policy"),
    "another funding": ({"funding": "loan"}, "funding"),
    "grace of nothing": (GRACE | {"grace_nanos": 0}, "grace_cents"),
    "a negative grace": (GRACE | {"grace_nanos": -1}, "grace_cents"),
    "a grace past what a wallet holds": (GRACE | {"grace_nanos": 9 * 10**18 + 1}, "grace_cents"),
    "an amount of grace that is not tried": ({"grace_nanos": 5}, "grace_cents"),
    "charging a grace that is not tried": ({"grace_charged": True}, "grace_charged"),
    "no model to degrade to": (DEGRADE | {"degrade_default": None}, "degrade_map"),
    "a map that is not tried": ({"degrade_map": (("gpt-4o", "mini"),)}, "degrade_map"),
    "a default that is not tried": ({"degrade_default": "mini"}, "degrade_default"),
    "a cap that is not tried": ({"degrade_nanos": 0}, "degrade_cents"),
    "a negative cap": (DEGRADE | {"degrade_nanos": -1}, "degrade_cents"),
    "a pattern as a model": (DEGRADE | {"degrade_default": "gpt-*"}, "degrade_default"),
    "a model without a name": (DEGRADE | {"degrade_map": (("a", ""),)}, "degrade_map"),
    "a pattern of nothing": (DEGRADE | {"degrade_map": (("", "b"),)}, "degrade_map"),
    "a circle": (DEGRADE | {"degrade_map": (("a", "b"), ("b", "a"))}, "degrade_map"),
    "a circle by the default": (DEGRADE | {"degrade_map": (("mini", "large"),)}, "degrade_map"),
    "a hundred and one patterns": (
        DEGRADE | {"degrade_map": tuple((f"m{i}", "mini") for i in range(101))}, "degrade_map",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_by_its_field(case: str) -> None:
    fields, field = REFUSED[case]
    with pytest.raises(RequestInvalid) as refused:
        checked_overflow(Overflow(**fields))
    assert refused.value.field == field
    assert refused.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    "fields", [{}, GRACE, DEGRADE, {"policies": ("spill", "block"), "funding": "allowance"}]
)
def test_what_makes_sense_is_taken(fields: dict[str, Any]) -> None:
    assert checked_overflow(Overflow(**fields)) == Overflow(**fields)
