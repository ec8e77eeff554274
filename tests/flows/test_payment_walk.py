"""The whole story of selling credit, scripted: each package is bought, spent, refunded, disputed; the audit agrees."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import orjson

from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.till import Opened, Till, open_till

# credits: what is asked for them in cents, and the wallet once each is bought in turn and one call was made, in nanos
PACKAGES = {
    100: (1_000, 9_994_530_000),
    500: (4_500, 59_989_060_000),
    1000: (8_000, 159_983_590_000),
    2000: (15_000, 359_978_120_000),
    5000: (35_000, 859_972_650_000),
}
CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 500}


async def test_from_every_package_to_an_audit_that_agrees(house_with: Opened, upstream: FakeUpstream) -> None:
    # 476 x 2500 + 1024 x 1250 + 300 x 10000 nanos: 5 470 000 a call
    upstream.script("gpt-4o", Answer(usage=usage(1500, 300, prompt_tokens_details={"cached_tokens": 1024})))
    async with open_till(house_with) as till:
        orders: dict[int, dict[str, Any]] = {}
        for credits, (cents, left_nanos) in PACKAGES.items():
            orders[credits] = await bought(till, credits, cents)
            await spend(till)
            assert await till.balance_nanos() == left_nanos, credits
        assert await ledger(till, "bonus") == -225_000_000_000

        # a quarter of the 80 goes back, and with it a quarter of its bonus of 20
        refund = await till.ask(
            "/billing/refund", {"order_id": orders[1000]["order_id"], "amount_cents": 2000}
        )
        assert (refund["ok"], refund["status"]) == (True, "succeeded")
        assert await till.balance_nanos() == 834_972_650_000

        # a bank takes the 150 back, and with them go the 50 on top
        await disputed(till, orders[2000], 634_972_650_000, "lost")
        assert await till.balance_nanos() == 634_972_650_000
        # another wants the 45 back, and loses: they are there again, with the 5
        await disputed(till, orders[500], 584_972_650_000, "won")
        assert await till.balance_nanos() == 634_972_650_000

        await spend(till)
        assert await till.balance_nanos() == 634_967_180_000
        found = [await till.status(one["order_id"]) for one in orders.values()]
        assert found == ["paid", "paid", "partially_refunded", "disputed", "paid"]
        history = (await till.ask("/billing/history", key=till.house.secret))["history"]
        assert [(one["type"], one["credits"], one["amount"]) for one in history] == [
            ("refund", None, 20), ("purchase", 5000, 350), ("purchase", 2000, 150), ("purchase", 1000, 80),
            ("purchase", 500, 45), ("purchase", 100, 10),
        ]  # fmt: skip

        assert await ledger(till, "bonus") == -170_000_000_000
        assert await ledger(till, "disputes") == 0
        assert await ledger(till, "refunds:pending") == 0
        assert await ledger(till, "revenue") == 32_820_000
        assert await ledger(till, "fees:stripe") == -49_920_000_000
        # 635 came in; 20 and 150 went out, and what Stripe kept
        assert await ledger(till, "cash:stripe") == -635_000_000_000 + 170_000_000_000 + 49_920_000_000
        assert await audit(till) == (0, [])


async def bought(till: Till, credits: int, cents: int) -> dict[str, Any]:
    """Through the page and Stripe's webhook."""
    package = {"credit_amount": credits}
    made = await till.ask("/billing/create-payment-intent", package, key=till.house.secret)
    assert made["amount"] * 100 == cents
    await till.stripe.pay(made["payment_intent_id"])
    await till.heard()
    assert await till.status(made["order_id"]) == "paid"
    return made


async def spend(till: Till) -> None:
    reply = await till.house.post(CALL)
    assert reply.status == 200, reply.body
    assert (await till.house.bill(reply.request_id))["cost_nanos"] == 5_470_000


async def disputed(till: Till, order: dict[str, Any], frozen_nanos: int, end: str) -> None:
    dispute = await till.stripe.dispute(order["payment_intent_id"])
    await till.heard()
    assert (await till.status(order["order_id"]), await till.balance_nanos()) == ("disputed", frozen_nanos)
    assert (await till.refused("/billing/refund", {"order_id": order["order_id"]}, status=409))[
        0
    ] == "conflict"
    await till.stripe.withdraw_funds(dispute["id"])
    await till.heard()
    assert await till.balance_nanos() == frozen_nanos
    if end == "won":
        await till.stripe.reinstate_funds(dispute["id"])
    await till.stripe.close_dispute(dispute["id"], end)
    await till.heard()


async def ledger(till: Till, ledger_account: str) -> int:
    total = "SELECT coalesce(sum(amount_nanos), 0) FROM ledger_entries WHERE ledger_account = $1"
    return int(await till.stores.pg.fetchval(total, ledger_account))


async def audit(till: Till) -> tuple[int | None, list[str]]:
    """`rabbitgw audit` beside the running house: its exit status, and what it found."""
    settings = till.settings
    stores = {name: getattr(settings, name).get_secret_value() for name in ("database_url", "redis_url")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rabbitgw", "audit", "--json",
        env={**os.environ, **{name.upper(): value for name, value in stores.items()}},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, [one["detail"] for one in orjson.loads(output)["invariants"] if not one["ok"]]
