"""The stories of a payment, told by a process that dies at its first step, its second, and so on to the end.

After each death people try again as they would (the same checkout, the same refund under the same key), Stripe tells
again what was not answered, and another process goes on. What is booked in the end is the same, to the nano. The same
where a store or Stripe is away once instead. `make test` tries some of the steps, the soak each.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from rabbitgw.payments.orders import Checkout
from tests.books import Customer
from tests.payments.dying import Crashes, process_that_dies, quiesce
from tests.payments.shop import DOLLAR, PaymentShop

STRIDES = {"dies": 47, "away": 97} if "RABBITGW_SOAK_EXAMPLES" not in os.environ else {"dies": 1, "away": 1}
TEN = 10 * DOLLAR
# Of a payment of 10.00 Stripe keeps 2.9 % and 0.30.
PAID = {"wallet": TEN, "cash:stripe": -9_410_000_000, "fees:stripe": -590_000_000}


@dataclass
class Scene:
    """One telling of a story: a customer, an order, and what people outside have done, which they do once."""

    shop: PaymentShop
    customer: Customer
    order_id: str
    done: dict[str, Any] = field(default_factory=dict)

    async def once(self, name: str, work: Callable[..., Awaitable[Any]], *args: Any, **named: Any) -> Any:
        if name not in self.done:
            self.done[name] = await work(*args, **named)
        return self.done[name]

    async def checkout(self, **fields: Any) -> Checkout:
        return await self.shop.checkout(self.customer, order_id=self.order_id, **fields)

    async def works(self) -> None:
        """Stripe tells what it has to tell, and the process works it off."""
        await self.shop.take_new_webhooks()
        await self.shop.payments.run_once()

    async def bought(self) -> str:
        """Returns: the PaymentIntent."""
        made = await self.checkout()
        await self.once("pay", self.shop.stripe.pay, made.init.provider_txn_id)
        await self.works()
        return made.init.provider_txn_id

    async def refunds(self) -> None:
        await self.shop.refund(self.order_id, 400, idempotency_key="only once")
        await self.works()


async def payment(scene: Scene) -> None:
    await scene.bought()


async def session(scene: Scene) -> None:
    stripe = scene.shop.stripe
    made = await scene.checkout(mode="checkout_session", return_url="https://shop.test/back")
    await scene.once("pay", stripe.complete_session, made.init.provider_txn_id, paid=False)
    await scene.works()
    await scene.once("finish", stripe.finish_session, made.init.provider_txn_id)
    await scene.works()


async def refund(scene: Scene) -> None:
    await scene.refunds()


async def refund_that_fails_at_once(scene: Scene) -> None:
    await scene.once("fail", scene.shop.stripe.next_refunds, "failed")
    await scene.refunds()


async def refund_that_fails_later(scene: Scene) -> None:
    await scene.refunds()
    made = await scene.shop.refund(scene.order_id, 400, idempotency_key="only once")
    if made.provider_refund_id is not None:  # else it was not sent yet: the process died, and another will
        await scene.once("fail", scene.shop.stripe.fail_refund, made.provider_refund_id)
        await scene.works()


async def refund_at_stripe(scene: Scene) -> None:
    await scene.once("refund", scene.shop.stripe.dashboard_refund, await scene.bought(), 400)
    await scene.works()


async def disputed(scene: Scene, end: str) -> None:
    stripe = scene.shop.stripe
    dispute = await scene.once("dispute", stripe.dispute, await scene.bought())
    await scene.works()
    await scene.once("withdraw", stripe.withdraw_funds, dispute["id"])
    await scene.works()
    if end == "won":
        await scene.once("reinstate", stripe.reinstate_funds, dispute["id"])
    await scene.once("close", stripe.close_dispute, dispute["id"], end)
    await scene.works()


async def dispute_won(scene: Scene) -> None:
    await disputed(scene, "won")


async def dispute_lost(scene: Scene) -> None:
    await disputed(scene, "lost")


@dataclass(frozen=True)
class Told:
    """A story, whether it begins with a paid order, how it ends, and the rows that it leaves."""

    story: Callable[[Scene], Awaitable[None]]
    paid_before: bool
    status: str
    booked: dict[str, int]
    refunds: tuple[str, ...] = ()


REFUNDED = {"wallet": 6 * DOLLAR, "cash:stripe": -5_410_000_000, "fees:stripe": -590_000_000}
STORIES = (
    Told(payment, False, "paid", PAID),
    Told(session, False, "paid", PAID),
    Told(refund, True, "partially_refunded", REFUNDED, ("succeeded",)),
    Told(refund_that_fails_at_once, True, "paid", PAID, ("failed",)),
    Told(refund_that_fails_later, True, "paid", PAID, ("failed",)),
    Told(refund_at_stripe, True, "partially_refunded", REFUNDED, ("succeeded",)),
    # A dispute costs 15.00, also when it is won.
    Told(dispute_won, True, "paid", {"wallet": TEN, "cash:stripe": 5_590_000_000, "fees:stripe": -15_590_000_000}),
    Told(dispute_lost, True, "disputed", {"cash:stripe": 15_590_000_000, "fees:stripe": -15_590_000_000}),
)  # fmt: skip


@pytest.mark.parametrize("told", STORIES, ids=lambda told: told.story.__name__)
@pytest.mark.parametrize("how", STRIDES)
async def test_a_process_may_die_at_any_step_or_lose_what_it_uses(
    shop: PaymentShop, told: Told, how: str
) -> None:
    met: Counter[str] = Counter()
    at = 1 + STORIES.index(told) * STRIDES[how] // len(STORIES)
    while True:
        scene = Scene(shop, await shop.customer(), f"ORD-{at}")
        before = Counter(await shop.booked())
        if told.paid_before:
            await scene.bought()
        crashes = Crashes(at, away=how == "away")
        async with process_that_dies(shop, crashes):
            await told.story(scene)
        await quiesce(shop)
        await told.story(scene)
        await quiesce(shop)
        await check(scene, told, before, crashes)
        if not crashes.met:
            break
        met[crashes.met.partition(", ")[2]] += 1
        at += STRIDES[how]
    print(f"of {crashes.steps} steps: {dict(met)}")
    assert met
    await shop.balanced()


async def check(scene: Scene, told: Told, before: Counter[str], crashes: Crashes) -> None:
    shop, where = scene.shop, crashes.met
    after = Counter(await shop.booked())
    after.subtract(before)
    assert {name: nanos for name, nanos in after.items() if nanos} == told.booked, where
    assert await shop.status(scene.order_id) == told.status, where
    in_wallet = told.booked.get("wallet", 0)
    assert (await scene.customer.ledger_nanos(), await scene.customer.redis_nanos()) == (
        in_wallet,
        in_wallet,
    ), where
    rows = await shop.shop.pg.fetch("SELECT state FROM refunds WHERE order_id = $1", scene.order_id)
    assert tuple(row["state"] for row in rows) == told.refunds, where
    made = [
        one["object"]
        for one in shop.stripe.account.objects.values()
        if (one.get("metadata") or {}).get("order_id") == scene.order_id
    ]
    intents, sessions = made.count("payment_intent"), made.count("checkout.session")
    assert (intents, sessions) == (1, 1 if told.story is session else 0), where
    refunds = [
        one for one in shop.stripe.account.all("refund") if one["payment_intent"] == await intent(scene)
    ]
    assert len(refunds) == len(told.refunds), where


async def intent(scene: Scene) -> str:
    found: str = await scene.shop.shop.pg.fetchval(
        "SELECT payment_id FROM payments WHERE order_id = $1", scene.order_id
    )
    return found
