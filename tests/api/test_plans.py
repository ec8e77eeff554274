"""/v1/plans: what an operator may make of plans, and every way in which it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import ADMIN_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.api.conftest import Operator


class Plans:
    """The routes of plans, by the operator."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        sent = {"x-api-key": ADMIN_KEY, **(headers or {})}
        url = f"/v1/plans{path}"
        async with self.operator.client.request(method, url, json=body, headers=sent) as answer:
            said: dict[str, Any] = await answer.json()
            assert answer.status == status, said
            said["etag"] = answer.headers.get("etag")
            return said

    async def post(self, path: str, body: Mapping[str, Any] | None = None, **how: Any) -> dict[str, Any]:
        return await self.ask("POST", path, body, **how)

    async def made(self, name: str = "team", **fields: Any) -> int:
        plan = {"name": name, "type": "daily_limit", "currency": "USD", **fields}
        return int((await self.post("", plan))["id"])

    async def refused(self, path: str, body: Mapping[str, Any], status: int, field: str | None) -> str:
        said = await self.post(path, body, status=status)
        assert said["error"]["field"] == field
        return str(said["error"]["message"])


@pytest.fixture
def plans(operator: Operator) -> Plans:
    return Plans(operator)


LIMIT = {"daily_limit_cents": 500, "timezone": "Europe/Berlin", "reset_time": "06:00"}
RULE = {"model_pattern": "gpt-*", "unit": "token", "base_price": "2.50", "output_multiplier": "4"}


async def test_a_plan_is_made_shown_changed_and_archived(plans: Plans) -> None:
    plan_id = await plans.made()
    limit = await plans.post("/daily_limit", {"plan_id": plan_id, **LIMIT})
    rule = await plans.post("/pricing", {"plan_id": plan_id, **RULE, "min_charge_cents": 2})
    shown = await plans.ask("GET", f"/{plan_id}")
    assert shown["daily_limit"] == {
        "id": limit["id"],
        "plan_id": plan_id,
        "daily_limit_cents": 500,
        "overflow_policy": ["block"],
        "reset_time": "06:00",
        "timezone": "Europe/Berlin",
        "grace_cents": 0,
        "grace_charged": False,
        "degrade_map": {},
        "degrade_default": None,
        "degrade_cents": None,
        "funding": "wallet",
        "shadow": False,
    }
    (pricing,) = shown["pricing"]
    assert (pricing["price_version"], pricing["output_nanos_per_mtok"]) == (rule["id"], 10_000_000_000)
    assert rule["min_charge_cents"] == 2
    changed = await plans.post(f"/daily_limit/{limit['id']}", {"daily_limit_cents": 700})
    assert (changed["daily_limit_cents"], changed["reset_time"]) == (700, "06:00")
    assert (await plans.post(f"/{plan_id}", {"name": "teams"}))["name"] == "teams"
    listed = (await plans.ask("GET", ""))["plans"]
    assert [(plan["id"], plan["name"]) for plan in listed] == [(plan_id, "teams")]
    archived = await plans.post(f"/{plan_id}/archive")
    assert archived["archived_at"] is not None
    assert (await plans.post(f"/{plan_id}/archive"))["archived_at"] == archived["archived_at"]
    for path, body in (("/daily_limit", LIMIT), ("/pricing", RULE)):
        assert "is archived" in await plans.refused(path, {"plan_id": plan_id, **body}, 409, "plan_id")


async def test_a_limit_says_what_becomes_of_calls_beyond_it(plans: Plans) -> None:
    await plans.operator.post(
        "prices", {"pattern": "mini", "input_nanos_per_mtok": 1, "output_nanos_per_mtok": 1}
    )
    plan_id = await plans.made()

    def said(limit: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in limit.items() if name not in ("etag", "request_id", "version")}

    beyond = {
        "overflow_policy": ["grace", "degrade", "spill"],
        "grace_cents": 50,
        "grace_charged": True,
        "degrade_map": {"gpt-*": "mini"},
        "degrade_default": "mini",
        "degrade_cents": 70,
        "funding": "allowance",
        "shadow": True,
    }
    made = said(await plans.post("/daily_limit", {"plan_id": plan_id, **LIMIT, **beyond}))
    assert {name: made[name] for name in beyond} == beyond
    assert (await plans.ask("GET", f"/{plan_id}"))["daily_limit"] == made
    path = f"/daily_limit/{made['id']}"
    changed = said(await plans.post(path, {"grace_cents": 60, "degrade_default": None, "shadow": False}))
    assert changed == made | {"grace_cents": 60, "degrade_default": None, "shadow": False}
    # what was said of a policy goes with it
    fewer = said(await plans.post(path, {"overflow_policy": "spill"}))
    gone = {"grace_cents": 0, "grace_charged": False, "degrade_map": {}, "degrade_cents": None}
    assert fewer == changed | gone | {"overflow_policy": ["spill"]}
    await plans.refused(path, {"funding": "wallet"}, 400, "overflow_policy")
    await plans.refused(
        path, {"overflow_policy": "degrade", "degrade_default": "unheard-of"}, 400, "degrade_default"
    )
    assert (await plans.ask("GET", f"/{plan_id}"))["daily_limit"] == fewer


