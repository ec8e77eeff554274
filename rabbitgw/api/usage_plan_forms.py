"""Terms of usage plans and their billing cycles, as operators send them and as they are shown."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictInt, StrictStr

from rabbitgw.api.forms import Form, Id, told
from rabbitgw.api.plan_forms import Cents, Decimal, OnePlan
from rabbitgw.api.views import Time, View
from rabbitgw.billing.cycle_calendar import CYCLES
from rabbitgw.billing.cycle_list import Cycle
from rabbitgw.billing.usage_plans import CREDITS_MAX, TIER, UsageTerms
from rabbitgw.money import NANOS_PER_CENT

Tier = Annotated[StrictStr, told(pattern=f"^{TIER}$", examples=["professional"])]
Credits = Annotated[StrictInt, told(format="int64", minimum=0, maximum=CREDITS_MAX)]


class UsageTermsForm(Form):
    plan_id: Id
    billing_cycle: Annotated[StrictStr, told(enum=list(CYCLES))]
    min_commit_cents: Cents = Field(default=0, description="the least that a cycle costs")
    credit_grant_cents: Cents = Field(default=0, description="put into the wallet when a cycle begins")
    tier: Tier | None = Field(default=None, description="told to who asks; decides nothing")
    included_credits: Credits | None = Field(default=None, description="told to who asks; decides nothing")
    price_per_1k: Decimal | None = Field(default=None, description="told to who asks; decides nothing")


class UsageTermsChange(Form):
    """A field that is left out stays as it is. What is changed holds from the next cycle on."""

    min_commit_cents: Cents = Field(default_factory=int)
    credit_grant_cents: Cents = Field(default_factory=int)
    tier: Tier | None = None
    included_credits: Credits | None = None
    price_per_1k: Decimal | None = None


class UsageTermsView(View):
    id: int
    plan_id: int
    billing_cycle: str
    min_commit_cents: int
    credit_grant_cents: int
    tier: str | None
    included_credits: int | None
    price_per_1k: str | None

    @classmethod
    def of_terms(cls, terms: UsageTerms) -> UsageTermsView:
        return cls(
            id=terms.id,
            plan_id=terms.plan_id,
            billing_cycle=terms.billing_cycle,
            min_commit_cents=terms.commit_nanos // NANOS_PER_CENT,
            credit_grant_cents=terms.grant_nanos // NANOS_PER_CENT,
            tier=terms.tier,
            included_credits=terms.included_credits,
            price_per_1k=terms.price_per_1k,
        )


class ChangedTerms(UsageTermsView):
    version: int = Field(description="the plan's, and the ETag's number")

    @property
    def etag(self) -> int:
        return self.version


class OneUsagePlan(OnePlan):
    usage: UsageTermsView | None = Field(description="terms of a usage plan")


class CycleView(View):
    number: int
    currency: str
    starts_at: Time
    ends_at: Time
    grant_nanos: int
    grant_transaction_id: int | None
    commit_nanos: int
    ended_at: Time | None = Field(description="when it ended, if it is closed; before `ends_at`: cut short")
    due_nanos: int | None = Field(description="the commitment, or its part of a cycle that was cut short")
    spent_nanos: int | None
    true_up_nanos: int | None
    true_up_transaction_id: int | None
    closed_at: Time | None

    @classmethod
    def of_cycle(cls, cycle: Cycle) -> CycleView:
        return cls.of(cycle)


class CyclesPage(View):
    cycles: list[CycleView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


def terms_of(form: UsageTermsForm) -> UsageTerms:
    fields = form.model_dump()
    del fields["plan_id"]
    return UsageTerms(**_in_nanos(fields))


def changes_of(form: UsageTermsChange) -> dict[str, Any]:
    """What a change names, as billing calls it."""
    return _in_nanos(form.model_dump(exclude_unset=True))


def _in_nanos(fields: dict[str, Any]) -> dict[str, Any]:
    for cents, nanos in (("min_commit_cents", "commit_nanos"), ("credit_grant_cents", "grant_nanos")):
        if cents in fields:
            fields[nanos] = fields.pop(cents) * NANOS_PER_CENT
    return fields
