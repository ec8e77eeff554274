"""What a call is to hold before it is forwarded: the ways to take it, dearest safety first.

A stream holds a bound of its input and one slice of output; a call that cannot be stopped midway holds its worst case,
or goes with its output limited to what the wallet grants. The last-money rule (a plain estimate of the input, one
such call at a time) keeps a wallet's last units usable when the bound of a large cached prompt would lock them in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rabbitgw.billing.admission import Hold, Terms
from rabbitgw.billing.hold_bounds import (
    input_bound_nanos,
    input_tokens_bound,
    output_slice_nanos,
    plain_input_nanos,
    prompt_tokens_max,
    tools_bound_nanos,
)
from rabbitgw.billing.holding import Growth
from rabbitgw.billing.prices import Price, unpriced_parts
from rabbitgw.config import Settings
from rabbitgw.errors import ModelNotPriced
from rabbitgw.money import TOKENS_PER_MTOK, ceil_div
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.relay import Headers

TOOL_LIST_TOKENS: Final = 600  # what providers add to a prompt that carries a tool list, beyond its bytes
USEFUL_TOKENS: Final = 16  # fewer output tokens than this are not worth a call
SEARCHES_MAX: Final = 10  # of one call; providers state no limit, and stop long before
PLAIN_TOOLS: Final = frozenset({"function", "custom"})  # run by the caller


@dataclass(frozen=True, slots=True)
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
        if call.stream:
            return
        tokens = self._tokens_granted(hold)
        if tokens is not None and (tokens < (self.output_tokens_max or tokens + 1) or self.limit_is_ours):
            assert tokens >= call.choices  # no offer passes with less (USEFUL_TOKENS)
            call.limit_output(tokens // call.choices)

    def shortfall_nanos(self, hold: Hold) -> int:
        """How much less than the bound of this call is held: what the last-money rule may overspend."""
        if not self.offers[hold.offer_index].last:
            return 0
        return max(self.offers[0].amount_nanos - hold.granted_nanos, 0)

    def headers(self, call: Call, hold: Hold) -> Headers:
        """Say so when the output was limited to what the wallet granted."""
        tokens = None if call.stream else self._tokens_granted(hold)
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
    parts = parts_of(call)
    missing = unpriced_parts(price, parts)
    if missing:
        raise ModelNotPriced(
            f"the model {call.model!r} has no price for: {', '.join(missing)}", field=field_of(missing[0])
        )
    tier = call.body.get("service_tier")
    tools = TOOL_LIST_TOKENS if call.body.get("tools") else 0
    per_byte_milli = settings.input_tokens_per_kilobyte
    text_bytes = call.body_bytes - call.media_bytes
    searches = {"web_search_requests": SEARCHES_MAX} if "tool:web_search_requests" in parts else {}
    input_nanos = input_bound_nanos(
        price,
        text_bytes,
        tokens_per_byte_milli=per_byte_milli,
        tools_constant=tools,
        media=call.media,
        tier=tier,
        long_cache=call.long_cache,
    ) + tools_bound_nanos(price, searches)
    rate = output_slice_nanos(
        price,
        TOKENS_PER_MTOK,
        tier=tier,
        prompt_tokens=prompt_tokens_max(price, text_bytes, tools_constant=tools, media=call.media),
        media_output=("audio_output",) if "audio_output" in parts else (),
    )
    plain_nanos = min(plain_input_nanos(price, text_bytes, tier=tier), input_nanos)
    limit = call.output_limit or price.max_output_tokens
    slice_tokens = settings.slice_output_tokens * call.choices
    if call.stream:
        most = limit * call.choices if limit is not None else None
        first = slice_tokens if most is None else min(slice_tokens, most)
    else:
        most = first = (limit or settings.output_tokens_default_max) * call.choices
    useful = min(first, USEFUL_TOKENS * call.choices)
    return Quote(
        offers=stream_offers(input_nanos, plain_nanos, rate, first, useful, most, call.model)
        if call.stream
        else offers(input_nanos, plain_nanos, rate, first, useful),
        plain_input_nanos=plain_nanos,
        output_nanos_per_mtok=rate,
        output_tokens_max=most,
        slice_tokens=slice_tokens,
        held_input_tokens=input_tokens_bound(
            price, text_bytes, tokens_per_byte_milli=per_byte_milli, tools_constant=tools, media=call.media
        ),
        limit_is_ours=not call.stream and limit is None,
        reasons=price.reasons,
    )


def offers(input_nanos: int, plain_nanos: int, rate: int, tokens: int, useful: int) -> tuple[Terms, ...]:
    """Of a call that cannot be stopped midway: the whole; what is left, with the output limited; the last money."""
    whole_nanos = input_nanos + ceil_div(tokens * rate, TOKENS_PER_MTOK)
    useful_nanos = ceil_div(useful * rate, TOKENS_PER_MTOK)
    return (
        Terms(whole_nanos, whole_nanos, input_nanos),
        Terms(whole_nanos, min(input_nanos + useful_nanos, whole_nanos), input_nanos),
        Terms(whole_nanos, min(plain_nanos + useful_nanos, whole_nanos), plain_nanos, last=True),
    )


def stream_offers(
    input_nanos: int, plain_nanos: int, rate: int, tokens: int, useful: int, most: int | None, kind: str
) -> tuple[Terms, ...]:
    """Of a stream: the first slice, which grows with it; the last money. `most`: output tokens by its limit."""
    whole, limited, last = offers(input_nanos, plain_nanos, rate, tokens, useful)
    most_nanos = None if most is None else input_nanos + ceil_div(most * rate, TOKENS_PER_MTOK)
    return whole._replace(growth=Growth(kind, limited.least_nanos, most_nanos)), last


def parts_of(call: Call) -> list[str]:
    """The parts of a call that need a price of their own (names as billing.prices.unpriced_parts has them)."""
    parts = ["input", "output"]
    body = call.body
    tier = body.get("service_tier")
    if isinstance(tier, str):
        parts.append(f"service_tier:{tier}")
    modalities: Any = body.get("modalities")
    if body.get("audio") or (isinstance(modalities, list) and "audio" in modalities):
        parts.append("audio_output")
    if body.get("web_search_options") is not None:
        parts.append("tool:web_search_requests")
    tools: Any = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type", "function") if isinstance(tool, dict) else "function"
        if kind not in PLAIN_TOOLS:
            parts.append(f"tool:{kind}")
    return parts


def field_of(part: str) -> str:
    kind = part.partition(":")[0]
    return {"service_tier": "service_tier", "tool": "tools", "audio_output": "modalities"}.get(kind, "model")
