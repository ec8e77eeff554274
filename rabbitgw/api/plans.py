"""/v1/plans: plans as data, for the operator. Thin: billing decides and checks.

A change of a plan or of a part of it may say upon which version it is made (If-Match); a stale one is refused.
"""

from __future__ import annotations

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Nothing, PageQuery
from rabbitgw.api.plan_forms import (
    AssignForm,
    AssignmentsView,
    AssignmentView,
    ChangedAssignment,
    ChangedLimit,
    DailyLimitChange,
    DailyLimitForm,
    DailyLimitView,
    PlanChange,
    PlanForm,
    PlansPage,
    PlanView,
    PriceRuleForm,
    PriceRuleView,
    RuleEndForm,
    changes_of,
    limit_of,
)
from rabbitgw.api.price_fields import PriceView
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.usage_plan_forms import OneUsagePlan, UsageTermsView
from rabbitgw.api.views import next_page
from rabbitgw.billing import plan_assignments, plan_pricing, plans, usage_plans
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.price_terms import fields_of
from rabbitgw.billing.prices import Price
from rabbitgw.errors import Conflict, NotFound, PreconditionFailed, RequestInvalid
from rabbitgw.money import NANOS_PER_CENT

ADMIN = Auth.ADMIN
PATH = "/v1/plans"


class PlanRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        one = rf"{PATH}/{{id:\d+}}"
        made, changed = (NotFound, Conflict), (NotFound, Conflict, PreconditionFailed)
        return [
            Route("GET", PATH, self.list_plans, "Plans by id", ADMIN, PlansPage, query=PageQuery),
            Route("POST", PATH, self.create_plan, "Make a plan", ADMIN, PlanView, form=PlanForm),
            Route(
                "POST",
                f"{PATH}/daily_limit",
                self.add_daily_limit,
                "Give a plan its daily limit",
                ADMIN,
                DailyLimitView,
                form=DailyLimitForm,
                refusals=made,
            ),
            Route(
                "POST",
                rf"{PATH}/daily_limit/{{id:\d+}}",
                self.change_daily_limit,
                "Change a daily limit: zone and reset time from the next day on, the rest from now on",
                ADMIN,
                ChangedLimit,
                form=DailyLimitChange,
                refusals=changed,
            ),
            Route(
                "POST",
                f"{PATH}/pricing",
                self.add_price_rule,
                "Price models for who is on a plan",
                ADMIN,
                PriceRuleView,
                form=PriceRuleForm,
                refusals=made,
            ),
            Route(
                "POST",
                f"{one}/pricing/end",
                self.end_price_rule,
                "End a plan's price of one pattern now",
                ADMIN,
                PriceRuleView,
                form=RuleEndForm,
                refusals=made,
            ),
            Route(
                "GET", one, self.get_plan, "A plan with its prices", ADMIN, OneUsagePlan, refusals=(NotFound,)
            ),
            Route(
                "POST",
                one,
                self.rename_plan,
                "Rename a plan",
                ADMIN,
                PlanView,
                form=PlanChange,
                refusals=changed,
            ),
            Route(
                "POST",
                f"{one}/archive",
                self.archive_plan,
                "Take a plan that nobody is on out of use",
                ADMIN,
                PlanView,
                refusals=changed,
            ),
            *self._assignments(),
        ]

    def _assignments(self) -> list[AnyRoute]:
        return [
            Route(
                "POST",
                f"{PATH}/assign",
                self.assign_plan,
                "Put an account, team, user or key on a plan",
                ADMIN,
                ChangedAssignment,
                form=AssignForm,
                refusals=(NotFound, Conflict),
            ),
            Route(
                "GET",
                rf"{PATH}/assignment/{{entity_type}}/{{id:\d+}}",
                self.list_assignments,
                "The plans that an entity is, was and will be on, newest first",
                ADMIN,
                AssignmentsView,
                refusals=(NotFound, RequestInvalid),
            ),
            Route(
                "POST",
                rf"{PATH}/assignment/{{id:\d+}}/end",
                self.end_assignment,
                "End an assignment now",
                ADMIN,
                ChangedAssignment,
                refusals=(NotFound,),
            ),
        ]

    async def list_plans(self, asked: Asked[Nothing, PageQuery]) -> PlansPage:
        query = asked.query
        found = await plans.list_plans(self._pg, after_id=query.after, rows_max=query.limit)
        return PlansPage(plans=[PlanView.of_plan(plan) for plan in found], next=next_page(found, query.limit))

    async def create_plan(self, asked: Asked[PlanForm, Nothing]) -> PlanView:
        form = asked.form
        plan = await plans.create_plan(self._pg, form.name, form.type, form.currency)
        telemetry.log("plan_created", plan_id=plan.id)
        return PlanView.of_plan(plan)

    async def get_plan(self, asked: Asked[Nothing, Nothing]) -> OneUsagePlan:
        plan = await plans.get_plan(self._pg, asked.id)
        prices = await plan_pricing.rules_of(self._pg, plan.id)
        pricing = [PriceView(**fields_of(price)) for price in prices]
        terms = await usage_plans.usage_terms_of(self._pg, plan.id)
        usage = None if terms is None else UsageTermsView.of_terms(terms)
        return OneUsagePlan(**PlanView.of_plan(plan).model_dump(), pricing=pricing, usage=usage)

    async def rename_plan(self, asked: Asked[PlanChange, Nothing]) -> PlanView:
        plan = await plans.rename_plan(self._pg, asked.id, asked.form.name, revision=asked.if_match)
        telemetry.log("plan_changed", plan_id=plan.id)
        return PlanView.of_plan(plan)

    async def archive_plan(self, asked: Asked[Nothing, Nothing]) -> PlanView:
        plan = await plans.archive_plan(self._pg, asked.id, revision=asked.if_match)
        telemetry.log("plan_archived", plan_id=plan.id)
        return PlanView.of_plan(plan)

    async def add_daily_limit(self, asked: Asked[DailyLimitForm, Nothing]) -> DailyLimitView:
        form = asked.form
        limit = await plans.add_daily_limit(self._pg, form.plan_id, limit_of(form))
        telemetry.log("plan_changed", plan_id=form.plan_id)
        return DailyLimitView.of_limit(form.plan_id, limit)

    async def change_daily_limit(self, asked: Asked[DailyLimitChange, Nothing]) -> ChangedLimit:
        changes = changes_of(asked.form)
        plan_id, limit = await plans.change_daily_limit(self._pg, asked.id, changes, revision=asked.if_match)
        telemetry.log("plan_changed", plan_id=plan_id)
        version = (await plans.get_plan(self._pg, plan_id)).revision
        return ChangedLimit(**DailyLimitView.of_limit(plan_id, limit).model_dump(), version=version)

    async def add_price_rule(self, asked: Asked[PriceRuleForm, Nothing]) -> PriceRuleView:
        fields = asked.form.model_dump()
        plan_id = fields.pop("plan_id")
        price = await plan_pricing.add_rule(self._pg, plan_id, plan_pricing.PriceRule(**fields))
        telemetry.log(
            "price_set", pattern=price.pattern, currency=price.currency, price_version=price.version
        )
        return _rule_view(plan_id, price)

    async def end_price_rule(self, asked: Asked[RuleEndForm, Nothing]) -> PriceRuleView:
        price = await plan_pricing.end_rule(self._pg, asked.id, asked.form.model_pattern)
        telemetry.log("plan_changed", plan_id=asked.id)
        return _rule_view(asked.id, price)

    async def assign_plan(self, asked: Asked[AssignForm, Nothing]) -> ChangedAssignment:
        form = asked.form
        assignment = await plan_assignments.assign(
            self._pg,
            form.plan_id,
            form.entity_type,
            form.entity_id,
            timezone=form.timezone,
            effective_from=form.effective_from,
            effective_to=form.effective_to,
        )
        telemetry.log("plan_assigned", **_named(assignment))
        return await self._in_effect(assignment)

    async def list_assignments(self, asked: Asked[Nothing, Nothing]) -> AssignmentsView:
        found = await plan_assignments.assignments_of(self._pg, asked.part("entity_type"), asked.id)
        return AssignmentsView(assignments=[AssignmentView.of(assignment) for assignment in found])

    async def end_assignment(self, asked: Asked[Nothing, Nothing]) -> ChangedAssignment:
        assignment = await plan_assignments.end_assignment(self._pg, asked.id)
        telemetry.log("plan_assignment_ended", **_named(assignment))
        return await self._in_effect(assignment)

    async def _in_effect(self, assignment: plan_assignments.Assignment) -> ChangedAssignment:
        pushed = await push_keys_below(self._pg, self._deps.scripts, assignment.entity)
        return ChangedAssignment.of_assignment(assignment, in_effect=pushed)


def _rule_view(plan_id: int, price: Price) -> PriceRuleView:
    least = price.min_charge_nanos // NANOS_PER_CENT
    return PriceRuleView(**fields_of(price), id=price.version, plan_id=plan_id, min_charge_cents=least)


def _named(assignment: plan_assignments.Assignment) -> dict[str, int]:
    """What a log line says of an assignment."""
    return {
        "plan_id": assignment.plan_id,
        "account_id": assignment.account_id,
        "assignment_id": assignment.id,
    }
