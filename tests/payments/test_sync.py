"""Looks at a provider that overtake each other: what was overtaken is left alone, and looked at again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from rabbitgw.payments.contract import PaymentStatus
from tests.payments.shop import DOLLAR, PaymentShop

TEN = 10 * DOLLAR


class Slow:
    """A provider whose answers come after something else has happened, once for each number of an answer."""

    def __init__(self, provider: Any, then: dict[int, Callable[[], Awaitable[Any]]]) -> None:
        self._provider = provider
        self._then = then
        self.asked = 0
        self.name, self.livemode = provider.name, provider.livemode

    async def query(self, txn_id: str) -> PaymentStatus:
        status: PaymentStatus = await self._provider.query(txn_id)
        self.asked += 1
        if self.asked in self._then:
            await self._then[self.asked]()
        return status


async def test_a_look_that_was_overtaken_by_one_at_another_payment_is_applied(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    stripe, sync = shop.payments.providers.get("stripe"), shop.payments.sync
    metadata = (await shop.stripe.find(made.init.provider_txn_id))["metadata"]
    stray = await shop.stripe.pay_elsewhere(700, "usd", metadata)

    async def own_is_looked_at() -> None:
        await shop.stripe.pay(made.init.provider_txn_id)
        await sync.look(stripe, made.init.provider_txn_id)

    async def stray_is_looked_at() -> None:
        await sync.look(stripe, stray["id"])

    # the first answer says whose it is; the second is what is applied
    slow = Slow(stripe, {2: own_is_looked_at})
    assert (await sync.look(slow, stray["id"])).outcome == "needs_review"
    assert slow.asked == 3, "others were at it: what was seen may have been old, and it looked again"
    assert (await customer.ledger_nanos(), await shop.house("clearing")) == (TEN, 7 * DOLLAR)
    await shop.stripe.dashboard_refund(made.init.provider_txn_id, 100)
    await sync.look(Slow(stripe, {1: stray_is_looked_at}), made.init.provider_txn_id)
    assert await customer.ledger_nanos() == 9 * DOLLAR
    await shop.settle()
    assert (await customer.ledger_nanos(), await shop.house("clearing")) == (9 * DOLLAR, 7 * DOLLAR)
    await shop.balanced()


async def test_what_an_earlier_look_saw_is_not_applied_after_a_later_one(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    stripe, sync = shop.payments.providers.get("stripe"), shop.payments.sync
    await shop.stripe.pay(made.init.provider_txn_id, card="4000000000000002")

    async def paid_meanwhile() -> None:
        await shop.stripe.pay(made.init.provider_txn_id)
        assert (await sync.look(stripe, made.init.provider_txn_id)).outcome == "paid"

    slow = Slow(stripe, {1: paid_meanwhile})
    assert (await sync.look(slow, made.init.provider_txn_id)).outcome == "paid"
    assert slow.asked == 2, "what the first answer saw is left alone"
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.balanced()
