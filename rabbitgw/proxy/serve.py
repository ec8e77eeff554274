"""The story of one request, with all its branches in one place:

    auth → read → price → reserve → forward → relay → judge → settle or release → last frame

What comes after `reserve` ends in exactly one settle or release, whatever fails (see `_forward`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import orjson

from rabbitgw import clock, telemetry
from rabbitgw.billing import events
from rabbitgw.billing.admission import Hold, Till
from rabbitgw.billing.keyring import KeyRecord, Keyring
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.prices import Price, charge
from rabbitgw.config import Settings
from rabbitgw.errors import (
    AccessDenied,
    CallerError,
    InvariantBroken,
    ModelNotFound,
    ModelNotPriced,
    RabbitError,
    StoreError,
    UpstreamError,
    UpstreamGarbled,
)
from rabbitgw.proxy import dialects
from rabbitgw.proxy.call import Call, parse_call
from rabbitgw.proxy.catalog import Catalog
from rabbitgw.proxy.dialects import Dialect
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.meter.stream import StreamReader
from rabbitgw.proxy.quote import Quote, quote
from rabbitgw.proxy.relay import Client, Headers, Outcome, Relay
from rabbitgw.proxy.slices import Slices
from rabbitgw.proxy.upstream import Upstream
from rabbitgw.proxy.upstream_refusal import refusal
from rabbitgw.proxy.verdict import Verdict, judge

UPSTREAM_END_WAIT_S: Final = 5.0  # after the terminal frame: a body that does not end by then is cut off
HEADERS_KEPT: Final = frozenset(
    {b"content-type", b"openai-processing-ms", b"openai-version", b"content-language"}
)
JSON_TYPES: Final = (b"application/json", b"application/problem+json")
SSE_TYPE: Final = b"text/event-stream"


@dataclass(slots=True)
class Ask:
    """What a front read: who asks for what, in which dialect."""

    dialect: Dialect
    caller_request_id: str | None
    secret: str = ""
    raw: bytes = b""
    request_id: str = ""  # ours: the id of the hold, the bill line and the export

    def __post_init__(self) -> None:
        self.request_id = clock.new_id()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call with a hold: everything that is needed to forward it and to end it."""

    ask: Ask
    key: KeyRecord
    call: Call
    price: Price
    quote: Quote
    hold: Hold
    facts: dict[str, object]


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
        self._upstream = upstream
        self._catalog = catalog
        self._streams: set[Slices] = set()

    async def serve(self, ask: Ask, client: Client) -> None:
        """Answer one request. Never raises: what goes wrong is answered, logged and settled."""
        try:
            admitted = await self._admit(ask)
            await self._forward(admitted, client)
        except (CallerError, UpstreamError, StoreError) as error:
            self.refuse(ask, client, error)
        except Exception as error:
            telemetry.error("request_failed", exc=error, request_id=ask.request_id)
            self.refuse(ask, client, InvariantBroken("an unexpected error; it has been logged"))

    async def models(self, ask: Ask, client: Client) -> None:
        """`GET /v1/models`: what upstream serves, a price allows, and this key may call."""
        try:
            # nothing is reserved here, so no script would notice a key that was revoked a moment ago
            key = await self._keyring.confirm(ask.secret)
            names = await self._catalog.names()
        except RabbitError as error:
            self.refuse(ask, client, error)
            return
        book = self._prices.book
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "rabbitgw"}
            for name in sorted(names)
            if is_allowed(key, name) and book.match(name, key.currency) is not None
        ]
        self._answer(ask, client, 200, orjson.dumps({"object": "list", "data": data}), [])

    def refuse(self, ask: Ask, client: Client, error: RabbitError) -> None:
        """Answer with an error in the caller's dialect; inside a stream, with an error event."""
        telemetry.log(
            "request_refused",
            request_id=ask.request_id,
            caller_request_id=ask.caller_request_id,
            code=error.code,
            reason=error.message,
        )
        if client.started:
            client.cut()
            return
        status = dialects.error_status(ask.dialect, error, self.settings.balance_status)
        body = dialects.error_body(ask.dialect, error, ask.request_id)
        headers = [(name.encode(), value.encode()) for name, value in dialects.error_headers(error)]
        self._answer(ask, client, status, body, headers)

    def tick(self) -> None:
        """Once a second: let streams of reasoning models hold for what they may have produced unseen."""
        now_ms = clock.now_ms()
        for slices in tuple(self._streams):
            slices.tick(now_ms)

    # Admission

    async def _admit(self, ask: Ask) -> Admitted:
        """Raises: CallerError or StoreError; nothing is held then."""
        key = self._keyring.cached(ask.secret) or await self._keyring.find(ask.secret)
        call = parse_call(ask.dialect, ask.raw)
        price = await self._price_of(key, call)
        offer = quote(call, price, self.settings)
        facts = events.ticket(
            key_id=key.key_id,
            caller_request_id=ask.caller_request_id,
            model=call.model,
            dialect=ask.dialect.name,
            price_version=price.version,
            admitted_ms=self._till.now_ms(),
            streamed=call.stream,
            held_input_tokens=offer.held_input_tokens,
        )
        hold = await self._till.reserve(ask.secret, key, ask.request_id, offer.offers, orjson.dumps(facts))
        return Admitted(ask, key, call, price, offer, hold, facts)

    async def _price_of(self, key: KeyRecord, call: Call) -> Price:
        if not is_allowed(key, call.model):
            raise AccessDenied(f"this key may not call the model {call.model!r}", field="model")
        price = self._prices.book.match(call.model, key.currency)
        if price is not None:
            return price
        if call.model in await self._catalog.names():
            raise ModelNotPriced(f"the model {call.model!r} has no price in {key.currency}", field="model")
        raise ModelNotFound(f"the model {call.model!r} does not exist", field="model")

    # One call, from hold to end

    async def _forward(self, admitted: Admitted, client: Client) -> None:
        """Forward, relay, and end the hold exactly once."""
        verdict: Verdict | None = None
        relay: Relay | None = None
        slices: Slices | None = None
        failure: RabbitError | None = None
        try:
            admitted.quote.apply(admitted.call, admitted.hold)
            relay, slices = self._relay(admitted, client)
            outcome = await self._answer_of(admitted, relay)
            verdict = await judge(outcome, relay, admitted.call)
            failure = self._failure(outcome, relay, slices)
        except UpstreamError as error:
            failure = error
        finally:
            if slices is not None:
                self._streams.discard(slices)
                await slices.close()
            booked = await asyncio.shield(self._end(admitted, relay, verdict, failure))
        if relay is None or not relay.started:
            raise failure or InvariantBroken("an answer ended before it began, without a reason")
        await self._finish(admitted, client, relay, failure, booked=booked)

    def _relay(self, admitted: Admitted, client: Client) -> tuple[Relay, Slices | None]:
        call = admitted.call
        loop = asyncio.get_running_loop()
        slices: Slices | None = None
        reader: StreamReader | PlainReader
        if call.stream:
            hidden = self.settings.hidden_tokens_per_s if admitted.quote.reasons else 0
            slices = Slices(self._till, admitted.hold, admitted.quote, hidden_tokens_per_s=hidden)
            reader = StreamReader(call.dialect.name, hide_usage=not call.wants_usage, choices=call.choices)
            if hidden:
                self._streams.add(slices)
        else:
            reader = PlainReader(call.dialect.name)

        def start(relay: Relay, status: int, headers: Headers) -> bool:
            return self._start(admitted, client, relay, status, headers)

        relay = Relay(client, reader, slices, loop.create_future(), loop.create_future(), start)
        if slices is not None:
            slices.bind(relay.resume_for_money, lambda: relay.stop(Outcome.SPENT))
        client.bind(relay.on_drained, lambda: self._client_left(relay))
        return relay, slices

    async def _answer_of(self, admitted: Admitted, relay: Relay) -> Outcome:
        """Send the request upstream and wait until its answer has ended, one way or another."""
        ask = admitted.ask
        body = admitted.call.upstream_body(user=str(admitted.key.account_id), request_id=ask.request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", SSE_TYPE if admitted.call.stream else b"application/json"),
            (b"x-litellm-call-id", ask.request_id.encode()),
            (b"x-request-id", (ask.caller_request_id or ask.request_id).encode()),
        ]
        secret = self.settings.litellm_master_key.get_secret_value()
        if secret:
            headers.append((b"authorization", b"Bearer " + secret.encode()))
        path = ask.dialect.path.encode()
        relay.attach(await self._upstream.request(b"POST", path, headers, body, relay))
        return await relay.outcome

    def _start(self, admitted: Admitted, client: Client, relay: Relay, status: int, headers: Headers) -> bool:
        """Start the client's answer, if upstream's is of a kind that we can meter."""
        kept = [header for header in headers if header[0] in HEADERS_KEPT]
        kind = next((value for name, value in headers if name == b"content-type"), b"").lower()
        wanted = (SSE_TYPE,) if admitted.call.stream else JSON_TYPES
        if not kind.startswith(wanted):
            relay.error = UpstreamGarbled("upstream answered with another kind of content than was asked for")
            return False
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        if admitted.call.stream:
            kept += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
            length = None
        kept += admitted.quote.headers(admitted.call, admitted.hold)
        client.start(status, [*kept, *ids(admitted.ask)], length=length)
        return True

    def _client_left(self, relay: Relay) -> None:
        """The client is gone: cancel upstream or read on, as set. Plain calls and finished streams are read on."""
        stream = relay.stream
        if stream is not None and not stream.finish_seen and self.settings.client_gone == "cancel":
            relay.stop(Outcome.LEFT)

    def _failure(self, outcome: Outcome, relay: Relay, slices: Slices | None) -> RabbitError | None:
        """What to tell the client when the answer is not whole."""
        if outcome is Outcome.REFUSED:
            return relay.error or refusal(relay.status, relay.headers, bytes(relay.error_body))
        if outcome is Outcome.BROKE:
            return relay.error
        if outcome is Outcome.SPENT and slices is not None:
            return slices.refusal
        return None

    # The end of a call

    async def _end(
        self, admitted: Admitted, relay: Relay | None, verdict: Verdict | None, failure: RabbitError | None
    ) -> bool:
        """Settle or release the hold. True: it is booked, or on its way by the spool."""
        code = (verdict.error_code if verdict else None) or (failure.code if failure else None)
        usage = verdict.usage if verdict else None
        payload = events.payload(
            admitted.facts,
            usage,
            attempts=1,
            first_byte_ms=relay.first_byte_ms if relay is not None else None,
            finished_ms=clock.now_ms(),
            shortfall_nanos=admitted.quote.shortfall_nanos(admitted.hold) if usage is not None else 0,
            upstream_model=relay.reader.model if relay is not None else None,
            error_code=code,
        )
        if verdict is None or usage is None:
            await self._till.release(admitted.hold, payload)
            cost_nanos, status = 0, "released"
        else:
            bill = charge(admitted.price, usage, self._prices.book)
            cost_nanos, status = bill.cost_nanos, verdict.status
            if bill.unpriced:
                telemetry.warn("unpriced_parts", request_id=admitted.ask.request_id, parts=bill.unpriced)
            try:
                await self._till.settle(admitted.hold, cost_nanos, status, payload)
            except StoreError as error:
                telemetry.error("settle_lost", exc=error, request_id=admitted.ask.request_id)
                return False
        telemetry.log(
            "request",
            request_id=admitted.ask.request_id,
            caller_request_id=admitted.ask.caller_request_id,
            account_id=admitted.key.account_id,
            key_id=admitted.key.key_id,
            model=admitted.call.model,
            status=status,
            cost_nanos=cost_nanos,
            code=code,
        )
        return True

    async def _finish(
        self, admitted: Admitted, client: Client, relay: Relay, failure: RabbitError | None, *, booked: bool
    ) -> None:
        """Let the last bytes go: they leave only after the charge is safe."""
        if not booked:
            relay.abort()
            client.cut()
            return
        if failure is None:
            client.write(relay.reader.release())
            try:
                await asyncio.wait_for(asyncio.shield(relay.upstream_ended), UPSTREAM_END_WAIT_S)
            except TimeoutError:
                relay.abort()
            client.finish()
        elif relay.stream is not None and relay.stream.at_event_end:
            client.write(dialects.error_event(admitted.ask.dialect, failure, admitted.ask.request_id))
            client.finish()
        else:
            client.cut()

    def _answer(self, ask: Ask, client: Client, status: int, body: bytes, headers: Headers) -> None:
        client.start(status, [(b"content-type", b"application/json"), *headers, *ids(ask)], length=len(body))
        client.write(body)
        client.finish()


def ids(ask: Ask) -> Headers:
    """The request ids of an answer: openai reads x-request-id, anthropic request-id; the third is always ours."""
    caller = (ask.caller_request_id or ask.request_id).encode()
    return [
        (b"x-request-id", caller),
        (b"request-id", caller),
        (b"x-rabbitgw-request-id", ask.request_id.encode()),
    ]


def is_allowed(key: KeyRecord, model: str) -> bool:
    return key.models is None or any(fnmatchcase(model, pattern) for pattern in key.models)
