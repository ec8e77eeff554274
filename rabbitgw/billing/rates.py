"""Rates of one price: per token kind, service tier and context size, with every gap filled by a rule.

Owns how a missing rate is inferred; knows no model name, currency, request or store.
A size threshold moves the whole request (output and cache too), never only the tokens beyond it.
Units:  every rate is an integer of nanos per million tokens.
Source: LiteLLM, litellm_core_utils/llm_cost_calc/utils.py; where it would bill less than the provider
        (a part left at its short-context or base-tier rate), the part is scaled with its parent instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rabbitgw.money import ceil_div

BASE_TIER = ""
BATCH_TIER = "batches"
SPEED = "speed:"  # sheets named so are for a speed that a request asks for, which is no service tier
HALF = 2  # providers sell batches at half price; a missing batch rate is half of the plain one

INPUT_KINDS = (
    "input",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "cached_audio_input",
    "image_input",
    "cached_image_input",
)
OUTPUT_KINDS = ("output", "reasoning", "audio_output", "image_output")
KINDS = (*INPUT_KINDS, *OUTPUT_KINDS)

# What each kind is charged as when nobody set a rate for it. An explicit 0 is a price, not a gap.
_PARENTS = {
    "cached_input": "input",
    "cache_write": "input",
    "audio_input": "input",
    "image_input": "input",
    "cached_audio_input": "cached_input",
    "cached_image_input": "cached_input",
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
}

# Anthropic's list: 1.25 times input for five minutes, 2 times for an hour.
LONG_CACHE_WRITE_FACTOR = 2

Sheets = Mapping[tuple[str, int], Mapping[str, int]]


class Rates(NamedTuple):
    """One rate per kind, gaps filled. `missing` names those of input and output that nobody priced."""

    input: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    cached_audio_input: int
    image_input: int
    cached_image_input: int
    output: int
    reasoning: int
    audio_output: int
    image_output: int
    missing: frozenset[str] = frozenset()


class RateTable:
    """Rate sheets by (tier, tokens above which they hold), resolved on first use and kept."""

    __slots__ = ("_resolved", "_worst", "inclusive", "service_tiers", "sheets", "thresholds", "tiers")

    def __init__(self, sheets: Sheets, *, inclusive: bool = False) -> None:
        """`inclusive`: a prompt of exactly the threshold already pays the upper rates (xAI does that)."""
        self.sheets = sheets
        self.inclusive = inclusive
        self.thresholds = tuple(sorted({above for _, above in sheets if above > 0}, reverse=True))
        self.tiers = frozenset(tier for tier, _ in sheets)
        self.service_tiers = tuple(
            sorted(tier for tier in self.tiers | {BASE_TIER} if not tier.startswith(SPEED))
        )
        self._resolved: dict[tuple[str, int], Rates] = {}
        self._worst: dict[tuple[tuple[str, ...], int, tuple[str, ...]], int] = {}

    def reached(self, prompt_tokens: int) -> int:
        """The highest threshold that a prompt of this size has passed; 0 for none."""
        for above in self.thresholds:
            if prompt_tokens > above or (self.inclusive and prompt_tokens == above):
                return above
        return 0

    def rates(self, tier: str, prompt_tokens: int) -> Rates:
        """The rates for a tier of this table (see `Price.tier_served`) and a prompt of this size."""
        return self.at(tier, self.reached(prompt_tokens))

    def at(self, tier: str, above: int) -> Rates:
        key = (tier, above)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = _resolve(self, tier, above)
        return found

    def dearest(self, above: int) -> Rates:
        """The highest rate of any known tier, kind by kind: what a tier that nobody priced is charged."""
        known = [self.at(tier, above) for tier in self.service_tiers]
        return Rates(
            **{kind: max(getattr(rates, kind) for rates in known) for kind in KINDS},
            missing=frozenset.intersection(*(rates.missing for rates in known)),
        )

    def worst(self, tiers: tuple[str, ...], prompt_tokens_max: int | None, kinds: tuple[str, ...]) -> int:
        """The dearest of these kinds in any of these tiers, for prompts up to a size (None: of any size)."""
        most = self.thresholds[0] if prompt_tokens_max is None and self.thresholds else 0
        return self.worst_at(
            tiers, most if prompt_tokens_max is None else self.reached(prompt_tokens_max), kinds
        )

    def worst_at(self, tiers: tuple[str, ...], above_max: int, kinds: tuple[str, ...]) -> int:
        """`worst`, for prompts that pass thresholds up to `above_max`."""
        key = (tiers, above_max, kinds)
        found = self._worst.get(key)
        if found is None:
            sizes = [0, *(above for above in self.thresholds if above <= above_max)]
            found = max(
                getattr(self.at(tier, above), kind) for tier in tiers for above in sizes for kind in kinds
            )
            self._worst[key] = found
        return found


class _Found(NamedTuple):
    rate: int
    depth: int  # position in the search order: lower is more specific


def _chain(table: RateTable, tier: str, above: int) -> list[tuple[str, int]]:
    """Sheets from the most to the least specific: size before tier, as size moves every rate."""
    sizes = [size for size in table.thresholds if size <= above] + [0]
    if tier == BASE_TIER:
        return [(BASE_TIER, size) for size in sizes]
    return [(name, size) for size in sizes for name in (tier, BASE_TIER)]


def _resolve(table: RateTable, tier: str, above: int) -> Rates:
    return _Resolution(table, tier, above).rates()


class _Resolution:
    """The search for every rate of one tier and size. Parents are settled before their parts."""

    def __init__(self, table: RateTable, tier: str, above: int) -> None:
        self._sheets = table.sheets
        self._tier = tier
        self._chain = _chain(table, tier, above)
        self._found: dict[str, _Found] = {}

    def rates(self) -> Rates:
        missing = set()
        top = max((rate for sheet in self._sheets.values() for rate in sheet.values()), default=0)
        for kind in ("input", "output"):
            found = self._find(kind)
            if found is None:
                missing.add(kind)
            self._found[kind] = found or _Found(top, len(self._chain))
        for kind, parent in _PARENTS.items():
            self._found[kind] = self._part(kind, parent) or self._found[parent]
        self._found["cache_write_1h"] = _Found(self._long_cache_write(), 0)
        return Rates(**{kind: self._found[kind].rate for kind in KINDS}, missing=frozenset(missing))

    def _stated(self, kind: str, start: int = 0) -> _Found | None:
        """The rate on the most specific sheet that has one, as it stands there."""
        for depth in range(start, len(self._chain)):
            rate = self._sheets.get(self._chain[depth], {}).get(kind)
            if rate is not None:
                return _Found(rate, depth)
        return None

    def _find(self, kind: str) -> _Found | None:
        """The rate by which a kind is charged for this tier and size, before it moves with its parent."""
        found = self._stated(kind)
        if found is None or self._chain[found.depth][0] == self._tier:
            return found
        if self._tier == BATCH_TIER:
            return _Found(ceil_div(found.rate, HALF), found.depth)
        # The tier has no rate at this size: the plain one, unless the tier is dearer even for short prompts.
        short = self._sheets.get((self._tier, 0), {}).get(kind, 0)
        return _Found(max(found.rate, short), found.depth)

    def _part(self, kind: str, parent: str) -> _Found | None:
        """The rate of a kind that is part of another; None where nobody set one.

        Where the parent has a rate for this tier and size and the part has only a more general one, the part
        moves with its parent: always for reasoning (it is output), only upwards for discounts and modalities.
        """
        found = self._find(kind)
        if found is None or found.depth <= self._found[parent].depth or self._tier == BATCH_TIER:
            return found
        general = self._stated(parent, found.depth)
        if general is None or general.rate == 0:
            return found
        scaled = ceil_div(found.rate * self._found[parent].rate, general.rate)
        return _Found(scaled if kind == "reasoning" else max(scaled, found.rate), found.depth)

    def _long_cache_write(self) -> int:
        """The rate of tokens that the provider keeps for an hour or more.

        Without one: where writing for five minutes costs more than reading in, an hour is taken to cost
        twice the input, as at the one provider that publishes both; where writing costs nothing extra, nor
        does this. Never below the five-minute rate: a gap in a list makes nobody pay less for asking longer.
        """
        plain, short = self._found["input"].rate, self._found["cache_write"].rate
        own = self._part("cache_write_1h", "input")
        if own is not None:
            return max(own.rate, short)
        return max(short, LONG_CACHE_WRITE_FACTOR * plain) if short > plain else short
