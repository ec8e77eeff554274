"""Who may ask, and how every answer is labelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from rabbitgw.api.routes import SideDeps, side_routes
from rabbitgw.billing.key_secret import new_secret
from rabbitgw.billing.keyring import Keyring
from rabbitgw.config import Settings
from rabbitgw.payments.till import Payments
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.test_utils import TestClient

    from rabbitgw.redis_link import RedisLink
    from rabbitgw.scripts import Scripts
    from rabbitgw.stores import Pool

ADMIN_PATHS = [("GET", "accounts"), ("POST", "accounts"), ("GET", "keys"), ("POST", "keys/1/revoke")]


@pytest.mark.parametrize("method_and_path", ADMIN_PATHS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Basic {ADMIN_KEY}"}, 401),
        ({"authorization": "Bearer \udcff\udcfe"}, 401),
        ({"x-api-key": ADMIN_KEY[:-1]}, 401),
        ({"x-api-key": ADMIN_KEY + "x"}, 401),
        ({"x-api-key": ADMIN_KEY, "authorization": "Bearer other"}, 400),
    ],
)
async def test_admin_routes_take_the_admin_key_only(
    client: TestClient[Any, Any], method_and_path: tuple[str, str], headers: dict[str, str], status: int
) -> None:
    method, path = method_and_path
    async with client.request(method, f"/v1/admin/{path}", headers=headers) as answer:
        assert answer.status == status
        body = await answer.json()
        assert body["error"]["code"] == {401: "invalid_api_key", 400: "invalid_request"}[status]
        assert ADMIN_KEY not in str(body)


async def test_the_admin_key_comes_either_way_or_both(client: TestClient[Any, Any]) -> None:
    bearer, api_key = {"authorization": f"bearer {ADMIN_KEY}"}, {"x-api-key": ADMIN_KEY}
    for headers in (bearer, api_key, bearer | api_key):
        async with client.get("/v1/admin/accounts", headers=headers) as answer:
            assert answer.status == 200


async def test_a_callers_key_is_no_admin_key_and_the_other_way_round(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    _, _, secret = await operator.account_with_key()
    async with client.get("/v1/admin/accounts", headers={"x-api-key": secret}) as answer:
        assert answer.status == 401
    for wrong in (ADMIN_KEY, new_secret(), ""):
        async with client.get("/v1/usage/x", headers={"x-api-key": wrong}) as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]["code"] == "invalid_api_key"


async def test_a_key_with_the_scope_admin_is_the_operators_but_grants_it_to_no_other(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    account_id, key_id, secret = await operator.account_with_key(scopes=["admin"])
    plain = (await operator.post("keys", {"account_id": account_id, "name": "plain"}))["id"]
    own = {"x-api-key": secret}

    async def ask(method: str, path: str, fields: dict[str, Any] | None = None) -> tuple[int, str | None]:
        async with client.request(method, path, json=fields, headers=own) as answer:
            return answer.status, (await answer.json()).get("error", {}).get("code")

    assert await ask("GET", "/v1/admin/accounts") == (200, None)
    assert await ask("GET", f"/v1/usage?account_id={account_id + 1}") == (200, None)
    assert await ask("GET", "/v1/wallets") == (400, "invalid_request"), "whose is for the operator to say"
    assert await ask("GET", f"/v1/wallets?account_id={account_id}") == (200, None)
    new = {"account_id": account_id, "name": "k"}
    assert await ask("POST", "/v1/admin/keys", {**new, "scopes": ["data", "billing"]}) == (200, None)
    assert await ask("POST", "/v1/admin/keys", {**new, "scopes": ["admin"]}) == (403, "scope_missing")
    assert await ask("POST", f"/v1/admin/keys/{key_id}/rotate") == (403, "scope_missing")
    assert await ask("POST", f"/v1/admin/keys/{plain}/rotate") == (200, None)
    listed = (await operator.get("keys"))["keys"]
    assert [key["scopes"] for key in listed] == [["admin"], None, ["data", "billing"]]
    await operator.post(f"keys/{key_id}/revoke")
    assert await ask("GET", "/v1/admin/accounts") == (401, "invalid_api_key")


async def test_without_an_admin_key_the_admin_routes_are_off(
    pg: Pool,
    link: RedisLink,
    scripts: Scripts,
    aiohttp_client: Callable[..., Awaitable[TestClient[Any, Any]]],
) -> None:
    app, settings = web.Application(), Settings.load()
    payments = Payments(pg, link, settings)
    app.add_routes(side_routes(SideDeps(pg, link, scripts, Keyring(pg, scripts, link), settings, payments)))
    client = await aiohttp_client(app)
    for headers in ({}, {"authorization": "Bearer "}, {"x-api-key": "any"}):
        async with client.get("/v1/admin/accounts", headers=headers) as answer:
            assert answer.status == 404
            assert "RABBITGW_ADMIN_KEY" in (await answer.json())["error"]["message"]


async def test_request_ids_come_in_and_go_out(client: TestClient[Any, Any]) -> None:
    async with client.get("/healthz", headers={"X-Request-ID": "mine-1"}) as answer:
        assert answer.headers["x-request-id"] == answer.headers["request-id"] == "mine-1"
        assert answer.headers["x-rabbitgw-request-id"] != "mine-1"
        assert (await answer.json())["request_id"] == "mine-1"
    for unfit in ("x" * 129, "caf\u00e9", ""):
        async with client.get("/healthz", headers={"X-Request-ID": unfit}) as answer:
            assert answer.headers["x-request-id"] == answer.headers["x-rabbitgw-request-id"]


async def test_every_refusal_is_json_with_an_id(client: TestClient[Any, Any]) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/wallets", 405),
        ("GET", "/v1/wallets", 401),
    ):
        async with client.request(method, path, headers={"X-Request-ID": "mine-2"}) as answer:
            body = await answer.json()
            assert answer.status == status
            assert set(body) == {"error", "request_id"}
            assert set(body["error"]) == {"code", "message", "field"}
            assert body["request_id"] == answer.headers["x-request-id"] == "mine-2"


async def test_root_names_the_program(client: TestClient[Any, Any]) -> None:
    async with client.get("/") as answer:
        assert {"name", "version", "docs", "request_id"} == set(await answer.json())
