"""/healthz says that the process answers, /readyz that both stores do."""

from __future__ import annotations

import asyncio

from rabbitgw import statements
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Alive
from rabbitgw.errors import PostgresUnavailable, RedisUnavailable, StoreError
from rabbitgw.stores import connection

PROBE_TIMEOUT_S = 2.0  # a balancer that asks every few seconds wants an answer, not patience


class HealthRoutes:
    """Neither route needs a credential, and neither says more than which store is away."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "GET",
                "/healthz",
                self.healthz,
                "The process answers",
                Auth.NONE,
                Alive,
                query=Anything,
            ),
            Route(
                "GET",
                "/readyz",
                self.readyz,
                "PostgreSQL and Redis answer; 503 names one that does not",
                Auth.NONE,
                Alive,
                query=Anything,
                refusals=(StoreError,),
            ),
        ]

    async def healthz(self, asked: Asked[Nothing, Anything]) -> Alive:
        return Alive(status="ok")

    async def readyz(self, asked: Asked[Nothing, Anything]) -> Alive:
        await asyncio.gather(self._postgres(), self._redis())
        return Alive(status="ok")

    async def _postgres(self) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S), connection(self._deps.pg) as db:
                await db.fetchval(statements.session.ping)
        except (StoreError, TimeoutError):
            raise PostgresUnavailable("PostgreSQL does not answer") from None

    async def _redis(self) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._deps.link.call("PING")
        except (StoreError, TimeoutError):
            raise RedisUnavailable("Redis does not answer") from None
