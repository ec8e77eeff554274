"""A call from its hold to its last byte, with all its branches in one place:

    forward → relay → judge → settle or release → last frame

Whatever fails on the way, the hold ends in exactly one settle or release (`run`), and the bytes by which the client
would see its answer whole leave only after that (`_finish`).
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, NamedTuple

import orjson

from rabbitgw import clock, metrics, telemetry
from rabbitgw.billing import events
from rabbitgw.billing.admission import Till
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.prices import charge
from rabbitgw.billing.usage import Usage
from rabbitgw.config import Settings
from rabbitgw.errors import (
    InvariantBroken,
    RabbitError,
    StoreError,
    UpstreamConnectFailed,
    UpstreamError,
    UpstreamGarbled,
)
from rabbitgw.proxy.ask import Admitted, ids
from rabbitgw.proxy.bodies.parsing import upstream_body
from rabbitgw.proxy.error_shapes import error_event
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.meter.stream import StreamReader
from rabbitgw.proxy.relay import Client, Headers, Outcome, Relay
from rabbitgw.proxy.slices import Slices
from rabbitgw.proxy.upstream import Upstream
from rabbitgw.proxy.upstream_refusal import refusal
from rabbitgw.proxy.verdict import CLIENT_LEFT, Verdict, judge

CONNECT_AGAIN_S: Final = 0.2
UPSTREAM_END_WAIT_S: Final = 5.0  # after the terminal frame: a body that does not end by then is cut off
HEADERS_KEPT: Final = frozenset(
    {b"content-type", b"openai-processing-ms", b"openai-version", b"content-language"}
)
JSON_TYPES: Final = (b"application/json", b"application/problem+json")
SSE_TYPE: Final = b"text/event-stream"


class _End(NamedTuple):
    """How a hold is to end, and with what."""

    status: Literal["settled", "partial", "released"]
    cost_nanos: int
    payload: bytes
    code: str | None
    usage: Usage | None


class Forwarder:
    """Forwards admitted calls to one upstream. One per process."""

    def __init__(self, settings: Settings, prices: PriceFeed, till: Till, upstream: Upstream) -> None:
        self._settings = settings
        self._prices = prices
        self._till = till
        self._upstream = upstream
        self._hiding: dict[Relay, Slices] = {}  # streams that may produce what nobody sees

    async def run(self, admitted: Admitted, client: Client) -> RabbitError | None:
        """Forward, relay, and end the hold exactly once.

        Returns the error to answer with, where nothing has left for the client yet; None: it has been answered,
        or is gone.
        """
        relay: Relay | None = None
        slices: Slices | None = None
        verdict: Verdict | None = None
        failure: RabbitError | None = None
        metrics.call_began(admitted.call.stream)
        try:
            admitted.quote.apply(admitted.call, admitted.hold)
            relay, slices = self._relay(admitted, client)
            outcome = await self._outcome_of(admitted, client, relay)
            failure = self._failure(outcome, relay, slices)
            verdict = await judge(outcome, relay, admitted.call)
        except UpstreamError as error:
            # its traceback would keep the call until the next garbage collection
            failure = error.with_traceback(None)
        except Exception as error:
            failure = self._unexpected(admitted, error)
        except asyncio.CancelledError:
            await asyncio.shield(self._end(admitted, relay, slices, None, None))
            raise
        try:
            booked = await self._end(admitted, relay, slices, verdict, failure)
        except asyncio.CancelledError:  # again, to its end: a hold that has ended is not ended twice
            await asyncio.shield(self._end(admitted, relay, slices, verdict, failure))
            raise
        if isinstance(failure, UpstreamError):
            metrics.upstream_failed(failure)
        if relay is not None and relay.started:
            await self._finish(admitted, client, relay, failure, booked=booked)
            return None
        if failure is None:
            if not client.lost:
                return InvariantBroken("an answer ended before it began, without a reason")
            metrics.answered(admitted.ask.dialect.name, admitted.call.stream, CLIENT_LEFT)
        return failure

    def tick(self) -> None:
        """Once a second: let streams of reasoning models hold for what they may have produced unseen."""
        now_ms = clock.now_ms()
        for relay, slices in tuple(self._hiding.items()):
            slices.tick(now_ms, paused=relay.paused)

    # Forward and relay

    def _relay(self, admitted: Admitted, client: Client) -> tuple[Relay, Slices | None]:
        call = admitted.call
        loop = asyncio.get_running_loop()
        slices: Slices | None = None
        reader: StreamReader | PlainReader
        hidden = 0
        if call.stream:
            hidden = self._settings.hidden_tokens_per_s if admitted.quote.reasons else 0
            slices = Slices(self._till, admitted.hold, admitted.quote, hidden_tokens_per_s=hidden)
            reader = StreamReader(call.dialect.name, hide_usage=not call.wants_usage, choices=call.choices)
        else:
            reader = PlainReader(call.dialect.name)

        def start(relay: Relay, status: int, headers: Headers) -> bool:
            return self._start(admitted, client, relay, status, headers)

        relay = Relay(client, reader, slices, loop.create_future(), loop.create_future(), start)
        if slices is not None:
            slices.bind(relay.resume_for_money, relay.money_ended)
            if hidden:
                self._hiding[relay] = slices
        client.bind(relay.on_drained, lambda: self._client_left(relay))
        return relay, slices

    async def _outcome_of(self, admitted: Admitted, client: Client, relay: Relay) -> Outcome:
        """Send the request upstream and wait until its answer has ended, one way or another."""
        if client.lost:
            return Outcome.LEFT  # while it waited for its hold: nobody would read the answer
        await self._send(admitted, relay)
        return await relay.outcome

    async def _send(self, admitted: Admitted, relay: Relay) -> None:
        ask = admitted.ask
        body = upstream_body(admitted.call, user=str(admitted.key.account_id), request_id=ask.request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", SSE_TYPE if admitted.call.stream else b"application/json"),
            (b"x-litellm-call-id", ask.request_id.encode()),
            (b"x-request-id", ask.shown_id.encode()),
            *ask.forwarded,
        ]
        secret = self._settings.litellm_master_key.get_secret_value()
        if secret:
            headers.append((b"authorization", b"Bearer " + secret.encode()))
        path = ask.dialect.path.encode()
        try:
            exchange = await self._upstream.request(b"POST", path, headers, body, relay)
        except (
            UpstreamConnectFailed
        ):  # nothing was sent: an upstream that is being restarted is back in a moment
            await asyncio.sleep(CONNECT_AGAIN_S)
            exchange = await self._upstream.request(b"POST", path, headers, body, relay)
        relay.attach(exchange)

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
        if stream is not None and not stream.finish_seen and self._settings.client_gone == "cancel":
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
        self,
        admitted: Admitted,
        relay: Relay | None,
        slices: Slices | None,
        verdict: Verdict | None,
        failure: RabbitError | None,
    ) -> bool:
        """Settle or release the hold. Never raises.

        True: what the call came to is booked, or on its way by the spool.
        """
        if relay is not None and slices is not None:
            self._hiding.pop(relay, None)
            await slices.close()
        decided = verdict is not None
        try:
            end = self._end_of(admitted, relay, verdict, failure)
        except Exception as error:  # a bug must not leave money held
            decided = False
            code = self._unexpected(admitted, error).code
            end = _End("released", 0, orjson.dumps({**admitted.facts, "e": code}), code, None)
        ask = admitted.ask
        try:
            if end.status == "released":
                await self._till.release(admitted.hold, end.payload)
            else:
                await self._till.settle(admitted.hold, end.cost_nanos, end.status, end.payload)
        except StoreError as error:
            telemetry.error("settle_lost", exc=error, request_id=ask.request_id)
            _count(admitted, relay, error.code)
            return False
        except Exception as error:
            _count(admitted, relay, self._unexpected(admitted, error).code)
            return False
        _count(admitted, relay, end.code)
        telemetry.log(
            "request",
            request_id=ask.request_id,
            caller_request_id=ask.caller_request_id,
            account_id=admitted.key.account_id,
            key_id=admitted.key.key_id,
            model=admitted.call.model,
            status=end.status,
            cost_nanos=end.cost_nanos,
            code=end.code,
        )
        if end.usage is not None:
            metrics.charged(admitted.price.pattern, admitted.key.currency, end.cost_nanos, end.usage)
        return decided

    def _end_of(
        self, admitted: Admitted, relay: Relay | None, verdict: Verdict | None, failure: RabbitError | None
    ) -> _End:
        """The charge and its usage event; without usage, the release and its."""
        code = (verdict.error_code if verdict else None) or (failure.code if failure else None)
        usage = verdict.usage if verdict else None
        bill = charge(admitted.price, usage, self._prices.book) if usage is not None else None
        quote, hold = admitted.quote, admitted.hold
        payload = events.payload(
            admitted.facts,
            usage,
            attempts=relay.attempts if relay is not None else 0,
            first_byte_ms=relay.first_byte_ms if relay is not None else None,
            finished_ms=clock.now_ms(),
            shortfall_nanos=quote.shortfall_nanos(hold) if bill is not None else 0,
            excess_nanos=quote.excess_nanos(admitted.call, hold, bill.cost_nanos) if bill is not None else 0,
            upstream_model=relay.reader.model if relay is not None else None,
            error_code=code,
        )
        if verdict is None or bill is None:
            return _End("released", 0, payload, code, None)
        if bill.unpriced:
            telemetry.warn("unpriced_parts", request_id=admitted.ask.request_id, parts=bill.unpriced)
        return _End(verdict.status, bill.cost_nanos, payload, code, usage)

    async def _finish(
        self, admitted: Admitted, client: Client, relay: Relay, failure: RabbitError | None, *, booked: bool
    ) -> None:
        """Let the last bytes go: they leave only after the charge is safe."""
        if not booked:
            relay.abort()
            client.cut()
            return
        if failure is None:
            last = relay.reader.release()
            if relay.upstream_ended.done():
                client.finish(last)
                return
            client.write(last)
            try:
                await asyncio.wait_for(asyncio.shield(relay.upstream_ended), UPSTREAM_END_WAIT_S)
            except TimeoutError:
                relay.abort()
            client.finish()
        elif relay.stream is not None and relay.stream.at_event_end:
            client.finish(error_event(admitted.ask.dialect, failure, admitted.ask.request_id))
        else:
            client.cut()

    def _unexpected(self, admitted: Admitted, error: Exception) -> InvariantBroken:
        telemetry.error("request_failed", exc=error, request_id=admitted.ask.request_id)
        return InvariantBroken("an unexpected error in a call")


def _count(admitted: Admitted, relay: Relay | None, code: str | None) -> None:
    """What a call that had a hold adds to the metrics. One that is answered by our error alone is counted there."""
    ask, streamed = admitted.ask, admitted.call.stream
    first_byte_ms = relay.first_byte_ms if relay is not None else None
    metrics.call_ended(
        ask.dialect.name,
        streamed,
        max(clock.now_ms() - ask.began_ms, 0) / 1000,
        None if first_byte_ms is None else max(first_byte_ms - ask.began_ms, 0) / 1000,
    )
    if relay is not None:
        metrics.UPSTREAM_ATTEMPTS.add(relay.attempts)
        if relay.started:
            metrics.answered(ask.dialect.name, streamed, code)
