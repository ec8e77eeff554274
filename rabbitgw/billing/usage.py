"""Usage: what one call consumed, in the one normal form for every provider and dialect.

`input_tokens` is all input, cached and cache-writing tokens included; `output_tokens` is all output, reasoning
included; every other token count is a subset of one of the two. Readers in proxy/meter make it, prices cost it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

PROVIDER = "provider"  # the provider stated it
ESTIMATED = "estimated"  # a whole answer without stated usage
PARTIAL = "partial"  # the answer ended early
REQUEST = "request"  # nothing was stated, and the request says it: images at a size, characters


class Pieces(NamedTuple):
    """What a call made or read, where it may be sold by the piece. image_kind: "1024x1792:hd", as a price names it."""

    images: int = 0
    image_kind: str = ""
    characters: int = 0


class Made(NamedTuple):
    """What an answer shows of the images in it. size, quality: empty where it does not say."""

    images: int
    size: str = ""
    quality: str = ""


@dataclass(slots=True)  # not frozen: that would take four times as long to make
class Usage:
    """Counts are tokens unless the name says otherwise; all are integers >= 0. Never changed once it is made."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    seconds_milli: int = 0  # thousandths of a second of audio, where that is what is sold
    pieces: Pieces | None = None  # nearly always None
    service_tier: str | None = None  # the tier that was served, which sets the price
    server_tools: dict[str, int] = field(default_factory=dict)  # e.g. {"web_search_requests": 2}
    per_model: tuple[tuple[str, Usage], ...] = ()  # shares of other models that served inside the same call
    source: str = PROVIDER

    @property
    def cache_write_tokens(self) -> int:
        """All tokens written to the provider's cache; those kept 5 minutes unless it said 1 hour."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output: what a token rate counts."""
        return self.input_tokens + self.output_tokens
