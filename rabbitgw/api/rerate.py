"""POST /v1/admin/rerate: correct calls that were charged by a wrong price; what it would do, unless told to do it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StrictBool, StrictStr

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Id, ModelPattern, Nothing, told_text
from rabbitgw.api.price_fields import Terms
from rabbitgw.api.route import Asked, Auth, Route
from rabbitgw.api.usage_list import QueryMoment
from rabbitgw.api.views import Nanos, View
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.rerate import apply, dry_run
from rabbitgw.billing.rerate_request import Rerate
from rabbitgw.billing.wallets import KEY_CHARS_MAX
from rabbitgw.errors import Conflict, NotFound, RequestInvalid

CALLS_MAX: Final = 1_000_000  # one answer looks at no more; the command has a larger limit
BATCHES_MAX: Final = 20  # a thousand calls each: one request corrects so many, and says that there is more


class RightPrice(Terms):
    """The price that is right: as for a new price, without pattern and currency, which are the wrong one's."""

    reasons: StrictBool = False


class RerateForm(Form):
    price_version: Id = Field(description="the wrong one")
    to_version: Id | None = Field(default=None, description="the right one; or `price`")
    price: RightPrice | None = Field(
        default=None,
        description="the right one, by its fields; it becomes a version that is sold from now on, in place of the "
        "wrong one",
    )
    from_: QueryMoment = Field(
        alias="from",
        description="calls that came in then or later: ISO 8601 with a zone, or milliseconds since 1970",
        examples=["2026-11-01T00:00:00Z"],
    )
    to: QueryMoment = Field(
        description="calls that came in before; not in the future", examples=["2026-11-08T00:00:00Z"]
    )
    account_id: Id | None = Field(default=None, description="only calls of this account")
    model: ModelPattern | None = Field(
        default=None, description="only calls of this model, or of this pattern (fnmatch)"
    )
    dry_run: StrictBool = Field(default=True, description="true: say what would change, and write nothing")
    idempotency_key: Annotated[StrictStr, told_text(KEY_CHARS_MAX)] | None = Field(
        default=None,
        description="of a run that is no dry one: the same request with the same key goes on with it",
    )
    allow_overdraft: StrictBool = Field(
        default=False, description="true: correct also accounts whose wallets go below zero by it"
    )

    def asked(self) -> Rerate:
        return Rerate(
            price_version=self.price_version,
            from_ms=self.from_,
            to_ms=self.to,
            to_version=self.to_version,
            price=None if self.price is None else self.price.model_dump(exclude_unset=True),
            account_id=self.account_id,
            model=self.model,
            allow_overdraft=self.allow_overdraft,
        )


class AccountChangeView(View):
    account_id: int
    calls: int
    old_nanos: Nanos
    new_nanos: Nanos
    difference_nanos: Nanos = Field(description="above zero: the account pays it; below: it is given back")


class CallChangeView(View):
    id: str
    account_id: int
    old_nanos: Nanos
    new_nanos: Nanos
    difference_nanos: Nanos


class RefusedCallsView(View):
    code: str
    reason: str
    calls: int
    examples: list[str] = Field(description="ids of a few of them")


class RerateView(View):
    rerate_id: int | None = Field(description="the run; null of a dry one")
    dry_run: bool
    done: bool = Field(description="false: send the same again, it goes on")
    price_version: int
    to_version: int | None = Field(
        description="null: the right price was given by its fields, and is not stored yet"
    )
    currency: str
    calls: int = Field(description="calls that are corrected, or would be")
    accounts_count: int
    old_nanos: Nanos
    new_nanos: Nanos
    difference_nanos: Nanos
    accounts: list[AccountChangeView] = Field(description="the largest differences first, a thousand at most")
    largest: list[CallChangeView] = Field(description="the calls that change most")
    refused: list[RefusedCallsView] = Field(
        description="calls that are left as they are, because their cost cannot be told anew"
    )
    left_out: list[int] = Field(
        description="accounts whose wallets would go below zero; left as they are without `allow_overdraft`"
    )
    left_out_count: int


class RerateRoute:
    """Its handler, of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg
        self._credits = Credits(deps.pg, deps.link)

    def route(self) -> Route[RerateForm, Nothing, RerateView]:
        return Route(
            "POST",
            "/v1/admin/rerate",
            self.rerate,
            "Correct calls that were charged by a wrong price",
            Auth.ADMIN,
            RerateView,
            form=RerateForm,
            refusals=(NotFound, Conflict),
        )

    async def rerate(self, asked: Asked[RerateForm, Nothing]) -> RerateView:
        form = asked.form
        if form.dry_run:
            if form.idempotency_key is not None:
                raise RequestInvalid(
                    "idempotency_key: a dry run needs none; send dry_run false to correct the calls",
                    field="idempotency_key",
                )
            return RerateView.of(await dry_run(self._pg, form.asked(), calls_max=CALLS_MAX))
        if form.idempotency_key is None:
            raise RequestInvalid("idempotency_key: this field is required", field="idempotency_key")
        report = await apply(
            self._pg,
            self._credits,
            form.asked(),
            form.idempotency_key,
            batches_max=BATCHES_MAX,
            calls_max=CALLS_MAX,
        )
        telemetry.log("rerate_applied", rerate_id=report.rerate_id, calls=report.calls, done=report.done)
        return RerateView.of(report)
