"""/v1/admin/keys/{id}: read and changed, by one operator and by two at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

NOTES = {"metadata": {"crm": "17", "owner": "Ann \u00e4"}, "tags": ["prod", "eu"]}


async def test_a_key_is_read_and_changed_field_by_field(operator: Operator) -> None:
    account_id, key_id, secret = await operator.account_with_key(models=["a*"], **NOTES)
    key = await operator.get(f"keys/{key_id}")
    assert key.items() >= {"id": key_id, "models": ["a*"], "generation": 1, **NOTES}.items()
    assert secret not in str(key)
    changes: dict[str, Any] = {
        "name": "other",
        "models_denied": ["b"],
        "scopes": ["chat"],
        "ip_allowlist": ["203.0.113.9"],
        "metadata": {"a": ""},
        "tags": None,
        "expires_at": "2099-01-01T00:00:00Z",
    }
    changed = await operator.post(f"keys/{key_id}", changes)
    expected = {
        **changes,
        "models": ["a*"],
        "ip_allowlist": ["203.0.113.9/32"],
        "tags": [],
        "expires_at": "2099-01-01T00:00:00.000Z",
        "generation": 2,
        "in_effect": True,
    }
    assert changed.items() >= expected.items()
    (listed,) = (await operator.get("keys", account_id=str(account_id)))["keys"]
    assert changed.items() >= listed.items()
    assert (await operator.post(f"keys/{key_id}", {}))["generation"] == 2
    await operator.post(f"keys/{key_id}/revoke")
    await operator.post(f"keys/{key_id}", {"name": "late"}, status=409)
    await operator.post("keys/999", {"name": "x"}, status=404)


async def test_a_change_is_made_upon_the_version_that_was_read(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    _, key_id, _ = await operator.account_with_key()
    url = f"/v1/admin/keys/{key_id}"

    async def change(name: str, **headers: str) -> tuple[int, str | None]:
        sent = {"x-api-key": ADMIN_KEY, **headers}
        async with client.post(url, json={"name": name}, headers=sent) as answer:
            return answer.status, (await answer.json()).get("error", {}).get("code")

    async with client.get(url, headers={"x-api-key": ADMIN_KEY}) as answer:
        etag = answer.headers["etag"]
    assert etag == '"1"'
    assert await change("first", **{"if-match": etag}) == (200, None)
    assert await change("second", **{"if-match": etag}) == (412, "precondition_failed")
    assert (await operator.get(f"keys/{key_id}"))["name"] == "first"
    assert await change("third") == (200, None)
    assert await change("fourth", **{"if-match": "nonsense"}) == (400, "invalid_request")
    assert (await operator.get(f"keys/{key_id}"))["name"] == "third"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": None}, "name"),
        ({"models": []}, "models"),
        ({"scopes": ["root"]}, "scopes"),
        ({"ip_allowlist": ["10.0.0.1/8"]}, "ip_allowlist"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"tags": ["x"] * 17}, "tags"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"account_id": 2}, "account_id"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_changed(
    operator: Operator, fields: dict[str, Any], field: str
) -> None:
    _, key_id, _ = await operator.account_with_key()
    refused = await operator.post(f"keys/{key_id}", {"name": "changed", **fields}, status=400)
    assert refused["error"]["field"] == field
    assert (await operator.get(f"keys/{key_id}"))["name"] == "k"
