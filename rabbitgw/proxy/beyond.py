"""How one call would be taken beyond the limits of the plans above its key: what it would hold, and by which model.

Knows the call and its price; which way is taken is decided in the reserve. A lesser model that the key may not call,
that has no price for this call, or that is too small for its prompt, serves nobody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from rabbitgw.billing.hold import Beyond, Hold
from rabbitgw.billing.hold_bounds import PLAIN_BYTES_PER_TOKEN
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.overflow import DEGRADE, Way
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.prices import Price
from rabbitgw.config import Settings
from rabbitgw.errors import ModelNotPriced
from rabbitgw.money import ceil_div
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.media_calls import media_quote
from rabbitgw.proxy.quote import Quote, quote
from rabbitgw.proxy.relay import Headers


class Taken(NamedTuple):
    """A call as it goes upstream, and what its end is costed by."""

    call: Call
    price: Price
    quote: Quote
    facts: dict[str, Any]


def quoted(call: Call, price: Price, settings: Settings) -> Quote:
    """What a call holds at a price, whatever it is for. Raises: ModelNotPriced."""
    offer = (quote if call.wanted is None else media_quote)(call, price, settings)
    if price.min_charge_nanos and not call.dialect.free:
        offer.hold_at_least(price.min_charge_nanos)
    return offer


class Alternatives:
    """Those of one call; called by the till, maybe again when its key has changed."""

    def __init__(self, usual: Taken, prices: PriceFeed, settings: Settings, at_ms: int) -> None:
        self._usual = usual
        self._prices = prices
        self._settings = settings
        self._at_ms = at_ms
        self._by_model: dict[str, Taken | None] = {}

    def __call__(self, key: KeyRecord, ways: tuple[Way, ...]) -> tuple[Beyond, ...]:
        made = []
        for way in ways:
            taken = self._by(key, way)
            if taken is not None:
                ticket = orjson.dumps({**taken.facts, "of": way.policy})
                made.append(Beyond(way, taken.quote.offers[0], ticket))
        return tuple(made)

    def taken(self, hold: Hold) -> Taken:
        """How the call was taken in the end. Where a lesser model serves, its body says so from now on."""
        if hold.way is None:
            return self._usual
        taken = self._by(hold.key, hold.way)
        assert taken is not None  # it was offered
        if taken is not self._usual:
            call = taken.call
            call.body["model"] = call.model
            if call.form is not None:
                model = call.model.encode()
                call.form = [
                    replace(part, data=model) if part.name == "model" else part for part in call.form
                ]
            if call.output_limit is not None and call.output_limit != self._usual.call.output_limit:
                call.limit_output(call.output_limit)
        taken.facts["of"] = hold.way.policy
        return taken

    def _by(self, key: KeyRecord, way: Way) -> Taken | None:
        if way.policy != DEGRADE:
            return self._usual
        model = way.overflow.degraded(self._usual.call.model)
        if model is None or not key.allows(model):
            return None
        if model not in self._by_model:
            self._by_model[model] = self._degraded(key, model)
        return self._by_model[model]

    def _degraded(self, key: KeyRecord, model: str) -> Taken | None:
        call = self._usual.call
        price = self._prices.match(key, model, self._at_ms)
        if price is None:
            return None
        prompt_tokens = ceil_div(call.body_bytes - call.media_bytes, PLAIN_BYTES_PER_TOKEN)
        if price.max_input_tokens is not None and prompt_tokens > price.max_input_tokens:
            return None
        limit, most = call.output_limit, price.max_output_tokens
        if limit is not None and most is not None and limit > most:
            limit = most
        lesser = replace(call, model=model, output_limit=limit)
        try:
            offer = quoted(lesser, price, self._settings)
        except ModelNotPriced:
            return None
        facts = {
            **self._usual.facts,
            "m": model,
            "ma": call.model,
            "v": price.version,
            "hi": offer.held_input_tokens,
        }
        return Taken(lesser, price, offer, facts)


def overflow_headers(hold: Hold, call: Call) -> Headers:
    """How a call went beyond a plan's limit, and which model serves it then."""
    headers = [(b"x-rabbitgw-overflow", hold.overflow.encode())]
    if hold.overflow == DEGRADE:
        headers.append((b"x-rabbitgw-model", call.model.encode()))
    return headers
