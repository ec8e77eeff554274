"""The side routes: everything this port answers that is not a model's API."""

from __future__ import annotations

from aiohttp import web

import rabbitgw
from rabbitgw.api.admin import AdminRoutes
from rabbitgw.api.bill_views import BillLine
from rabbitgw.api.billing import BillingRoutes
from rabbitgw.api.codes import CodeRoutes
from rabbitgw.api.demo_page import DemoRoutes
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.health import HealthRoutes
from rabbitgw.api.key_changes import KeyChangeRoutes
from rabbitgw.api.ledger_list import LedgerRoute
from rabbitgw.api.metrics import MetricsRoutes
from rabbitgw.api.model_rules import ModelRuleRoutes
from rabbitgw.api.openapi import PAGE_PATH, OpenApi
from rabbitgw.api.packages import PackageRoutes
from rabbitgw.api.payment_admin import PaymentAdminRoutes
from rabbitgw.api.payments import PaymentRoutes
from rabbitgw.api.plans import PlanRoutes
from rabbitgw.api.rates import RateRoutes
from rabbitgw.api.reports import ReportRoutes
from rabbitgw.api.rerate import RerateRoute
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.teams import TeamRoutes
from rabbitgw.api.usage_list import UsageRoute
from rabbitgw.api.usage_plans import UsagePlanRoutes
from rabbitgw.api.users import UserRoutes
from rabbitgw.api.views import About
from rabbitgw.api.wallets import WalletsRoute
from rabbitgw.api.whatif import WhatifRoute
from rabbitgw.api.windows import WindowRoutes
from rabbitgw.billing.bill_lines import bill_line
from rabbitgw.errors import NotFound

__all__ = ["SideDeps", "side_routes", "side_table"]


def side_table(deps: SideDeps) -> list[AnyRoute]:
    """Every side route. What is in here is served, and is in /openapi.json."""
    table = [
        *AdminRoutes(deps).routes(),
        *TeamRoutes(deps).routes(),
        *KeyChangeRoutes(deps).routes(),
        *UserRoutes(deps).routes(),
        *PlanRoutes(deps).routes(),
        *UsagePlanRoutes(deps).routes(),
        *WindowRoutes(deps).routes(),
        *RateRoutes(deps).routes(),
        *ModelRuleRoutes(deps).routes(),
        *PackageRoutes(deps).routes(),
        *CodeRoutes(deps).routes(),
        WalletsRoute(deps).route(),
        UsageRoute(deps).route(),
        LedgerRoute(deps).route(),
        RerateRoute(deps).route(),
        WhatifRoute(deps).route(),
        *ReportRoutes(deps).routes(),
        *CallerRoutes(deps).routes(),
        *(payments := PaymentRoutes(deps)).routes(),
        *BillingRoutes(deps, payments).routes(),
        *PaymentAdminRoutes(deps).routes(),
        *HealthRoutes(deps).routes(),
        *MetricsRoutes(deps).routes(),
        *DemoRoutes(deps).routes(),
        Route("GET", "/", about, "Name and version of the program", Auth.NONE, About, query=Anything),
    ]
    return [*table, *OpenApi(table).routes()]


def side_routes(deps: SideDeps) -> list[web.RouteDef]:
    """Routes for the application that also serves the data plane."""
    return [route.served(deps) for route in side_table(deps)]


class CallerRoutes:
    """What only a caller may see, with a key of theirs: of their own account, nothing else."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "GET",
                "/v1/usage/{request_id}",
                self.usage_line,
                "The bill line of a call, by our id of it or by the caller's",
                Auth.CALLER,
                BillLine,
                refusals=(NotFound,),
            ),
        ]

    async def usage_line(self, asked: Asked[Nothing, Nothing]) -> BillLine:
        """The line's own id stands in `request_id`; the id of this very request is in the headers."""
        line = await bill_line(
            self._deps.pg,
            self._deps.scripts,
            self._deps.link,
            key=asked.caller,
            request_id=asked.part("request_id"),
        )
        return BillLine.model_validate({"request_id": line["id"], **line})


async def about(asked: Asked[Nothing, Anything]) -> About:
    return About(name="rabbitgw", version=rabbitgw.__version__, docs=PAGE_PATH)
