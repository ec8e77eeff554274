"""/v1/admin/teams, and users in them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Operator


async def test_teams_are_made_and_listed_and_users_move_between_them(operator: Operator) -> None:
    account_id, _, _ = await operator.account_with_key()
    made = [await operator.post("teams", {"account_id": account_id, "name": name}) for name in "ab"]
    assert {**made[0], "created_at": "", "request_id": ""} == {
        "id": made[0]["id"],
        "account_id": account_id,
        "name": "a",
        "created_at": "",
        "request_id": "",
    }
    first = await operator.get("teams", account_id=str(account_id), limit="1")
    rest = await operator.get("teams", account_id=str(account_id), after=str(first["next"]))
    assert [team["id"] for team in (*first["teams"], *rest["teams"])] == [team["id"] for team in made]
    assert rest["next"] is None
    ann = await operator.post("users", {"account_id": account_id, "name": "Ann", "team_id": made[0]["id"]})
    assert ann["team_id"] == made[0]["id"]
    await operator.post("keys", {"account_id": account_id, "name": "k", "user_id": ann["id"]})
    for team_id in (made[1]["id"], None):
        moved = await operator.post(f"users/{ann['id']}", {"team_id": team_id})
        assert (moved["team_id"], moved["in_effect"]) == (team_id, True)


@pytest.mark.parametrize(
    ("path", "fields", "status", "field"),
    [
        ("teams", {"account_id": 1}, 400, "name"),
        ("teams", {"account_id": 1, "name": ""}, 400, "name"),
        ("teams", {"account_id": 1, "name": "x", "limit_nanos": 5}, 400, "limit_nanos"),
        ("teams", {"account_id": 77, "name": "x"}, 404, "account_id"),
        ("users", {"account_id": 1, "name": "x", "team_id": "1"}, 400, "team_id"),
        ("users", {"account_id": 1, "name": "x", "team_id": 77}, 404, "team_id"),
        ("users/1", {"team_id": 77}, 404, "team_id"),
    ],
)
async def test_a_wrong_field_is_named(
    operator: Operator, path: str, fields: dict[str, Any], status: int, field: str
) -> None:
    await operator.account_with_key()
    await operator.post("users", {"account_id": 1, "name": "Ann"})
    refused = await operator.post(path, fields, status=status)
    assert refused["error"]["field"] == field
