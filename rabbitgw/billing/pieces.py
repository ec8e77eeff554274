"""What is sold by the piece: images by size and quality, seconds or minutes of sound, characters.

Owns the names of these in a price (`Price.units`) and which of a price's rates is meant; knows no store and no route.
An image's name may say more than that it is one: `images:1024x1792:hd`, `images:1024x1792`, `images`; the one that
says most counts. Tokens come first: what is priced by tokens, and states them, is charged by them.
Units: nanos per million pieces, as all of `Price.units`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from rabbitgw.billing.usage import Usage
from rabbitgw.errors import RequestInvalid

SECONDS: Final = "seconds"
MINUTES: Final = "minutes"
IMAGES: Final = "images"
CHARACTERS: Final = "characters"
REQUESTS: Final = "requests"
PIECES: Final = (IMAGES, CHARACTERS, MINUTES, SECONDS)
MS_PER_S: Final = 1000
MS_PER_MINUTE: Final = 60_000
SECONDS_PER_MINUTE: Final = MS_PER_MINUTE // MS_PER_S
# What providers make where a request does not say (openai-python, types/image_generate_params.py: dall-e).
SIZE_DEFAULT: Final = "1024x1024"
QUALITY_DEFAULT: Final = "standard"
AUTO: Final = "auto"  # the provider chooses
KIND_CHARS_MAX: Final = 64
_IMAGE: Final = re.compile(r"images:[0-9a-z._-]{1,32}(:[0-9a-z._-]{1,32})?")


def checked_units(units: Mapping[str, int], field: str) -> None:
    """Raises: RequestInvalid naming a unit that no call could be charged by."""
    for name in units:
        if name.startswith(f"{IMAGES}:") and not _IMAGE.fullmatch(name):
            raise RequestInvalid(
                f"{field}.{name}: write images:<size> or images:<size>:<quality>", field=field
            )
    if SECONDS in units and MINUTES in units:
        raise RequestInvalid(f"{field}: seconds or minutes, not both", field=field)


def image_kind(size: str, quality: str) -> str:
    """How an image is named behind `images:`."""
    return f"{size or AUTO}:{quality}" if quality else size


def image_rate(units: Mapping[str, int], kind: str) -> int | None:
    """The rate of an image of a kind; None: it is not priced."""
    if kind:
        size = kind.partition(":")[0]
        for name in (f"{IMAGES}:{kind}", f"{IMAGES}:{size}"):
            if name in units:
                return units[name]
    return units.get(IMAGES)


def image_kinds(units: Mapping[str, int], size: str, quality: str) -> list[str]:
    """The kinds that a request for this size and quality can come to (empty or `auto`: any), the dearest first.

    Empty: this size and quality have no price.
    """
    size, quality = ("" if word == AUTO else word for word in (size, quality))
    if size and quality:
        kind = image_kind(size, quality)
        return [] if image_rate(units, kind) is None else [kind]
    rates: dict[str, int] = {}
    for name, rate in units.items():
        kind = name.removeprefix(f"{IMAGES}:")
        own_size, _, own_quality = kind.partition(":")
        if kind != name and (not size or own_size == size) and (not quality or own_quality in ("", quality)):
            rates[kind] = rate
    if IMAGES in units:
        rates.setdefault(size, units[IMAGES])
    return sorted(rates, key=lambda kind: (-rates[kind], kind))


def usual_kind(units: Mapping[str, int], size: str, quality: str) -> str:
    """The kind that such a request is charged by where the answer names none: the usual one of what it leaves open, the
    dearest where it lets the provider choose."""
    if AUTO not in (size, quality):
        kind = image_kind(size or SIZE_DEFAULT, quality or QUALITY_DEFAULT)
        if image_rate(units, kind) is not None:
            return kind
    kinds = image_kinds(units, size, quality)
    return kinds[0] if kinds else image_kind(size, quality)


def audio_numerator(units: Mapping[str, int], milli: int) -> int | None:
    """What so much sound costs, in nanos times a million times MS_PER_MINUTE; None: it is not priced."""
    if MINUTES in units:
        return milli * units[MINUTES]
    if SECONDS in units:
        return milli * units[SECONDS] * SECONDS_PER_MINUTE
    return None


def pieces_numerator(units: Mapping[str, int], usage: Usage) -> tuple[int, str | None]:
    """What the pieces of a call cost, in nanos times a million times MS_PER_MINUTE; and what of them has no price.

    One kind of them is charged, in the order of PIECES: the sound of a speech is its text, sold once.
    """
    pieces, unpriced = usage.pieces, None
    if pieces is not None and pieces.images:
        rate = image_rate(units, pieces.image_kind)
        if rate is not None:
            return pieces.images * rate * MS_PER_MINUTE, None
        unpriced = f"{IMAGES}:{pieces.image_kind}" if pieces.image_kind else IMAGES
    if pieces is not None and pieces.characters:
        if CHARACTERS in units:
            return pieces.characters * units[CHARACTERS] * MS_PER_MINUTE, None
        unpriced = unpriced or CHARACTERS
    if usage.seconds_milli:
        numerator = audio_numerator(units, usage.seconds_milli)
        if numerator is not None:
            return numerator, None
        unpriced = unpriced or SECONDS
    return 0, unpriced


def without_overridden(units: Mapping[str, int], by: Mapping[str, int]) -> dict[str, int]:
    """`units` without what `by` prices in another way: a plan's price of an image is that of any image, its price of a
    request is that of all that is in it."""
    own = {_family(name) for name in by}
    dropped = set(PIECES) if REQUESTS in by else own
    return {name: rate for name, rate in units.items() if _family(name) not in dropped}


def _family(name: str) -> str:
    """What is priced instead of each other."""
    family = name.partition(":")[0]
    return SECONDS if family == MINUTES else family