async def test_two_operators_at_once(plans: Plans) -> None:
    plan_id = await plans.made()
    limit = await plans.post("/daily_limit", {"plan_id": plan_id, **LIMIT})
    seen = (await plans.ask("GET", f"/{plan_id}"))["etag"]
    on_it = {"if-match": seen}
    await plans.post(f"/daily_limit/{limit['id']}", {"daily_limit_cents": 1}, headers=on_it)
    for path, body in (
        (f"/daily_limit/{limit['id']}", {"daily_limit_cents": 2}),
        (f"/{plan_id}", {"name": "x"}),
        (f"/{plan_id}/archive", None),
    ):
        said = await plans.post(path, body, status=412, headers=on_it)
        assert said["error"]["code"] == "precondition_failed"
    shown = await plans.ask("GET", f"/{plan_id}")
    assert (shown["name"], shown["archived_at"], shown["daily_limit"]["daily_limit_cents"]) == (
        "team",
        None,
        1,
    )
    said = await plans.post(f"/{plan_id}", {"name": "x"}, status=400, headers={"if-match": "7"})
    assert "If-Match" in said["error"]["message"]


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/daily_limit", {"daily_limit_cents": -1}, "daily_limit_cents"),
        ("/daily_limit", {"daily_limit_cents": 10**19}, "daily_limit_cents"),
        ("/daily_limit", {"timezone": "Mars/Base"}, "timezone"),
        ("/daily_limit", {"reset_time": "24:00"}, "reset_time"),
        ("/daily_limit", {"overflow_policy": "deny"}, "overflow_policy"),
        ("/daily_limit", {"overflow_policy": []}, "overflow_policy"),
        ("/daily_limit", {"overflow_policy": "grace"}, "grace_cents"),
        ("/daily_limit", {"overflow_policy": ["spill", "block"]}, "overflow_policy"),
        ("/daily_limit", {"overflow_policy": "degrade", "degrade_default": "unheard-of"}, "degrade_default"),
        (
            "/daily_limit",
            {"overflow_policy": "degrade", "degrade_map": {"gpt-4o": "unheard-of"}},
            "degrade_map",
        ),
        ("/daily_limit", {"funding": "loan"}, "funding"),
        ("/daily_limit", {"shadow": 1}, "shadow"),
        ("/daily_limit", {"grace_cents": 5}, "grace_cents"),
        ("/pricing", {"unit": "hour"}, "unit"),
        ("/pricing", {"base_price": "x"}, "base_price"),
        ("/pricing", {"base_price": 2.5}, "base_price"),
        ("/pricing", {"model_pattern": ""}, "model_pattern"),
        ("/pricing", {"effective_to": "2020-01-01T00:00:00Z"}, "effective_to"),
    ],
)
async def test_what_is_wrong_is_refused_by_name(
    plans: Plans, path: str, change: dict[str, Any], field: str
) -> None:
    body = {"plan_id": await plans.made(), **(LIMIT if path == "/daily_limit" else RULE)}
    assert field in await plans.refused(path, {**body, **change}, 400, field)
    assert (await plans.ask("GET", f"/{body['plan_id']}"))["daily_limit"] is None


