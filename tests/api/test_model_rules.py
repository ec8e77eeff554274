"""/v1/admin/model_rules: what an operator can do with them, and that every key below knows before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api.routes import SideDeps
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient


async def test_rules_of_account_team_and_user_are_merged_into_the_key(
    operator: Operator, deps: SideDeps
) -> None:
    account_id, _, other = await operator.account_with_key()
    team, away = [
        (await operator.post("teams", {"account_id": account_id, "name": name}))["id"] for name in "ab"
    ]
    user = (await operator.post("users", {"account_id": account_id, "name": "n", "team_id": team}))["id"]
    key = await operator.post(
        "keys", {"account_id": account_id, "name": "k", "user_id": user, "models_denied": ["gpt-9"]}
    )

    async def set_rule(entity_type: str, entity_id: int, **lists: Any) -> dict[str, Any]:
        place = {"entity_type": entity_type, "entity_id": entity_id}
        return await operator.post("model_rules", {**place, **lists})

    async def refusers(secret: str, *models: str) -> list[str | None]:
        """By the record that a gateway has now, without asking PostgreSQL."""
        record = await deps.keyring.confirm(secret)
        said = [record.refuser(model) for model in models]
        assert [record.allows(model) for model in models] == [one is None for one in said]
        return said

    asked = ("gpt-4o", "gpt-4o-preview", "claude", "o1", "gpt-9")
    assert await refusers(key["key"], *asked) == [None, None, None, None, "this key"]
    of_account = await set_rule("account", account_id, deny=["*-preview"])
    of_team = await set_rule("team", team, allow=["gpt-*", "claude"])
    of_user = await set_rule("user", user, allow=["gpt-*", "o1"], deny=["claude"])
    await set_rule("team", away, deny=["*"])
    assert of_account.items() >= {"account_id": account_id, "allow": None, "in_effect": True}.items()
    assert await refusers(key["key"], *asked) == [
        None,
        f"the account of this key ({account_id})",
        f"the user of this key ({user})",
        f"the team of this key ({team})",
        "this key",
    ]
    assert await refusers(other, *asked) == [
        None, f"the account of this key ({account_id})", None, None, None,
    ]  # fmt: skip
    again = await set_rule("user", user, allow=["gpt-*"])
    assert again.items() >= {"id": of_user["id"], "version": 2, "deny": None}.items(), "one per entity"
    first = await operator.get("model_rules", account_id=str(account_id), limit="3")
    rest = await operator.get("model_rules", account_id=str(account_id), after=str(first["next"]))
    listed = [*first["model_rules"], *rest["model_rules"]]
    assert [rule["entity_type"] for rule in listed] == ["account", "team", "user", "team"]

    removed = await operator.delete(f"model_rules/{of_team['id']}")
    assert removed["removed_at"] is not None
    assert (await operator.delete(f"model_rules/{of_team['id']}"))["removed_at"] == removed["removed_at"]
    assert await refusers(key["key"], "claude", "gpt-4o") == [f"the user of this key ({user})", None]
    await operator.post(f"users/{user}", {"team_id": away})
    assert await refusers(key["key"], "gpt-4o") == [f"the team of this key ({away})"]
    anew = await set_rule("team", team, deny=["x"])
    assert (anew["id"] != of_team["id"], anew["version"]) == (True, 1)
    assert "77 does not exist" in (await operator.delete("model_rules/77", 404))["error"]["message"]


async def test_a_rule_is_changed_upon_the_version_that_was_read(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    account_id, _, _ = await operator.account_with_key()
    place = {"entity_type": "account", "entity_id": account_id}

    async def set_rule(deny: str, if_match: str | None = None) -> tuple[int, str | None]:
        headers = {"x-api-key": ADMIN_KEY, **({"if-match": if_match} if if_match else {})}
        body = {**place, "deny": [deny]}
        async with client.post("/v1/admin/model_rules", json=body, headers=headers) as answer:
            return answer.status, answer.headers.get("etag")

    assert await set_rule("a", '"1"') == (412, None), "there is none"
    assert await set_rule("a") == (200, '"1"')
    assert await set_rule("b", '"1"') == (200, '"2"')
    assert await set_rule("c", '"1"') == (412, None)
    (rule,) = (await operator.get("model_rules"))["model_rules"]
    assert (rule["deny"], rule["version"]) == (["b"], 2)
    path = f"/v1/admin/model_rules/{rule['id']}"
    for if_match, status in (('"1"', 412), ('"2"', 200)):
        headers = {"x-api-key": ADMIN_KEY, "if-match": if_match}
        async with client.delete(path, headers=headers) as answer:
            assert answer.status == status
    assert (await operator.get("model_rules"))["model_rules"] == []


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"entity_type": "key"}, 400, "entity_type"),
        ({"entity_id": 77}, 404, "entity_id"),
        ({"deny": None}, 400, "allow"),
        ({"deny": []}, 400, "deny"),
        ({"allow": [""]}, 400, "allow"),
        ({"allow": ["x" * 257]}, 400, "allow"),
        ({"allow": ["x"] * 101}, 400, "allow"),
        ({"deny": ["a\u0007"]}, 400, "deny"),
        ({"deny": "gpt"}, 400, "deny"),
        ({"models": ["gpt"]}, 400, "models"),
    ],
)
async def test_a_wrong_field_is_named(
    operator: Operator, fields: dict[str, Any], status: int, field: str
) -> None:
    account_id, _, _ = await operator.account_with_key()
    rule = {"entity_type": "account", "entity_id": account_id, "deny": ["x"]}
    refused = await operator.post("model_rules", {**rule, **fields}, status=status)
    assert refused["error"]["field"] == field
    assert (await operator.get("model_rules"))["model_rules"] == []
