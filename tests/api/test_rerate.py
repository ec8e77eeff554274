"""POST /v1/admin/rerate, and what a caller then sees of it in the bill line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api import rerate as rerate_api
from rabbitgw.billing import accounts
from rabbitgw.billing import rerate as rerate_module
from rabbitgw.billing.credits import Credits
from tests.api.conftest import Operator
from tests.billing.rerated import DEARER, HOUR_MS, WRONG, Till, sell
from tests.books import Customer, Shop, assert_books_balance, drain

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


async def test_a_wrong_price_is_corrected_by_one_request(
    client: TestClient[Any, Any], pg: Pool, link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Operator(client)
    account_id, _, secret = await operator.account_with_key()
    shop = await Shop.open(pg, link)
    await sell(pg)
    customer, till = Customer(shop, await accounts.get_account(pg, account_id)), Till(shop)
    await customer.credit(1_000_000)
    await customer.load()
    await Credits(pg, link).run_once()
    calls = [await till.call(customer) for _ in range(2)]
    await drain(pg, link)
    asked = {
        "price_version": WRONG, "to_version": DEARER, "from": str(till.began_ms - HOUR_MS), "to": str(till.began_ms),
    }  # fmt: skip
    dry = await operator.post("rerate", asked)
    assert {name: dry[name] for name in ("dry_run", "done", "rerate_id", "calls", "difference_nanos")} == {
        "dry_run": True, "done": True, "rerate_id": None, "calls": 2, "difference_nanos": 280_000,
    }  # fmt: skip

    async def line(call: str) -> dict[str, Any]:
        async with client.get(f"/v1/usage/{call}", headers={"x-api-key": secret}) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    assert "corrections" not in await line(calls[0])
    monkeypatch.setattr(rerate_api, "BATCHES_MAX", 1)
    monkeypatch.setattr(rerate_module, "BATCH_CALLS", 1)
    asked |= {"dry_run": False, "idempotency_key": "k"}
    said = [await operator.post("rerate", asked) for _ in range(4)]
    assert [(one["done"], one["calls"]) for one in said] == [(False, 1), (False, 2), (True, 2), (True, 2)]
    assert said[3]["accounts"] == [
        {"account_id": account_id, "calls": 2, "old_nanos": 280_000, "new_nanos": 560_000, "difference_nanos": 280_000}
    ]  # fmt: skip

    bill = await line(calls[0])
    (correction,) = bill["corrections"]
    assert correction.pop("corrected_at").endswith("Z")
    assert correction == {
        "rerate_id": said[0]["rerate_id"], "old_price_version": WRONG, "price_version": DEARER, "old_nanos": 140_000,
        "new_nanos": 280_000,
    }  # fmt: skip
    assert (bill["cost_nanos"], bill["corrected_nanos"], bill["price_version"]) == (140_000, 280_000, WRONG)
    assert await customer.redis_nanos() == 440_000
    async with client.get("/v1/usage", headers={"x-api-key": secret}) as answer:
        assert [one["corrected_nanos"] for one in (await answer.json())["usage"]] == [280_000, 280_000]

    refused = [
        ({"idempotency_key": None}, 400, "idempotency_key"),
        ({"dry_run": True}, 400, "idempotency_key"),
        ({"model": "gpt*"}, 409, "idempotency_key"),
        ({"price_version": 99, "idempotency_key": "l"}, 404, "price_version"),
        ({"from": "2026-11-01T00:00:00"}, 400, "from"),
        ({"price": {"pattern": "x"}}, 400, "price"),
        ({"windows": True}, 400, "windows"),
    ]
    for changes, status, field in refused:
        body = await operator.post("rerate", asked | changes, status=status)
        assert body["error"]["field"] == field, body
    await assert_books_balance(shop)