async def test_an_entity_is_on_one_plan_of_a_type_at_a_time(plans: Plans) -> None:
    account_id, key_id, _ = await plans.operator.account_with_key()
    first, second = await plans.made("a"), await plans.made("b")
    on = {"entity_type": "organization", "entity_id": account_id}
    spans = [
        ("2099-01-01T00:00:00Z", "2099-02-01T00:00:00Z"),
        ("2099-02-01T00:00:00Z", None),
    ]
    early, late = (dict(zip(("effective_from", "effective_to"), span, strict=True)) for span in spans)
    assert "3660 days" in await plans.refused(
        "/assign", {**on, "plan_id": first, **early}, 400, "effective_from"
    )
    early["effective_from"], early["effective_to"] = "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"
    late["effective_from"] = "2027-02-01T00:00:00Z"
    made = await plans.post("/assign", {**on, "plan_id": first, **early, "timezone": "+05:45"})
    assert (made["entity_type"], made["account_id"], made["in_effect"]) == ("account", account_id, True)
    await plans.post("/assign", {**on, "plan_id": second, **late})
    overlap = {**on, "plan_id": second, "effective_from": "2027-01-31T00:00:00Z"}
    assert f"is on plan {first}" in await plans.refused("/assign", overlap, 409, "effective_from")
    await plans.post("/assign", {"entity_type": "key", "entity_id": key_id, "plan_id": second})
    listed = (await plans.ask("GET", f"/assignment/account/{account_id}"))["assignments"]
    assert [(one["plan_id"], one["timezone"]) for one in listed] == [(second, None), (first, "+05:45")]
    assert "is assigned" in (await plans.post(f"/{first}/archive", status=409))["error"]["message"]
    ended = await plans.post(f"/assignment/{made['id']}/end")
    assert ended["effective_to"] == ended["effective_from"]  # it never began
    await plans.post(f"/{first}/archive")
    again = {**on, "plan_id": first, "effective_from": "2027-01-01T00:00:00Z"}
    assert "is archived" in await plans.refused("/assign", again, 409, "plan_id")


async def test_ids_that_are_nobodys(plans: Plans) -> None:
    account_id, _, _ = await plans.operator.account_with_key()
    plan_id, euro = await plans.made(), await plans.made(currency="EUR")
    on = {"entity_type": "account", "entity_id": account_id, "plan_id": plan_id}
    assert "does not exist" in await plans.refused("/assign", {**on, "entity_id": 999}, 404, "entity_id")
    assert "does not exist" in await plans.refused("/assign", {**on, "plan_id": 999}, 404, "plan_id")
    assert "EUR" in await plans.refused("/assign", {**on, "plan_id": euro}, 409, "plan_id")
    assert "galaxy" in await plans.refused("/assign", {**on, "entity_type": "galaxy"}, 400, "entity_type")
    assert "Mars" in await plans.refused("/assign", {**on, "timezone": "Mars"}, 400, "timezone")
    await plans.refused("/daily_limit", {**LIMIT, "plan_id": 999}, 404, "plan_id")
    await plans.refused("/pricing", {**RULE, "plan_id": 999}, 404, "plan_id")
    await plans.ask("GET", "/999", status=404)
    await plans.post("/assignment/999/end", status=404)
    await plans.post("/daily_limit/999", {"daily_limit_cents": 1}, status=404)


async def test_terms_of_usage_are_given_shown_and_changed(plans: Plans) -> None:
    plan_id = await plans.made(type="usage")
    said = await plans.refused("/daily_limit", {"plan_id": plan_id, **LIMIT}, 409, "plan_id")
    assert said == f"plan {plan_id} is of type usage, not daily_limit"
    body = {
        "plan_id": plan_id,
        "billing_cycle": "monthly",
        "min_commit_cents": 500,
        "credit_grant_cents": 200,
    }
    told = {"tier": "professional", "included_credits": 1000, "price_per_1k": "0.0200"}
    terms = await plans.post("/usage", {**body, **told})
    shown = await plans.ask("GET", f"/{plan_id}")
    assert shown["usage"] == {"id": terms["id"], **body, **told}
    assert "change those" in await plans.refused("/usage", body, 409, "plan_id")
    on_it = {"if-match": shown["etag"]}
    path = f"/usage/{terms['id']}"
    changed = await plans.post(path, {"min_commit_cents": 7, "tier": None}, headers=on_it)
    assert (changed["min_commit_cents"], changed["credit_grant_cents"], changed["tier"]) == (7, 200, None)
    await plans.post(path, {"min_commit_cents": 8}, status=412, headers=on_it)
    for change, field in (
        ({"billing_cycle": "weekly"}, "billing_cycle"),
        ({"min_commit_cents": -1}, "min_commit_cents"),
        ({"tier": "Pro!"}, "tier"),
        ({"price_per_1k": "x"}, "price_per_1k"),
        ({"included_credits": -1}, "included_credits"),
    ):
        await plans.refused(path, change, 400, field)
    daily = await plans.made()
    assert "not usage" in await plans.refused("/usage", {**body, "plan_id": daily}, 409, "plan_id")
    account_id, _, _ = await plans.operator.account_with_key()
    on = await plans.post("/assign", {"entity_type": "account", "entity_id": account_id, "plan_id": plan_id})
    listed = await plans.ask("GET", f"/assignment/{on['id']}/cycles")
    assert (listed["cycles"], listed["next"]) == ([], None)
    await plans.ask("GET", f"/assignment/{on['id']}/cycles?after={2**63 - 1}")
    await plans.ask("GET", "/assignment/999/cycles", status=404)
