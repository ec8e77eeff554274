"""/v1/admin/rates: what an operator can do with rates, and that it reaches Redis before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api.routes import SideDeps
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

Rule = tuple[str | None, int | None, int | None, int | None]


async def test_a_rate_is_made_listed_and_removed_and_the_key_knows_at_once(
    operator: Operator, client: TestClient[Any, Any], deps: SideDeps
) -> None:
    account_id, key_id, secret = await operator.account_with_key(rpm=9, parallel=2)
    (listed,) = (await operator.get("keys", account_id=str(account_id)))["keys"]
    assert (listed["rpm"], listed["tpm"], listed["parallel"]) == (9, None, 2)

    async def rules() -> list[Rule]:
        """As the gateway has them now, without asking PostgreSQL."""
        record = await deps.keyring.confirm(secret)
        return [(rule.model_pattern, rule.rpm, rule.tpm, rule.parallel) for rule in record.rates]

    assert await rules() == [(None, 9, None, 2)]
    place = {"entity_type": "account", "entity_id": account_id}
    terms = {"model_pattern": "gpt-*", "tpm": 500}
    made = await operator.post("rates", {**place, **terms})
    assert made.items() >= {**place, **terms, "account_id": account_id, "in_effect": True}.items()
    assert (made["rpm"], made["parallel"], made["removed_at"]) == (None, None, None)
    await operator.post("rates", {"entity_type": "key", "entity_id": key_id, "rpm": 5})
    assert await rules() == [(None, 9, None, 2), ("gpt-*", None, 500, None), (None, 5, None, None)]
    (listed,) = (await operator.get("keys", account_id=str(account_id)))["keys"]
    assert (listed["rpm"], listed["tpm"], listed["parallel"]) == (5, None, 2), "the tighter one"

    first = await operator.get("rates", account_id=str(account_id), limit="2")
    rest = await operator.get("rates", account_id=str(account_id), after=str(first["next"]))
    assert [one["rpm"] for one in (*first["rates"], *rest["rates"])] == [9, None, 5]
    assert (await operator.get("rates", account_id="77"))["rates"] == []

    path = f"rates/{made['id']}"
    removed = await operator.delete(path)
    assert removed["removed_at"] is not None
    assert (await operator.delete(path))["removed_at"] == removed["removed_at"]
    assert await rules() == [(None, 9, None, 2), (None, 5, None, None)]
    assert (await operator.delete("rates/77", 404))["error"]["message"] == "rate 77 does not exist"


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"entity_type": "planet"}, 400, "entity_type"),
        ({"entity_id": 77}, 404, "entity_id"),
        ({"entity_type": "user"}, 404, "entity_id"),
        ({"rpm": 0}, 400, "rpm"),
        ({"rpm": 1_000_001}, 400, "rpm"),
        ({"rpm": None}, 400, "rpm"),
        ({"tpm": 10**9 + 1}, 400, "tpm"),
        ({"parallel": -1}, 400, "parallel"),
        ({"parallel": "5"}, 400, "parallel"),
        ({"model_pattern": ""}, 400, "model_pattern"),
        ({"rps": 5}, 400, "rps"),
    ],
)
async def test_a_wrong_field_is_named(
    operator: Operator, fields: dict[str, Any], status: int, field: str
) -> None:
    account_id, _, _ = await operator.account_with_key()
    rate = {"entity_type": "account", "entity_id": account_id, "rpm": 5}
    refused = await operator.post("rates", {**rate, **fields}, status=status)
    assert refused["error"]["field"] == field
    assert (await operator.get("rates"))["rates"] == []


async def test_at_most_sixteen_stand_above_a_key(operator: Operator) -> None:
    account_id, key_id, _ = await operator.account_with_key(rpm=5)
    for rpm in range(1, 16):
        await operator.post("rates", {"entity_type": "account", "entity_id": account_id, "rpm": rpm})
    for place in (
        {"entity_type": "key", "entity_id": key_id},
        {"entity_type": "account", "entity_id": account_id},
    ):
        refused = await operator.post("rates", {**place, "rpm": 99}, status=409)
        assert refused["error"]["message"] == (
            f"key {key_id} would have 17 rates at and above it; at most 16 may bind a call"
        )
    made = await operator.post("keys", {"account_id": account_id, "name": "k", "tpm": 5})
    refused = await operator.post("keys", {"account_id": account_id, "name": "k", "tpm": 0}, status=400)
    assert refused["error"]["field"] == "tpm"
    removed = await operator.delete("rates/1")
    assert (removed["entity_type"], removed["entity_id"]) == ("key", key_id)
    assert len((await operator.get("rates"))["rates"]) == 16
    assert made["in_effect"]


async def test_a_move_to_a_team_brings_its_rates_or_is_refused(operator: Operator, deps: SideDeps) -> None:
    account_id, _, _ = await operator.account_with_key()
    user, team = [
        (await operator.post(kind, {"account_id": account_id, "name": "n"}))["id"]
        for kind in ("users", "teams")
    ]
    key = await operator.post("keys", {"account_id": account_id, "name": "k", "user_id": user, "rpm": 3})
    for rpm in range(1, 17):
        made = await operator.post("rates", {"entity_type": "team", "entity_id": team, "rpm": rpm})
    refused = await operator.post(f"users/{user}", {"team_id": team}, status=409)
    assert "17 rates" in refused["error"]["message"]
    await operator.delete(f"rates/{made['id']}")
    await operator.post(f"users/{user}", {"team_id": team})
    assert [rule.rpm for rule in (await deps.keyring.confirm(key["key"])).rates] == [3, *range(1, 16)]


async def test_a_rate_is_changed_limit_by_limit_upon_the_version_that_was_read(
    operator: Operator, client: TestClient[Any, Any], deps: SideDeps
) -> None:
    account_id, _, secret = await operator.account_with_key()
    rate = {"entity_type": "account", "entity_id": account_id, "model_pattern": "gpt-*", "rpm": 5, "tpm": 500}
    made = await operator.post("rates", rate)
    path = f"rates/{made['id']}"
    changed = await operator.post(path, {"rpm": None, "parallel": 3})
    after = {"rpm": None, "tpm": 500, "parallel": 3, "version": 2, "in_effect": True}
    assert changed.items() >= {**rate, **after, "id": made["id"]}.items()
    (rule,) = (await deps.keyring.confirm(secret)).rates
    assert (rule.model_pattern, rule.rpm, rule.tpm, rule.parallel) == ("gpt-*", None, 500, 3)
    assert (await operator.post(path, {}))["version"] == 2
    for wrong, field in (({"tpm": None, "parallel": None}, "rpm"), ({"tpm": 0}, "tpm"), ({"x": 1}, "x")):
        assert (await operator.post(path, wrong, status=400))["error"]["field"] == field

    async def change(method: str, if_match: str) -> int:
        sent = {"x-api-key": ADMIN_KEY, "if-match": if_match}
        body = {"tpm": 600} if method == "POST" else None
        async with client.request(method, f"/v1/admin/{path}", json=body, headers=sent) as answer:
            return answer.status

    assert [await change("POST", '"1"'), await change("POST", '"2"')] == [412, 200]
    assert [await change("DELETE", '"2"'), await change("DELETE", '"3"')] == [412, 200]
    removed = await operator.post(path, {"rpm": 1}, status=409)
    assert "was removed" in removed["error"]["message"]
    await operator.post("rates/77", {"rpm": 1}, status=404)
