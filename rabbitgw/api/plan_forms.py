"""Plans as operators send them and as they are shown: shape and type. What makes sense is decided in billing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StrictStr

from rabbitgw.api.forms import Currency, Form, Id, ModelPattern, Moment, Name, ResetTime, told
from rabbitgw.api.price_fields import PriceView
from rabbitgw.api.views import Time, View
from rabbitgw.billing.accounts import CURRENCY_DEFAULT
from rabbitgw.billing.entities import ENTITY_TYPES
from rabbitgw.billing.plan_assignments import ALIASES, Assignment
from rabbitgw.billing.plan_pricing import DECIMAL, UNITS
from rabbitgw.billing.plans import BLOCK, NANOS_PER_CENT, TYPES, WALLET, DailyLimit, Plan
from rabbitgw.billing.windows import RESET_TIME_DEFAULT, ZONE_DEFAULT
from rabbitgw.money import AMOUNT_NANOS_MAX

Cents = Annotated[StrictInt, Field(ge=0, le=AMOUNT_NANOS_MAX // NANOS_PER_CENT)]
Decimal = Annotated[StrictStr, told(pattern=f"^{DECIMAL}$", examples=["2.50"])]
OverflowPolicy = Annotated[StrictStr | list[StrictStr], told(enum=[BLOCK, [BLOCK]])]


class PlanForm(Form):
    name: Name
    type: Annotated[StrictStr, told(enum=list(TYPES))]
    currency: Currency = CURRENCY_DEFAULT


class PlanChange(Form):
    name: Name


class DailyLimitForm(Form):
    plan_id: Id
    daily_limit_cents: Cents
    overflow_policy: OverflowPolicy = Field(
        default=BLOCK, description=f"what is done with a call that the day's limit does not cover: `{BLOCK}`"
    )
    reset_time: ResetTime = Field(default=RESET_TIME_DEFAULT, description="HH:MM in the zone")
    timezone: StrictStr = Field(default=ZONE_DEFAULT, description="an offset or an IANA zone")
    funding: Annotated[StrictStr, told(enum=[WALLET])] = Field(
        default=WALLET, description=f"`{WALLET}`: calls are paid from the wallet"
    )
    shadow: Annotated[StrictBool, told(enum=[False])] = False


class DailyLimitChange(Form):
    """A field that is left out stays as it is."""

    daily_limit_cents: Cents = Field(default_factory=int)
    reset_time: ResetTime = Field(default_factory=str, description="holds from the next day on")
    timezone: StrictStr = Field(default_factory=str, description="holds from the next day on")


class PriceRuleForm(Form):
    plan_id: Id
    model_pattern: ModelPattern = Field(description="a model's name, or a pattern like gpt-4o*")
    unit: Annotated[StrictStr, told(enum=list(UNITS))] = Field(
        description="`token` (base_price is per million), `request`, `minute` of sound, or `image`"
    )
    base_price: Decimal
    input_multiplier: Decimal = "1"
    output_multiplier: Decimal = "1"
    price_multiplier: Decimal = "1"
    min_charge_cents: Cents = Field(default=0, description="the least that a call which is charged costs")
    effective_from: Moment | None = Field(default=None, description="now if left out or past")
    effective_to: Moment | None = None


class RuleEndForm(Form):
    model_pattern: StrictStr = Field(description="exactly as the rule has it")


class AssignForm(Form):
    entity_type: Annotated[StrictStr, told(enum=[*ENTITY_TYPES, *ALIASES])]
    entity_id: Id
    plan_id: Id
    timezone: StrictStr | None = Field(default=None, description="instead of the plan's own")
    effective_from: Moment | None = Field(default=None, description="now if left out or past")
    effective_to: Moment | None = None


class DailyLimitView(View):
    id: int
    plan_id: int
    daily_limit_cents: int
    overflow_policy: list[str]
    reset_time: str
    timezone: str
    funding: str
    shadow: bool

    @classmethod
    def of_limit(cls, plan_id: int, limit: DailyLimit) -> DailyLimitView:
        return cls(
            id=limit.id,
            plan_id=plan_id,
            daily_limit_cents=limit.limit_nanos // NANOS_PER_CENT,
            overflow_policy=[BLOCK],
            reset_time=limit.reset_time,
            timezone=limit.zone,
            funding=WALLET,
            shadow=False,
        )


class PlanView(View):
    id: int
    name: str
    type: str
    currency: str
    version: int = Field(description="the ETag's number: raised by every change of the plan or a part of it")
    archived_at: Time | None
    created_at: Time
    daily_limit: DailyLimitView | None

    @property
    def etag(self) -> int:
        return self.version

    @classmethod
    def of_plan(cls, plan: Plan) -> PlanView:
        limit = plan.daily_limit
        return cls(
            id=plan.id,
            name=plan.name,
            type=plan.type,
            currency=plan.currency,
            version=plan.revision,
            archived_at=plan.archived_at,
            created_at=plan.created_at,
            daily_limit=None if limit is None else DailyLimitView.of_limit(plan.id, limit),
        )


class OnePlan(PlanView):
    pricing: list[PriceView] = Field(
        description="versions of its prices, newest first; `sold` false is an end"
    )


class PlansPage(View):
    plans: list[PlanView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class PriceRuleView(PriceView):
    id: int = Field(description="the price version that the rule became")
    plan_id: int
    min_charge_cents: int


class AssignmentView(View):
    id: int
    plan_id: int
    account_id: int
    entity_type: str
    entity_id: int
    timezone: str | None
    effective_from: Time
    effective_to: Time | None
    created_at: Time


class ChangedAssignment(AssignmentView):
    in_effect: bool = Field(
        description="false: Redis was not reached for every key below; a worker will push the rest"
    )

    @classmethod
    def of_assignment(cls, assignment: Assignment, *, in_effect: bool) -> ChangedAssignment:
        return cls(**AssignmentView.of(assignment).model_dump(), in_effect=in_effect)


class AssignmentsView(View):
    assignments: list[AssignmentView]


def changes_of(form: DailyLimitChange) -> dict[str, Any]:
    """What a change names, as billing calls it."""
    given = form.model_dump(exclude_unset=True)
    changes: dict[str, Any] = {}
    if "daily_limit_cents" in given:
        changes["limit_nanos"] = given["daily_limit_cents"] * NANOS_PER_CENT
    if "reset_time" in given:
        changes["reset_time"] = given["reset_time"]
    if "timezone" in given:
        changes["zone"] = given["timezone"]
    return changes
