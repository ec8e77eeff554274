"""What a draft of a plan would have made of calls that were served: which it would have refused, degraded, charged.

Owns the rules of a plan once more, in plain numbers, and no store: whatif_replay.py reads the calls.
Calls are taken in the order of their admission, and judged by what they cost. What was held at the time, and what ran
beside it, is not known afterwards: near a limit a gateway, which holds more than a call costs, stops a little earlier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rabbitgw.billing.overflow import ALLOWANCE, BLOCK, DEGRADE, GRACE
from rabbitgw.billing.plans import DailyLimit
from rabbitgw.billing.price_book import completed
from rabbitgw.billing.prices import Price, PriceBook, charge
from rabbitgw.billing.recosting import usage_of
from rabbitgw.billing.usage_rows import EXPIRED
from rabbitgw.billing.windows import DAY, WindowRule, span_of

MODELS_MAX: Final = 20
EXAMPLES_MAX: Final = 5
WITHIN: Final = "within"
# Why a call keeps the cost that it had.
EXPIRED_WITHOUT_COUNTS: Final = "expired"
NOT_PRICED: Final = "not_priced"


@dataclass(frozen=True, slots=True)
class Draft:
    """limit: None, of a plan that only sets prices. own: its prices. listed: those of everybody, as they are now."""

    currency: str
    limit: DailyLimit | None
    own: PriceBook
    listed: PriceBook

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


class Model:
    """A plan's rules, call by call."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._days: dict[str, _Day] = {}
        self._rule = WindowRule(0, DAY, 0)
        if draft.limit is not None:
            self._rule = WindowRule(0, DAY, 0, draft.limit.zone, draft.limit.reset_time)
        self.outcome = Outcome()

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of sql/usage/replay.sql; rows come in the order of their ids."""
        asked = row["model_asked"] or row["model"]
        cost = self._cost(row, asked)
        day = span_of(self._rule, row["id"].int >> 80).name
        policy, charged, borne, shadowed = self._decided(row, asked, cost, self._days.setdefault(day, _Day()))
        outcome = self.outcome
        if policy == BLOCK and len(outcome.refused) < EXAMPLES_MAX:
            outcome.refused.append(str(row["id"]))
        of_day = outcome.days.setdefault(day, Sums())
        of_model = outcome.models.setdefault(asked or "", Sums())
        for sums in (outcome.totals, of_day, of_model):
            sums.calls += 1
            sums.by_policy[policy] += 1
            sums.shadowed += shadowed
            sums.charged_nanos += row["nanos"]
            sums.borne_nanos += row["included_nanos"]
            sums.would_charge_nanos += charged
            sums.would_bear_nanos += borne

    def _cost(self, row: Mapping[str, Any], asked: str | None) -> int:
        """What the call would cost by the draft; what it did cost, where the draft says nothing of its model."""
        price = self._draft.price(asked)
        if price is None and row["model_asked"] is not None:
            price = self._draft.listed.match(row["model_asked"], self._draft.currency)
        kept: int = row["nanos"] + row["included_nanos"]
        return kept if price is None else self._costed(price, row, kept)

    def _costed(self, price: Price, row: Mapping[str, Any], kept: int) -> int:
        if row["status"] == EXPIRED:
            self.outcome.kept_cost[EXPIRED_WITHOUT_COUNTS] += 1
            return kept
        cost, unpriced = charge(price, usage_of(row), self._draft.listed)
        if unpriced:
            self.outcome.kept_cost[NOT_PRICED] += 1
            return kept
        return cost

    def _decided(
        self, row: Mapping[str, Any], asked: str | None, cost: int, day: _Day
    ) -> tuple[str, int, int, bool]:
        """(policy, charged, borne by the plan, beyond a limit in shadow)."""
        limit = self._draft.limit
        if limit is None:
            return WITHIN, cost, 0, False
        overflow = limit.overflow
        by_plan = overflow.funding == ALLOWANCE and not overflow.shadow
        fits = day.used_nanos + cost <= limit.limit_nanos
        if fits or overflow.shadow:
            day.used_nanos += cost
            return WITHIN, *((0, cost) if by_plan else (cost, 0)), not fits
        for policy in overflow.tried:
            if policy == GRACE:
                if day.grace_nanos + cost <= overflow.grace_nanos:
                    day.grace_nanos += cost
                    return GRACE, *((cost, 0) if overflow.grace_charged else (0, cost)), False
            elif policy == DEGRADE:
                lesser = self._degraded(row, asked)
                cap = overflow.degrade_nanos
                if cap is None and by_plan:
                    cap = limit.limit_nanos
                if lesser is not None and (cap is None or day.degrade_nanos + lesser <= cap):
                    day.degrade_nanos += lesser
                    return DEGRADE, *((0, lesser) if by_plan else (lesser, 0)), False
            else:  # spill
                return policy, cost, 0, False
        return BLOCK, 0, 0, False

    def _degraded(self, row: Mapping[str, Any], asked: str | None) -> int | None:
        """What the lesser model would have cost for the same counts; None: there is none."""
        limit = self._draft.limit
        assert limit is not None
        model = None if asked is None else limit.overflow.degraded(asked)
        if model is None:
            return None
        price = self._draft.price(model) or self._draft.listed.match(model, self._draft.currency)
        if price is None:
            return None
        return self._costed(price, row, row["nanos"] + row["included_nanos"])
