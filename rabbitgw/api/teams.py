"""/v1/admin/teams: users of an account, taken together. Thin: billing decides and checks."""

from __future__ import annotations

from pydantic import Field

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Id, Name, Nothing, PageQuery, QueryId
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Time, View, next_page
from rabbitgw.billing import teams
from rabbitgw.errors import NotFound


class TeamForm(Form):
    account_id: Id
    name: Name


class TeamsQuery(PageQuery):
    account_id: QueryId | None = Field(default=None, description="only teams of this account")


class TeamView(View):
    id: int
    account_id: int
    name: str
    created_at: Time


class TeamsPage(View):
    teams: list[TeamView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class TeamRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        path = "/v1/admin/teams"
        return [
            Route("GET", path, self.list_teams, "Teams by id", Auth.ADMIN, TeamsPage, query=TeamsQuery),
            Route(
                "POST",
                path,
                self.create_team,
                "Make a team",
                Auth.ADMIN,
                TeamView,
                form=TeamForm,
                refusals=(NotFound,),
            ),
        ]

    async def create_team(self, asked: Asked[TeamForm, Nothing]) -> TeamView:
        team = await teams.create_team(self._pg, asked.form.account_id, asked.form.name)
        telemetry.log("team_created", account_id=team.account_id, team_id=team.id)
        return TeamView.of(team)

    async def list_teams(self, asked: Asked[Nothing, TeamsQuery]) -> TeamsPage:
        query = asked.query
        found = await teams.list_teams(self._pg, query.account_id, after_id=query.after, rows_max=query.limit)
        return TeamsPage(teams=[TeamView.of(team) for team in found], next=next_page(found, query.limit))
