"""/v1/admin/windows: what an operator can do with spend windows, and that it reaches Redis before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api.routes import SideDeps
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient


async def test_a_window_is_made_listed_changed_and_removed_and_the_key_knows_at_once(
    operator: Operator, client: TestClient[Any, Any], deps: SideDeps
) -> None:
    account_id, key_id, secret = await operator.account_with_key(daily_limit_nanos=7)
    place = {"entity_type": "account", "entity_id": account_id}
    terms = {"kind": "month", "limit_nanos": 500, "timezone": "Europe/Berlin", "reset_time": "06:30"}

    async def limits() -> list[tuple[str, int, int]]:
        record = await deps.keyring.refresh(secret)
        return [(rule.kind, rule.limit_nanos, rule.extra_nanos) for rule in record.windows]

    await deps.keyring.find(secret)
    made = await operator.post("windows", {**place, **terms})
    assert made.items() >= {**place, **terms, "account_id": account_id, "in_effect": True}.items()
    assert (made["extra_nanos"], made["extra_until"], made["removed_at"]) == (0, None, None)
    assert await limits() == [("day", 7, 0), ("month", 500, 0)]
    life = await operator.post(
        "windows", {"entity_type": "key", "entity_id": key_id, "kind": "lifetime", "limit_nanos": 0}
    )
    assert (life["timezone"], life["reset_time"], life["limit_nanos"]) == (None, None, 0)

    path = f"windows/{made['id']}"
    until = "2099-01-01T00:00:00.000Z"
    raised = await operator.post(path, {"limit_nanos": 600, "extra_nanos": 50, "extra_until": until})
    assert (raised["limit_nanos"], raised["extra_nanos"], raised["extra_until"]) == (600, 50, until)
    assert (await operator.post(path, {}))["limit_nanos"] == 600
    assert await limits() == [("day", 7, 0), ("month", 600, 50), ("lifetime", 0, 0)]
    ended = await operator.post(path, {"extra_nanos": 0, "extra_until": None})
    assert (ended["extra_nanos"], ended["extra_until"]) == (0, None)

    first = await operator.get("windows", account_id=str(account_id), limit="2")
    rest = await operator.get("windows", account_id=str(account_id), after=str(first["next"]))
    assert [one["kind"] for one in (*first["windows"], *rest["windows"])] == ["day", "month", "lifetime"]
    assert (await operator.get("windows", account_id="77"))["windows"] == []

    removed = await operator.delete(path)
    assert removed["removed_at"] is not None
    assert (await operator.delete(path))["removed_at"] == removed["removed_at"]
    assert await limits() == [("day", 7, 0), ("lifetime", 0, 0)]
    await operator.post(path, {"limit_nanos": 5}, status=409)


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"entity_type": "planet"}, 400, "entity_type"),
        ({"entity_id": "1"}, 400, "entity_id"),
        ({"entity_id": 77}, 404, "entity_id"),
        ({"entity_type": "team"}, 404, "entity_id"),
        ({"kind": "year"}, 400, "kind"),
        ({"limit_nanos": -1}, 400, "limit_nanos"),
        ({"limit_nanos": 10**19}, 400, "limit_nanos"),
        ({"limit_nanos": 1.5}, 400, "limit_nanos"),
        ({"timezone": "UTC+8"}, 400, "timezone"),
        ({"reset_time": "7:00"}, 400, "reset_time"),
        ({"kind": "lifetime", "timezone": "+08:00"}, 400, "timezone"),
        ({"extra_nanos": 5}, 400, "extra_nanos"),
        ({"rpm": 5}, 400, "rpm"),
    ],
)
async def test_a_wrong_field_is_named(
    operator: Operator, fields: dict[str, Any], status: int, field: str
) -> None:
    account_id, _, _ = await operator.account_with_key()
    window = {"entity_type": "account", "entity_id": account_id, "kind": "day", "limit_nanos": 5}
    refused = await operator.post("windows", {**window, **fields}, status=status)
    assert refused["error"]["field"] == field
    assert (await operator.get("windows"))["windows"] == []


async def test_a_change_that_is_none_is_refused_and_changes_nothing(operator: Operator) -> None:
    account_id, _, _ = await operator.account_with_key()
    window = {"entity_type": "account", "entity_id": account_id, "kind": "day", "limit_nanos": 5}
    made = await operator.post("windows", window)
    until = "2099-01-01T00:00:00Z"
    for fields, field in (
        ({"extra_nanos": 5}, "extra_until"),
        ({"extra_until": until}, "extra_nanos"),
        ({"extra_nanos": 5, "extra_until": None}, "extra_until"),
        ({"extra_nanos": 5, "extra_until": "2020-01-01T00:00:00Z"}, "extra_until"),
        ({"extra_nanos": None, "extra_until": until}, "extra_nanos"),
        ({"limit_nanos": None}, "limit_nanos"),
        ({"kind": "week"}, "kind"),
        ({"timezone": "+00:00"}, "timezone"),
    ):
        refused = await operator.post(f"windows/{made['id']}", fields, status=400)
        assert refused["error"]["field"] == field
    for answer in (await operator.post("windows/77", {}, 404), await operator.delete("windows/77", 404)):
        assert answer["error"]["message"] == "window 77 does not exist"
    (listed,) = (await operator.get("windows"))["windows"]
    assert listed.items() <= made.items()


async def test_two_operators_at_once(operator: Operator, client: TestClient[Any, Any]) -> None:
    account_id, _, _ = await operator.account_with_key()
    window = {"entity_type": "account", "entity_id": account_id, "kind": "day", "limit_nanos": 500}
    path = f"/v1/admin/windows/{(await operator.post('windows', window))['id']}"

    async def change(method: str, if_match: str, **body: Any) -> tuple[int, str | None]:
        sent = {"x-api-key": ADMIN_KEY, "if-match": if_match}
        async with client.request(method, path, json=body or None, headers=sent) as answer:
            return answer.status, answer.headers.get("etag")

    assert await change("POST", '"1"', limit_nanos=600) == (200, '"2"')
    assert await change("POST", '"1"', limit_nanos=700) == (412, None)
    assert await change("DELETE", '"1"') == (412, None)
    (kept,) = (await operator.get("windows", account_id=str(account_id)))["windows"]
    assert (kept["limit_nanos"], kept["version"]) == (600, 2)
    assert await change("DELETE", '"2"') == (200, '"3"')


async def test_a_seventeenth_window_and_a_redis_that_is_not_reached_are_told(
    operator: Operator, scripts: Scripts
) -> None:
    account_id, _, _ = await operator.account_with_key()
    window = {"entity_type": "account", "entity_id": account_id, "kind": "day", "limit_nanos": 5}
    present = scripts.names
    scripts.use(KeyNames(present.partitions, present.epoch + 1))  # another epoch: Redis takes nothing
    assert (await operator.post("windows", window))["in_effect"] is False
    scripts.use(present)
    for _ in range(15):
        assert (await operator.post("windows", window))["in_effect"] is True
    refused = await operator.post("windows", window, status=409)
    assert "would have 17 spend windows" in refused["error"]["message"]
    assert len((await operator.get("windows"))["windows"]) == 16
