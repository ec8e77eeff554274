"""The side routes on a port of their own, with real stores behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from rabbitgw.api.answers import json_errors
from rabbitgw.api.routes import SideDeps, side_table
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.keyring import Keyring
from rabbitgw.config import Settings
from rabbitgw.payments.till import Payments
from rabbitgw.scripts import Scripts
from tests.api.described import Described

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

ADMIN_KEY = "admin-of-the-tests"


class Operator:
    """The admin key's holder."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200, **query: str) -> dict[str, Any]:
        return await self._ask("GET", path, status, params=query)

    async def post(
        self, path: str, fields: dict[str, Any] | None = None, status: int = 200
    ) -> dict[str, Any]:
        return await self._ask("POST", path, status, json=fields)

    async def delete(self, path: str, status: int = 200) -> dict[str, Any]:
        return await self._ask("DELETE", path, status)

    async def _ask(self, method: str, path: str, status: int, **how: Any) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with self.client.request(method, f"/v1/admin/{path}", headers=headers, **how) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == status, body
            return body

    async def account_with_key(self, **fields: Any) -> tuple[int, int, str]:
        """A new account and a key of it: account id, key id, secret."""
        account_id = (await self.post("accounts", {"name": "Acme"}))["id"]
        made = await self.post("keys", {"account_id": account_id, "name": "k", **fields})
        return account_id, made["id"], made["key"]


@pytest.fixture
async def scripts(pg: Pool, link: RedisLink) -> Scripts:
    names = await read_names(pg)
    await publish_epoch(link, names)
    return Scripts(link, names)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RABBITGW_ADMIN_KEY", ADMIN_KEY)
    return Settings.load()


@pytest.fixture
async def deps(pg: Pool, link: RedisLink, scripts: Scripts, settings: Settings) -> AsyncIterator[SideDeps]:
    payments = Payments(pg, link, settings)
    yield SideDeps(pg, link, scripts, Keyring(pg, scripts, link), settings, payments)
    await payments.close()


@pytest.fixture
def described(deps: SideDeps) -> Described:
    return Described(side_table(deps))


@pytest.fixture
async def client(
    deps: SideDeps, described: Described, aiohttp_client: Callable[..., Awaitable[TestClient[Any, Any]]]
) -> AsyncIterator[TestClient[Any, Any]]:
    """Every answer that a test gets is also held against the OpenAPI document."""
    app = web.Application(middlewares=[json_errors, described.checked])
    app.add_routes([route.served(deps) for route in side_table(deps)])
    yield await aiohttp_client(app)
    assert described.faults == []


@pytest.fixture
def operator(client: TestClient[Any, Any]) -> Operator:
    return Operator(client)
