"""What a call can cost before it is known: the amounts that holds are made of, in integers.

Owns the arithmetic of admission and of extensions; decides nothing, knows no wallet and no request object.
Each bound takes the dearest rate that the call can still reach: cache writes, the tier it asks for, the sizes
its prompt may pass. Which part is bounded by bytes is the caller's to say: inline media bytes are no text.
Units: nanos of the price's currency; bytes of the body as sent; tokens per byte in thousandths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from rabbitgw.billing.pieces import REQUESTS
from rabbitgw.billing.prices import MILLI, Price, served_rates, unpriced_parts
from rabbitgw.billing.rates import BASE_TIER
from rabbitgw.money import TOKENS_PER_MTOK, ceil_div

PLAIN_BYTES_PER_TOKEN: Final = 4  # English prose and code; the estimate of the last-money rule, no bound
TOKENS_PER_BYTE_MILLI: Final = 500  # default: two bytes per token; `strict` plans take 1000
IMAGE_TOKENS_MAX: Final = 5_000  # the largest image that providers count at full size (4 784 at Anthropic)
AUDIO_TOKENS_PER_BYTE_MILLI: Final = 50  # 32 tokens a second at 6 kbit/s, as base64 makes it
LINKED_FILE_TOKENS: Final = 200_000  # a file named by URL, for a model that states no context size

_TEXT_KINDS: Final = ("input", "cached_input", "cache_write")
_LONG_TEXT_KINDS: Final = (*_TEXT_KINDS, "cache_write_1h")
_IMAGE_KINDS: Final = ("image_input", "cached_image_input")
_AUDIO_KINDS: Final = ("audio_input", "cached_audio_input")
_OUTPUT_KINDS: Final[tuple[str, ...]] = ("output", "reasoning")


@dataclass(frozen=True, slots=True)
class Media:
    """Parts of the input that are bounded by what they are, not by the bytes they take in the body."""

    images: int = 0
    audio_bytes: int = 0  # as encoded in the body
    file_bytes: int = 0  # as encoded in the body
    linked_files: int = 0  # named by URL or id: their size is not in the body


NO_MEDIA: Final = Media()


class CallRates(NamedTuple):
    """What a kind of call can cost: nanos per million tokens, the dearest that it can reach, but for `plain_input`."""

    missing: tuple[str, ...]  # parts that this price does not hold: then the call is not sold
    input: int
    output: int  # 0 where it has none
    plain_input: int
    fixed_nanos: int


@lru_cache(maxsize=4096)
def call_rates(
    price: Price,
    has_output: bool,
    parts: tuple[str, ...],
    tier: str | None,
    long_cache: bool,
    above: int,
    plain_above: int,
) -> CallRates:
    """All of a hold that depends on the price and the kind of call alone; to look it up takes a twentieth of the time.

    parts: what needs a price of its own, beside input and output. above: the highest threshold that the prompt can pass
    (`prompt_tokens_max`); plain_above: that it passes by the plain estimate.
    """
    kinds = _OUTPUT_KINDS
    if "audio_output" in parts:
        kinds += ("audio_output",)
    if "image_output" in price.table.sheets.get((BASE_TIER, 0), {}):  # the model may draw unasked
        kinds += ("image_output",)
    tiers = reachable_tiers(price, tier)
    return CallRates(
        unpriced_parts(price, ("input", "output", *parts) if has_output else ("input", *parts)),
        price.table.worst_at(tiers, above, _LONG_TEXT_KINDS if long_cache else _TEXT_KINDS),
        price.table.worst_at(tiers, above, kinds) if has_output else 0,
        served_rates(price, tier, plain_above)[0].input,
        fixed_nanos(price),
    )


@lru_cache(maxsize=4096)
def reachable_tiers(price: Price, requested: str | None) -> tuple[str, ...]:
    """The tiers by which a call may be charged: the plain one, and the one it asks for.

    A call that names none is taken to be served at the plain rates: only the operator's own project
    settings at the provider could make that otherwise. A tier without a price: any known one.
    """
    tier, priced = price.tier_served(requested)
    if tier == BASE_TIER:
        return (BASE_TIER,)
    if priced:
        return (BASE_TIER, tier)
    return price.table.service_tiers


def input_tokens_bound(
    price: Price,
    body_bytes: int,
    *,
    tokens_per_byte_milli: int = TOKENS_PER_BYTE_MILLI,
    tools_constant: int = 0,
    media: Media = NO_MEDIA,
) -> int:
    """Tokens that the input may count as. `body_bytes` is without the bytes of `media`.

    `tools_constant`: tokens that providers add for a tool list, beyond its bytes.
    """
    if media is NO_MEDIA:  # nearly always
        return ceil_div(body_bytes * tokens_per_byte_milli, MILLI) + tools_constant
    text = ceil_div((body_bytes + media.file_bytes) * tokens_per_byte_milli, MILLI) + tools_constant
    files = media.linked_files * (price.max_input_tokens or LINKED_FILE_TOKENS)
    return text + files + _image_tokens(price, media) + _audio_tokens(media)


def input_bound_nanos(
    price: Price,
    body_bytes: int,
    *,
    tokens_per_byte_milli: int = TOKENS_PER_BYTE_MILLI,
    tools_constant: int = 0,
    media: Media = NO_MEDIA,
    tier: str | None = None,
    long_cache: bool = True,
) -> int:
    """What the input can cost, at the dearest rates it can reach.

    `body_bytes` is without the bytes of `media`. `long_cache`: it may write to a cache kept for an hour.
    Which sizes are reached is judged at a token per byte: too rough a guess there would double the price.
    """
    tokens = input_tokens_bound(
        price,
        body_bytes,
        tokens_per_byte_milli=tokens_per_byte_milli,
        tools_constant=tools_constant,
        media=media,
    )
    images, audio = (0, 0) if media is NO_MEDIA else (_image_tokens(price, media), _audio_tokens(media))
    largest = prompt_tokens_max(price, body_bytes, tools_constant=tools_constant, media=media)
    tiers = reachable_tiers(price, tier)
    text_kinds = _LONG_TEXT_KINDS if long_cache else _TEXT_KINDS
    text_rate = price.table.worst(tiers, largest, text_kinds)
    # Images and audio can be written to the cache too, and are then charged as text is.
    image_rate = max(text_rate, price.table.worst(tiers, largest, _IMAGE_KINDS)) if images else 0
    audio_rate = max(text_rate, price.table.worst(tiers, largest, _AUDIO_KINDS)) if audio else 0
    numerator = (tokens - images - audio) * text_rate + images * image_rate + audio * audio_rate
    return ceil_div(numerator, TOKENS_PER_MTOK) + fixed_nanos(price)


def prompt_tokens_max(
    price: Price, body_bytes: int, *, tools_constant: int = 0, media: Media = NO_MEDIA
) -> int:
    """The size of prompt by which thresholds are judged: a token per byte, which no tokenizer exceeds."""
    return input_tokens_bound(
        price, body_bytes, tokens_per_byte_milli=MILLI, tools_constant=tools_constant, media=media
    )


def output_slice_nanos(
    price: Price,
    tokens: int,
    *,
    tier: str | None = None,
    prompt_tokens: int | None = None,
    media_output: tuple[str, ...] = (),
) -> int:
    """What this many output tokens can cost, visible or hidden.

    `prompt_tokens`: the most the prompt can be (`prompt_tokens_max`); None: of any size.
    `media_output`: "audio_output" and "image_output", where the call asks for them.
    """
    return ceil_div(tokens * _output_rate(price, tier, prompt_tokens, media_output), TOKENS_PER_MTOK)


def output_tokens_within(
    price: Price,
    amount_nanos: int,
    *,
    tier: str | None = None,
    prompt_tokens: int | None = None,
    media_output: tuple[str, ...] = (),
) -> int | None:
    """How many output tokens an amount surely pays for; None when they cost nothing."""
    rate = _output_rate(price, tier, prompt_tokens, media_output)
    return max(amount_nanos, 0) * TOKENS_PER_MTOK // rate if rate > 0 else None


def tools_bound_nanos(price: Price, uses_max: Mapping[str, int]) -> int:
    """What tools on the provider's side can cost: the most uses of each, by their price per use.

    A tool without a price counts nothing here: it is refused before (`unpriced_parts`).
    """
    if not uses_max:
        return 0
    numerator = sum(uses * price.units.get(name, 0) for name, uses in uses_max.items())
    return ceil_div(numerator, TOKENS_PER_MTOK)


def fixed_nanos(price: Price) -> int:
    """What a call costs for being made at all."""
    return ceil_div(price.units.get(REQUESTS, 0), TOKENS_PER_MTOK)


def _output_rate(
    price: Price, tier: str | None, prompt_tokens: int | None, media_output: tuple[str, ...]
) -> int:
    return price.table.worst(reachable_tiers(price, tier), prompt_tokens, (*_OUTPUT_KINDS, *media_output))


def _image_tokens(price: Price, media: Media) -> int:
    return media.images * (price.image_tokens_max or IMAGE_TOKENS_MAX)


def _audio_tokens(media: Media) -> int:
    return ceil_div(media.audio_bytes * AUDIO_TOKENS_PER_BYTE_MILLI, MILLI)
