"""Prices: what a call costs, by one immutable version, in integers.

Owns matching (exact name, then the longest pattern, per currency) and cost (rounded up once per request).
Knows no store and no HTTP. A version never changes: a new price is a new version, and a call is charged by
the version it was admitted with. What nobody priced is reported by name and never silently free.
Units:  nanos per million tokens; nanos per million of anything else that is counted (`units`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, NamedTuple

from rabbitgw.billing.pieces import MS_PER_MINUTE, REQUESTS, pieces_numerator
from rabbitgw.billing.rates import BASE_TIER, BATCH_TIER, SPEED, Rates, RateTable
from rabbitgw.billing.usage import Usage
from rabbitgw.money import TOKENS_PER_MTOK, ceil_div

MILLI: Final = 1000
_DENOMINATOR: Final = TOKENS_PER_MTOK * MS_PER_MINUTE  # minutes come in ms; one fraction holds all
_MATCHES_MAX: Final = 4096  # names that callers made up are remembered only up to here
_GLOB: Final = frozenset("*?[")

# Names that providers give to the tier that the plain rates are for. `auto` is a request's word: an answer
# that only echoes it names no other tier.
_PLAIN_TIERS: Final = frozenset(
    {"", "default", "standard", "standard_only", "on_demand", "provisioned_throughput", "auto"}
)
_TIER_ALIASES: Final = {
    "batch": BATCH_TIER,
    "fast": "priority",
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
}
_PLAIN_PLACES: Final = frozenset({"", "global", "not_available"})
_OWN_RATE_PARTS: Final = frozenset({"input", "output", "audio_output", "image_output"})
_TEXT_RATE_PARTS: Final = frozenset({"audio_input", "image_input", "video_input", "file_input"})
_CHEAPER_TIERS: Final = frozenset({"flex"})  # sold below the plain price wherever they are sold


@dataclass(frozen=True, eq=False)
class Price:
    """One version of the price of the models that `pattern` names.

    `version` is its id in the price book, 0 before it is stored. `unsold` names parts that the provider
    charges in a way this price does not hold, so that a request with them is refused.
    """

    pattern: str
    table: RateTable
    currency: str = "USD"
    version: int = 0
    units: Mapping[str, int] = field(default_factory=dict)
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    image_tokens_max: int | None = None  # what one image of the input can count as, where it is unusual
    mode: str = ""
    reasons: bool = False  # the model may think before anything visible flows
    unsold: frozenset[str] = frozenset()
    sold: bool = True
    origin: str = "set"
    effective_from_us: int = 0
    plan_id: int | None = None  # only for calls on this plan; None: the list price
    min_charge_nanos: int = 0  # the least that a call which is charged costs

    def tier_served(self, tier: str | None) -> tuple[str, bool]:
        """The tier of this price by which a served (or asked for) tier is charged; whether it is priced."""
        name = (tier or "").strip().lower()
        if name in _PLAIN_TIERS:
            return BASE_TIER, True
        for known in (name, f"{SPEED}{name}", _TIER_ALIASES.get(name)):
            if known is not None and (known in self.table.tiers or known == BATCH_TIER):
                return known, self._tier_whole(known)
        return name, False

    def _tier_whole(self, tier: str) -> bool:
        """A tier that prices input and leaves out an output that is otherwise priced is not sold."""
        plain = self.table.sheets.get((BASE_TIER, 0), {})
        own = self.table.sheets.get((tier, 0), {})
        return tier == BATCH_TIER or all(kind in own for kind in ("input", "output") if plain.get(kind))

    def rates(self, tier: str | None, prompt_tokens: int) -> tuple[Rates, bool]:
        """The rates for a served tier and prompt size; False when that tier has no price of its own.

        An unpriced tier pays the dearest known rates (the plain ones if it is one that is always cheaper).
        """
        return served_rates(self, tier, self.table.reached(prompt_tokens))


@lru_cache(maxsize=4096)
def served_rates(price: Price, tier: str | None, above: int) -> tuple[Rates, bool]:
    """`Price.rates` for prompts that have passed the threshold `above` (0: none), kept: it takes seven calls."""
    table = price.table
    name, priced = price.tier_served(tier)
    if name in table.tiers or name in (BASE_TIER, BATCH_TIER):
        return table.at(name, above), priced
    if name in _CHEAPER_TIERS:
        return table.at(BASE_TIER, above), False
    return table.dearest(above), False


class Charge(NamedTuple):
    """What a call costs, and what in it had no price (empty when all of it had)."""

    cost_nanos: int
    unpriced: tuple[str, ...] = ()


_new: Final = tuple.__new__  # makes a NamedTuple without the Python function that knows its defaults


def cost_nanos(price: Price, usage: Usage, book: PriceBook | None = None) -> int:
    """What the call costs, rounded up once. `charge` also says what in it had no price.

    Units: nanos of the price's currency.
    """
    return charge(price, usage, book).cost_nanos


def charge(price: Price, usage: Usage, book: PriceBook | None = None) -> Charge:
    """Cost a call: its own tokens by `price`, the shares of other models by theirs from `book`.

    The counts of `usage` include its shares. A share without a price is charged by `price` and named.
    """
    if not (
        usage.per_model
        or usage.server_tools
        or usage.seconds_milli
        or usage.pieces
        or usage.audio_input_tokens
        or usage.audio_output_tokens
        or usage.image_input_tokens
        or usage.image_output_tokens
    ):
        table = price.table
        above = table.reached(usage.input_tokens) if table.thresholds else 0
        rates, tier_priced = served_rates(price, usage.service_tier, above)
        if tier_priced and not rates.missing:
            # text alone, all of it priced: nearly every call. As `charge_by_parts` has it, in a fifth of the time
            cached, reasoning = usage.cached_input_tokens, usage.reasoning_tokens
            short, long = usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
            uncached = usage.input_tokens - cached - short - long
            spoken = usage.output_tokens - reasoning
            numerator = price.units.get(REQUESTS, 0)
            if uncached > 0:
                numerator += uncached * rates.input
            if spoken > 0:
                numerator += spoken * rates.output
            if cached or short or long or reasoning:
                numerator += (
                    cached * rates.cached_input
                    + short * rates.cache_write
                    + long * rates.cache_write_1h
                    + reasoning * rates.reasoning
                )
            cost = -(-numerator // TOKENS_PER_MTOK)  # rounded up
            least = price.min_charge_nanos
            return _new(Charge, (cost if cost > least else least, ()))
    return charge_by_parts(price, usage, book)


def charge_by_parts(price: Price, usage: Usage, book: PriceBook | None = None) -> Charge:
    """`charge` of whatever was used."""
    unpriced: list[str] = []
    numerator = _nanos_by_denominator(price, _without_shares(usage), unpriced, requests=1)
    for model, share in usage.per_model:
        own = book.match(model, price.currency) if book is not None else None
        if own is None:
            unpriced.append(f"model:{model}")
        served = replace(share, service_tier=share.service_tier or usage.service_tier)
        numerator += _nanos_by_denominator(own or price, served, unpriced, requests=0)
    cost = max(ceil_div(numerator, _DENOMINATOR), price.min_charge_nanos)
    return Charge(cost, tuple(dict.fromkeys(unpriced)))


def _nanos_by_denominator(price: Price, usage: Usage, unpriced: list[str], *, requests: int) -> int:
    """The cost as a numerator over _DENOMINATOR, so that parts add up before the one rounding."""
    rates, tier_priced = price.rates(usage.service_tier, usage.input_tokens)
    if not tier_priced:
        unpriced.append(f"service_tier:{usage.service_tier}")
    numerator = _counted(price, usage, unpriced) + requests * price.units.get(REQUESTS, 0) * MS_PER_MINUTE
    has_tokens = usage.input_tokens > 0 or usage.output_tokens > 0
    if (usage.seconds_milli > 0 or usage.pieces) and (not has_tokens or rates.missing >= {"input", "output"}):
        by_piece, missing = pieces_numerator(price.units, usage)
        if missing is not None:
            unpriced.append(missing)
        return numerator + by_piece
    if usage.input_tokens > 0 and "input" in rates.missing:
        unpriced.append("input")
    if usage.output_tokens > 0 and "output" in rates.missing:
        unpriced.append("output")
    return numerator + MS_PER_MINUTE * (_input(rates, usage) + _output(rates, usage))


def _input(rates: Rates, usage: Usage) -> int:
    """Input by kind. Cache and modality counts are both parts of the total and may overlap: a token is
    charged once, audio and images first among the uncached ones (where they cost most)."""
    cached = usage.cached_input_tokens
    uncached = max(usage.input_tokens - cached - usage.cache_write_tokens, 0)
    audio = min(usage.audio_input_tokens, uncached)
    image = min(usage.image_input_tokens, uncached - audio)
    cached_audio = min(usage.audio_input_tokens - audio, cached)
    cached_image = min(usage.image_input_tokens - image, cached - cached_audio)
    return (
        (uncached - audio - image) * rates.input
        + audio * rates.audio_input
        + image * rates.image_input
        + (cached - cached_audio - cached_image) * rates.cached_input
        + cached_audio * rates.cached_audio_input
        + cached_image * rates.cached_image_input
        + usage.cache_write_5m_tokens * rates.cache_write
        + usage.cache_write_1h_tokens * rates.cache_write_1h
    )


def _output(rates: Rates, usage: Usage) -> int:
    parts = usage.reasoning_tokens + usage.audio_output_tokens + usage.image_output_tokens
    return (
        max(usage.output_tokens - parts, 0) * rates.output
        + usage.reasoning_tokens * rates.reasoning
        + usage.audio_output_tokens * rates.audio_output
        + usage.image_output_tokens * rates.image_output
    )


def _counted(price: Price, usage: Usage, unpriced: list[str]) -> int:
    """What is sold by the piece: searches, sessions, images. Those without a price are named."""
    numerator = 0
    for name, count in usage.server_tools.items():
        if count <= 0:
            continue
        rate = price.units.get(name)
        if rate is None:
            unpriced.append(f"tool:{name}")
        numerator += count * (rate or 0) * MS_PER_MINUTE
    return numerator


_TOKEN_FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)


def _without_shares(usage: Usage) -> Usage:
    if not usage.per_model:
        return usage
    rest = {
        name: max(getattr(usage, name) - sum(getattr(share, name) for _, share in usage.per_model), 0)
        for name in _TOKEN_FIELDS
    }
    return replace(usage, per_model=(), **rest)


@lru_cache(maxsize=4096)
def unpriced_parts(price: Price, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Which parts of a request this price does not hold; empty when all of it can be sold.

    Parts: "input", "output", "audio_output", "image_output", any of `units` such as "requests",
    "tool:<name>", "service_tier:<tier>", "speed:<speed>", "inference_geo:<place>". Input of another
    modality is charged as text where it has no rate of its own, so it is refused only if named `unsold`.
    """
    return tuple(part for part in parts if not _sells(price, part))


