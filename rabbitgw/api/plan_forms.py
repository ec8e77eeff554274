"""Plans as operators send them and as they are shown: shape and type. What makes sense is decided in billing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StrictStr

from rabbitgw.api.forms import (
    PRINTABLE,
    Currency,
    Form,
    Id,
    ModelPattern,
    Moment,
    Name,
    ResetTime,
    told,
    told_text,
)
from rabbitgw.api.price_fields import PriceView
from rabbitgw.api.views import Time, View
from rabbitgw.billing.accounts import CURRENCY_DEFAULT
from rabbitgw.billing.entities import ENTITY_TYPES
from rabbitgw.billing.model_patterns import PATTERN_CHARS_MAX
from rabbitgw.billing.overflow import (
    ALLOWANCE,
    BLOCK,
    DEGRADE,
    DEGRADE_MAP_MAX,
    FUNDINGS,
    POLICIES,
    WALLET,
    Overflow,
)
from rabbitgw.billing.plan_assignments import ALIASES, Assignment
from rabbitgw.billing.plan_pricing import DECIMAL, UNITS
from rabbitgw.billing.plans import TYPES, DailyLimit, Plan
from rabbitgw.billing.windows import RESET_TIME_DEFAULT, ZONE_DEFAULT
from rabbitgw.money import CENTS_MAX, NANOS_PER_CENT

Cents = Annotated[StrictInt, Field(ge=0, le=CENTS_MAX)]
Decimal = Annotated[StrictStr, told(pattern=f"^{DECIMAL}$", examples=["2.50"])]
Policy = Annotated[StrictStr, told(enum=list(POLICIES))]
OverflowPolicy = Annotated[
    Policy | Annotated[list[Policy], told(minItems=1, uniqueItems=True)],
    told(examples=[BLOCK, [DEGRADE, BLOCK]]),
    Field(
        description="what is done with a call that the day's limit does not cover; of a list, in that order"
    ),
]
ModelName = Annotated[StrictStr, told_text(PATTERN_CHARS_MAX)]
DegradeMap = Annotated[
    dict[ModelPattern, ModelName],
    told(
        maxProperties=DEGRADE_MAP_MAX,
        propertyNames={"format": PRINTABLE, "minLength": 1, "maxLength": PATTERN_CHARS_MAX},
    ),
]


class PlanForm(Form):
    name: Name
    type: Annotated[StrictStr, told(enum=list(TYPES))]
    currency: Currency = CURRENCY_DEFAULT


class PlanChange(Form):
    name: Name


class LimitFields(Form):
    daily_limit_cents: Cents
    overflow_policy: OverflowPolicy = BLOCK
    reset_time: ResetTime = Field(default=RESET_TIME_DEFAULT, description="HH:MM in the zone")
    timezone: StrictStr = Field(default=ZONE_DEFAULT, description="an offset or an IANA zone")
    grace_cents: Cents = Field(default=0, description="what grace lets pass a day beyond the limit")
    grace_charged: StrictBool = Field(default=False, description="the wallet pays for what grace lets pass")
    degrade_map: DegradeMap = Field(
        default_factory=dict, description="by pattern of the model asked for, the model that serves instead"
    )
    degrade_default: ModelName | None = Field(
        default=None, description="the model that serves instead of others"
    )
    degrade_cents: Cents | None = Field(
        default=None,
        description="what degraded calls may spend a day beyond the limit; left out, as much as the limit where the "
        "plan pays for them, else all that the wallet has",
    )
    funding: Annotated[StrictStr, told(enum=list(FUNDINGS))] = Field(
        default=WALLET,
        description=f"`{WALLET}`: the limit caps what calls take from the wallet; `{ALLOWANCE}`: calls within it cost "
        "the wallet nothing",
    )
    shadow: StrictBool = Field(default=False, description="count and tell, but refuse nothing")


class DailyLimitForm(LimitFields):
    plan_id: Id


class DailyLimitChange(Form):
    """A field that is left out stays as it is."""

    daily_limit_cents: Cents = Field(default_factory=int)
    overflow_policy: OverflowPolicy = Field(default_factory=list)
    grace_cents: Cents = Field(default_factory=int)
    grace_charged: StrictBool = Field(default_factory=bool)
    degrade_map: DegradeMap = Field(default_factory=dict)
    degrade_default: ModelName | None = None
    degrade_cents: Cents | None = None
    funding: Annotated[StrictStr, told(enum=list(FUNDINGS))] = Field(default_factory=str)
    shadow: StrictBool = Field(
        default_factory=bool, description="taken off, the limit binds from the next day on"
    )
    reset_time: ResetTime = Field(default_factory=str, description="holds from the next day on")
    timezone: StrictStr = Field(default_factory=str, description="holds from the next day on")


class RuleFields(Form):
    model_pattern: ModelPattern = Field(description="a model's name, or a pattern like gpt-4o*")
    unit: Annotated[StrictStr, told(enum=list(UNITS))] = Field(
        description="`token` (base_price is per million), `request`, `minute` of sound, or `image`"
    )
    base_price: Decimal
    input_multiplier: Decimal = "1"
    output_multiplier: Decimal = "1"
    price_multiplier: Decimal = "1"
    min_charge_cents: Cents = Field(default=0, description="the least that a call which is charged costs")


class PriceRuleForm(RuleFields):
    plan_id: Id
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
    grace_cents: int
    grace_charged: bool
    degrade_map: dict[str, str]
    degrade_default: str | None
    degrade_cents: int | None
    funding: str
    shadow: bool

    @classmethod
    def of_limit(cls, plan_id: int, limit: DailyLimit) -> DailyLimitView:
        overflow = limit.overflow
        degrade_nanos = overflow.degrade_nanos
        return cls(
            id=limit.id,
            plan_id=plan_id,
            daily_limit_cents=limit.limit_nanos // NANOS_PER_CENT,
            overflow_policy=list(overflow.policies),
            reset_time=limit.reset_time,
            timezone=limit.zone,
            grace_cents=overflow.grace_nanos // NANOS_PER_CENT,
            grace_charged=overflow.grace_charged,
            degrade_map=dict(overflow.degrade_map),
            degrade_default=overflow.degrade_default,
            degrade_cents=None if degrade_nanos is None else degrade_nanos // NANOS_PER_CENT,
            funding=overflow.funding,
            shadow=overflow.shadow,
        )


class ChangedLimit(DailyLimitView):
    version: int = Field(description="the plan's, and the ETag's number")

    @property
    def etag(self) -> int:
        return self.version


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
    return {_BILLING_NAMES.get(name, name): _as_billing(name, value) for name, value in given.items()}


def limit_of(form: LimitFields) -> DailyLimit:
    """The limit that a form describes."""
    nanos = form.daily_limit_cents * NANOS_PER_CENT
    return DailyLimit(nanos, form.timezone, form.reset_time, overflow_of(form))


def overflow_of(form: LimitFields) -> Overflow:
    fields = (
        "overflow_policy",
        "grace_cents",
        "grace_charged",
        "degrade_map",
        "degrade_default",
        "degrade_cents",
    )
    named = {
        _BILLING_NAMES.get(name, name): _as_billing(name, getattr(form, name))
        for name in (*fields, "funding", "shadow")
    }
    return Overflow(**named)


_BILLING_NAMES = {
    "daily_limit_cents": "limit_nanos",
    "timezone": "zone",
    "overflow_policy": "policies",
    "grace_cents": "grace_nanos",
    "degrade_cents": "degrade_nanos",
}


def _as_billing(name: str, value: Any) -> Any:
    if name.endswith("_cents") and value is not None:
        return value * NANOS_PER_CENT
    if name == "overflow_policy":
        return (value,) if isinstance(value, str) else tuple(value)
    return tuple(value.items()) if name == "degrade_map" else value
