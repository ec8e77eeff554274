"""The order of a request, and what is read of it where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient


@pytest.mark.parametrize("path", ["/healthz?a=1&a=2", "/readyz?%00", "/?x", "/openapi.json?cache=no"])
async def test_a_public_route_takes_any_query(client: TestClient[Any, Any], path: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 200


async def test_a_query_that_a_route_does_not_know_is_refused_by_name(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    _, key_id, secret = await operator.account_with_key()
    async with client.get("/v1/wallets?team_id=7", headers={"x-api-key": secret}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["field"] == "team_id"
    refused = await operator.post(f"keys/{key_id}/revoke?force=1", status=400)
    assert refused["error"]["field"] == "force"
    assert (await operator.get("keys"))["keys"][0]["revoked_at"] is None


async def test_who_asks_is_looked_at_before_what_is_asked(client: TestClient[Any, Any]) -> None:
    async with client.post("/v1/admin/accounts?x=1", data=b"{", headers={"x-api-key": "wrong"}) as answer:
        assert answer.status == 401


async def test_a_field_inside_a_field_is_named_whole(operator: Operator) -> None:
    price = {"pattern": "m", "tiers": {"priority": {"input_nanos_per_mtok": 1.5}}}
    refused = await operator.post("prices", price, status=400)
    assert refused["error"]["field"] == "tiers"
    assert refused["error"]["message"].startswith("tiers.priority.input_nanos_per_mtok: ")


async def test_a_name_that_a_caller_made_up_is_not_repeated_without_end(
    client: TestClient[Any, Any],
) -> None:
    body = b'{"name": "x", "' + b"y" * 500_000 + b'": 1}'
    async with client.post("/v1/admin/accounts", data=body, headers={"x-api-key": ADMIN_KEY}) as answer:
        assert answer.status == 400
        assert len(await answer.read()) < 1000
