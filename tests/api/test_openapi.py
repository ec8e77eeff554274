"""/openapi.json: whole, valid, and true of what the side routes answer."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from rabbitgw import clock
from rabbitgw.api.openapi import document
from rabbitgw.api.price_fields import Rates
from rabbitgw.api.route import AnyRoute, Asked, Auth
from rabbitgw.api.routes import SideDeps, side_routes, side_table
from rabbitgw.billing.price_terms import RATE_SUFFIX
from rabbitgw.billing.rates import KINDS
from tests.api.conftest import ADMIN_KEY, Operator
from tests.api.described import Described

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

WHATIF = {
    "entity_type": "account",
    "entity_id": 1,
    "from": "2026-11-01T00:00:00Z",
    "to": "2026-12-01T00:00:00Z",
    "daily_limit": {"daily_limit_cents": 5},
}
PRICE = {
    "pattern": "gpt-4o*",
    "input_nanos_per_mtok": 2_500_000_000,
    "output_nanos_per_mtok": 10_000_000_000,
    "above": [{"tokens": 200_000, "input_nanos_per_mtok": 5_000_000_000}],
    "tiers": {
        "priority": {
            "input_nanos_per_mtok": 4_000_000_000,
            "output_nanos_per_mtok": 16_000_000_000,
            "above": [{"tokens": 200_000, "input_nanos_per_mtok": 8_000_000_000}],
        }
    },
    "unit_nanos": {"web_search_requests": 10_000_000},
    "max_output_tokens": 16_384,
    "mode": "chat",
}


@pytest.fixture
def table(deps: SideDeps) -> list[AnyRoute]:
    return side_table(deps)


async def test_the_document_is_valid_openapi(table: list[AnyRoute]) -> None:
    OpenAPIV31SpecValidator(document(table)).validate()


async def test_every_side_route_is_in_the_document_and_no_other(deps: SideDeps) -> None:
    served = {(route.method, route.path) for route in side_routes(deps)}
    described = {(route.method, route.path) for route in side_table(deps)}
    assert served == described
    paths = document(side_table(deps))["paths"]
    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert operations == {(route.method, route.plain_path) for route in side_table(deps)}
    assert ("POST", "/v1/admin/keys/{id}/rotate") in operations
    assert ("GET", "/openapi.json") in operations


async def test_a_handler_takes_and_answers_what_its_route_says(table: list[AnyRoute]) -> None:
    for route in table:
        hints = typing.get_type_hints(route.handler)
        asked, answer = hints["asked"], hints["return"]
        assert typing.get_origin(asked) is Asked, route.name
        assert typing.get_args(asked) == (route.form, route.query), route.name
        answers = set(typing.get_args(answer) or (answer,))
        assert (route.answer in answers) == (route.answer is not None), route.name
        assert bool(route.other) == any("Response" in one.__name__ for one in answers), route.name


async def test_names_are_plain_and_stand_once(table: list[AnyRoute]) -> None:
    names = [route.name for route in table]
    assert len(names) == len(set(names))
    assert not [name for name in document(table)["components"]["schemas"] if "__" in name]


async def test_parameters_bodies_and_errors_are_described(table: list[AnyRoute]) -> None:
    paths = document(table)["paths"]
    rotate = paths["/v1/admin/keys/{id}/rotate"]["post"]
    (key_id,) = rotate["parameters"]
    assert (key_id["in"], key_id["required"], key_id["schema"]["type"]) == ("path", True, "integer")
    assert rotate["requestBody"]["required"] is False
    assert "requestBody" not in paths["/v1/admin/keys/{id}/revoke"]["post"]
    assert set(rotate["responses"]) == {"200", "400", "401", "403", "404", "409", "413", "500", "503"}
    listing = {one["name"]: one for one in paths["/v1/admin/keys"]["get"]["parameters"]}
    assert {name: one["in"] for name, one in listing.items()} == dict.fromkeys(
        ("account_id", "after", "limit"), "query"
    )
    assert listing["limit"]["schema"]["maximum"] == 1000
    (account_id,) = paths["/v1/admin/wallets"]["get"]["parameters"]
    assert account_id["required"] is True
    credit = paths["/v1/admin/wallets/credit"]["post"]["requestBody"]
    assert credit["required"] is True
    assert credit["content"]["application/json"]["schema"]["$ref"].endswith("/CreditForm")


async def test_if_match_is_described_where_it_is_honoured(
    client: TestClient[Any, Any], table: list[AnyRoute]
) -> None:
    """And where it is, one that is no ETag is refused before anything is done."""
    paths = document(table)["paths"]
    honoured = set()
    for route in table:
        operation = paths[route.plain_path][route.method.lower()]
        described = "If-Match" in {one["name"] for one in operation.get("parameters", ())}
        assert described == ("412" in operation["responses"]), route.name
        assert described == ("asked.if_match" in inspect.getsource(route.handler)), route.name
        if not described:
            continue
        honoured.add(route.name)
        assert "ETag" in operation["responses"]["200"]["headers"]
        path = re.sub(r"\{\w+\}", "1", route.plain_path)
        sent = {"x-api-key": ADMIN_KEY, "if-match": "12"}
        async with client.request(route.method, path, headers=sent) as answer:
            said = (await answer.json())["error"]["message"]
        assert said == 'If-Match: one ETag as it was given, like "12", or *', route.name
    assert honoured >= {
        "change_key", "change_rate", "remove_rate", "set_model_rule", "remove_model_rule",
        "change_window", "remove_window", "rename_plan", "archive_plan", "change_daily_limit",
    }  # fmt: skip


async def test_a_refusal_has_one_shape(table: list[AnyRoute]) -> None:
    made = document(table)
    schema = made["components"]["schemas"]["RefusedAnswer"]
    assert set(schema["properties"]) == set(schema["required"]) == {"error", "request_id"}
    refusal = made["components"]["schemas"]["Refusal"]
    assert set(refusal["properties"]) == set(refusal["required"]) == {"code", "message", "field"}
    for methods in made["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status != "200":
                    (content,) = response["content"].values()
                    assert content["schema"]["$ref"].endswith("/RefusedAnswer")


async def test_every_kind_of_rate_is_a_field() -> None:
    assert set(Rates.model_fields) == {f"{kind}{RATE_SUFFIX}" for kind in KINDS}


async def test_the_document_is_public_and_tells_no_secret(
    client: TestClient[Any, Any], table: list[AnyRoute]
) -> None:
    async with client.get("/openapi.json") as answer:
        assert answer.status == 200
        assert answer.headers["x-rabbitgw-request-id"]
        assert await answer.json() == document(table)
        assert ADMIN_KEY not in await answer.text()


async def test_a_credential_is_asked_for_where_the_document_says_so(
    client: TestClient[Any, Any], table: list[AnyRoute]
) -> None:
    made = document(table)
    schemes = made["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"http", "apiKey"}
    for route in table:
        security = made["paths"][route.plain_path][route.method.lower()]["security"]
        assert bool(security) == (route.auth is not Auth.NONE)
        assert {name for way in security for name in way} <= set(schemes)
        path = re.sub(r"\{\w+\}", "1", route.plain_path)
        async with client.request(route.method, path, headers={"x-api-key": "wrong"}) as answer:
            assert (answer.status == 401) == bool(security), route.name


class Asks:
    """For every operation of the document, a request that it answers with 200, in an order that works."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.account_id = self.user_id = self.key_id = 0
        self.secret = ""

    def all(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        post, get = self.operator.post, self.operator.get
        return {
            "create_account": self.create_account,
            "list_accounts": lambda: get("accounts"),
            "create_team": lambda: post("teams", {"account_id": self.account_id, "name": "Sales"}),
            "list_teams": lambda: get("teams"),
            "create_user": self.create_user,
            "list_users": lambda: get("users"),
            "get_user": lambda: get(f"users/{self.user_id}"),
            "update_user": lambda: post(f"users/{self.user_id}", {"name": "Ann B."}),
            "disable_user": lambda: post(f"users/{self.user_id}/disable"),
            "enable_user": lambda: post(f"users/{self.user_id}/enable"),
            "create_key": self.create_key,
            "create_window": self.create_window,
            "list_windows": lambda: get("windows"),
            "change_window": lambda: post(f"windows/{self.window_id}", {"limit_nanos": 6}),
            "remove_window": lambda: self.operator.delete(f"windows/{self.window_id}"),
            "create_rate": self.create_rate,
            "list_rates": lambda: get("rates"),
            "change_rate": lambda: post(f"rates/{self.rate_id}", {"rpm": None, "tpm": 7}),
            "set_model_rule": self.set_model_rule,
            "list_model_rules": lambda: get("model_rules"),
            "remove_model_rule": lambda: self.operator.delete(f"model_rules/{self.rule_id}"),
            "remove_rate": lambda: self.operator.delete(f"rates/{self.rate_id}"),
            "list_keys": lambda: get("keys", account_id=str(self.account_id), limit="1"),
            "get_key": lambda: get(f"keys/{self.key_id}"),
            "change_key": lambda: post(f"keys/{self.key_id}", {"name": "k2", "tags": ["a"]}),
            "rotate_key": self.rotate_key,
            **self.plans(),
            "set_price": lambda: post("prices", PRICE),
            "list_prices": lambda: get("prices"),
            "credit_wallet": lambda: post("wallets/credit", self.credit()),
            "list_wallets": lambda: get("wallets", account_id=str(self.account_id)),
            **self.packages(),
            **self.codes(),
            "show_wallets": lambda: self.as_caller("/v1/wallets"),
            "list_ledger": lambda: self.as_caller("/v1/ledger"),
            "list_usage": lambda: self.as_caller("/v1/usage"),
            "rerate": self.rerate,
            "revoke_key": lambda: post(f"keys/{self.key_id}/revoke"),
            "metrics": lambda: self.as_operator("/metrics"),
            "metrics_prometheus": lambda: self.as_operator("/metrics/prometheus"),
            "healthz": lambda: self.as_caller("/healthz?probe=1"),
            "readyz": lambda: self.as_caller("/readyz"),
            "about": lambda: self.as_caller("/"),
            "openapi_document": lambda: self.as_caller("/openapi.json"),
            "docs": lambda: self.as_caller("/docs"),
        }

    def packages(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        path, post = "credit-packages", self.operator.post
        return {
            "list_offers": lambda: self.as_caller("/billing/credit-packages"),
            "list_packages": lambda: self.operator.get(path),
            "create_package": lambda: post(path, {"credits": 10, "price_minor": 90}),
            "change_package": lambda: post(f"{path}/6", {"price_minor": 80}),
            "retire_package": lambda: post(f"{path}/6/retire"),
        }

    def codes(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        return {
            "create_codes": self.create_codes,
            "list_codes": lambda: self.operator.get("credit-codes"),
            "redeem_code": lambda: self.as_caller("/billing/redeem", code=self.code),
            "retire_code": lambda: self.operator.post("credit-codes/1/retire"),
        }

    def plans(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        def post(path: str, **body: Any) -> Callable[[], Awaitable[Any]]:
            return lambda: self.operator.post(f"../plans{path}", body)

        def get(path: str) -> Callable[[], Awaitable[Any]]:
            return lambda: self.operator.get(f"../plans{path}")

        rule = {"model_pattern": "gpt-*", "unit": "token", "base_price": "1"}
        return {
            "create_plan": post("", name="p", type="daily_limit"),
            "add_daily_limit": post("/daily_limit", plan_id=1, daily_limit_cents=5),
            "change_daily_limit": post("/daily_limit/1", reset_time="06:00"),
            "add_price_rule": post("/pricing", plan_id=1, **rule),
            "list_plans": get(""),
            "get_plan": get("/1"),
            "end_price_rule": post("/1/pricing/end", model_pattern="gpt-*"),
            "rename_plan": post("/1", name="q"),
            "assign_plan": post("/assign", entity_type="account", entity_id=1, plan_id=1),
            "list_assignments": get("/assignment/account/1"),
            "end_assignment": post("/assignment/1/end"),
            "archive_plan": post("/1/archive"),
            "whatif": lambda: self.operator.post("plans/whatif", WHATIF),
            "add_usage_terms": self.add_usage_terms,
            "change_usage_terms": post("/usage/1", min_commit_cents=9),
            "list_cycles": get("/assignment/1/cycles"),
        }

    async def add_usage_terms(self) -> Any:
        plan = await self.operator.post("../plans", {"name": "u", "type": "usage"})
        return await self.operator.post("../plans/usage", {"plan_id": plan["id"], "billing_cycle": "weekly"})

    async def create_account(self) -> None:
        self.account_id = (await self.operator.post("accounts", {"name": "Acme"}))["id"]

    async def create_user(self) -> None:
        user = {"account_id": self.account_id, "name": "Ann", "email": "ann@example.com"}
        self.user_id = (await self.operator.post("users", user))["id"]

    async def create_key(self) -> None:
        limits = {"daily_limit_nanos": 5, "models": ["gpt-*"], "expires_at": "2099-01-01T00:00:00Z"}
        made = await self.operator.post("keys", {"account_id": self.account_id, "name": "k", **limits})
        self.key_id = made["id"]

    async def create_window(self) -> None:
        window = {"entity_type": "account", "entity_id": self.account_id, "kind": "week", "limit_nanos": 5}
        self.window_id = (await self.operator.post("windows", window))["id"]

    async def create_rate(self) -> None:
        rate = {"entity_type": "key", "entity_id": self.key_id, "rpm": 5}
        self.rate_id = (await self.operator.post("rates", rate))["id"]

    async def set_model_rule(self) -> None:
        rule = {"entity_type": "account", "entity_id": self.account_id, "deny": ["*-preview"]}
        self.rule_id = (await self.operator.post("model_rules", rule))["id"]

    async def rotate_key(self) -> None:
        self.secret = (await self.operator.post(f"keys/{self.key_id}/rotate"))["key"]

    def credit(self) -> dict[str, Any]:
        return {
            "account_id": self.account_id,
            "currency": "USD",
            "amount_nanos": 1,
            "idempotency_key": clock.new_id(),
        }

    async def rerate(self) -> None:
        """From the price that `set_price` made to another."""
        version = (await self.operator.get("prices"))["prices"][0]["price_version"]
        right = {"input_nanos_per_mtok": 1, "tiers": {"flex": {"input_nanos_per_mtok": 1}}}
        span = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"}
        await self.operator.post("rerate", {"price_version": version, "price": right, **span})

    async def create_codes(self) -> None:
        made = await self.operator.post(
            "credit-codes", {"kind": "credit", "currency": "USD", "amount_nanos": 5}
        )
        self.code = made["codes"][0]["code"]

    async def as_caller(self, path: str, **body: Any) -> None:
        await self._ask(path, self.secret, body)

    async def as_operator(self, path: str) -> None:
        await self._ask(path, ADMIN_KEY)

    async def _ask(self, path: str, key: str, body: dict[str, Any] | None = None) -> None:
        method = "POST" if body else "GET"
        how = {"headers": {"x-api-key": key}, **({"json": body} if body else {})}
        async with self.operator.client.request(method, path, **how) as answer:
            assert answer.status == 200, await answer.text()


# Their 200 is asked for where it takes more to get one: the same check of every answer is on there.
ELSEWHERE = {
    "usage_line": "test_usage.py",
    **dict.fromkeys(
        (f"{name}_report" for name in ("daily", "summary", "period", "budget", "overdraft", "margin")),
        "test_reports.py",
    ),
    **dict.fromkeys(
        (
            "checkout",
            "payment_status",
            "refund_payment",
            "stripe_config",
            "webhook",
            "create_payment_intent",
            "confirm_payment",
            "stripe_webhook",
            "refund_purchase",
            "billing_history",
        ),
        "test_payments.py",
    ),
    **dict.fromkeys(("list_orders", "accept_payment", "payment_figures"), "test_payment_admin.py"),
    **dict.fromkeys((f"payment_element{part}" for part in ("", "_style", "_script")), "test_demo_page.py"),
}


async def test_every_route_answers_as_described(operator: Operator, described: Described) -> None:
    operations = {
        operation["operationId"]
        for methods in described.document["paths"].values()
        for operation in methods.values()
    }
    asks = Asks(operator).all()
    assert asks.keys() | ELSEWHERE.keys() == operations
    for name, ask in asks.items():
        await ask()
        assert (name, "200") in described.seen, name
    assert described.faults == []


async def test_an_answer_with_a_field_too_many_is_noticed(described: Described) -> None:
    operation = described.document["paths"]["/healthz"]["get"]
    said = described.fault(
        operation, 200, "application/json", b'{"status": "ok", "request_id": "x", "load": 1}'
    )
    assert said is not None
    assert "load" in said
    assert described.fault(operation, 200, "application/json", b'{"status": "ok", "request_id": "x"}') is None
    assert described.fault(operation, 418, "application/json", b"{}") is not None
    assert described.fault(operation, 200, "text/plain", b"ok") is not None
