"""/v1/admin/users: who calls, within an account. Thin: billing decides and checks.

Disabling, enabling or moving to another team changes the user's keys, which is pushed to Redis before the answer, as in
admin.py.
"""

from __future__ import annotations

from pydantic import Field

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Email, ExternalId, Form, Id, Name, Nothing, PageQuery, QueryId
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Time, View, next_page
from rabbitgw.billing import users
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.errors import Conflict, NotFound

ADMIN = Auth.ADMIN


class UserForm(Form):
    account_id: Id
    name: Name
    email: Email | None = Field(default=None, description="kept in lower case; unique in the account")
    external_id: ExternalId | None = Field(
        default=None, description="your own id of the user; unique in the account"
    )
    team_id: Id | None = Field(default=None, description="the team that it is in: one of the same account")


class UserChange(Form):
    """A field that is left out stays as it is; null clears an address or id, or takes it out of its team."""

    name: Name = Field(default_factory=str)
    email: Email | None = None
    external_id: ExternalId | None = None
    team_id: Id | None = None


class UsersQuery(PageQuery):
    account_id: QueryId | None = Field(default=None, description="only users of this account")


class UserView(View):
    id: int
    account_id: int
    name: str
    email: str | None
    external_id: str | None = Field(description="the operator's own id of the user")
    team_id: int | None = Field(description="the team that it is in")
    disabled_at: Time | None = Field(description="while it is set, every key of the user answers 401")
    created_at: Time


class ChangedUser(UserView):
    in_effect: bool = Field(
        description="false: Redis was not reached for every key; a worker will push the rest"
    )


class UsersPage(View):
    users: list[UserView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class UserRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        path = "/v1/admin/users"
        one = rf"{path}/{{id:\d+}}"
        away, taken = (NotFound,), (NotFound, Conflict)
        return [
            Route("GET", path, self.list_users, "Users by id", ADMIN, UsersPage, query=UsersQuery),
            Route(
                "POST", path, self.create_user, "Make a user", ADMIN, UserView, form=UserForm, refusals=taken
            ),
            Route("GET", one, self.get_user, "One user", ADMIN, UserView, refusals=away),
            Route(
                "POST",
                one,
                self.update_user,
                "Change a user",
                ADMIN,
                ChangedUser,
                form=UserChange,
                refusals=taken,
            ),
            Route(
                "POST",
                f"{one}/disable",
                self.disable_user,
                "Let no key of a user be good, from the next request on",
                ADMIN,
                ChangedUser,
                refusals=away,
            ),
            Route(
                "POST",
                f"{one}/enable",
                self.enable_user,
                "Let a disabled user's keys work again",
                ADMIN,
                ChangedUser,
                refusals=away,
            ),
        ]

    async def create_user(self, asked: Asked[UserForm, Nothing]) -> UserView:
        user = await users.create_user(self._pg, **asked.form.model_dump())
        telemetry.log("user_created", account_id=user.account_id, user_id=user.id)
        return UserView.of(user)

    async def list_users(self, asked: Asked[Nothing, UsersQuery]) -> UsersPage:
        query = asked.query
        found = await users.list_users(self._pg, query.account_id, after_id=query.after, rows_max=query.limit)
        return UsersPage(users=[UserView.of(user) for user in found], next=next_page(found, query.limit))

    async def get_user(self, asked: Asked[Nothing, Nothing]) -> UserView:
        return UserView.of(await users.get_user(self._pg, asked.id))

    async def update_user(self, asked: Asked[UserChange, Nothing]) -> ChangedUser:
        user = await users.update_user(self._pg, asked.id, **asked.form.model_dump(exclude_unset=True))
        telemetry.log("user_updated", account_id=user.account_id, user_id=user.id)
        return await self._in_effect(user)

    async def disable_user(self, asked: Asked[Nothing, Nothing]) -> ChangedUser:
        user = await users.disable_user(self._pg, asked.id)
        telemetry.log("user_disabled", account_id=user.account_id, user_id=user.id)
        return await self._in_effect(user)

    async def enable_user(self, asked: Asked[Nothing, Nothing]) -> ChangedUser:
        user = await users.enable_user(self._pg, asked.id)
        telemetry.log("user_enabled", account_id=user.account_id, user_id=user.id)
        return await self._in_effect(user)

    async def _in_effect(self, user: users.User) -> ChangedUser:
        pushed = await push_keys_below(self._pg, self._deps.scripts, user.entity)
        return changed_user(user, in_effect=pushed)


def changed_user(user: users.User, *, in_effect: bool) -> ChangedUser:
    """The view of a user after a change of its keys."""
    return ChangedUser(**UserView.of(user).model_dump(), in_effect=in_effect)
