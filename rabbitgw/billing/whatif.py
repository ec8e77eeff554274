"""What a draft of a plan would have made of calls that were served: which it would have refused, degraded, charged.

Owns the rules of a plan once more, in plain numbers, and no store: whatif_replay.py reads the calls.
Calls are taken in the order of their admission, and judged by what they cost. What was held at the time, and what ran
beside it, is not known afterwards: near a limit a gateway, which holds more than a call costs, stops a little earlier.
Nor is it asked which models a key may call, and of other limits above a key only what they let pass is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rabbitgw.billing.overflow import ALLOWANCE, BLOCK, DEGRADE, GRACE
from rabbitgw.billing.plans import DailyLimit
from rabbitgw.billing.price_book import completed
from rabbitgw.billing.prices import Price, PriceBook, charge
from rabbitgw.billing.recosting import NOT_PRICED, SHARES_NOT_KEPT, TOO_LARGE, hides_shares, usage_of
from rabbitgw.billing.usage_rows import EXPIRED
from rabbitgw.billing.windows import DAY, RESET_TIME_DEFAULT, ZONE_DEFAULT, WindowRule, span_of
from rabbitgw.money import AMOUNT_NANOS_MAX

MODELS_MAX: Final = 20
MODELS_SEEN_MAX: Final = 1000  # names are told apart; calls of further ones are in the totals only
EXAMPLES_MAX: Final = 5
WITHIN: Final = "within"
EXPIRED_WITHOUT_COUNTS: Final = "expired"  # why a call keeps the cost that it had, beside those of re-rating


@dataclass(frozen=True, slots=True)
class Draft:
    """limit: None, of a plan that only sets prices. own: its prices. listed: those of everybody, as they are now.
    zone: instead of the limit's."""

    currency: str
    limit: DailyLimit | None
    own: PriceBook
    listed: PriceBook
    zone: str | None = None

    @property
    def day(self) -> WindowRule:
        """Which calls share a day."""
        zone, reset_time = ZONE_DEFAULT, RESET_TIME_DEFAULT
        if self.limit is not None:
            zone, reset_time = self.limit.zone, self.limit.reset_time
        return WindowRule(0, DAY, 0, self.zone or zone, reset_time)

    def price(self, model: str | None) -> Price | None:
        """What the draft itself says of a model."""
        if model is None:
            return None
        price = self.own.match(model, self.currency)
        return None if price is None else completed(price, self.listed.match(model, self.currency))


@dataclass(slots=True)
class Sums:
    """Of some calls: how many, what became of them, what they cost and would have cost. Units: nanos."""

    calls: int = 0
    by_policy: Counter[str] = field(default_factory=Counter)
    shadowed: int = 0  # beyond a limit in shadow, and served
    charged_nanos: int = 0
    borne_nanos: int = 0
    would_charge_nanos: int = 0
    would_bear_nanos: int = 0


@dataclass(slots=True)
class _Day:
    used_nanos: int = 0
    grace_nanos: int = 0
    degrade_nanos: int = 0


@dataclass(slots=True)
class Outcome:
    totals: Sums = field(default_factory=Sums)
    days: dict[str, Sums] = field(default_factory=dict)
    models: dict[str, Sums] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)  # ids of a few
    kept_cost: Counter[str] = field(default_factory=Counter)  # calls that keep the cost they had, by reason


class _Cost(NamedTuple):
    nanos: int
    kept: str | None = None  # why it is the cost that the call had


class _Decided(NamedTuple):
    policy: str
    charge_nanos: int = 0
    bear_nanos: int = 0  # what the plan would have borne
    shadowed: bool = False
    kept: str | None = None


