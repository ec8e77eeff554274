"""/v1/plans/usage: terms of usage plans, and the billing cycles of who is on one, for the operator."""

from __future__ import annotations

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Nothing, PageQuery
from rabbitgw.api.plans import ADMIN, PATH
from rabbitgw.api.route import AnyRoute, Asked, Route
from rabbitgw.api.usage_plan_forms import (
    ChangedTerms,
    CyclesPage,
    CycleView,
    UsageTermsChange,
    UsageTermsForm,
    UsageTermsView,
    changes_of,
    terms_of,
)
from rabbitgw.billing import cycle_list, plans, usage_plans
from rabbitgw.errors import Conflict, NotFound, PreconditionFailed


class UsagePlanRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST",
                f"{PATH}/usage",
                self.add_usage_terms,
                "Give a plan its terms of usage",
                ADMIN,
                UsageTermsView,
                form=UsageTermsForm,
                refusals=(NotFound, Conflict),
            ),
            Route(
                "POST",
                rf"{PATH}/usage/{{id:\d+}}",
                self.change_usage_terms,
                "Change terms of usage, from the next cycle on",
                ADMIN,
                ChangedTerms,
                form=UsageTermsChange,
                refusals=(NotFound, Conflict, PreconditionFailed),
            ),
            Route(
                "GET",
                rf"{PATH}/assignment/{{id:\d+}}/cycles",
                self.list_cycles,
                "The billing cycles of an assignment, with what they granted and charged",
                ADMIN,
                CyclesPage,
                query=PageQuery,
                refusals=(NotFound,),
            ),
        ]

    async def add_usage_terms(self, asked: Asked[UsageTermsForm, Nothing]) -> UsageTermsView:
        plan_id = asked.form.plan_id
        terms = await usage_plans.add_usage_terms(self._pg, plan_id, terms_of(asked.form))
        telemetry.log("plan_changed", plan_id=plan_id)
        return UsageTermsView.of_terms(terms)

    async def change_usage_terms(self, asked: Asked[UsageTermsChange, Nothing]) -> ChangedTerms:
        changes = changes_of(asked.form)
        terms = await usage_plans.change_usage_terms(self._pg, asked.id, changes, revision=asked.if_match)
        telemetry.log("plan_changed", plan_id=terms.plan_id)
        version = (await plans.get_plan(self._pg, terms.plan_id)).revision
        return ChangedTerms(**UsageTermsView.of_terms(terms).model_dump(), version=version)

    async def list_cycles(self, asked: Asked[Nothing, PageQuery]) -> CyclesPage:
        query = asked.query
        found = await cycle_list.cycles_of(self._pg, asked.id, after=query.after, rows_max=query.limit)
        last = found[-1].number if len(found) == query.limit else None
        return CyclesPage(cycles=[CycleView.of_cycle(cycle) for cycle in found], next=last)
