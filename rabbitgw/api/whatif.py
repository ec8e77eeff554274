"""POST /v1/admin/plans/whatif: what a plan, or a draft of one, would have made of calls that were served."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field, StrictStr

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Id, Nothing, told
from rabbitgw.api.plan_forms import LimitFields, RuleFields, limit_of
from rabbitgw.api.route import Asked, Auth, Route
from rabbitgw.api.usage_list import QueryMoment
from rabbitgw.api.views import Nanos, View
from rabbitgw.billing.entities import ENTITY_TYPES
from rabbitgw.billing.overflow import BLOCK, DEGRADE, GRACE, SPILL
from rabbitgw.billing.plan_assignments import ALIASES
from rabbitgw.billing.plan_pricing import PriceRule
from rabbitgw.billing.whatif import MODELS_MAX, Outcome, Sums
from rabbitgw.billing.whatif_replay import (
    READS_AT_ONCE,
    RULES_MAX,
    currency_of,
    draft_of_fields,
    draft_of_plan,
    replay,
)
from rabbitgw.errors import Conflict, NotFound, RequestInvalid


class WhatifForm(Form):
    entity_type: Annotated[StrictStr, told(enum=[*ENTITY_TYPES, *ALIASES])]
    entity_id: Id
    from_: QueryMoment = Field(alias="from", description="calls that came in then or later")
    to: QueryMoment = Field(description="calls that came in before; 92 days at most")
    plan_id: Id | None = Field(
        default=None, description="a plan as it is now; or `daily_limit` and `pricing`"
    )
    daily_limit: LimitFields | None = None
    pricing: Annotated[list[RuleFields], told(maxItems=RULES_MAX)] = Field(default_factory=list)
    timezone: StrictStr | None = Field(
        default=None, description="instead of the plan's own, as of an assignment"
    )


class SumsView(View):
    calls: int
    within: int = Field(description="covered by the limit")
    refused: int
    grace: int
    degraded: int
    spilled: int
    shadowed: int = Field(description="beyond a limit in shadow; of those within")
    cost_nanos: Nanos = Field(description="what was charged")
    included_nanos: Nanos = Field(description="what plans bore")
    would_cost_nanos: Nanos
    would_include_nanos: Nanos
    difference_nanos: Nanos = Field(description="below zero: less would have been charged")

    @classmethod
    def shown(cls, sums: Sums) -> dict[str, Any]:
        by = sums.by_policy
        return {
            "calls": sums.calls,
            "within": sums.calls - sum(by[policy] for policy in (BLOCK, GRACE, DEGRADE, SPILL)),
            "refused": by[BLOCK],
            "grace": by[GRACE],
            "degraded": by[DEGRADE],
            "spilled": by[SPILL],
            "shadowed": sums.shadowed,
            "cost_nanos": sums.charged_nanos,
            "included_nanos": sums.borne_nanos,
            "would_cost_nanos": sums.would_charge_nanos,
            "would_include_nanos": sums.would_bear_nanos,
            "difference_nanos": sums.would_charge_nanos - sums.charged_nanos,
        }


class WhatifDay(SumsView):
    day: str = Field(description="the day of the plan, in its zone")


class WhatifModel(SumsView):
    model: str = Field(description="as it was asked for")


class WhatifView(SumsView):
    currency: str
    days: list[WhatifDay]
    models: list[WhatifModel] = Field(description=f"the {MODELS_MAX} with the most calls")
    refused_calls: list[str] = Field(description="ids of the first few")
    kept_cost: dict[str, int] = Field(
        description="calls judged by the cost they had, by reason: `expired` without counts, `not_priced` whole by the "
        "draft, `shares_not_kept` of other models inside them, `too_large` a cost"
    )

    @classmethod
    def of_outcome(cls, outcome: Outcome, currency: str) -> WhatifView:
        models = sorted(outcome.models.items(), key=lambda one: (-one[1].calls, one[0]))[:MODELS_MAX]
        return cls(
            **SumsView.shown(outcome.totals),
            currency=currency,
            days=[WhatifDay(**SumsView.shown(sums), day=day) for day, sums in outcome.days.items()],
            models=[WhatifModel(**SumsView.shown(sums), model=model) for model, sums in models],
            refused_calls=outcome.refused,
            kept_cost=dict(outcome.kept_cost),
        )


class WhatifRoute:
    """Its handler, of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    def route(self) -> Route[WhatifForm, Nothing, WhatifView]:
        return Route(
            "POST",
            "/v1/admin/plans/whatif",
            self.whatif,
            "What a plan would have made of calls that were served",
            Auth.ADMIN,
            WhatifView,
            form=WhatifForm,
            refusals=(NotFound, Conflict),
        )

    async def whatif(self, asked: Asked[WhatifForm, Nothing]) -> WhatifView:
        form = asked.form
        if form.plan_id is not None:
            if form.daily_limit is not None or form.pricing:
                raise RequestInvalid("plan_id: beside a draft; give one of them", field="plan_id")
            draft = await draft_of_plan(self._pg, form.plan_id, form.timezone)
        else:
            currency = await currency_of(self._pg, form.entity_type, form.entity_id)
            limit = form.daily_limit
            made = None if limit is None else limit_of(limit)
            rules = [PriceRule(**rule.model_dump()) for rule in form.pricing]
            draft = await draft_of_fields(self._pg, currency, made, rules, form.timezone)
        outcome = await replay(
            self._pg, self._turns, draft, form.entity_type, form.entity_id, form.from_, form.to
        )
        return WhatifView.of_outcome(outcome, draft.currency)
