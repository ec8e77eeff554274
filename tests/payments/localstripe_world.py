"""StripeProvider beside localstripe, a Stripe that somebody else wrote: what it knows, it may witness.

`Adapter` stands between them and changes only what localstripe does not know: parameters that it refuses are left out,
`amount_received` is put in, and it has no disputes. It knows no idempotency keys, refunds more than was paid, and lets
nobody try again; checks of that are not asked of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import aiohttp
import orjson
from aiohttp import web
from pydantic import SecretStr

from rabbitgw.config import Settings
from rabbitgw.payments.conformance import Check, Trait, Webhook, World, checks_of
from rabbitgw.payments.contract import InitResult, Order, PaymentProvider
from rabbitgw.payments.stripe_provider import StripeProvider
from tests.fakes.localstripe_process import LocalStripe
from tests.fakes.stripe.webhooks import signed

SECRET = "whsec_of_localstripe"
HOOK = "/hook"
LEFT_OUT = (
    "description",
    "receipt_email",
    "automatic_payment_methods",
    "allowed_payment_method_types",
    "reason",
    "types",
)
NOT_WITNESSED = frozenset(
    {
        "an_order_is_made_payable_once",
        "creating_at_once_makes_one_payment",
        "no_more_goes_back_than_came_in",
        "refunds_at_once_are_one_by_their_id",
    }
)


@dataclass
class Adapter:
    """`url`: what StripeProvider takes for Stripe. `webhooks`: what localstripe sent to `url` + HOOK."""

    localstripe: LocalStripe
    http: aiohttp.ClientSession
    url: str = ""
    webhooks: list[Webhook] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == HOOK:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.webhooks.append(Webhook(headers, body))
            return web.Response()
        if request.path == "/v1/disputes":
            return web.json_response({"object": "list", "data": [], "has_more": False, "url": "/v1/disputes"})
        status, answer = await self.ask(
            request.method, request.path, parse_qsl(body.decode()), list(request.query.items())
        )
        return web.json_response(answer, status=status)

    async def ask(
        self,
        method: str,
        path: str,
        form: Sequence[tuple[str, str]] = (),
        query: Sequence[tuple[str, str]] = (),
    ) -> tuple[int, dict[str, Any]]:
        known = [(name, value) for name, value in form if name.partition("[")[0] not in LEFT_OUT]
        asked = [(name, value) for name, value in query if name.partition("[")[0] not in LEFT_OUT]
        # without parameters it wants none, not an empty form
        async with self.http.request(
            method,
            f"{self.localstripe.base_url}{path}?{urlencode(asked)}",
            data=urlencode(known) if known else None,
            headers={
                "Authorization": f"Bearer {self.localstripe.api_key}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        ) as response:
            answer = await response.json(content_type=None)
        if answer.get("object") == "payment_intent":
            answer["amount_received"] = answer["amount"] if answer["status"] == "succeeded" else 0
        return response.status, answer

    async def pay(self, intent_id: str, number: str = "4242424242424242") -> None:
        """The customer gives a card, and confirms."""
        card = {"number": number, "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        given = [("type", "card"), *((f"card[{name}]", value) for name, value in card.items())]
        _, method = await self.ask("POST", "/v1/payment_methods", given)
        path = f"/v1/payment_intents/{intent_id}"
        await self.ask("POST", path, [("payment_method", method["id"])])
        await self.ask("POST", f"{path}/confirm")


@asynccontextmanager
async def adapted(localstripe: LocalStripe) -> AsyncIterator[Adapter]:
    async with aiohttp.ClientSession() as http:
        adapter = Adapter(localstripe, http)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", adapter.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address: Any = runner.addresses[0]
            adapter.url = f"http://127.0.0.1:{address[1]}"
            yield adapter
        finally:
            await runner.cleanup()


def settings_at(adapter: Adapter, **others: Any) -> Settings:
    return Settings.load(
        stripe_secret_key=SecretStr(adapter.localstripe.api_key),
        stripe_webhook_secret=SecretStr(SECRET),
        stripe_api_base=adapter.url,
        webhook_tolerance_s=LocalStripeWorld.webhook_age_max_s,
        **others,
    )


class LocalStripeWorld(World):
    traits: ClassVar = frozenset({Trait.SIGNS_BODY, Trait.SIGNS_TIME, Trait.KEEPS_EVENTS})
    signature_headers: ClassVar = ("stripe-signature",)
    webhook_age_max_s: ClassVar = 300

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.provider = self.another()

    @classmethod
    @asynccontextmanager
    async def open(cls, localstripe: LocalStripe) -> AsyncIterator[World]:
        async with adapted(localstripe) as adapter:
            world = cls(adapter)
            try:
                yield world
            finally:
                await world.provider.close()

    def another(self) -> PaymentProvider:
        return StripeProvider(settings_at(self.adapter))

    async def pay(self, order: Order, made: InitResult) -> None:
        await self.adapter.pay(made.provider_txn_id)

    async def messages(self, order: Order, made: InitResult) -> list[bytes]:
        """As it keeps them; it sends the same, a second later."""
        _, listed = await self.adapter.ask("GET", "/v1/events", query=[("limit", "100")])
        about = [one for one in listed["data"] if one["data"]["object"].get("id") == made.provider_txn_id]
        return [orjson.dumps(one) for one in reversed(about)]

    def sign(self, message: bytes, at: datetime) -> Webhook:
        headers: Mapping[str, str] = signed(message, SECRET, int(at.timestamp()))
        return Webhook({name.lower(): value for name, value in headers.items()}, message)


def witnessed() -> list[Check]:
    return [check for check in checks_of(LocalStripeWorld) if check.name not in NOT_WITNESSED]
