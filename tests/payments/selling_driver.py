"""What the state machine of payments works with: a shop for each example, processes that die, and how it all must end.

In the end Stripe tells everything, workers work until nothing waits, and the books hold what the model says: each
customer's wallet, in the ledger and in Redis, each house account, each order's status; and each refund that we asked
for is at Stripe once or nowhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, ClassVar, TypeVar

import redis
from hypothesis.stateful import RuleBasedStateMachine

from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.rebuild import rebuild
from rabbitgw.errors import CallerError, PaymentError, StoreError
from rabbitgw.payments.stripe_facts import WANTED_TYPES
from rabbitgw.payments.till import Payments
from rabbitgw.stores import open_postgres, open_redis
from tests.books import Customer, Shop, drain
from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.fake import open_fake_stripe
from tests.payments.dying import Crashes, process_that_dies, quiesce
from tests.payments.selling_model import Buyer, Sale
from tests.payments.shop import STRIPE_KEY, PaymentShop, shop_settings

T = TypeVar("T")
Doom = tuple[int, bool] | None  # at which step, and whether something is away there or the process dies
TRIES_MAX = 8  # of a person who wants to pay and meets faults


@asynccontextmanager
async def open_shop(dsn: str, redis_url: str) -> AsyncIterator[PaymentShop]:
    """Stores, a Stripe of its own, and a process."""
    async with AsyncExitStack() as stack:
        pg = await open_postgres(dsn, min_size=1, max_size=8)
        stack.push_async_callback(pg.close)
        link = await open_redis(redis_url, timeout_s=10.0)
        stack.push_async_callback(link.close)
        stripe = await stack.enter_async_context(open_fake_stripe(STRIPE_KEY, "pk_test_of_the_shop"))
        settings = shop_settings(stripe)
        payments = Payments(pg, link, settings)
        stack.push_async_callback(payments.close)
        yield PaymentShop(await Shop.open(pg, link), payments, settings, stripe, dsn)


class SellingDriver(RuleBasedStateMachine):
    """The rules are the subclass's. `new_dsn`: a migrated database and an emptied Redis, now and then a new one."""

    new_dsn: Callable[[], str]
    redis_url = ""
    happened: ClassVar[Counter[str]] = Counter()
    clean: ClassVar[bool] = False  # the last example has come to its end, and left nothing behind

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.opened = open_shop(type(self).new_dsn(), self.redis_url)
        self.shop = self.run(self.opened.__aenter__())
        SellingDriver.clean = False
        self.stripe = self.shop.stripe
        self.before = Counter(self.run(self.shop.booked()))
        self.customers: list[Customer] = []
        self.buyers: list[Buyer] = []
        self.numbers = iter(range(1, 10_000))
        self.run_name = f"run{id(self)}-{self.run(self._orders())}"

    @staticmethod
    def empty_redis(redis_url: str) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    async def _orders(self) -> int:
        return int(await self.shop.shop.pg.fetchval("SELECT count(*) FROM payment_orders"))

    def teardown(self) -> None:
        try:
            self.run(self.check_the_end())
        finally:
            self.run(self.opened.__aexit__(None, None, None))
            self.runner.close()

    # -- what a rule is made of

    def sales(self) -> Iterator[tuple[Customer, str, Sale]]:
        for customer, buyer in zip(self.customers, self.buyers, strict=True):
            for order_id, sale in buyer.sales.items():
                yield customer, order_id, sale

    def pick(self, number: int, wanted: Callable[[Sale], bool]) -> tuple[str, Sale] | None:
        """One of the sales that are so, counted from the newest."""
        found = [(order_id, sale) for _, order_id, sale in self.sales() if wanted(sale)]
        return found[-1 - number % len(found)] if found else None

    async def doomed(self, doom: Doom, work: Callable[[], Awaitable[Any]]) -> bool:
        """Do it in a process that dies, or not. Returns: whether it came to its end."""
        if doom is None:
            with suppress(StoreError, PaymentError, CallerError):
                await work()
                return True
            return False
        at, away = doom
        came = False
        crashes = Crashes(at, away=away)
        async with process_that_dies(self.shop, crashes):
            with suppress(CallerError, PaymentError):
                await work()
                came = True
        if crashes.met:
            self.happened["away" if away else "deaths"] += 1
        return came

    async def persistently(self, doom: Doom, work: Callable[[], Awaitable[Any]]) -> Any:
        """The first try may die; then it is tried until it is done, as faults end."""
        answer: list[Any] = []

        async def keep() -> None:
            answer.append(await work())

        for _ in range(TRIES_MAX):
            if await self.doomed(doom, keep):
                return answer[-1]
            doom = None
        self.stripe.clear_faults()
        return await work()

    def at_stripe(self, work: Awaitable[T]) -> T | None:
        """What a person or a bank does there; None when Stripe's rules forbid it."""
        try:
            return self.run(work)
        except StripeRefusal:
            return None

    def intent(self, order_id: str) -> dict[str, Any]:
        """The order's PaymentIntent at Stripe."""
        (found,) = [
            one for one in self.stripe.account.all("payment_intent") if one["metadata"].get("order_id") == order_id
        ]  # fmt: skip
        return found

    def untold(self) -> list[dict[str, Any]]:
        return [one for one in self.stripe.account.events[self.shop.told :] if one["type"] in WANTED_TYPES]

    async def redis_comes_back_empty(self) -> None:
        """All that was in it and not in the books is booked before: calls are not what is tried here."""
        consumer = Consumer(self.shop.shop.pg, self.shop.shop.link)
        while await consumer.run_once():
            pass
        await consumer.release()
        await self.shop.shop.link.call("FLUSHALL")
        await rebuild(self.shop.shop.pg, self.shop.shop.link)
        self.shop.shop = await Shop.open(self.shop.shop.pg, self.shop.shop.link)
        for customer in self.customers:
            customer.shop = self.shop.shop
            await customer.load()

    # -- the end

    async def check_the_end(self) -> None:
        self.stripe.clear_faults()
        await quiesce(self.shop)
        await drain(self.shop.shop.pg, self.shop.shop.link)
        self.read_the_banks_refunds()
        expected: Counter[str] = Counter()
        for customer, buyer in zip(self.customers, self.buyers, strict=True):
            expected.update(buyer.books())
            balances = (await customer.ledger_nanos(), await customer.redis_nanos())
            assert balances == (buyer.balance_nanos, buyer.balance_nanos), buyer
        booked = Counter(await self.shop.booked())
        booked.subtract(self.before)
        assert {name: nanos for name, nanos in booked.items() if nanos} == {
            name: nanos for name, nanos in expected.items() if nanos
        }
        for _, order_id, sale in self.sales():
            assert await self.shop.status(order_id) == sale.status, (order_id, sale)
        await self.check_refunds_of_ours()
        await self.shop.balanced()
        SellingDriver.clean = True
        self.happened["examples"] += 1
        for _, _, sale in self.sales():
            self.happened.update(
                {
                    f"orders that are {sale.status}": 1,
                    "refunds": len(sale.refunds),
                    "refunds that failed": sum(status == "failed" for _, status in sale.refunds),
                    "disputes": len(sale.disputes),
                }
            )

    def read_the_banks_refunds(self) -> None:
        intents = {
            one["metadata"].get("order_id"): one["id"] for one in self.stripe.account.all("payment_intent")
        }
        for _, order_id, sale in self.sales():
            sale.refunds = [
                (one["amount"], one["status"])
                for one in self.stripe.account.all("refund")
                if one["payment_intent"] == intents.get(order_id)
            ]

    async def check_refunds_of_ours(self) -> None:
        orders = [order_id for _, order_id, _ in self.sales()]
        rows = await self.shop.shop.pg.fetch(
            "SELECT id::text, state, amount_minor FROM refunds WHERE ours AND order_id = ANY($1)", orders
        )
        at_bank = {
            one["metadata"]["rabbitgw_refund"]: (one["status"], one["amount"])
            for one in self.stripe.account.all("refund")
            if "rabbitgw_refund" in one["metadata"]
        }
        made = [one for one in self.stripe.account.all("refund") if "rabbitgw_refund" in one["metadata"]]
        assert len(made) == len(at_bank), "a refund was made twice"
        for refund_id, state, amount_minor in rows:
            found = at_bank.pop(refund_id, None)
            assert found == (state, amount_minor) or (found is None and state in ("failed", "refused")), state
        assert not at_bank, "a refund at Stripe that nobody asked for"
