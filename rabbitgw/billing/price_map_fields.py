"""What the fields of LiteLLM's price map mean: tables, and how a number and a field's name are read.

Owns names and numbers only; which entries are imported is price_import.py's. A field in none of the tables
whose name looks like a price makes its entry unsellable, so a field that a later map adds is never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Any, Final

from rabbitgw.billing.pieces import REQUESTS, SECONDS
from rabbitgw.billing.rates import BASE_TIER
from rabbitgw.money import AMOUNT_NANOS_MAX, ceil_div

PLACES: Final = 15  # 1e-15 a piece is one nano per million pieces: the quantum of the map and of our rates
FREE_MODES: Final = frozenset({"moderation"})  # free of charge at its provider, not an entry left at zero

TOKEN_FIELDS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "input_cost_per_token_cache_hit": "cached_input",
    "explicit_cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_audio_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_creation_input_token_cost_above_12hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "cache_read_input_audio_token_cost": "cached_audio_input",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
    "cache_read_input_image_token_cost": "cached_image_input",
}
UNIT_FIELDS: Final = {
    "cost_per_second": SECONDS,
    "input_cost_per_second": SECONDS,
    "output_cost_per_second": SECONDS,
    "input_cost_per_request": REQUESTS,
    "google_maps_grounding_cost_per_query": "google_maps_requests",
    "code_interpreter_cost_per_session": "code_interpreter_sessions",
}
# Charged only when a request has such a part, which usage does not count: the part is not sold.
UNSOLD_FIELDS: Final = {
    "input_cost_per_video_token": "video_input",
    "output_cost_per_video_token": "video_output",
    "input_cost_per_video_per_second": "video_input",
    "input_cost_per_video_per_second_above_8s_interval": "video_input",
    "input_cost_per_video_per_second_above_15s_interval": "video_input",
    "input_cost_per_audio_per_second": "audio_input",
    "vector_store_cost_per_gb_per_day": "tool:vector_store",
    "file_search_cost_per_gb_per_day": "tool:file_search",
}
# Read by rules of their own below, or the same price in another unit.
OTHER_FIELDS: Final = frozenset(
    {
        "tiered_pricing",
        "off_peak_pricing",
        "provider_specific_entry",
        "search_context_cost_per_query",
        "file_search_cost_per_1k_calls",
        "input_cost_per_image",
        "output_cost_per_image",
        "input_cost_per_character",
        "output_cost_per_character",
        "input_dbu_cost_per_token",
        "output_dbu_cost_per_token",
        "regional_endpoint_uplift_multiplier",
    }
)
TEXT_MODES: Final = frozenset({"chat", "completion", "responses", ""})
IMAGE_MODES: Final = frozenset({"image_generation", "image_edit"})
SOLD_MODES: Final = (
    TEXT_MODES | IMAGE_MODES | {"embedding", "moderation", "audio_transcription", "audio_speech"}
)
# OpenAI counts a full-size image for this family as 2 833 + 8 x 5 667 tokens, as dear as for the larger one.
IMAGE_TOKENS: Final = (("gpt-4o-mini", 48_169),)
# Web fetches cost Anthropic's callers nothing but the tokens (platform.claude.com, web fetch tool, pricing).
FREE_TOOLS: Final = {"anthropic": ("web_fetch_requests",)}
NOT_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})

_PRICE_LIKE = re.compile(r"cost|price|pricing|multiplier|uplift|(?:^|_)fees?(?:_|$)")
_REST = re.compile(
    r"(?:_(?P<before>[a-z]+))?(?:_above_(?P<count>\d+)(?P<kilo>k?)_tokens)?(?:_(?P<after>[a-z]+))?"
)
_BASES = sorted(TOKEN_FIELDS, key=len, reverse=True)


class Refused(Exception):
    """Why an entry is not imported. Becomes a reason in the report; crosses no layer."""


def rate_of(value: Any, name: str) -> int | None:
    """A price per piece as nanos per million pieces; None for an absent one.

    Floats are read by their shortest text, not by their binary value.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise Refused(f"{name}: not a number")
    try:
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
        with localcontext(prec=60):
            rate = int(exact.scaleb(PLACES).to_integral_value(ROUND_HALF_EVEN)) if exact.is_finite() else -1
    except (InvalidOperation, ValueError):
        raise Refused(f"{name}: {value!r} is not a number") from None
    if not 0 <= rate <= AMOUNT_NANOS_MAX:
        raise Refused(f"{name}: {value} is out of range")
    if rate == 0 and exact != 0:
        raise Refused(f"{name}: {value} is finer than the smallest price")
    return rate


def looks_like_price(name: str) -> bool:
    return _PRICE_LIKE.search(name) is not None


def unsold_part(name: str) -> str | None:
    """The part of a request that a field prices and usage does not count; tiers and thresholds included."""
    for base, part in UNSOLD_FIELDS.items():
        if name.startswith(base) and _REST.fullmatch(name.removeprefix(base)):
            return part
    return None


def sheet_of(name: str) -> tuple[str, tuple[str, int]] | None:
    """The kind, tier and threshold that a field spells: input_cost_per_token_above_200k_tokens_flex."""
    for base in _BASES:
        if not name.startswith(base):
            continue
        rest = _REST.fullmatch(name.removeprefix(base))
        if rest is None or (rest["before"] and rest["after"]):
            return None
        above = int(rest["count"]) * (1000 if rest["kilo"] else 1) if rest["count"] else 0
        return TOKEN_FIELDS[base], (rest["before"] or rest["after"] or BASE_TIER, above)
    return None


def multiplied(sheet: Mapping[str, int], factor: int) -> dict[str, int]:
    """`factor` as `rate_of` reads it: 10**PLACES is one."""
    return {kind: ceil_div(rate * factor, 10**PLACES) for kind, rate in sheet.items()}
