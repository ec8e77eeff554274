"""What a call for images or sound wants, and what that costs before anything is known of the answer.

Owns the worst case (what is held) and the likely case (what is charged where the answer states nothing). Both are a
`Usage` that is charged as any other, so that what is held and what is charged cannot go by different rules. Knows no
wallet and no request. What counts as how many tokens is a bound that no provider is known to exceed, or a usual number.
Units: milliseconds of sound, bytes of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from rabbitgw.billing.hold_bounds import IMAGE_TOKENS_MAX, PLAIN_BYTES_PER_TOKEN
from rabbitgw.billing.pieces import (
    CHARACTERS,
    IMAGES,
    MINUTES,
    MS_PER_S,
    SECONDS,
    image_kind,
    image_kinds,
    image_rate,
    usual_kind,
)
from rabbitgw.billing.prices import MILLI, Price, charge
from rabbitgw.billing.usage import ESTIMATED, REQUEST, Made, Pieces, Usage
from rabbitgw.money import ceil_div

# OpenAI's largest image at the highest quality is 6 240 tokens (platform.openai.com, guides, image generation).
MADE_IMAGE_TOKENS_MAX: Final = 8_192
MADE_IMAGE_TOKENS: Final = {"low": 272, "medium": 1_056, "high": 4_160}
USUAL_IMAGE_TOKENS: Final = 1_056
AUDIO_TOKENS_PER_S_MAX: Final = 32  # Gemini; OpenAI about 17 of what it hears, and 21 of what it says
AUDIO_TOKENS_PER_S: Final = 20
SPOKEN_TOKENS_PER_S_MAX: Final = 10  # of text; 150 words a minute are 3
SPOKEN_TOKENS_PER_S: Final = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """size, quality: as asked for, empty where they were not. audio_ms_max: of sound that is read or made, at most;
    audio_ms: as far as can be told; audio_bytes: of sound of which nothing can be told but by them (`heard_at`).
    text_bytes: of the prompt, or of what is to be spoken. parts: what may be unsold (`Price.unsold`)."""

    images: int = 0
    size: str = ""
    quality: str = ""
    input_images: int = 0
    characters: int = 0
    text_bytes: int = 0
    audio_ms_max: int = 0
    audio_ms: int = 0
    audio_bytes: int = 0
    hears: bool = False  # the sound is read; else it is made
    parts: tuple[str, ...] = ()


def heard_at(wanted: Wanted, bytes_per_s: int) -> Wanted:
    """With sound that is told by its bytes taken for as long as it can be, at the lowest rate that it is sent at."""
    if not wanted.audio_bytes:
        return wanted
    milli = ceil_div(wanted.audio_bytes * MS_PER_S, bytes_per_s)
    return replace(wanted, audio_ms=wanted.audio_ms + milli, audio_ms_max=wanted.audio_ms_max + milli)


def unpriced(price: Price, wanted: Wanted) -> tuple[str, ...]:
    """What of it has no price; empty when it can be sold."""
    missing = tuple(part for part in wanted.parts if part in price.unsold)
    if missing or _sells_tokens(price) or _sells_pieces(price, wanted):
        return missing
    if wanted.images:
        kind = image_kind(wanted.size, wanted.quality)
        return (f"{IMAGES}:{kind}",) if any(name.startswith(IMAGES) for name in price.units) else (IMAGES,)
    return (MINUTES,) if wanted.hears else (CHARACTERS,)


def worst_nanos(price: Price, wanted: Wanted, tokens_per_byte_milli: int) -> int:
    """The most that the call can cost, whatever the answer states."""
    return max(charge(price, usage).cost_nanos for usage in _worst(price, wanted, tokens_per_byte_milli))


def likely_usage(price: Price, wanted: Wanted, made: Made | None = None) -> Usage:
    """What is charged for an answer that states nothing: what was asked for."""
    if _sells_pieces(price, wanted):
        return with_pieces(price, wanted, Usage(source=REQUEST), made)
    read = ceil_div(wanted.text_bytes, PLAIN_BYTES_PER_TOKEN)
    image = MADE_IMAGE_TOKENS.get(wanted.quality, USUAL_IMAGE_TOKENS)
    heard = _tokens(wanted.audio_ms, AUDIO_TOKENS_PER_S)
    spoken = _tokens(wanted.audio_ms, SPOKEN_TOKENS_PER_S)
    usage = _by_tokens(price, wanted, read, image, heard, spoken)
    return replace(with_pieces(price, wanted, usage, made), source=ESTIMATED)


def with_pieces(price: Price, wanted: Wanted, usage: Usage, made: Made | None = None) -> Usage:
    """`usage` with what the call comes to by the piece: as the answer shows it, else as it was asked for."""
    pieces = None
    if wanted.images:
        made = made or Made(wanted.images)
        kind = usual_kind(price.units, made.size or wanted.size, made.quality or wanted.quality)
        asked = usual_kind(price.units, wanted.size, wanted.quality)
        if image_rate(price.units, kind) is None and image_rate(price.units, asked) is not None:
            kind = asked  # and not what was made, which nobody priced
        pieces = Pieces(made.images, kind)
    elif wanted.characters:
        pieces = Pieces(characters=wanted.characters)
    usage = replace(usage, pieces=pieces)
    by_token = (usage.input_tokens or usage.output_tokens) and _sells_tokens(price)
    by_time = (
        not by_token and not _sells_characters(price, wanted) and price.units.keys() & {SECONDS, MINUTES}
    )
    if by_time and not usage.seconds_milli:
        usage = replace(usage, seconds_milli=wanted.audio_ms, source=ESTIMATED)
    return usage


def _sells_characters(price: Price, wanted: Wanted) -> bool:
    return wanted.characters > 0 and CHARACTERS in price.units


def _sells_tokens(price: Price) -> bool:
    return not price.rates(None, 0)[0].missing


def _sells_pieces(price: Price, wanted: Wanted) -> bool:
    if wanted.images:
        return bool(image_kinds(price.units, wanted.size, wanted.quality))
    return _sells_characters(price, wanted) or bool(price.units.keys() & {SECONDS, MINUTES})


def _worst(price: Price, wanted: Wanted, tokens_per_byte_milli: int) -> Iterator[Usage]:
    if _sells_tokens(price):
        read = ceil_div(wanted.text_bytes * tokens_per_byte_milli, MILLI)
        heard = _tokens(wanted.audio_ms_max, AUDIO_TOKENS_PER_S_MAX)
        spoken = _tokens(wanted.audio_ms_max, SPOKEN_TOKENS_PER_S_MAX)
        if wanted.hears:  # the model reads no more than its context, and says no more than its limit
            heard = min(heard, price.max_input_tokens or heard)
            spoken = min(spoken, price.max_output_tokens or spoken)
        image = price.max_output_tokens or MADE_IMAGE_TOKENS_MAX
        yield _by_tokens(price, wanted, read, image, heard, spoken)
    if wanted.images:
        for kind in image_kinds(price.units, wanted.size, wanted.quality)[:1]:
            yield Usage(pieces=Pieces(wanted.images, kind))
    elif _sells_characters(price, wanted):
        yield Usage(pieces=Pieces(characters=wanted.characters))
    elif _sells_pieces(price, wanted):
        yield Usage(seconds_milli=wanted.audio_ms_max)


def _by_tokens(price: Price, wanted: Wanted, read: int, image: int, heard: int, spoken: int) -> Usage:
    """By the dearer of the rates that a token can be charged at. read: of text in; image: of one that is made."""
    rates = price.rates(None, 0)[0]
    if wanted.images:
        seen, made = wanted.input_images * (price.image_tokens_max or IMAGE_TOKENS_MAX), wanted.images * image
        return Usage(
            input_tokens=read + seen,
            output_tokens=made,
            image_input_tokens=seen if rates.image_input > rates.input else 0,
            image_output_tokens=made if rates.image_output > rates.output else 0,
        )
    if wanted.hears:
        return Usage(
            input_tokens=read + heard,
            output_tokens=spoken,
            audio_input_tokens=heard if rates.audio_input > rates.input else 0,
        )
    return Usage(
        input_tokens=read,
        output_tokens=heard,
        audio_output_tokens=heard if rates.audio_output > rates.output else 0,
    )


def _tokens(milli: int, tokens_per_s: int) -> int:
    return ceil_div(milli * tokens_per_s, MS_PER_S)