def _sells(price: Price, part: str) -> bool:
    name, _, value = part.partition(":")
    plain = price.table.sheets.get((BASE_TIER, 0), {})
    if part in price.unsold or name in price.unsold:
        sells = False
    elif name in _OWN_RATE_PARTS:
        sells = name in plain
    elif name in _TEXT_RATE_PARTS:
        sells = "input" in plain
    elif name == "tool":
        sells = value in price.units
    elif name == "service_tier":
        sells = price.tier_served(value)[1]
    elif name == "speed":
        sells = value == "standard" or part in price.table.tiers
    elif name == "inference_geo":
        sells = value in _PLAIN_PLACES
    else:
        sells = name in price.units
    return sells


class PriceBook:
    """An immutable snapshot of the newest version of every pattern. Share it freely; replace it whole.

    Of the list, or of one plan: there a price that is not sold any more is as if it had not been.
    """

    __slots__ = ("_exact", "_matches", "_patterns", "_versions")

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        self._versions: dict[tuple[str, str], Price] = {}
        for price in prices:
            key = (price.pattern, price.currency)
            known = self._versions.get(key)
            if known is None or _age(price) >= _age(known):
                self._versions[key] = price
        named = [price for price in self._versions.values() if price.sold or price.plan_id is None]
        self._exact = {(price.currency, price.pattern): price for price in named}
        self._patterns: dict[str, list[Price]] = {}
        for price in named:
            if _GLOB & set(price.pattern):
                self._patterns.setdefault(price.currency, []).append(price)
        for patterns in self._patterns.values():
            patterns.sort(key=lambda price: (-len(price.pattern), price.pattern))
        self._matches: dict[tuple[str, str], Price | None] = {}

    def match(self, model: str, currency: str = "USD") -> Price | None:
        """The price of a model, or None: not priced, or withdrawn from sale, in this currency.

        The exact name first, then the longest pattern (fnmatch, case matters). A withdrawn price that
        matches best still decides: what was taken from sale is not sold by a broader pattern.
        """
        key = (currency, model)
        if key in self._matches:
            return self._matches[key]
        found = self._exact.get(key)
        if found is None:
            candidates: Sequence[Price] = self._patterns.get(currency, ())
            found = next((price for price in candidates if fnmatchcase(model, price.pattern)), None)
        if found is not None and not found.sold:
            found = None
        if len(self._matches) >= _MATCHES_MAX:
            self._matches.clear()
        self._matches[key] = found
        return found

    def current(self, pattern: str, currency: str = "USD") -> Price | None:
        """The newest version of exactly this pattern, withdrawn or not."""
        return self._versions.get((pattern, currency))

    def prices(self) -> list[Price]:
        """Every pattern's newest version, sorted by pattern and currency."""
        return [self._versions[key] for key in sorted(self._versions)]

    def with_versions(self, newer: Iterable[Price]) -> PriceBook:
        """A new book in which these versions replace older ones of the same pattern and currency."""
        return PriceBook([*self._versions.values(), *newer])

    def __len__(self) -> int:
        return len(self._versions)


def _age(price: Price) -> tuple[int, int]:
    return price.effective_from_us, price.version
