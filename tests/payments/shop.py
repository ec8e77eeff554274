"""Payments without HTTP of ours: orders, events and refunds driven by hand, against the fake Stripe and real stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from pydantic import SecretStr

from rabbitgw.config import Settings
from rabbitgw.payments.events import receive_webhook
from rabbitgw.payments.orders import Checkout, NewOrder
from rabbitgw.payments.refunds import Refund
from rabbitgw.payments.stripe_facts import WANTED_TYPES
from rabbitgw.payments.till import Payments
from tests.books import Customer, Shop, assert_books_balance
from tests.fakes.stripe.fake import FakeStripe
from tests.fakes.stripe.webhooks import signed

SECRETS = ("whsec_of_the_shop", "whsec_that_is_rolled_in")
DOLLAR = 1_000_000_000
STRIPE_KEY = "sk_test_of_the_shop"


def shop_settings(stripe: FakeStripe) -> Settings:
    return Settings.load(
        stripe_secret_key=SecretStr(STRIPE_KEY),
        stripe_publishable_key="pk_test_of_the_shop",
        stripe_webhook_secret=SecretStr(",".join(SECRETS)),
        stripe_api_base=stripe.url,
        admin_key=SecretStr("admin-of-the-tests"),
        bank_details="Rabbit Ltd, IBAN XX00",
        payment_timeout_s=10.0,
    )


@dataclass
class PaymentShop:
    shop: Shop
    payments: Payments
    settings: Settings
    stripe: FakeStripe
    dsn: str
    told: int = 0  # of Stripe's events, oldest first: how many `take_new_webhooks` has taken

    @property
    def stores(self) -> Shop:
        return self.shop

    async def as_owner(self, statement: str) -> None:
        """Change what the application may not, like when something was made."""
        owner = await asyncpg.connect(self.dsn)
        try:
            await owner.execute(statement)
        finally:
            await owner.close()

    async def customer(self, currency: str = "USD") -> Customer:
        return await self.shop.customer(0, currency=currency)

    async def checkout(
        self, customer: Customer, amount_minor: int = 1000, order_id: str | None = None, **fields: Any
    ) -> Checkout:
        new = NewOrder(
            **{"provider": "stripe", "amount_minor": amount_minor, "currency": customer.currency, **fields}
        )
        return await self.payments.orders.checkout(customer.account, new, order_id)

    async def paid(self, customer: Customer, amount_minor: int = 1000, **fields: Any) -> Checkout:
        """An order that was paid, and whose webhooks have come and were worked off."""
        made = await self.checkout(customer, amount_minor, **fields)
        await self.stripe.pay(made.init.provider_txn_id)
        await self.settle()
        return made

    async def take_webhooks(self) -> int:
        """Have every event that Stripe made stored, as if each was delivered once. Returns: how many were new."""
        fresh = 0
        for event in list(self.stripe.account.events):
            fresh += await self.deliver(event)
        return fresh

    async def take_new_webhooks(self) -> None:
        """The same of those that were not taken before, of an endpoint that asks for no more than we act on."""
        while self.told < len(self.stripe.account.events):
            event = self.stripe.account.events[self.told]
            if event["type"] in WANTED_TYPES:
                await self.deliver(event)
            self.told += 1

    async def deliver(self, event: dict[str, Any], secret: str = SECRETS[0]) -> bool:
        body = orjson.dumps(event)
        provider = self.payments.providers.get("stripe")
        headers = {name.lower(): value for name, value in signed(body, secret).items()}
        return await receive_webhook(self.shop.pg, provider, headers, body)

    async def settle(self) -> None:
        """Take every webhook and work everything off."""
        await self.take_webhooks()
        await self.payments.run_once()

    async def refund(self, order_id: str, amount_minor: int | None = None, **fields: Any) -> Refund:
        return await self.payments.refunds.refund(
            **{
                "order_id": order_id,
                "provider_txn_id": None,
                "amount_minor": amount_minor,
                "reason": None,
                "idempotency_key": None,
                **fields,
            }
        )

    async def status(self, order_id: str) -> str:
        return str((await self.payments.orders.get(order_id, None))["status"])

    async def booked(self, currency: str = "USD") -> dict[str, int]:
        """What each account of the ledger stands at, in nanos, but for those at zero; all wallets are one."""
        rows = await self.shop.pg.fetch(
            "SELECT ledger_account, sum(amount_nanos) FROM ledger_entries WHERE currency = $1 GROUP BY 1",
            currency,
        )
        return {name: int(nanos) for name, nanos in rows if nanos}

    async def house(self, ledger_account: str, currency: str = "USD") -> int:
        """What a house account of the ledger stands at, in nanos."""
        return int(
            await self.shop.pg.fetchval(
                "SELECT coalesce(sum(amount_nanos), 0) FROM ledger_entries WHERE ledger_account = $1 AND currency = $2",
                ledger_account,
                currency,
            )
        )

    async def balanced(self) -> None:
        await assert_books_balance(self)
