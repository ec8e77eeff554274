"""A request from its key to its hold, and what is answered when it gets none:

    auth → read → price → reserve → (forward.py) forward → relay → judge → settle or release → last frame

Nothing is forwarded without a hold, and nothing is held when an error leaves this file.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import orjson

from rabbitgw import metrics, telemetry
from rabbitgw.billing import events
from rabbitgw.billing.admission import Till
from rabbitgw.billing.keyring import KeyRecord, Keyring
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.scopes import MODELS
from rabbitgw.config import Settings
from rabbitgw.errors import (
    AccessDenied,
    CallerError,
    InvariantBroken,
    ModelNotFound,
    ModelNotPriced,
    RabbitError,
    RateLimited,
    StoreError,
    UpstreamBudget,
    UpstreamError,
    UpstreamRefusedUs,
)
from rabbitgw.proxy import error_shapes
from rabbitgw.proxy.ask import Ask, id_lines
from rabbitgw.proxy.beyond import Alternatives, Taken, quoted
from rabbitgw.proxy.bodies.forms import parse_form_call
from rabbitgw.proxy.bodies.parsing import parse_call
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.catalog import Catalog, model_entry, model_list
from rabbitgw.proxy.forward import Run
from rabbitgw.proxy.forwarder import Forwarder
from rabbitgw.proxy.key_gate import check_call, check_entry
from rabbitgw.proxy.quote import estimated_tokens
from rabbitgw.proxy.rate_headers import rate_lines
from rabbitgw.proxy.relay import Client, Headers
from rabbitgw.proxy.upstream import Upstream


class Service:
    """The data plane. One per process; knows no store but through billing."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        prices: PriceFeed,
        till: Till,
        upstream: Upstream,
        catalog: Catalog,
    ) -> None:
        self.settings = settings
        self._keyring = keyring
        self._prices = prices
        self._till = till
        self._catalog = catalog
        self._forwarder = Forwarder(settings, prices, till, upstream)

    async def serve(self, ask: Ask, client: Client) -> None:
        """Answer one request. Never raises: what goes wrong is answered, logged and settled."""
        try:
            run = await self._admit(ask, client)
            failure = await run.run()
        except (CallerError, UpstreamError, StoreError) as error:
            # its traceback would keep the body until the next garbage collection
            failure = error.with_traceback(None)
        except Exception as error:
            telemetry.error("request_failed", exc=error, request_id=ask.request_id)
            failure = InvariantBroken("an unexpected error in a call")
        if failure is not None:
            self.refuse(ask, client, failure)

    async def models(self, ask: Ask, client: Client, only: str | None = None) -> None:
        """`GET /v1/models`, or one of them: what upstream serves, we price, and this key may call. Never raises."""
        try:
            # nothing is reserved here, so no script would notice a key that was revoked a moment ago
            key = await self._keyring.confirm(ask.secret)
            check_entry(MODELS, ask, key)
            prices, now_ms = self._prices, self._till.now_ms()
            names = [
                name
                for name in sorted(await self._catalog.names())
                if key.allows(name) and prices.match(key, name, now_ms) is not None
            ]
            if only is not None and only not in names:
                raise ModelNotFound(f"the model {only!r} does not exist", field="model")
        except (CallerError, StoreError) as error:
            self.refuse(ask, client, error)
            return
        except Exception as error:
            telemetry.error("request_failed", exc=error, request_id=ask.request_id)
            self.refuse(ask, client, InvariantBroken("an unexpected error in a list of models"))
            return
        metrics.answered(MODELS, False, None)
        shown = model_list(ask.dialect, names) if only is None else model_entry(ask.dialect, only)
        self._answer(ask, client, 200, orjson.dumps(shown), [])

    def refuse(self, ask: Ask, client: Client, error: RabbitError) -> None:
        """Answer with an error in the caller's dialect; once an answer has begun, cut it."""
        ours = isinstance(error, UpstreamRefusedUs | UpstreamBudget | InvariantBroken)
        write = telemetry.error if ours else telemetry.log  # what the operator has to mend
        write(
            "request_refused",
            request_id=ask.request_id,
            caller_request_id=ask.caller_request_id,
            code=error.code,
            # upstream's words may quote the prompt: the caller sees them, a log does not
            reason="upstream's own words" if error.quotes_upstream else error.message,
        )
        metrics.answered(ask.dialect.name, ask.streamed, error.code)
        if isinstance(error, RateLimited) and error.standing:
            ask.rate_lines = rate_lines(error.standing)
        if client.started:
            client.cut()
            return
        status = error_shapes.error_status(ask.dialect, error, self.settings.balance_status)
        body = error_shapes.error_body(ask.dialect, error, ask.request_id)
        headers = [(name.encode(), value.encode()) for name, value in error_shapes.error_headers(error)]
        self._answer(ask, client, status, body, headers)

    def tick(self) -> None:
        """Once a second: let streams of reasoning models hold for what they may have produced unseen."""
        self._forwarder.tick()

    async def _admit(self, ask: Ask, client: Client) -> Run:
        """Raises: CallerError or StoreError; nothing is held then."""
        key = self._keyring.cached(ask.secret) or await self._keyring.find(ask.secret)
        if key.scopes is not None or key.ip_allowlist is not None:  # before the body is waited for
            key = await self._let(ask.secret, key, partial(check_entry, ask.dialect.scope, ask))
        raw = ask.take_body() if ask.body is not None else await ask.read()
        if ask.dialect.form:
            call = parse_form_call(ask.dialect, raw, ask.boundary)
        else:
            call = parse_call(ask.dialect, raw)
        del raw  # a stream may live long
        ask.streamed = call.stream
        check = partial(
            check_call, ask, call.model
        )  # all of it: what is looked up anew may differ in anything
        if key.model_rules or key.models is not None or key.models_denied is not None:
            key = await self._let(ask.secret, key, check)
        now_ms = self._till.now_ms()
        price = self._prices.match(key, call.model, now_ms)
        if price is None:
            raise await self._unpriced(key, call)
        offer = quoted(call, price, self.settings)
        facts = events.ticket(
            key_id=key.key_id,
            user_id=key.user_id,
            team_id=key.team_id,
            caller_request_id=ask.caller_request_id,
            model=call.model,
            dialect=ask.dialect.name,
            price_version=price.version,
            admitted_ms=now_ms,
            streamed=call.stream,
            held_input_tokens=offer.held_input_tokens,
        )
        usual = Taken(call, price, offer, facts)
        beyond = None
        if key.plans:
            beyond = Alternatives(usual, self._prices, self.settings, now_ms)
        hold = await self._till.reserve(
            ask.secret,
            key,
            ask.request_id,
            offer.offers,
            orjson.dumps(facts),
            check=check,
            load=(call.model, estimated_tokens(call, offer) if key.rates else 0),
            beyond=beyond,
        )
        if hold.standing is not None:
            ask.rate_lines = rate_lines(hold.standing)
        taken = usual if beyond is None else beyond.taken(hold)
        return Run(self._forwarder, client, ask, *taken[:3], hold, taken.facts)

    async def _let(self, secret: str, key: KeyRecord, check: Callable[[KeyRecord], None]) -> KeyRecord:
        """The key, once it passes a check. One that does not is looked at as it is now: memory may have it as it was
        before a change, and without a reserve nobody says so. Raises: AccessDenied, AuthError, StoreError."""
        try:
            check(key)
        except AccessDenied:
            key = await self._keyring.confirm(secret)
            check(key)
        return key

    async def _unpriced(self, key: KeyRecord, call: Call) -> CallerError:
        if call.model in await self._catalog.names():
            return ModelNotPriced(f"the model {call.model!r} has no price in {key.currency}", field="model")
        return ModelNotFound(f"the model {call.model!r} does not exist", field="model")

    def _answer(self, ask: Ask, client: Client, status: int, body: bytes, headers: Headers) -> None:
        shown = [(b"content-type", b"application/json"), *headers]
        client.start(status, shown, length=len(body), lines=id_lines(ask))
        client.finish(body)
