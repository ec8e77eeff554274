"""The providers' worlds for the conformance checks: Stripe's two ways beside the fake, and an operator with a bank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from rabbitgw import statements
from rabbitgw.billing import accounts
from rabbitgw.clock import new_id
from rabbitgw.config import Settings
from rabbitgw.errors import PaymentRefused
from rabbitgw.payments.conformance import Trait, Webhook, World
from rabbitgw.payments.contract import CHECKOUT_SESSION, InitResult, Order, PaymentProvider, RefundResult
from rabbitgw.payments.currencies import nanos_of_minor
from rabbitgw.payments.events import receive_webhook
from rabbitgw.payments.manual_provider import ManualProvider
from rabbitgw.payments.orders import order_of
from rabbitgw.payments.registry import Providers
from rabbitgw.payments.stripe_provider import StripeProvider
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool, connection
from tests.fakes.stripe.fake import FakeStripe, open_fake_stripe
from tests.fakes.stripe.webhooks import signed
from tests.payments.shop import SECRETS

STRIPE_KEY = "sk_test_of_the_shop"
ADMIN_KEY = "admin-of-the-tests"
TWO_DAYS_S = 2 * 24 * 3600


class StripeWorld(World):
    traits: ClassVar = frozenset(Trait) - {Trait.REFUNDS_WAIT}
    signature_headers: ClassVar = ("stripe-signature",)
    webhook_age_max_s: ClassVar = 300

    def __init__(self, fake: FakeStripe) -> None:
        self.fake = fake
        self._settings = Settings.load(
            stripe_secret_key=SecretStr(STRIPE_KEY),
            stripe_webhook_secret=SecretStr(",".join(SECRETS)),
            stripe_api_base=fake.url,
            webhook_tolerance_s=self.webhook_age_max_s,
        )
        self.provider = self.another()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[World]:
        async with open_fake_stripe(STRIPE_KEY) as fake:
            world = cls(fake)
            try:
                yield world
            finally:
                await world.provider.close()

    def another(self) -> PaymentProvider:
        return StripeProvider(self._settings)

    def not_taken(self) -> Iterable[tuple[dict[str, Any], str]]:
        return [
            ({"amount_minor": 49}, "amount_cents"),
            ({"amount_minor": 100_000_000}, "amount_cents"),
            ({"currency": "KWD", "amount_minor": 5124}, "amount_cents"),
            ({"currency": "XAU"}, "currency"),
            ({"currency": "BRL", "methods": ("alipay",)}, "methods"),
            ({"mode": CHECKOUT_SESSION, "return_url": None}, "return_url"),
        ]

    async def pay(self, order: Order, made: InitResult) -> None:
        await self.fake.pay(made.provider_txn_id)

    async def fail(self, order: Order, made: InitResult) -> None:
        await self.fake.pay(made.provider_txn_id, card="4000000000000002")

    async def messages(self, order: Order, made: InitResult) -> list[bytes]:
        return [orjson.dumps(event) for event in await self.fake.events()]

    def sign(self, message: bytes, at: datetime) -> Webhook:
        headers = signed(message, SECRETS[0], int(at.timestamp()))
        return Webhook({name.lower(): value for name, value in headers.items()}, message)

    def other_message(self) -> bytes:
        event = {"id": "evt_1", "object": "event", "type": "invoice.paid", "livemode": False, "created": 1}
        return orjson.dumps({**event, "data": {"object": {"id": "in_1", "object": "invoice"}}})

    async def end_refund(self, order: Order, made: InitResult, refund: RefundResult, *, ok: bool) -> None:
        await (self.fake.succeed_refund if ok else self.fake.fail_refund)(refund.provider_refund_id)

    async def later(self, order: Order) -> Order:
        await self.fake.advance(TWO_DAYS_S)
        return replace(order, created_at=order.created_at - timedelta(seconds=TWO_DAYS_S))

    def requests(self) -> int:
        return len(self.fake.requests)

    @asynccontextmanager
    async def outage(self, *, after_work: bool) -> AsyncIterator[None]:
        if after_work:  # what is read before is answered: what is done is not
            self.fake.fault("POST", "/v1/**", "cut", when="after", times=1000)
        else:
            self.fake.fault("*", "/v1/**", "cut", times=1000)
        try:
            yield
        finally:
            self.fake.clear_faults()


class CheckoutWorld(StripeWorld):
    """The same by Stripe's own page, where a try that fails is the page's business."""

    traits: ClassVar = StripeWorld.traits - {Trait.TRIES_FAIL}
    mode: ClassVar = CHECKOUT_SESSION

    async def pay(self, order: Order, made: InitResult) -> None:
        await self.fake.complete_session(made.provider_txn_id)


class ManualWorld(World):
    """Orders and refunds have rows of ours, which this provider reads; what is confirmed goes through the till."""

    traits: ClassVar = frozenset({Trait.REFUNDS_WAIT, Trait.REFUNDS_FAIL, Trait.KEYS_END})
    signature_headers: ClassVar = ("authorization",)

    def __init__(self, pg: Pool, link: RedisLink) -> None:
        self._pg = pg
        self.provider = self.another()
        self._payments = Payments(pg, link, Settings.load(), providers=Providers({"manual": self.provider}))
        self._said: dict[str, list[bytes]] = {}
        self._asking = asyncio.Lock()

    def another(self) -> PaymentProvider:
        return ManualProvider(self._pg, "Rabbit Ltd, IBAN XX00", ADMIN_KEY)

    def not_taken(self) -> Iterable[tuple[dict[str, Any], str]]:
        return [({"methods": ("card",)}, "methods"), ({"mode": CHECKOUT_SESSION}, "mode")]

    async def order(self, amount_minor: int, currency: str) -> Order:
        account = await accounts.create_account(self._pg, "customer", currency)
        plain = await super().order(amount_minor, currency)
        terms = {
            "methods": [],
            "description": "",
            "return_url": None,
            "cancel_url": None,
            "receipt_email": None,
        }
        async with connection(self._pg) as db:
            row = await db.fetchrow(
                statements.orders.create, plain.order_id, account.id, None, "manual", plain.mode, currency,
                amount_minor, nanos_of_minor(currency, amount_minor), 0, None, bytes(32), orjson.dumps(terms).decode(),
            )  # fmt: skip
            assert row is not None
            return order_of(row, await db.fetchval(statements.deployment.id), None)

    async def pay(self, order: Order, made: InitResult) -> None:
        about = {"amount_cents": order.amount_minor, "currency": order.currency}
        await self._say(order, {"type": "received", **about})

    async def _say(self, order: Order, word: dict[str, Any]) -> None:
        message = orjson.dumps({"id": new_id(), "order_id": order.order_id, **word})
        self._said.setdefault(order.order_id, []).append(message)
        webhook = self.sign(message, order.created_at)
        await receive_webhook(self._pg, self.provider, webhook.headers, webhook.body)
        await self._payments.run_once()

    async def messages(self, order: Order, made: InitResult) -> list[bytes]:
        return list(self._said.get(order.order_id, []))

    def sign(self, message: bytes, at: datetime) -> Webhook:
        return Webhook({"authorization": f"Bearer {ADMIN_KEY}"}, message)

    async def later(self, order: Order) -> Order:
        return replace(order, created_at=order.created_at - timedelta(days=30))

    async def refund(
        self, order: Order, made: InitResult, amount_minor: int | None, refund_id: str
    ) -> RefundResult:
        """With a row of the refund, as the house has it by then; what is refused has failed."""
        async with self._asking, connection(self._pg) as db:
            (payment, *_) = [*await db.fetch(statements.payments.of_order, order.order_id), None]
            known = [str(row["id"]) for row in await db.fetch(statements.refunds.of_order, order.order_id)]
            if payment is not None and refund_id not in known:
                gone = await db.fetchval(statements.refunds.sum_of_order, order.order_id)
                amount = amount_minor or max(1, order.amount_minor - gone)
                await db.fetchrow(
                    statements.refunds.create, refund_id, order.order_id, payment["id"], "manual", None, None, amount,
                    nanos_of_minor(order.currency, amount), 0, "wallet", None, "taken", True, timedelta(days=1),
                )  # fmt: skip
        try:
            return await super().refund(order, made, amount_minor, refund_id)
        except PaymentRefused:
            async with connection(self._pg) as db:
                await db.execute(statements.refunds.move, refund_id, "failed", None, None, None, None, None)
            raise

    async def end_refund(self, order: Order, made: InitResult, refund: RefundResult, *, ok: bool) -> None:
        word = {"type": "refund_sent" if ok else "refund_failed"}
        await self._say(order, {**word, "refund_id": refund.provider_refund_id.removeprefix("manual:")})
