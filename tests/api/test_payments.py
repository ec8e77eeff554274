"""The payment routes beside a Stripe that keeps state: each answers as the document says, and who may ask."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from pydantic import SecretStr

from rabbitgw.api.route import AnyRoute, Auth
from rabbitgw.api.routes import SideDeps, side_table
from rabbitgw.config import Settings
from tests.api.conftest import ADMIN_KEY, Operator
from tests.api.described import Described
from tests.fakes.stripe.fake import FakeStripe, open_fake_stripe
from tests.fakes.stripe.webhooks import event_bytes, signed

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

SECRET_KEY, SIGNING = "sk_test_of_the_api", "whsec_of_the_api"
DEV_KEY = "dev-secret-of-the-tests"


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with open_fake_stripe(SECRET_KEY, "pk_test_of_the_api") as fake:
        yield fake


@pytest.fixture
def settings(stripe: FakeStripe) -> Settings:
    return Settings.load(
        admin_key=SecretStr(ADMIN_KEY),
        dev_api_key=SecretStr(DEV_KEY),
        stripe_secret_key=SecretStr(SECRET_KEY),
        stripe_publishable_key="pk_test_of_the_api",
        stripe_webhook_secret=SecretStr(SIGNING),
        stripe_api_base=stripe.url,
        bank_details="Rabbit Ltd, IBAN XX00",
    )


class Till:
    """Asks as one who holds a credential."""

    def __init__(self, client: TestClient[Any, Any], credential: str) -> None:
        self.client = client
        self.headers = {"x-api-key": credential}

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        async with self.client.get(path, params=query, headers=self.headers) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == 200, body
            return body

    async def post(self, path: str, body: dict[str, Any] | bytes, **headers: str) -> dict[str, Any]:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.client.post(path, data=data, headers={**self.headers, **headers}) as answer:
            found: dict[str, Any] = await answer.json()
            assert answer.status == 200, found
            return found


async def test_every_payment_route_answers_as_described(
    operator: Operator, described: Described, deps: SideDeps, stripe: FakeStripe
) -> None:
    account_id, _, secret = await operator.account_with_key()
    caller, boss = Till(operator.client, secret), Till(operator.client, ADMIN_KEY)
    nobody = Till(operator.client, "")

    # a package, looked at before its webhook has come
    assert (await nobody.get("/v1/config/stripe"))["publishable_key"] == "pk_test_of_the_api"
    intent = await caller.post("/billing/create-payment-intent", {"credit_amount": 500})
    await stripe.pay(intent["payment_intent_id"])
    named = {"payment_intent_id": intent["payment_intent_id"]}
    assert (await caller.post("/billing/confirm-payment", named))["credits_added"] == 500
    body = event_bytes(stripe.account.events[-1])
    await nobody.post("/billing/webhook", body, **signed(body, SIGNING))
    refund = await boss.post("/billing/refund", {"order_id": intent["order_id"], "amount_cents": 1500})
    assert refund["status"] == "succeeded"

    # any amount, by bank transfer
    ordered = {"account_id": account_id, "amount_cents": 1000, "provider": "manual", "order_id": "ORD-1"}
    assert (await boss.post("/v1/payments/checkout", ordered))["type"] == "instructions"
    told = {"id": "line 1", "type": "received", "order_id": "ORD-1", "amount_cents": 1000, "currency": "USD"}
    await boss.post("/v1/webhooks/manual", told)
    await deps.payments.run_once()
    assert (await boss.get("/v1/payments/status", order_id="ORD-1"))["status"] == "paid"
    sent = await boss.post("/v1/payments/refund", {"provider_txn_id": "manual:ORD-1"})
    assert sent["status"] == "pending"
    history = (await caller.get("/billing/history"))["history"]
    assert [(one["type"], one["amount"], one["credits"]) for one in history] == [
        ("refund", 10, None), ("purchase", 10, None), ("refund", 15, None), ("purchase", 45, 500),
    ]  # fmt: skip

    for name in (
        "checkout", "payment_status", "refund_payment", "stripe_config", "webhook",
        "create_payment_intent", "confirm_payment", "stripe_webhook", "refund_purchase", "billing_history",
    ):  # fmt: skip
        assert (name, "200") in described.seen, name


# Who gets past the door of which routes.
LET_IN = {
    Auth.NONE: {"nobody", "caller", "scoped", "dev", "admin"},
    Auth.CALLER: {"caller"},
    Auth.EITHER: {"caller", "scoped", "dev", "admin"},
    Auth.CASHIER: {"scoped", "dev", "admin"},
    Auth.ADMIN: {"scoped", "admin"},
}


async def test_every_route_lets_in_whom_it_says_and_nobody_else(
    operator: Operator, client: TestClient[Any, Any], deps: SideDeps
) -> None:
    """Asked for what is not there, or with nothing, so that nobody does anything."""
    _, _, caller = await operator.account_with_key()
    _, _, scoped = await operator.account_with_key(scopes=["admin"])
    credentials = {"nobody": "", "caller": caller, "scoped": scoped, "dev": DEV_KEY, "admin": ADMIN_KEY}

    async def let_in(route: AnyRoute, credential: str) -> bool:
        path = re.sub(r"\{\w+\}", "9999", route.plain_path)
        async with client.request(route.method, path, headers={"x-api-key": credential}) as answer:
            return answer.status not in (401, 403)

    assert {route.auth for route in side_table(deps)} == set(LET_IN)
    for route in side_table(deps):
        came_in = {who for who, credential in credentials.items() if await let_in(route, credential)}
        assert came_in == LET_IN[route.auth], route.name
        if route.path.startswith("/v1/admin/"):
            assert "dev" not in came_in, route.name


async def test_without_dev_api_key_nothing_is_its(
    client: TestClient[Any, Any], deps: SideDeps, settings: Settings
) -> None:
    object.__setattr__(deps, "settings", settings.model_copy(update={"dev_api_key": SecretStr("")}))
    for credential in (DEV_KEY, ""):
        for path in ("/v1/payments/refund", "/v1/payments/checkout", "/billing/refund"):
            async with client.post(path, headers={"x-api-key": credential}) as answer:
                assert answer.status == 401, path
