"""/v1/admin/users: what an operator can do with users, and what becomes of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient


@pytest.fixture
async def account_id(operator: Operator) -> int:
    return int((await operator.post("accounts", {"name": "Acme"}))["id"])


async def new_user(operator: Operator, account_id: int, **fields: Any) -> int:
    return int((await operator.post("users", {"account_id": account_id, "name": "Ann", **fields}))["id"])


async def status_of(client: TestClient[Any, Any], secret: str) -> int:
    async with client.get("/v1/wallets", headers={"x-api-key": secret}) as answer:
        return answer.status


async def test_a_user_is_made_read_listed_and_changed(operator: Operator, account_id: int) -> None:
    fields = {"account_id": account_id, "name": "Ann", "email": "Ann@Example.com", "external_id": "crm-17"}
    made = await operator.post("users", fields)
    made.pop("request_id")
    assert made.items() >= {**fields, "email": "ann@example.com", "disabled_at": None}.items()
    assert isinstance(made["id"], int)
    read = await operator.get(f"users/{made['id']}")
    read.pop("request_id")
    assert read == made
    second = await new_user(operator, account_id)
    page = await operator.get("users", account_id=str(account_id), limit="1")
    assert (page["users"], page["next"]) == ([made], made["id"])
    rest = await operator.get("users", account_id=str(account_id), after=str(page["next"]))
    assert ([user["id"] for user in rest["users"]], rest["next"]) == ([second], None)
    changed = await operator.post(f"users/{made['id']}", {"name": "Ann B.", "email": None})
    assert (changed["name"], changed["email"], changed["external_id"]) == ("Ann B.", None, "crm-17")


async def test_a_twin_is_a_conflict_that_names_the_field(operator: Operator, account_id: int) -> None:
    await new_user(operator, account_id, email="ann@example.com", external_id="crm-17")
    for field, value in (("email", "ANN@example.com"), ("external_id", "crm-17")):
        twin = {"account_id": account_id, "name": "Twin", field: value}
        refused = await operator.post("users", twin, status=409)
        assert (refused["error"]["code"], refused["error"]["field"]) == ("conflict", field)
        assert "ann" not in refused["error"]["message"].lower()


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("users", {"name": "x"}, "account_id"),
        ("users", {"account_id": 1}, "name"),
        ("users", {"account_id": 1, "name": 5}, "name"),
        ("users", {"account_id": 1, "name": "x", "email": "x"}, "email"),
        ("users", {"account_id": 1, "name": "x", "external_id": 17}, "external_id"),
        ("users", {"account_id": 1, "name": "x", "role": "admin"}, "role"),
        ("users/1", {"account_id": 2}, "account_id"),  # a user stays where it is
        ("users/1", {"name": None}, "name"),
        ("users/1", {"name": ""}, "name"),
        ("users/1", {"disabled_at": None}, "disabled_at"),
        ("users/1/disable", {"why": "x"}, "why"),
        ("keys", {"account_id": 1, "name": "k", "user_id": "1"}, "user_id"),
    ],
)
async def test_a_wrong_field_is_named(
    operator: Operator, account_id: int, path: str, fields: dict[str, Any], field: str
) -> None:
    await new_user(operator, account_id)
    refused = await operator.post(path, fields, status=400)
    assert refused["error"]["field"] == field


async def test_unknown_users_are_not_found(operator: Operator, account_id: int) -> None:
    await operator.get("users/77", 404)
    for path in ("users/77", "users/77/disable", "users/77/enable"):
        await operator.post(path, status=404)
    await operator.post("users", {"account_id": 77, "name": "x"}, status=404)
    other = (await operator.post("accounts", {"name": "Other"}))["id"]
    foreign = await new_user(operator, other)
    for user_id in (77, foreign):
        key = {"account_id": account_id, "name": "k", "user_id": user_id}
        refused = await operator.post("keys", key, status=404)
        assert refused["error"]["field"] == "user_id"


async def test_keys_of_a_disabled_user_are_refused_on_the_next_request_and_come_back(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    account_id, _, nobodys = await operator.account_with_key()
    user_id = await new_user(operator, account_id)
    key = {"account_id": account_id, "name": "k", "user_id": user_id}
    secrets = [(await operator.post("keys", key))["key"] for _ in range(2)]
    listed = (await operator.get("keys", account_id=str(account_id)))["keys"]
    assert [one["user_id"] for one in listed] == [None, user_id, user_id]
    assert [await status_of(client, secret) for secret in secrets] == [200, 200]

    disabled = await operator.post(f"users/{user_id}/disable")
    assert disabled["in_effect"] is True
    assert disabled["disabled_at"] is not None
    assert [await status_of(client, secret) for secret in (*secrets, nobodys)] == [401, 401, 200]
    again = await operator.post(f"users/{user_id}/disable")
    assert again["disabled_at"] == disabled["disabled_at"]
    refused = await operator.post("keys", key, status=409)
    assert refused["error"]["field"] == "user_id"

    enabled = await operator.post(f"users/{user_id}/enable")
    assert (enabled["in_effect"], enabled["disabled_at"]) == (True, None)
    assert [await status_of(client, secret) for secret in secrets] == [200, 200]


async def test_disabling_says_when_redis_was_not_reached(operator: Operator, scripts: Scripts) -> None:
    account_id, _, _ = await operator.account_with_key()
    user_id = await new_user(operator, account_id)
    await operator.post("keys", {"account_id": account_id, "name": "k", "user_id": user_id})
    present = scripts.names
    scripts.use(KeyNames(present.partitions, present.epoch + 1))  # another epoch: Redis takes nothing
    assert (await operator.post(f"users/{user_id}/disable"))["in_effect"] is False
    scripts.use(present)
    assert (await operator.post(f"users/{user_id}/disable"))["in_effect"] is True


async def test_no_address_gets_into_a_log(
    operator: Operator, account_id: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    address = "zoe@example.com"
    user_id = await new_user(operator, account_id, email=address)
    await operator.post("users", {"account_id": account_id, "name": "x", "email": address}, status=409)
    await operator.post(f"users/{user_id}", {"email": "other@example.com"})
    await operator.post("users", {"account_id": account_id, "name": "x", "email": "odd one@x"}, status=400)
    told = caplog.text + "".join(capsys.readouterr()) + str([record.__dict__ for record in caplog.records])
    assert "side_route_refused" in told
    for part in (address, "other@", "odd one", ADMIN_KEY):
        assert part not in told
