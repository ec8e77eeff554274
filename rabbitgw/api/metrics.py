"""GET /metrics: on the port of the gateway for the operator's key, on a port of its own for whoever can reach it.

Owns who may read and which form is answered; the figures are scrape.py's. On the gateway's port no peer is trusted for
its address: behind a proxy on the same machine, which is where TLS ends, everybody comes from loopback.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from rabbitgw import listening
from rabbitgw.api.answers import json_errors
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.config import Settings
from rabbitgw.proxy.front_inner import server_log
from rabbitgw.scrape import OPENMETRICS, TEXT, Scrape

TAKEN = frozenset({TEXT, OPENMETRICS, "text/*", "application/*", "*/*", ""})


class MetricsRoutes:
    """For the application that serves everything else too."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps

    def routes(self) -> list[AnyRoute]:
        said = "Figures of all processes that serve on this port, for Prometheus"
        return [
            Route(
                "GET",
                "/metrics",
                self.metrics,
                said,
                Auth.ADMIN,
                None,
                query=Anything,
                other=(TEXT, OPENMETRICS),
                refusals=(web.HTTPNotAcceptable,),
            ),
            Route(
                "GET",
                "/metrics/prometheus",
                self.metrics_prometheus,
                f"{said}, whatever is accepted",
                Auth.ADMIN,
                None,
                query=Anything,
                other=(TEXT, OPENMETRICS),
            ),
        ]

    async def metrics(self, asked: Asked[Nothing, Anything]) -> web.Response:
        return await shown_metrics(self._deps.scrape, asked.http)

    async def metrics_prometheus(self, asked: Asked[Nothing, Anything]) -> web.Response:
        return await shown_metrics(self._deps.scrape, asked.http, whatever=True)


def open_metrics(scrape: Scrape) -> list[web.RouteDef]:
    """The same without a credential, for a port that only the operator reaches."""

    async def metrics(request: web.Request) -> web.Response:
        return await shown_metrics(scrape, request)

    async def metrics_prometheus(request: web.Request) -> web.Response:
        return await shown_metrics(scrape, request, whatever=True)

    return [web.get("/metrics", metrics), web.get("/metrics/prometheus", metrics_prometheus)]


async def shown_metrics(scrape: Scrape, request: web.Request, *, whatever: bool = False) -> web.Response:
    """Raises: HTTPNotAcceptable for a client that takes neither form, unless `whatever`."""
    accept = ",".join(request.headers.getall("accept", ()))
    if not whatever and not any(_kind(choice) in TAKEN for choice in accept.split(",")):
        raise web.HTTPNotAcceptable(reason=f"metrics are {TEXT} or {OPENMETRICS}")
    body, content_type = await scrape.text(accept)
    return web.Response(body=body, headers={"content-type": content_type})


@asynccontextmanager
async def metrics_port(
    settings: Settings, scrape: Scrape, sockets: Sequence[socket.socket] = ()
) -> AsyncIterator[None]:
    """/metrics on a port of its own, if the settings name one. Raises: SettingInvalid when it is taken."""
    if not settings.metrics_port and not sockets:
        yield
        return
    app = web.Application(middlewares=[json_errors])
    app.add_routes(open_metrics(scrape))
    runner = web.AppRunner(app, logger=server_log(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    name = "RABBITGW_METRICS_PORT"
    try:
        found = sockets or listening.bound(settings.metrics_host, settings.metrics_port, setting=name)
        listener = await listening.serve(runner.server, found, setting=name)
        try:
            yield
        finally:
            await listener.close()
    finally:
        await runner.cleanup()


def _kind(choice: str) -> str:
    return choice.partition(";")[0].strip().lower()
