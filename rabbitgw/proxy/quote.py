"""What a call is to hold before it is forwarded: the ways to take it, dearest safety first.

A stream holds a bound of its input and one slice of output; a call that cannot be stopped midway holds its worst case,
or goes with its output limited to what the wallet grants. The last-money rule (a plain estimate of the input, one
such call at a time) keeps a wallet's last units usable when the bound of a large cached prompt would lock them in.
Every division rounds up, written as -(-a // b): what is held covers what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rabbitgw.billing.hold import Hold, Terms
from rabbitgw.billing.hold_bounds import (
    NO_MEDIA,
    PLAIN_BYTES_PER_TOKEN,
    call_rates,
    input_bound_nanos,
    input_tokens_bound,
    prompt_tokens_max,
    tools_bound_nanos,
)
from rabbitgw.billing.holding import Growth
from rabbitgw.billing.prices import MILLI, Price
from rabbitgw.config import Settings
from rabbitgw.errors import ModelNotPriced
from rabbitgw.money import TOKENS_PER_MTOK, ceil_div
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.relay import Headers

TOOL_LIST_TOKENS: Final = 600  # what providers add to a prompt that carries a tool list, beyond its bytes
LIMIT_FLOOR: Final = 16  # LiteLLM raises a lower limit to this wherever it asks by way of responses
USEFUL_TOKENS: Final = 16  # fewer output tokens than this are not worth a call
# Makes a NamedTuple in half the time: without the Python function that knows its defaults, and counts its fields.
_new: Final = tuple.__new__
assert len(Terms._fields) == 5
assert len(Growth._fields) == 3


@dataclass(slots=True)
class Quote:
    """Units: nanos; tokens are totals over all choices, None where the provider's own limit is unknown."""

    offers: tuple[Terms, ...]
    plain_input_nanos: int
    output_nanos_per_mtok: int
    output_tokens_max: int | None
    slice_tokens: int
    held_input_tokens: int
    limit_is_ours: bool  # the call states no output limit, and the model's own is unknown
    reasons: bool

    def apply(self, call: Call, hold: Hold) -> None:
        """Write the output limit that the hold pays for into a call that cannot be stopped midway."""
        if call.stream or (hold.granted_nanos >= self.offers[0].amount_nanos and not self.limit_is_ours):
            return  # nearly always: the whole is held
        if hold.granted_nanos >= self.offers[0].amount_nanos:
            tokens = self.output_tokens_max  # all that were held for
        else:
            tokens = self._tokens_granted(hold)
        if tokens is not None and (tokens < (self.output_tokens_max or tokens + 1) or self.limit_is_ours):
            assert tokens >= call.choices  # no offer passes with less (USEFUL_TOKENS)
            call.limit_output(tokens // call.choices)

    def hold_at_least(self, nanos: int) -> None:
        """Raise what is held to a minimum charge."""
        raised = []
        for offer in self.offers:
            amount, least = max(offer.amount_nanos, nanos), max(offer.least_nanos, nanos)
            growth = offer.growth and offer.growth._replace(floor_nanos=max(offer.growth.floor_nanos, nanos))
            raised.append(offer._replace(amount_nanos=amount, least_nanos=least, growth=growth))
        self.offers = tuple(raised)

    def shortfall_nanos(self, hold: Hold) -> int:
        """How much less than the bound of this call is held: what the last-money rule may overspend."""
        if not self.offers[hold.offer_index].last:
            return 0
        return max(self.offers[0].amount_nanos - hold.granted_nanos, 0)

    def excess_nanos(self, call: Call, hold: Hold, cost_nanos: int) -> int:
        """How much more than its hold a stream, or a call for images or sound, has cost. 0 for the last-money call: its
        shortfall is known."""
        if (
            not (call.stream or call.wanted)
            or cost_nanos <= hold.granted_nanos
            or self.offers[hold.offer_index].last
        ):
            return 0
        return cost_nanos - hold.granted_nanos

    def headers(self, call: Call, hold: Hold) -> Headers:
        """Say so when the output was limited to what the wallet granted."""
        if call.stream or hold.granted_nanos >= self.offers[0].amount_nanos:
            return []  # nearly always: the whole is held
        tokens = self._tokens_granted(hold)
        if tokens is None or self.output_tokens_max is None or tokens >= self.output_tokens_max:
            return []
        return [(b"x-rabbitgw-max-tokens", str(call.output_limit).encode())]

    def _tokens_granted(self, hold: Hold) -> int | None:
        """Output tokens that the hold pays for, at most those asked for; None: they cost nothing."""
        if self.output_nanos_per_mtok == 0:
            return self.output_tokens_max
        spare_nanos = hold.granted_nanos - self.offers[hold.offer_index].input_nanos
        tokens = spare_nanos * TOKENS_PER_MTOK // self.output_nanos_per_mtok
        return min(tokens, self.output_tokens_max) if self.output_tokens_max is not None else tokens


def quote(call: Call, price: Price, settings: Settings) -> Quote:
    """The offers for a call at a price.

    Raises: ModelNotPriced when the call asks for a part that this price does not hold.
    """
    dialect = call.dialect
    if dialect.free:
        return FREE
    body, media, table = call.body, call.media, price.table
    tools = TOOL_LIST_TOKENS if body.get("tools") or body.get("functions") else 0
    text_bytes = call.body_bytes - call.media_bytes
    plain_tokens = -(-text_bytes // PLAIN_BYTES_PER_TOKEN)
    above = plain_above = 0
    if table.thresholds:
        above = table.reached(prompt_tokens_max(price, text_bytes, tools_constant=tools, media=media))
        plain_above = table.reached(plain_tokens)
    parts = tuple(call.parts) if call.parts else ()
    missing, input_rate, rate, plain_rate, fixed_nanos = call_rates(
        price, dialect.has_output, parts, call.tier, call.long_cache, above, plain_above
    )
    if missing:
        raise ModelNotPriced(
            f"the model {call.model!r} has no price for: {', '.join(missing)}", field=field_of(missing[0])
        )
    per_byte_milli = settings.input_tokens_per_kilobyte
    if media is NO_MEDIA:  # nearly always
        input_tokens = tools - (-text_bytes * per_byte_milli // MILLI)
        input_nanos = fixed_nanos - (-input_tokens * input_rate // TOKENS_PER_MTOK)
    else:
        input_tokens, input_nanos = media_bound(call, price, text_bytes, per_byte_milli, tools)
    if call.tool_uses or call.predicted_bytes:
        # what of a prediction is rejected is billed as output
        rejected = ceil_div(call.predicted_bytes * per_byte_milli, MILLI)
        input_nanos += tools_bound_nanos(price, call.tool_uses) + ceil_div(rejected * rate, TOKENS_PER_MTOK)
    plain_nanos = min(fixed_nanos - (-plain_tokens * plain_rate // TOKENS_PER_MTOK), input_nanos)
    choices, limit, known = call.choices, call.output_limit, price.max_output_tokens
    slice_tokens = settings.slice_output_tokens * choices
    # the most output tokens there can be, None where nobody says; how many are held for at first
    most, first, is_ours = None, 0, False
    if dialect.has_output:
        is_ours = limit is None and known is None and not call.stream
        limit = known if limit is None else limit if limit > LIMIT_FLOOR else LIMIT_FLOOR
        if not call.stream:
            most = first = (limit or settings.output_tokens_default_max) * choices
        else:
            most = None if limit is None else limit * choices
            first = slice_tokens if most is None else min(slice_tokens, most)
    least = call.least_output
    useful = (least + 1 if least >= USEFUL_TOKENS else USEFUL_TOKENS) * choices
    whole_nanos = input_nanos - (-first * rate // TOKENS_PER_MTOK)
    useful_nanos = -(-(useful if useful < first else first) * rate // TOKENS_PER_MTOK)
    least_nanos, last_nanos = input_nanos + useful_nanos, plain_nanos + useful_nanos
    last = _new(Terms, (whole_nanos, last_nanos, plain_nanos, True, None))
    offers: tuple[Terms, ...]
    if call.stream:  # the first slice, which grows with it; the last money
        most_nanos = None if most is None else input_nanos - (-most * rate // TOKENS_PER_MTOK)
        growth = _new(Growth, (call.model, least_nanos, most_nanos))
        offers = _new(Terms, (whole_nanos, whole_nanos, input_nanos, False, growth)), last
    else:  # the whole; what is left, with the output limited; the last money
        whole = _new(Terms, (whole_nanos, whole_nanos, input_nanos, False, None))
        offers = whole, _new(Terms, (whole_nanos, least_nanos, input_nanos, False, None)), last
    return Quote(offers, plain_nanos, rate, most, slice_tokens, input_tokens, is_ours, price.reasons)


def media_bound(
    call: Call, price: Price, text_bytes: int, tokens_per_byte_milli: int, tools: int
) -> tuple[int, int]:
    """(input tokens, nanos of them) that a call with images, sounds or files can come to."""
    tokens = input_tokens_bound(
        price,
        text_bytes,
        tokens_per_byte_milli=tokens_per_byte_milli,
        tools_constant=tools,
        media=call.media,
    )
    nanos = input_bound_nanos(
        price,
        text_bytes,
        tokens_per_byte_milli=tokens_per_byte_milli,
        tools_constant=tools,
        media=call.media,
        tier=call.tier,
        long_cache=call.long_cache,
    )
    return tokens, nanos


def estimated_tokens(call: Call, quote: Quote) -> int | None:
    """What a call takes of a token rate until it is known what it used: its input by the plain estimate, and the first
    slice of output or the lower limit that it states. None: it costs nothing, and takes none."""
    if call.dialect.free:
        return None
    tokens = ceil_div(call.body_bytes - call.media_bytes, PLAIN_BYTES_PER_TOKEN)
    if not call.dialect.has_output:
        return tokens
    most = quote.output_tokens_max
    return tokens + (quote.slice_tokens if most is None else min(quote.slice_tokens, most))


FREE: Final = Quote(
    offers=(Terms(0, 0, 0),),
    plain_input_nanos=0,
    output_nanos_per_mtok=0,
    output_tokens_max=None,
    slice_tokens=0,
    held_input_tokens=0,
    limit_is_ours=False,
    reasons=False,
)


def field_of(part: str) -> str:
    kind = part.partition(":")[0]
    named = {"tool": "tools", "audio_output": "modalities"}
    return kind if kind in ("service_tier", "speed", "inference_geo") else named.get(kind, "model")
