"""/v1/admin/windows: spend windows on accounts, teams, users and keys. Thin: billing decides and checks.

A change is pushed to Redis for every key below before the answer, as in admin.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictStr

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Cap, Form, Id, Moment, Nothing, PageQuery, QueryId, ResetTime
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Nanos, Time, View, next_page
from rabbitgw.billing import spend_windows
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.spend_windows import Increase, NewWindow, Window
from rabbitgw.errors import Conflict, NotFound, PreconditionFailed, RequestInvalid

EntityType = Literal["account", "team", "user", "key"]


class WindowForm(Form):
    entity_type: EntityType
    entity_id: Id
    kind: Literal["day", "week", "month", "lifetime", "5h"]
    limit_nanos: Cap = Field(description="what may be spent in one span of it")
    timezone: StrictStr | None = Field(
        default=None,
        description="of a day, week or month: an offset or the name of a zone; +08:00 if left out",
        examples=["+08:00", "Europe/Berlin"],
    )
    reset_time: ResetTime | None = Field(
        default=None, description="when a day begins in that zone; 00:00 if left out", examples=["06:30"]
    )


class WindowChange(Form):
    """A field that is left out stays as it is. `extra_nanos` and `extra_until` come together; 0 and null end an
    increase."""

    limit_nanos: Cap = Field(default_factory=int)
    extra_nanos: Cap = Field(default_factory=int, description="a temporary increase of the limit")
    extra_until: Moment | None = None


class WindowsQuery(PageQuery):
    account_id: QueryId | None = Field(default=None, description="only windows in this account")


class WindowView(View):
    id: int
    account_id: int
    entity_type: EntityType
    entity_id: int
    kind: str
    limit_nanos: Nanos
    timezone: str | None
    reset_time: str | None
    extra_nanos: Nanos = Field(description="added to the limit until extra_until")
    extra_until: Time | None
    version: int = Field(description="raised by every change; the ETag of an answer with one window")
    created_at: Time
    removed_at: Time | None


class ChangedWindow(WindowView):
    in_effect: bool = Field(
        description="false: Redis was not reached for every key below; a worker will push the rest"
    )

    @property
    def etag(self) -> int:
        return self.version


class WindowsPage(View):
    windows: list[WindowView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class WindowRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        path, admin = "/v1/admin/windows", Auth.ADMIN
        one = rf"{path}/{{id:\d+}}"
        clash = (NotFound, Conflict)
        return [
            Route(
                "GET",
                path,
                self.list_windows,
                "Spend windows in force, by id",
                admin,
                WindowsPage,
                query=WindowsQuery,
            ),
            Route(
                "POST",
                path,
                self.create_window,
                "Put a spend window on an account, a team, a user or a key",
                admin,
                ChangedWindow,
                form=WindowForm,
                refusals=clash,
            ),
            Route(
                "POST",
                one,
                self.change_window,
                "Change the limit of a window, or raise it for a time",
                admin,
                ChangedWindow,
                form=WindowChange,
                refusals=(*clash, PreconditionFailed),
            ),
            Route(
                "DELETE",
                one,
                self.remove_window,
                "Take a window out of force",
                admin,
                ChangedWindow,
                refusals=(NotFound, PreconditionFailed),
            ),
        ]

    async def list_windows(self, asked: Asked[Nothing, WindowsQuery]) -> WindowsPage:
        query = asked.query
        found = await spend_windows.list_windows(
            self._pg, query.account_id, after_id=query.after, rows_max=query.limit
        )
        views = [WindowView.of(window) for window in found]
        return WindowsPage(windows=views, next=next_page(found, query.limit))

    async def create_window(self, asked: Asked[WindowForm, Nothing]) -> ChangedWindow:
        window = await spend_windows.create_window(self._pg, NewWindow(**asked.form.model_dump()))
        telemetry.log("window_created", **_logged(window))
        return await self._changed(window)

    async def change_window(self, asked: Asked[WindowChange, Nothing]) -> ChangedWindow:
        form, given = asked.form, asked.form.model_fields_set
        if len(given & {"extra_nanos", "extra_until"}) == 1:
            (missing,) = {"extra_nanos", "extra_until"} - given
            raise RequestInvalid(f"{missing}: extra_nanos and extra_until come together", field=missing)
        window = await spend_windows.change_window(
            self._pg,
            asked.id,
            limit_nanos=form.limit_nanos if "limit_nanos" in given else None,
            increase=Increase(form.extra_nanos, form.extra_until) if "extra_nanos" in given else None,
            version=asked.if_match,
        )
        telemetry.log("window_changed", **_logged(window))
        return await self._changed(window)

    async def remove_window(self, asked: Asked[Nothing, Nothing]) -> ChangedWindow:
        window = await spend_windows.remove_window(self._pg, asked.id, version=asked.if_match)
        telemetry.log("window_removed", **_logged(window))
        return await self._changed(window)

    async def _changed(self, window: Window) -> ChangedWindow:
        pushed = await push_keys_below(self._pg, self._deps.scripts, window.entity)
        return ChangedWindow(**WindowView.of(window).model_dump(), in_effect=pushed)


def _logged(window: Window) -> dict[str, object]:
    return {"account_id": window.account_id, "window_id": window.id, "limit_nanos": window.limit_nanos}
