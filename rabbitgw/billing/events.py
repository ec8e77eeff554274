"""What a usage event says: the JSON that travels with a hold (ticket) and with its end (payload).

Redis never parses it; the consumer does. Names are short because each event is stored in Redis until it is booked.
Money is not in here but for what the script itself writes beside it (charge, windows, account, currency).

    k key id          u id of its user, if any  tm of the user's team     r caller's request id
    m model as priced d dialect                     v price version
    st 1 = streamed   hi input tokens held for      sh how much less than its bound was held, nanos
    ov how much more than its hold a stream has cost, nanos
    at attempts       t0 admitted ms          t1 first byte ms      t2 finished ms
    of overflow policy of a plan by which it went beyond a limit      ma model as asked for, where a plan degraded it
    us usage source   in/ci/cw/cw1h/out/rt/ai/ao  token counts      tier service tier served
    im images         ik their kind           ms of sound           ch characters to speak
    ii/io tokens of images in and out         uc what upstream says it cost, nanos of US dollars
    um model upstream named                   e error code          tools            provider-side tool counts
"""

from __future__ import annotations

from typing import Any

import orjson

from rabbitgw.billing.usage import Pieces, Usage


def ticket(
    *,
    key_id: int,
    caller_request_id: str | None,
    model: str,
    dialect: str,
    price_version: int,
    admitted_ms: int,
    streamed: bool = False,
    held_input_tokens: int = 0,
    user_id: int | None = None,
    team_id: int | None = None,
) -> dict[str, Any]:
    """The facts known at admission; what the sweeper books when the gateway is gone."""
    facts: dict[str, Any] = {
        "k": key_id,
        "r": caller_request_id,
        "m": model,
        "d": dialect,
        "v": price_version,
        "st": int(streamed),
        "hi": held_input_tokens,
        "at": 1,
        "t0": admitted_ms,
    }
    if user_id is not None:
        facts["u"] = user_id
    if team_id is not None:
        facts["tm"] = team_id
    return facts


def payload(
    facts: dict[str, Any],
    usage: Usage | None,
    *,
    attempts: int,
    first_byte_ms: int | None,
    finished_ms: int,
    shortfall_nanos: int = 0,
    excess_nanos: int = 0,
    upstream_model: str | None = None,
    error_code: str | None = None,
    upstream_cost_nanos: int | None = None,
) -> bytes:
    """The facts at the end of a call, with its usage if there is any."""
    if usage is None:
        event = {**facts, "at": attempts, "t1": first_byte_ms, "t2": finished_ms}
    else:
        written_1h = usage.cache_write_1h_tokens
        event = {
            **facts,
            "at": attempts,
            "t1": first_byte_ms,
            "t2": finished_ms,
            "us": usage.source,
            "in": usage.input_tokens,
            "ci": usage.cached_input_tokens,
            "cw": usage.cache_write_5m_tokens + written_1h,
            "cw1h": written_1h,
            "out": usage.output_tokens,
            "rt": usage.reasoning_tokens,
            "ai": usage.audio_input_tokens,
            "ao": usage.audio_output_tokens,
        }
        if usage.pieces is not None or usage.seconds_milli:
            event |= _pieces(usage)
        if usage.image_input_tokens or usage.image_output_tokens:
            event["ii"], event["io"] = usage.image_input_tokens, usage.image_output_tokens
        if usage.service_tier is not None:
            event["tier"] = usage.service_tier
        if usage.server_tools:
            event["tools"] = usage.server_tools
        if usage.per_model:
            event["pm"] = [
                {"m": name, "in": part.input_tokens, "out": part.output_tokens}
                for name, part in usage.per_model
            ]
    if shortfall_nanos:
        event["sh"] = shortfall_nanos
    if excess_nanos:
        event["ov"] = excess_nanos
    if upstream_model is not None:
        event["um"] = upstream_model
    if error_code is not None:
        event["e"] = error_code
    if upstream_cost_nanos is not None:
        event["uc"] = upstream_cost_nanos
    return orjson.dumps(event)


def _pieces(usage: Usage) -> dict[str, Any]:
    pieces = usage.pieces or Pieces()
    said = {
        "im": pieces.images,
        "ik": pieces.image_kind,
        "ms": usage.seconds_milli,
        "ch": pieces.characters,
    }
    return {name: value for name, value in said.items() if value}
