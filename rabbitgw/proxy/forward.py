"""A call from its hold to its last byte, with all its branches in one place:

    forward → relay → judge → settle or release → last frame

Whatever fails on the way, the hold ends in exactly one settle or release (`Run.run`), and the bytes by which the
client would see its answer whole leave only after that (`_finish`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, NamedTuple

import orjson

from rabbitgw import clock, metrics, telemetry
from rabbitgw.billing import events
from rabbitgw.billing.hold import Hold
from rabbitgw.billing.prices import Price, charge
from rabbitgw.billing.usage import Usage
from rabbitgw.errors import (
    InvariantBroken,
    RabbitError,
    StoreError,
    UpstreamConnectFailed,
    UpstreamError,
    UpstreamGarbled,
)
from rabbitgw.proxy.ask import Ask, id_lines
from rabbitgw.proxy.beyond import overflow_headers
from rabbitgw.proxy.bodies.form import form_type
from rabbitgw.proxy.bodies.parsing import upstream_body
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.dialects import JSON_TYPES
from rabbitgw.proxy.error_shapes import error_event
from rabbitgw.proxy.forwarder import SSE_TYPE, Forwarder
from rabbitgw.proxy.media_calls import media_verdict, read_as
from rabbitgw.proxy.meter.plain import PlainReader
from rabbitgw.proxy.meter.stream import StreamReader
from rabbitgw.proxy.quote import Quote
from rabbitgw.proxy.relay import Client, Headers, Outcome, Relay
from rabbitgw.proxy.slices import Slices
from rabbitgw.proxy.upstream import Exchange
from rabbitgw.proxy.upstream_cost import HEADER as COST_HEADER
from rabbitgw.proxy.upstream_cost import stated_cost_nanos
from rabbitgw.proxy.upstream_head import field_lines
from rabbitgw.proxy.upstream_refusal import refusal
from rabbitgw.proxy.verdict import CLIENT_LEFT, Verdict, judge, judge_now

CONNECT_AGAIN_S: Final = 0.2
UPSTREAM_END_WAIT_S: Final = 5.0  # after the terminal frame: a body that does not end by then is cut off
HEADERS_KEPT: Final = frozenset(
    {b"content-type", b"openai-processing-ms", b"openai-version", b"content-language"}
)
HEADERS_READ: Final = HEADERS_KEPT | {b"content-length", COST_HEADER}
STREAM_HEADERS: Final = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class _End(NamedTuple):
    """How a hold is to end, and with what."""

    status: Literal["settled", "partial", "released"]
    cost_nanos: int
    payload: bytes
    code: str | None
    usage: Usage | None


class Run:
    """One call with a hold: everything that is needed to forward it and to end it. The body as received is gone.

    relay: None before it came so far, and after the end. verdict: None while it is not known what the call came to.
    """

    relay: Relay | None = None
    slices: Slices | None = None
    verdict: Verdict | None = None
    failure: RabbitError | None = None
    stated_cost: Any = None  # what upstream says the call cost it

    def __init__(
        self,
        forwarder: Forwarder,
        client: Client,
        ask: Ask,
        call: Call,
        price: Price,
        quote: Quote,
        hold: Hold,
        facts: dict[str, Any],
    ) -> None:
        self.forwarder = forwarder
        self.client = client
        self.ask = ask
        self.call = call
        self.price = price
        self.quote = quote
        self.hold = hold
        self.facts = facts
        self.figures = metrics.calls(call.dialect.name, call.stream)

    async def run(self) -> RabbitError | None:
        """Forward, relay, and end the hold exactly once.

        Returns the error to answer with, where nothing has left for the client yet; None: it has been answered,
        or is gone.
        """
        call, client = self.call, self.client
        self.figures.open += 1
        try:
            self.quote.apply(call, self.hold)
            relay = self.relay = self._relay()
            client.bind(relay.on_drained, self.client_left)
            if client.lost:
                outcome = Outcome.LEFT  # while it waited for its hold: nobody would read the answer
            else:
                exchange = self._exchange(relay)
                if not self.forwarder.upstream.send_now(exchange):
                    await self._send_anew(exchange)
                outcome = await relay.outcome
            if outcome is not Outcome.WHOLE:
                self.failure = self._failure_of(outcome, relay)
            wanted = call.wanted
            now = (
                judge_now(outcome, relay)
                if wanted is None
                else media_verdict(outcome, relay, wanted, self.price)
            )
            self.verdict = now or await judge(outcome, relay, call)
        except UpstreamError as error:
            # its traceback would keep the call until the next garbage collection
            self.failure = error.with_traceback(None)
        except Exception as error:
            self.failure = self._unexpected(error)
        except asyncio.CancelledError:
            self.verdict = self.failure = None
            await asyncio.shield(self._end())
            raise
        try:
            booked = await self._end()
        except asyncio.CancelledError:  # again, to its end: a hold that has ended is not ended twice
            await asyncio.shield(self._end())
            raise
        begun, self.relay = self.relay, None  # which knows us: a cycle for the collector
        if begun is None or not begun.started:
            return self.failure or self._unanswered()
        if booked and self.failure is None and begun.ended:
            client.finish(begun.reader.release())
        else:
            await self._finish(begun, booked=booked)
        return None

    # Forward and relay

    def _relay(self) -> Relay:
        call, forwarder = self.call, self.forwarder
        loop = asyncio.get_running_loop()
        if not call.stream:
            return Relay(self.client, PlainReader(call.dialect.name), None, self, loop)
        if call.wanted is not None:  # held whole: nothing to extend
            return Relay(self.client, StreamReader(call.dialect.name, hide_usage=False), None, self, loop)
        quote = self.quote
        hidden = forwarder.settings.hidden_tokens_per_s if quote.reasons else 0
        slices = Slices(forwarder.till, self.hold, quote, hidden_tokens_per_s=hidden)
        reader = StreamReader(call.dialect.name, hide_usage=not call.wants_usage, choices=call.choices)
        relay = Relay(self.client, reader, slices, self, loop)
        slices.bind(relay.resume_for_money, relay.money_ended)
        self.slices = slices
        if hidden:
            forwarder.hiding[relay] = slices
        return relay

    def _exchange(self, relay: Relay) -> Exchange:
        ask, call = self.ask, self.call
        body = upstream_body(call, user=str(self.hold.key.account_id), request_id=ask.request_id)
        forwarded = field_lines(ask.forwarded) if ask.forwarded else b""
        if call.form is not None:
            forwarded += form_type(ask.request_id)
            call.form = None  # a file is large, and is in the body now
        head = b"%b%bx-litellm-call-id: %b\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (
            self.forwarder.heads[ask.dialect.path, call.stream],
            forwarded,
            ask.request_id.encode(),
            ask.shown_id.encode(),
            len(body),
        )
        exchange = Exchange(relay, head, body)
        relay.attach(exchange)
        return exchange

    async def _send_anew(self, exchange: Exchange) -> None:
        upstream = self.forwarder.upstream
        try:
            await upstream.send(exchange)
        except UpstreamConnectFailed:
            # nothing was sent: an upstream that is being restarted is back in a moment
            await asyncio.sleep(CONNECT_AGAIN_S)
            await upstream.send(exchange)

    def start_answer(self, relay: Relay, status: int, headers: Headers) -> bool:
        """Start the client's answer, if upstream's is of a kind that we can meter."""
        streamed = self.call.stream
        kept: Headers = []
        kind, length = b"", None
        for field in headers:
            name = field[0]
            if name not in HEADERS_READ:
                continue  # LiteLLM sends thirty
            if name in HEADERS_KEPT:
                kept.append(field)
                if not kind and name == b"content-type":
                    kind = field[1].lower()
            elif name == COST_HEADER:
                self.stated_cost = field[1]
            elif length is None:
                length = int(field[1])
        if self.call.wanted is not None:
            sellable, streamed = read_as(self.call, relay, kind)
        else:
            sellable = kind.startswith(SSE_TYPE if streamed else JSON_TYPES)
        if not sellable:
            relay.error = UpstreamGarbled("upstream answered with another kind of content than was asked for")
            return False
        if streamed:
            kept += STREAM_HEADERS
            length = None
        kept += self.quote.headers(self.call, self.hold)
        if self.hold.way is not None:
            kept += overflow_headers(self.hold, self.call)
        self.client.start(status, kept, length=length, lines=id_lines(self.ask))
        return True

    def client_left(self) -> None:
        """The client is gone: cancel upstream or read on, as set. Plain calls, finished streams and calls for images or
        sound are read on."""
        relay = self.relay
        stream = relay.stream if relay is not None and self.slices is not None else None
        if stream is not None and not stream.finish_seen and self.forwarder.settings.client_gone == "cancel":
            assert relay is not None
            relay.stop(Outcome.LEFT)

    def _failure_of(self, outcome: Outcome, relay: Relay) -> RabbitError | None:
        """What to tell the client when the answer is not whole."""
        if outcome is Outcome.REFUSED:
            return relay.error or refusal(relay.status, relay.headers, bytes(relay.error_body))
        if outcome is Outcome.BROKE:
            return relay.error
        if outcome is Outcome.SPENT and self.slices is not None:
            return self.slices.refusal
        return None

    # The end of a call

    async def _end(self) -> bool:
        """Settle or release the hold. Never raises.

        True: what the call came to is booked, or on its way by the spool.
        """
        relay, slices = self.relay, self.slices
        if slices is not None:
            if relay is not None:
                self.forwarder.hiding.pop(relay, None)
            await slices.close()
        decided = self.verdict is not None
        ended_ms = clock.now_ms()
        try:
            end = self._end_of(ended_ms)
        except Exception as error:  # a bug must not leave money held
            decided = False
            code = self._unexpected(error).code
            end = _End("released", 0, orjson.dumps({**self.facts, "e": code}), code, None)
        ask, hold, till = self.ask, self.hold, self.forwarder.till
        try:
            if end.status == "released":
                await till.release(hold, end.payload)
            else:
                tokens = end.usage.total_tokens if hold.counts_tokens and end.usage else None
                await till.settle(hold, end.cost_nanos, end.status, end.payload, tokens)
        except StoreError as error:
            telemetry.error("settle_lost", exc=error, request_id=ask.request_id)
            self._count(ended_ms, error.code)
            return False
        except Exception as error:
            self._count(ended_ms, self._unexpected(error).code)
            return False
        self._count(ended_ms, end.code)
        telemetry.log(
            "request",
            request_id=ask.request_id,
            caller_request_id=ask.caller_request_id,
            account_id=hold.key.account_id,
            key_id=hold.key.key_id,
            model=self.call.model,
            status=end.status,
            cost_nanos=end.cost_nanos,
            code=end.code,
        )
        if end.usage is not None:
            charged_nanos = end.cost_nanos
            if hold.key.plans:
                charged_nanos -= hold.borne_of(charged_nanos)
            metrics.charged(self.price.pattern, hold.key.currency, charged_nanos, end.usage)
        return decided

    def _end_of(self, ended_ms: int) -> _End:
        """The charge and its usage event; without usage, the release and its."""
        relay, verdict = self.relay, self.verdict
        code = verdict.error_code if verdict is not None else None
        if code is None and self.failure is not None:
            code = self.failure.code
        usage = verdict.usage if verdict is not None else None
        bill = charge(self.price, usage, self.forwarder.prices.book) if usage is not None else None
        quote, hold = self.quote, self.hold
        if hold.way is not None:
            self.facts["of"] = hold.way.policy  # as it ended
        stated_cost = self.stated_cost
        if stated_cost is None and relay is not None:
            stated_cost = relay.reader.stated_cost
        payload = events.payload(
            self.facts,
            usage,
            attempts=relay.attempts if relay is not None else 0,
            first_byte_ms=relay.first_byte_ms if relay is not None else None,
            finished_ms=ended_ms,
            shortfall_nanos=quote.shortfall_nanos(hold) if bill is not None else 0,
            excess_nanos=quote.excess_nanos(self.call, hold, bill.cost_nanos)
            if bill is not None and not hold.borne
            else 0,
            upstream_model=relay.reader.model if relay is not None else None,
            error_code=code,
            upstream_cost_nanos=None if stated_cost is None else stated_cost_nanos(stated_cost),
        )
        if verdict is None or bill is None:
            return _End("released", 0, payload, code, None)
        if bill.unpriced:
            telemetry.warn("unpriced_parts", request_id=self.ask.request_id, parts=bill.unpriced)
        return _End(verdict.status, bill.cost_nanos, payload, code, usage)

    def _unanswered(self) -> RabbitError | None:
        """Nothing failed, and no answer has begun: nobody is there to see it."""
        if not self.client.lost:
            return InvariantBroken("an answer ended before it began, without a reason")
        metrics.answered(self.ask.dialect.name, self.call.stream, CLIENT_LEFT)
        return None

    async def _finish(self, relay: Relay, *, booked: bool) -> None:
        """Let the last bytes go: they leave only after the charge is safe."""
        client, failure = self.client, self.failure
        if not booked:
            relay.abort()
            client.cut()
        elif failure is None:
            client.write(relay.reader.release())
            try:
                await relay.wait_end(UPSTREAM_END_WAIT_S)
            except TimeoutError:
                relay.abort()
            client.finish()
        elif relay.stream is not None and relay.stream.at_event_end:
            client.finish(error_event(self.ask.dialect, failure, self.ask.request_id))
        else:
            client.cut()

    def _count(self, ended_ms: int, code: str | None) -> None:
        """What a call that had a hold adds to the metrics. One that is answered by our error alone is counted there."""
        ask, figures, relay = self.ask, self.figures, self.relay
        figures.ended(ended_ms - ask.began_ms)
        if isinstance(self.failure, UpstreamError):
            metrics.upstream_failed(self.failure)
        if relay is None:
            return
        figures.attempts += relay.attempts
        if relay.first_byte_ms is not None:
            figures.first_byte(relay.first_byte_ms - ask.began_ms)
        if relay.started:
            if code is None:
                figures.ok += 1
            else:
                metrics.answered(ask.dialect.name, self.call.stream, code)

    def _unexpected(self, error: Exception) -> InvariantBroken:
        telemetry.error("request_failed", exc=error, request_id=self.ask.request_id)
        return InvariantBroken("an unexpected error in a call")
