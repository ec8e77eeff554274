"""The side routes: everything this port answers that is not a model's API."""

from __future__ import annotations

from typing import Any

from aiohttp import web

import rabbitgw
from rabbitgw.api.access import require_caller
from rabbitgw.api.admin import AdminRoutes
from rabbitgw.api.answers import answering
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.health import HealthRoutes
from rabbitgw.api.views import wallet_view
from rabbitgw.billing.bill_lines import bill_line
from rabbitgw.billing.wallets import live_wallets

__all__ = ["SideDeps", "side_routes"]

DOCS = "README.md and docs/ of the distribution"


def side_routes(deps: SideDeps) -> list[web.RouteDef]:
    """Routes for the application that also serves the data plane."""
    callers = CallerRoutes(deps)
    return [
        *AdminRoutes(deps).routes(),
        *callers.routes(),
        *HealthRoutes(deps).routes(),
        web.get("/", answering(root)),
    ]


class CallerRoutes:
    """What a caller may see with a key of theirs: of their own account, nothing else."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/wallets", answering(self.wallets)),
            web.get("/v1/usage/{request_id}", answering(self.usage)),
        ]

    async def wallets(self, request: web.Request) -> dict[str, Any]:
        key = await require_caller(request, self._deps.keyring)
        found = await live_wallets(
            self._deps.pg,
            self._deps.scripts,
            self._deps.link,
            account_id=key.account_id,
            partition=key.partition,
        )
        return {"wallets": [wallet_view(wallet) for wallet in found]}

    async def usage(self, request: web.Request) -> dict[str, Any]:
        """The line's own id stands in `request_id`; the id of this very request is in the headers."""
        key = await require_caller(request, self._deps.keyring)
        line = await bill_line(
            self._deps.pg,
            self._deps.scripts,
            self._deps.link,
            key=key,
            request_id=request.match_info["request_id"],
        )
        return {"request_id": line["id"], **line}


async def root(request: web.Request) -> dict[str, Any]:
    return {"name": "rabbitgw", "version": rabbitgw.__version__, "docs": DOCS}