class Model:
    """A plan's rules, call by call."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._days: dict[str, _Day] = {}
        self._rule = draft.day
        self.outcome = Outcome()

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of sql/usage/replay.sql; rows come in the order of their ids."""
        asked = row["model_asked"] or row["model"]
        cost = self._cost(row, asked)
        day = span_of(self._rule, row["id"].int >> 80).name
        decided = self._decided(row, asked, cost.nanos, self._days.setdefault(day, _Day()))
        outcome = self.outcome
        if decided.policy == BLOCK and len(outcome.refused) < EXAMPLES_MAX:
            outcome.refused.append(str(row["id"]))
        kept = decided.kept or cost.kept
        if kept is not None:
            outcome.kept_cost[kept] += 1
        told = [outcome.totals, outcome.days.setdefault(day, Sums())]
        if (asked or "") in outcome.models or len(outcome.models) < MODELS_SEEN_MAX:
            told.append(outcome.models.setdefault(asked or "", Sums()))
        for sums in told:
            sums.calls += 1
            sums.by_policy[decided.policy] += 1
            sums.shadowed += decided.shadowed
            sums.charged_nanos += row["nanos"]
            sums.borne_nanos += row["included_nanos"]
            sums.would_charge_nanos += decided.charge_nanos
            sums.would_bear_nanos += decided.bear_nanos

    def _cost(self, row: Mapping[str, Any], asked: str | None) -> _Cost:
        """What the call would cost by the draft; what it did cost, where the draft says nothing of its model."""
        price = self._draft.price(asked)
        degraded = row["model_asked"] is not None  # what it did cost is the price of another model
        if price is None and degraded:
            price = self._draft.listed.match(row["model_asked"], self._draft.currency)
        if price is None:
            return _Cost(_cost_before(row), NOT_PRICED if degraded else None)
        return self._costed(price, row)

    def _costed(self, price: Price, row: Mapping[str, Any]) -> _Cost:
        if row["status"] == EXPIRED:
            return _Cost(_cost_before(row), EXPIRED_WITHOUT_COUNTS)
        usage = usage_of(row)
        if hides_shares(usage):
            return _Cost(_cost_before(row), SHARES_NOT_KEPT)
        cost_nanos, unpriced = charge(price, usage, self._draft.listed)
        if unpriced:
            return _Cost(_cost_before(row), NOT_PRICED)
        if cost_nanos > AMOUNT_NANOS_MAX:
            return _Cost(_cost_before(row), TOO_LARGE)
        return _Cost(cost_nanos)

    def _decided(self, row: Mapping[str, Any], asked: str | None, cost: int, day: _Day) -> _Decided:
        limit = self._draft.limit
        if limit is None:
            return _Decided(WITHIN, cost)
        overflow = limit.overflow
        by_plan = overflow.funding == ALLOWANCE and not overflow.shadow
        fits = day.used_nanos + cost <= limit.limit_nanos
        if fits or overflow.shadow:
            day.used_nanos += cost
            return _Decided(WITHIN, *_paid(cost, by_plan=by_plan), shadowed=not fits)
        for policy in overflow.tried:
            if policy == GRACE:
                if day.grace_nanos + cost <= overflow.grace_nanos:
                    day.grace_nanos += cost
                    return _Decided(GRACE, *_paid(cost, by_plan=not overflow.grace_charged))
            elif policy == DEGRADE:
                lesser = self._degraded(row, asked)
                cap = overflow.degrade_nanos
                if cap is None and by_plan:
                    cap = limit.limit_nanos
                if lesser is not None and (cap is None or day.degrade_nanos + lesser.nanos <= cap):
                    day.degrade_nanos += lesser.nanos
                    return _Decided(DEGRADE, *_paid(lesser.nanos, by_plan=by_plan), kept=lesser.kept)
            else:  # spill
                return _Decided(policy, cost)
        return _Decided(BLOCK)

    def _degraded(self, row: Mapping[str, Any], asked: str | None) -> _Cost | None:
        """What the lesser model would have cost for the same counts; None: none could have served."""
        limit = self._draft.limit
        assert limit is not None
        model = None if asked is None else limit.overflow.degraded(asked)
        if model is None:
            return None
        price = self._draft.price(model) or self._draft.listed.match(model, self._draft.currency)
        if price is None or (
            price.max_input_tokens is not None and row["input_tokens"] > price.max_input_tokens
        ):
            return None
        cost = self._costed(price, row)
        return None if cost.kept == NOT_PRICED else cost


def _cost_before(row: Mapping[str, Any]) -> int:
    nanos: int = row["nanos"] + row["included_nanos"]
    return nanos


def _paid(cost: int, *, by_plan: bool) -> tuple[int, int]:
    """(by the wallet, by the plan)."""
    return (0, cost) if by_plan else (cost, 0)
