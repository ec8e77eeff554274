"""/v1/admin/rates: requests and tokens a minute and calls in parallel, on accounts, teams, users and keys. Thin.

A change is pushed to Redis for every key below before the answer, as in admin.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Id, ModelPattern, Nothing, PageQuery, Parallel, QueryId, Rpm, Tpm
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Time, View, next_page
from rabbitgw.billing import rate_limits
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.rate_limits import Limits, Rate
from rabbitgw.errors import Conflict, NotFound, PreconditionFailed

EntityType = Literal["account", "team", "user", "key"]


class RateForm(Form):
    """At least one of rpm, tpm and parallel."""

    entity_type: EntityType
    entity_id: Id
    model_pattern: ModelPattern | None = Field(
        default=None, description="only calls of models that match it, counted together; all if left out"
    )
    rpm: Rpm | None = Field(default=None, description="requests a minute")
    tpm: Tpm | None = Field(default=None, description="tokens a minute, input and output")
    parallel: Parallel | None = Field(default=None, description="calls under way at a time")


class RateChange(Form):
    """A limit that is left out stays as it is; null takes it away. At least one stays."""

    rpm: Rpm | None = Field(default=None, description="requests a minute")
    tpm: Tpm | None = Field(default=None, description="tokens a minute, input and output")
    parallel: Parallel | None = Field(default=None, description="calls under way at a time")


class RatesQuery(PageQuery):
    account_id: QueryId | None = Field(default=None, description="only rates in this account")


class RateView(View):
    id: int
    account_id: int
    entity_type: EntityType
    entity_id: int
    model_pattern: str | None
    rpm: int | None
    tpm: int | None
    parallel: int | None
    version: int = Field(description="raised by every change; the ETag of an answer with one rate")
    created_at: Time
    removed_at: Time | None


class ChangedRate(RateView):
    in_effect: bool = Field(
        description="false: Redis was not reached for every key below; a worker will push the rest"
    )

    @property
    def etag(self) -> int:
        return self.version


class RatesPage(View):
    rates: list[RateView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class RateRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        path, admin = "/v1/admin/rates", Auth.ADMIN
        one = rf"{path}/{{id:\d+}}"
        return [
            Route("GET", path, self.list_rates, "Rates in force, by id", admin, RatesPage, query=RatesQuery),
            Route(
                "POST",
                path,
                self.create_rate,
                "Limit the rate of an account, a team, a user or a key",
                admin,
                ChangedRate,
                form=RateForm,
                refusals=(NotFound, Conflict),
            ),
            Route(
                "POST",
                one,
                self.change_rate,
                "Change the limits of a rate, from the next request on",
                admin,
                ChangedRate,
                form=RateChange,
                refusals=(NotFound, Conflict, PreconditionFailed),
            ),
            Route(
                "DELETE",
                one,
                self.remove_rate,
                "Take a rate out of force",
                admin,
                ChangedRate,
                refusals=(NotFound, PreconditionFailed),
            ),
        ]

    async def list_rates(self, asked: Asked[Nothing, RatesQuery]) -> RatesPage:
        query = asked.query
        found = await rate_limits.list_rates(
            self._pg, query.account_id, after_id=query.after, rows_max=query.limit
        )
        return RatesPage(rates=[RateView.of(rate) for rate in found], next=next_page(found, query.limit))

    async def create_rate(self, asked: Asked[RateForm, Nothing]) -> ChangedRate:
        form = asked.form
        limits = Limits(form.rpm, form.tpm, form.parallel)
        rate = await rate_limits.create_rate(
            self._pg, form.entity_type, form.entity_id, limits, form.model_pattern
        )
        telemetry.log("rate_created", account_id=rate.account_id, rate_id=rate.id)
        return await self._changed(rate)

    async def change_rate(self, asked: Asked[RateChange, Nothing]) -> ChangedRate:
        changes = asked.form.model_dump(exclude_unset=True)
        rate = await rate_limits.change_rate(self._pg, asked.id, changes, version=asked.if_match)
        telemetry.log("rate_changed", account_id=rate.account_id, rate_id=rate.id, fields=list(changes))
        return await self._changed(rate)

    async def remove_rate(self, asked: Asked[Nothing, Nothing]) -> ChangedRate:
        rate = await rate_limits.remove_rate(self._pg, asked.id, version=asked.if_match)
        telemetry.log("rate_removed", account_id=rate.account_id, rate_id=rate.id)
        return await self._changed(rate)

    async def _changed(self, rate: Rate) -> ChangedRate:
        pushed = await push_keys_below(self._pg, self._deps.scripts, rate.entity)
        return ChangedRate(**RateView.of(rate).model_dump(), in_effect=pushed)
