"""The fake Stripe as tests hold it: a server on a free loopback port, and what people, banks and Stripe do.

    async with open_fake_stripe() as stripe:
        await stripe.add_endpoint(gateway_url + "/v1/webhooks/stripe", secrets=[secret])
        ...                                  # the gateway makes a PaymentIntent at stripe.url
        await stripe.pay(pi_id)              # the customer pays
        await stripe.deliver(twice=True)     # the webhooks come

State is per instance. Ids and every other choice follow the seed; without one, each instance takes the next number,
so that two of them make no id twice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.fakes.stripe import webhooks
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.control import control
from tests.fakes.stripe.faults import Fault
from tests.fakes.stripe.objects import Obj
from tests.fakes.stripe.people import People
from tests.fakes.stripe.server import BODY_BYTES_MAX, Recorded, Server
from tests.fakes.stripe.webhooks import Delivery, Endpoint, Webhooks

SEEDS = itertools.count(1)


class FakeStripe(People):
    """What people do is in people.py; here is what the wire does."""

    def __init__(
        self, secret_key: str, publishable_key: str, livemode: bool, country: str, seed: int | None
    ) -> None:
        self.secret_key = secret_key
        self.publishable_key = publishable_key
        self.url = ""
        self._livemode, self._country = livemode, country
        self._begin(seed)

    def _begin(self, seed: int | None) -> None:
        chosen = next(SEEDS) if seed is None else seed
        self.account = Account(self._livemode, self._country, chosen)
        self.server = Server(self.account, self.secret_key, self.publishable_key)
        self.webhooks = Webhooks(self.account)
        self.account.on_event = self.webhooks.enqueue

    async def reset(self, seed: int | None = None) -> None:
        """Begin anew at the same address: nothing is left, also no endpoint and no fault."""
        await self.close()
        self._begin(seed)

    # -- webhooks

    async def add_endpoint(
        self, url: str, secrets: Sequence[str], events: Sequence[str] = ("*",), auto: bool = False
    ) -> None:
        """Later events are queued for this address; `auto` sends each at once, in a task, with a few retries."""
        self.webhooks.endpoints.append(Endpoint(url, tuple(secrets), tuple(events), auto))

    async def change_endpoints(self, url: str | None = None, secrets: Sequence[str] | None = None) -> None:
        """Every endpoint moves, or signs with other secrets; what waits for it goes there too."""
        for endpoint in self.webhooks.endpoints:
            endpoint.url = endpoint.url if url is None else url
            endpoint.secrets = endpoint.secrets if secrets is None else tuple(secrets)

    async def remove_endpoints(self) -> None:
        """Forget every endpoint and what waits for one."""
        self.webhooks.endpoints.clear()
        self.webhooks.queue.clear()

    async def deliver(
        self, order: str = "created", seed: int = 0, twice: bool = False, parallel: int = 1
    ) -> list[Delivery]:
        """One attempt for each event that waits; those not answered 2xx wait on."""
        return await self.webhooks.deliver(order, seed, twice, parallel)

    async def redeliver(self, event_id: str) -> list[Delivery]:
        return await self.webhooks.redeliver(event_id)

    async def drop(self, event_ids: Sequence[str]) -> None:
        self.webhooks.drop(event_ids)

    async def undelivered(self) -> list[Obj]:
        """Events that wait for an endpoint, oldest first; dropped ones do not wait any more."""
        return [pending.event for pending in self.webhooks.queue]

    async def idle(self) -> None:
        await self.webhooks.idle()

    @property
    def pending_webhooks(self) -> int:
        return len(self.webhooks.queue)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt so far, with status, body and headers."""
        return self.webhooks.deliveries

    def signed(self, payload: bytes, secret: str | Sequence[str], at: int | None = None) -> dict[str, str]:
        """Headers as Stripe would send them with these bytes; `at` is the unix time in the signature."""
        return webhooks.signed(payload, secret, at)

    # -- requests and faults

    @property
    def requests(self) -> list[Recorded]:
        return self.server.requests

    def fault(
        self,
        method: str,
        path: str,
        kind: str,
        *,
        when: str = "before",
        times: int = 1,
        status: int = 500,
        keep: bool | None = None,
        gate: asyncio.Event | str | None = None,
    ) -> Fault:
        """Spoil the next `times` requests of a method ("*": any) and path ("/v1/refunds", "/v1/payment_intents/*").

        kind "status": answer `status` (429, 500, 503). "cut": end the connection without an answer; aiohttp repeats a
        GET that met it once by itself. "hold": wait for `gate`. "garbage": 200 with HTML, "bytes": with what is no
        UTF-8. `when` is before the work or after it was done. A status after the work is kept by the idempotency
        key, one before it is not, unless `keep` says otherwise.
        """
        if isinstance(gate, str):
            gate = self.server.faults.gate(gate)
        elif gate is None:
            gate = asyncio.Event()
        return self.server.faults.add(method, path, kind, when, times, status, keep, gate)

    def open_gate(self, name: str) -> None:
        self.server.faults.gate(name).set()

    def clear_faults(self) -> None:
        """Later requests meet no fault; those held go on waiting for their gate."""
        self.server.faults.clear()

    async def close(self) -> None:
        self.server.faults.let_go()
        await self.webhooks.close()


@asynccontextmanager
async def open_fake_stripe(
    secret_key: str = "sk_test_fake",
    publishable_key: str = "pk_test_fake",
    *,
    livemode: bool = False,
    country: str = "US",
    seed: int | None = None,
    port: int = 0,
) -> AsyncIterator[FakeStripe]:
    stripe = FakeStripe(secret_key, publishable_key, livemode, country, seed)

    async def controlled(request: web.Request) -> web.Response:
        return await control(stripe, request)

    async def served(request: web.Request) -> web.StreamResponse:
        return await stripe.server.handle(request)

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("POST", "/_test/{name}", controlled)
    app.router.add_route("*", "/{rest:.*}", served)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        address: Any = runner.addresses[0]
        stripe.url = f"http://127.0.0.1:{address[1]}"
        yield stripe
    finally:
        await stripe.close()
        await runner.cleanup()
