"""SIGKILL of gateway and worker while people pay and get money back: each order is paid once, each refund made once.

The seed is printed. A failure is told with it, and is a fault of the program, however rare.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.fakes.stripe.process import StripeProcess, open_stripe_process
from tests.flows.callers import seeded
from tests.flows.house import ADMIN_KEY, until
from tests.flows.processes import Deployment, deployment
from tests.payments.dying import overdue

ROUNDS = 10 if "RABBITGW_SOAK_EXAMPLES" in os.environ else 1
PAYMENTS = 30  # of each round
REFUNDS = 10
KILLED_WITHIN_S = 0.7  # one process after the other, each within this of the last
PAUSE_S = 0.2  # of a person between two tries
UNIT = 1_000_000_000
SECRET = "whsec_of_the_flow"


@dataclass
class Buyers:
    """People who try again until it is done, and pay once."""

    house: Deployment
    stripe: StripeProcess
    http: aiohttp.ClientSession
    tries: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Until it is answered 200. What was sent before a process died may have been done."""
        while True:
            self.tries += 1
            with contextlib.suppress(aiohttp.ClientError, OSError):
                headers = {"authorization": f"Bearer {ADMIN_KEY}"}
                async with self.http.post(self.house.base_url + path, json=body, headers=headers) as answer:
                    if answer.status == 200:
                        return dict(await answer.json())
                    # a refund of what is not known to be paid yet is 409
                    assert answer.status in (409, 503), await answer.text()
            await asyncio.sleep(PAUSE_S)

    async def buy(self, order_id: str, refund: bool) -> None:
        order = {
            "account_id": self.house.account.id,
            "amount_cents": 1000,
            "currency": "USD",
            "order_id": order_id,
        }
        made = await self.ask("/v1/payments/checkout", order)
        await self.stripe.pay(made["provider_txn_id"])
        if refund:
            body = {"order_id": order_id, "amount_cents": 400, "idempotency_key": f"back-{order_id}"}
            await self.ask("/v1/payments/refund", body)

    def begin(self, rng: random.Random, number: int) -> None:
        orders = [f"ORD-{number}-{index}" for index in range(PAYMENTS)]
        back = set(rng.sample(orders, REFUNDS))
        self.tasks += [asyncio.create_task(self.buy(order, order in back)) for order in orders]


@contextlib.asynccontextmanager
async def selling(
    dsn: str, redis_url: str, upstream: FakeUpstream, folder: Path
) -> AsyncIterator[tuple[Deployment, StripeProcess]]:
    async with open_stripe_process("--secret-key", "sk_test_of_the_flow") as stripe:
        settings = {
            "RABBITGW_ADMIN_KEY": ADMIN_KEY,
            "RABBITGW_LEASE_S": "1",
            "STRIPE_SECRET_KEY": "sk_test_of_the_flow",
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": stripe.url,
        }
        async with deployment(
            dsn, redis_url, upstream.base_url, folder, credit_nanos=UNIT, **settings
        ) as house:
            webhooks = f"{house.base_url}/v1/webhooks/stripe"
            await stripe.add_endpoint(webhooks, [SECRET], ["*"], True)
            yield house, stripe


@pytest.mark.timeout(900)
async def test_each_order_is_paid_once_however_often_the_processes_are_killed(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    rng = seeded()
    async with (
        selling(dsn, redis_url, upstream, tmp_path) as (house, stripe),
        aiohttp.ClientSession() as http,
    ):
        buyers = Buyers(house, stripe, http)
        for number in range(ROUNDS):
            processes = await asyncio.gather(house.gateway(), house.worker())
            buyers.begin(rng, number)
            for process in rng.sample(processes, 2):
                await asyncio.sleep(rng.uniform(0, KILLED_WITHIN_S))
                await house.kill(process)
        await asyncio.gather(house.gateway(), house.worker())

        async def quiet() -> bool:
            """Leases of the dead are not waited for, nor webhooks that Stripe has given up for now."""
            await asyncio.wait(buyers.tasks, timeout=PAUSE_S)
            await stripe.deliver()
            done = all(task.done() for task in buyers.tasks)
            return not await overdue(house.stores.pg) and done and not await stripe.look("pending_webhooks")

        await until(quiet, timeout_s=120)
        await asyncio.gather(*buyers.tasks)
        await until(house.settled_down, timeout_s=60)
        print(f"{buyers.tries} requests for {ROUNDS * PAYMENTS} checkouts and {ROUNDS * REFUNDS} refunds")
        await check(house, stripe)
        await house.assert_audit_passes()
        await assert_books_balance(house)


async def check(house: Deployment, stripe: StripeProcess) -> None:
    payments, refunds = ROUNDS * PAYMENTS, ROUNDS * REFUNDS
    rows = await house.stores.pg.fetch("SELECT status, count(*) FROM payment_orders GROUP BY status")
    assert dict(rows) == {"paid": payments - refunds, "partially_refunded": refunds}
    paid = await house.stores.pg.fetchrow("SELECT count(*), count(DISTINCT order_id) FROM payments")
    assert tuple(paid) == (payments, payments)
    assert await house.balance_nanos() == UNIT + payments * 10 * UNIT - refunds * 4 * UNIT
    intents = await stripe.all("payment_intent")
    assert [one["status"] for one in intents] == ["succeeded"] * payments
    assert [one["amount"] for one in await stripe.all("refund")] == [400] * refunds
