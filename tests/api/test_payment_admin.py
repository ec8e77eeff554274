"""/v1/admin/payments: orders, those that need a person, and the figures, of bank transfers over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.api.deps import SideDeps
from tests.api.conftest import ADMIN_KEY, Operator


@pytest.fixture(autouse=True)
def transfers_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITGW_BANK_DETAILS", "Rabbit Ltd, IBAN XX00")


async def ask(operator: Operator, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with operator.client.post(path, json=body, headers={"x-api-key": ADMIN_KEY}) as answer:
        found: dict[str, Any] = await answer.json()
        assert answer.status == 200, found
        return found


async def order(operator: Operator, account_id: int, order_id: str, amount_cents: int) -> None:
    terms = {
        "provider": "manual",
        "account_id": account_id,
        "order_id": order_id,
        "amount_cents": amount_cents,
    }
    made = await ask(operator, "/v1/payments/checkout", terms)
    assert (made["type"], made["payload"]["reference"]) == ("instructions", order_id)


async def received(operator: Operator, order_id: str, amount_cents: int) -> None:
    line = {
        "id": f"line of {order_id}",
        "type": "received",
        "order_id": order_id,
        "amount_cents": amount_cents,
    }
    await ask(operator, "/v1/webhooks/manual", {**line, "currency": "USD"})


async def test_orders_that_need_a_person_are_listed_and_accepted(operator: Operator, deps: SideDeps) -> None:
    account_id, _, _ = await operator.account_with_key()
    for order_id, asked, came in (("A", 1000, 1000), ("B", 1000, 700), ("C", 2500, None)):
        await order(operator, account_id, order_id, asked)
        if came is not None:
            await received(operator, order_id, came)
    await deps.payments.run_once()
    listed = await operator.get("payments/orders", limit="2")
    assert [(one["order_id"], one["status"]) for one in listed["orders"]] == [
        ("C", "awaiting_payment"),
        ("B", "needs_review"),
    ]
    rest = await operator.get("payments/orders", before=str(listed["next"]))
    assert [(one["order_id"], one["status"]) for one in rest["orders"]] == [("A", "paid")]
    assert rest["next"] is None
    (found,) = (await operator.get("payments/orders?status=needs_review"))["orders"]
    assert found["review_reason"] == "1000 minor units of USD were asked for, 700 came in"
    accepted = await operator.post("payments/orders/B/accept")
    assert (accepted["order_id"], accepted["status"]) == ("B", "paid")
    refused = await operator.post("payments/orders/B/accept", status=409)
    assert refused["error"]["message"] == "order B: nothing of it is in clearing"
    await operator.post("payments/orders/D/accept", status=404)
    (wallet,) = (await operator.get("wallets", account_id=str(account_id)))["wallets"]
    assert wallet["balance_nanos"] == 17_000_000_000
    shown = await operator.get("payments/figures")
    assert (shown["paid"], shown["payments"], shown["average_order_value"]) == (17, 2, 8.5)
    assert shown["orders"] == {"awaiting_payment": 1, "paid": 2}
    assert shown["payment_success_rate"] == 1
    assert shown["packages"] == [{"credits": None, "orders": 2, "share": 1}]
    (webhooks,) = shown["webhooks"]
    assert (webhooks["provider"], webhooks["delivered"], webhooks["success_rate"]) == ("manual", 2, 1)
    late = {"from": "2027-01-02T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
    assert (await operator.get("payments/figures", 400, **late))["error"]["field"] == "from"
