"""The fake Stripe, the real library connected to it, and a webhook endpoint that checks what comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import stripe as sdk
from aiohttp import web

from tests.fakes.stripe import FakeStripe, open_fake_stripe

Params = dict[str, Any]
USD_10: Params = {"amount": 1000, "currency": "usd", "automatic_payment_methods": {"enabled": True}}


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with open_fake_stripe() as fake:
        yield fake


@pytest.fixture
async def client(stripe: FakeStripe) -> AsyncIterator[Any]:
    http = sdk.AIOHTTPClient()
    yield sdk.StripeClient(
        stripe.secret_key, http_client=http, base_addresses={"api": stripe.url}, max_network_retries=0
    ).v1
    await http.close_async()


class Inbox:
    """The receiver's side of webhooks: checks signatures with Stripe's library, answers as told."""

    def __init__(self) -> None:
        self.secrets = ["whsec_one"]  # each must fit
        self.statuses: list[int] = []  # of the next answers; then 200
        self.events: list[Any] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body, signature = await request.read(), request.headers["Stripe-Signature"]
        for secret in self.secrets:
            event = sdk.Webhook.construct_event(body, signature, secret)
        self.events.append(event)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]


@pytest.fixture
async def inbox(aiohttp_server: Callable[[web.Application], Awaitable[Any]]) -> Inbox:
    inbox = Inbox()
    app = web.Application()
    app.router.add_post("/hook", inbox.take)
    inbox.url = str((await aiohttp_server(app)).make_url("/hook"))
    return inbox


async def bought(stripe: FakeStripe, client: Any, **more: Any) -> str:
    intent = await client.payment_intents.create_async({**USD_10, **more})
    await stripe.pay(intent.id)
    return str(intent.id)
