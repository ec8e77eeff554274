"""/v1/admin: what an operator can do, and what is refused."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.billing.key_secret import well_formed
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.stores import Pool


async def test_accounts_are_made_and_listed_in_pages(operator: Operator) -> None:
    ids = [(await operator.post("accounts", {"name": f"Acme {n}"}))["id"] for n in range(3)]
    first = await operator.get("accounts", limit="2")
    assert [account["id"] for account in first["accounts"]] == ids[:2]
    rest = await operator.get("accounts", limit="2", after=str(first["next"]))
    assert [account["name"] for account in rest["accounts"]] == ["Acme 2"]
    assert rest["next"] is None
    assert rest["accounts"][0]["currency"] == "USD"


async def test_a_key_is_shown_once(operator: Operator) -> None:
    account_id, key_id, secret = await operator.account_with_key(
        models=["gpt-*"], lifetime_limit_nanos=5, daily_limit_nanos=3, expires_at="2099-01-01T00:00:00+08:00"
    )
    assert well_formed(secret)
    listed = await operator.get("keys", account_id=str(account_id))
    assert secret not in str(listed)
    (key,) = listed["keys"]
    assert key["id"] == key_id
    assert key["prefix"] == secret[:10]
    assert key["models"] == ["gpt-*"]
    assert (key["lifetime_limit_nanos"], key["daily_limit_nanos"]) == (5, 3)
    assert key["expires_at"] == "2098-12-31T16:00:00.000Z"


@pytest.mark.parametrize("field", ["rps", "tpd", "rpm_limit", "grace_s", "account"])
async def test_a_field_that_is_not_enforced_is_refused_by_name(operator: Operator, field: str) -> None:
    account_id = (await operator.post("accounts", {"name": "Acme"}))["id"]
    refused = await operator.post("keys", {"account_id": account_id, "name": "k", field: 1}, status=400)
    assert refused["error"]["code"] == "invalid_request"
    assert refused["error"]["field"] == field
    assert field in refused["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "account_id"),
        ({"account_id": 1}, "name"),
        ({"account_id": "1", "name": "k"}, "account_id"),
        ({"account_id": True, "name": "k"}, "account_id"),
        ({"account_id": 1.0, "name": "k"}, "account_id"),
        ({"account_id": 0, "name": "k"}, "account_id"),
        ({"account_id": 2**63, "name": "k"}, "account_id"),
        ({"account_id": 1, "name": 7}, "name"),
        ({"account_id": 1, "name": "k\u0007"}, "name"),
        ({"account_id": 1, "name": "k", "models": "gpt"}, "models"),
        ({"account_id": 1, "name": "k", "models": [1]}, "models"),
        ({"account_id": 1, "name": "k", "daily_limit_nanos": 0.5}, "daily_limit_nanos"),
        ({"account_id": 1, "name": "k", "daily_limit_nanos": -1}, "daily_limit_nanos"),
        ({"account_id": 1, "name": "k", "expires_at": 1799999999}, "expires_at"),
        ({"account_id": 1, "name": "k", "expires_at": "tomorrow"}, "expires_at"),
        ({"account_id": 1, "name": "k", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"account_id": 1, "name": "k", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_a_wrong_key_names_its_field(operator: Operator, fields: dict[str, Any], field: str) -> None:
    await operator.post("accounts", {"name": "Acme"})
    refused = await operator.post("keys", fields, status=400)
    assert refused["error"]["field"] == field
    assert (await operator.get("keys"))["keys"] == []


async def test_unknown_ids_are_not_found(operator: Operator) -> None:
    await operator.post("keys", {"account_id": 77, "name": "k"}, status=404)
    await operator.post("keys/77/revoke", status=404)
    await operator.post("keys/77/rotate", status=404)
    await operator.post(f"keys/{10**30}/revoke", status=404)
    await operator.get("wallets", 404, account_id="77")
    refused = await operator.post("keys/abc/revoke", status=404)
    assert refused["error"]["code"] == "not_found"


async def test_revoked_and_rotated_secrets_are_refused_on_the_next_request(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    _, key_id, old = await operator.account_with_key()

    async def status_of(secret: str) -> int:
        async with client.get("/v1/wallets", headers={"x-api-key": secret}) as answer:
            return answer.status

    assert await status_of(old) == 200
    new = (await operator.post(f"keys/{key_id}/rotate"))["key"]
    assert (await status_of(old), await status_of(new)) == (401, 200)
    revoked = await operator.post(f"keys/{key_id}/revoke", {})
    assert revoked["in_effect"] is True
    assert revoked["revoked_at"] is not None
    assert await status_of(new) == 401
    again = await operator.post(f"keys/{key_id}/revoke")
    assert again["revoked_at"] == revoked["revoked_at"]
    await operator.post(f"keys/{key_id}/rotate", status=409)


@pytest.mark.parametrize("grace_s", [-1, 30 * 86_400 + 1, 10**19, "60", 1.5, True, None])
async def test_a_grace_period_has_limits(operator: Operator, grace_s: Any) -> None:
    _, key_id, _ = await operator.account_with_key()
    refused = await operator.post(f"keys/{key_id}/rotate", {"grace_s": grace_s}, status=400)
    assert refused["error"]["field"] == "grace_s"


async def test_revoking_says_when_redis_was_not_reached(operator: Operator, scripts: Scripts) -> None:
    _, key_id, _ = await operator.account_with_key()
    present = scripts.names
    scripts.use(KeyNames(present.partitions, present.epoch + 1))  # another epoch: Redis takes nothing
    assert (await operator.post(f"keys/{key_id}/revoke"))["in_effect"] is False
    scripts.use(present)
    assert (await operator.post(f"keys/{key_id}/revoke"))["in_effect"] is True


async def test_credit_is_booked_once_per_key_and_can_be_spent_at_once(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    account_id, _, secret = await operator.account_with_key()
    credit = {"account_id": account_id, "currency": "USD", "amount_nanos": 12_345_678_900}
    first = await operator.post("wallets/credit", {**credit, "idempotency_key": "a"})
    assert (first["balance_nanos"], first["seq"]) == (12_345_678_900, 1)
    await operator.post("wallets/credit", {**credit, "idempotency_key": "b"})
    again = await operator.post("wallets/credit", {**credit, "idempotency_key": "a"})
    first.pop("request_id")
    again.pop("request_id")
    assert again == first
    conflict = await operator.post(
        "wallets/credit", {**credit, "amount_nanos": 1, "idempotency_key": "a"}, status=409
    )
    assert conflict["error"]["code"] == "conflict"
    expected = {
        "currency": "USD",
        "balance_nanos": 24_691_357_800,
        "held_nanos": 0,
        "available_nanos": 24_691_357_800,
        "balance": "24.691357800",
    }
    assert (await operator.get("wallets", account_id=str(account_id)))["wallets"] == [expected]
    async with client.get("/v1/wallets", headers={"authorization": f"Bearer {secret}"}) as answer:
        assert (await answer.json())["wallets"] == [expected]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"amount_nanos": 0}, "amount_nanos"),
        ({"amount_nanos": -5}, "amount_nanos"),
        ({"amount_nanos": 1.5}, "amount_nanos"),
        ({"amount_nanos": "5"}, "amount_nanos"),
        ({"amount_nanos": 9 * 10**18 + 1}, "amount_nanos"),
        ({"amount_nanos": 10**30}, "amount_nanos"),
        ({"currency": "EUR"}, "currency"),
        ({"currency": "usd"}, "currency"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"idempotency_key": None}, "idempotency_key"),
        ({"amount": 5}, "amount"),
    ],
)
async def test_a_wrong_credit_names_its_field(operator: Operator, wrong: dict[str, Any], field: str) -> None:
    account_id = (await operator.post("accounts", {"name": "Acme"}))["id"]
    credit = {"account_id": account_id, "currency": "USD", "amount_nanos": 5, "idempotency_key": "k"}
    refused = await operator.post("wallets/credit", {**credit, **wrong}, status=400)
    assert refused["error"]["field"] == field
    wallets = await operator.get("wallets", account_id=str(account_id))
    assert wallets["wallets"][0]["balance_nanos"] == 0


async def test_prices_are_set_and_listed(operator: Operator) -> None:
    price = {
        "pattern": "gpt-4o*",
        "input_nanos_per_mtok": 2_500_000_000,
        "output_nanos_per_mtok": 10_000_000_000,
        "cached_input_nanos_per_mtok": 1_250_000_000,
    }
    made = await operator.post("prices", price)
    assert made["price_version"] >= 1
    assert price.items() <= made.items()
    (listed,) = (await operator.get("prices"))["prices"]
    assert listed["price_version"] == made["price_version"]
    dearer = await operator.post("prices", {**price, "output_nanos_per_mtok": 11_000_000_000})
    history = await operator.get("prices", pattern="gpt-4o*")
    assert [version["price_version"] for version in history["prices"]] == [
        dearer["price_version"],
        made["price_version"],
    ]
    refused = await operator.post("prices", {**price, "margin": 2}, status=400)
    assert refused["error"]["field"] == "margin"


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"after": "x"}, {"page": "2"}, {"after": "\0"}]
)
async def test_a_wrong_query_names_its_field(operator: Operator, query: dict[str, str]) -> None:
    refused = await operator.get("accounts", 400, **query)
    assert refused["error"]["field"] == next(iter(query))


async def test_nothing_of_a_refused_body_is_done(operator: Operator, client: TestClient[Any, Any]) -> None:
    headers = {"x-api-key": ADMIN_KEY, "content-type": "text/plain"}
    for body in (
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"name": "x"} trailing',
        b"[" * 100_000,
        rb'{"name": "\u0000"}',
    ):
        async with client.post("/v1/admin/accounts", data=body, headers=headers) as answer:
            assert answer.status == 400, body[:20]
            assert (await answer.json())["error"]["code"] == "invalid_request"
    large = b'{"name": "' + b"x" * 1_100_000 + b'"}'
    async with client.post("/v1/admin/accounts", data=io.BytesIO(large), headers=headers) as answer:
        assert answer.status == 413
        assert (await answer.json())["error"]["code"] == "request_too_large"
    assert (await operator.get("accounts"))["accounts"] == []
    async with client.post("/v1/admin/accounts", data=b'{"name": "x"}', headers=headers) as answer:
        assert answer.status == 200


async def test_postgres_away_is_503_and_says_so(operator: Operator, pg: Pool) -> None:
    await pg.close()
    refused = await operator.get("accounts", 503)
    assert refused["error"]["code"] == "service_unavailable"
