"""LiteLLM's price map (model_prices_and_context_window.json) as prices of ours.

Owns what each of its fields means and the rule for every field that we do not charge by. Pure: a map in,
prices and a report out. The rule is never to sell below the list: a model whose price says something that is
not understood is refused by name; where charging the plain price is the dearer reading, it is imported and
the difference is noted; a part that only some requests have is left unsold (`unpriced_parts` refuses it).
Numbers are Decimal from the first byte: dozens of entries carry float dust past the 15th place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.billing.pieces import CHARACTERS, IMAGES, REQUESTS, SECONDS
from rabbitgw.billing.price_map_fields import (
    FREE_MODES,
    FREE_TOOLS,
    IMAGE_MODES,
    IMAGE_TOKENS,
    NOT_MODELS,
    OTHER_FIELDS,
    SOLD_MODES,
    TEXT_MODES,
    TOKEN_FIELDS,
    UNIT_FIELDS,
    Refused,
    looks_like_price,
    multiplied,
    rate_of,
    sheet_of,
    unsold_part,
)
from rabbitgw.billing.price_sizes import SIZES, with_sizes
from rabbitgw.billing.price_terms import MutableSheets, checked_currency
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import BASE_TIER, SPEED, RateTable
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import ceil_div

GLOBAL_REGION: Final = "global"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`refused`: entry -> reason. `notes`: entry -> which prices of the map its own does not follow."""

    prices: tuple[Price, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def parse_map(text: str | bytes) -> dict[str, Any]:
    """The map's JSON with every fraction as a Decimal.

    Raises: RequestInvalid.
    """
    try:
        parsed = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise RequestInvalid(f"the price map is not valid JSON: {error}", field="source") from None
    if not isinstance(parsed, dict):
        raise RequestInvalid("the price map must be a JSON object of models", field="source")
    return parsed


def import_litellm_map(
    price_map: Mapping[str, Any],
    *,
    currency: str = "USD",
    region: str = GLOBAL_REGION,
    free: bool = False,
) -> ImportResult:
    """Every model of the map that can be sold, as a price under its exact name.

    `region`: where the upstream calls the provider; another than "global" applies the map's uplift for it.
    `free`: import entries whose prices are all (or on one side) zero. Without it they are refused: most are
    placeholders, and a placeholder would be sold for nothing.
    """
    code = checked_currency(currency)
    prices: list[Price] = []
    refused: dict[str, str] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for name, entry in with_sizes(price_map).items():
        if name in NOT_MODELS:
            continue
        try:
            if not isinstance(entry, Mapping):
                raise Refused("entry is not an object")
            reader = _Entry(name, entry, region=region, free=free)
            prices.append(reader.price(checked_pattern(name), code))
        except Refused as reason:
            refused[name] = str(reason)
        except RequestInvalid as error:
            refused[str(name)] = error.message
        else:
            if reader.notes:
                notes[name] = tuple(reader.notes)
    return ImportResult(tuple(prices), refused, notes)


class _Entry:
    """One entry of the map on its way to a price."""

    def __init__(self, name: str, entry: Mapping[str, Any], *, region: str, free: bool) -> None:
        self._name = name
        self._entry = entry
        self._region = region
        self._free = free
        self._sheets: MutableSheets = {(BASE_TIER, 0): {}}
        self._units: dict[str, int] = {}
        self._unsold: set[str] = set()
        self._mode = str(entry.get("mode") or "")
        self._provider = str(entry.get("litellm_provider") or "")
        self.notes: list[str] = []

    def price(self, pattern: str, currency: str) -> Price:
        if self._mode not in SOLD_MODES:
            raise Refused(f"mode {self._mode!r} is not sold")
        for name, value in self._entry.items():
            self._read_field(name, value)
        self._read_tools()
        self._read_media()
        self._read_size_tiers()
        self._read_off_peak()
        self._fill_gaps()
        self._apply_multipliers()
        self._check_whole()
        images = next((tokens for part, tokens in IMAGE_TOKENS if part in self._name), None)
        return Price(
            pattern=pattern,
            currency=currency,
            table=RateTable(
                {key: sheet for key, sheet in self._sheets.items() if sheet or key == (BASE_TIER, 0)},
                inclusive=self._provider == "xai",  # bills the upper rates from the threshold on
            ),
            units=self._units,
            unsold=frozenset(self._unsold),
            max_input_tokens=self._limit("max_input_tokens"),
            max_output_tokens=self._limit("max_output_tokens") or self._limit("max_tokens"),
            image_tokens_max=images,
            mode=self._mode,
            reasons=bool(self._entry.get("supports_reasoning"))
            or any("reasoning" in sheet for sheet in self._sheets.values()),
            origin="import",
        )

    def _read_field(self, name: str, value: Any) -> None:
        if value is None or name in OTHER_FIELDS:
            return
        if name in UNIT_FIELDS:
            # whisper-1 names the same second as input and as output: the dearer of them, once
            unit = UNIT_FIELDS[name]
            self._units[unit] = max(self._units.get(unit, 0), rate_of(value, name) or 0)
        elif (part := unsold_part(name)) is not None:
            if rate_of(value, name):
                self._unsold.add(part)
        elif (sheet := sheet_of(name)) is not None:
            kind, key = sheet
            rates = self._sheets.setdefault(key, {})
            rates[kind] = max(rates.get(kind, 0), rate_of(value, name) or 0)
        elif looks_like_price(name):
            self._read_unknown(name, value)

    def _read_unknown(self, name: str, value: Any) -> None:
        if name.startswith("regional_processing_uplift_multiplier_"):
            return
        if name.startswith("output_cost_per_image_"):  # by size; read with the other image prices
            return
        if isinstance(value, int | float | Decimal) and rate_of(value, name) == 0:
            return
        raise Refused(f"{name}: a way of charging that is not supported")

    def _read_tools(self) -> None:
        searches = self._entry.get("search_context_cost_per_query")
        if isinstance(searches, Mapping):
            sizes = [rate_of(value, str(size)) or 0 for size, value in searches.items()]
            if sizes:
                self._units["web_search_requests"] = max(sizes)
                if len(set(sizes)) > 1:
                    self.notes.append("web searches are charged at the price of the largest context size")
        per_thousand = rate_of(
            self._entry.get("file_search_cost_per_1k_calls"), "file_search_cost_per_1k_calls"
        )
        if per_thousand is not None:
            self._units["file_search_requests"] = ceil_div(per_thousand, 1000)
        for tool in FREE_TOOLS.get(self._provider, ()):
            self._units.setdefault(tool, 0)
        if self._entry.get("search_free_requests"):
            self.notes.append("the provider's free searches are charged like the others")

    def _read_media(self) -> None:
        """Images and characters: sold by the piece where they are what the model makes."""
        given = rate_of(self._entry.get("input_cost_per_image"), "input_cost_per_image")
        made = [
            rate
            for name, value in self._entry.items()
            if name.startswith("output_cost_per_image") and "token" not in name
            if (rate := rate_of(value, name)) is not None
        ]
        if self._mode in IMAGE_MODES:
            if given is not None or made:
                self._units[IMAGES] = (given or 0) + max(made, default=0)
            sizes = self._entry.get(SIZES)
            if isinstance(sizes, Mapping) and not self._makes_by_token():
                self._units |= {
                    f"{IMAGES}:{kind}": rate_of(price, kind) or 0 for kind, price in sizes.items()
                }
        else:
            if given:
                self._unsold.add("image_input")
            if any(made):
                self._unsold.add("image_output")
        characters = rate_of(self._entry.get("input_cost_per_character"), "input_cost_per_character")
        if self._mode == "audio_speech" and characters is not None:
            self._units[CHARACTERS] = characters

    def _makes_by_token(self) -> bool:
        """What it states is charged; its prices by size, which are the same money, are for who does not see tokens."""
        return any(self._sheets[BASE_TIER, 0].get(kind) for kind in ("output", "image_output"))

    def _read_size_tiers(self) -> None:
        """`tiered_pricing`: the whole call at the rates of its prompt's range; what a range leaves out is
        charged as its input (or output) is. It replaces the flat token prices and their service tiers."""
        ranges = self._entry.get("tiered_pricing")
        if not ranges:
            return
        flat = self._sheets[BASE_TIER, 0]
        sheets: MutableSheets = {}
        for step in ranges if isinstance(ranges, list) else ():
            bounds = step.get("range") if isinstance(step, Mapping) else None
            if not isinstance(bounds, list) or len(bounds) != 2:
                raise Refused("tiered_pricing: by something else than prompt size")
            rates = self._range_rates(step)
            if "output" not in rates and "output" in flat:
                rates["output"] = flat["output"]
            if "input" not in rates:
                raise Refused("tiered_pricing: a range without an input price")
            for kind in ("cached_input", "cache_write"):
                rates.setdefault(kind, rates["input"])
            sheets[BASE_TIER, int(bounds[0])] = rates
        if not sheets:
            raise Refused("tiered_pricing: not a list of ranges")
        lowest = min(above for _, above in sheets)
        sheets[BASE_TIER, 0] = sheets.pop((BASE_TIER, lowest))
        self._sheets = sheets

    def _range_rates(self, step: Mapping[str, Any]) -> dict[str, int]:
        rates: dict[str, int] = {}
        for name, value in step.items():
            kind = TOKEN_FIELDS.get(name)
            if kind is not None and value is not None:
                rates[kind] = max(rates.get(kind, 0), rate_of(value, name) or 0)
            elif kind is None and name != "range" and looks_like_price(name):
                raise Refused(f"tiered_pricing.{name}: a way of charging that is not supported")
        return rates

    def _read_off_peak(self) -> None:
        """Prices by the hour: the dearer of both, around the clock."""
        off_peak = self._entry.get("off_peak_pricing")
        if not isinstance(off_peak, Mapping):
            return
        for name, value in off_peak.items():
            kind, rate = TOKEN_FIELDS.get(name), None
            if kind is not None:
                rate = rate_of(value, name)
            if kind is not None and rate is not None:
                for sheet in self._sheets.values():
                    if kind in sheet:
                        sheet[kind] = max(sheet[kind], rate)
        self.notes.append("off-peak prices are not followed: the dearer ones hold around the clock")

    def _fill_gaps(self) -> None:
        """What only modality prices name: text is then charged at the modality's rate, which is dearer."""
        base = self._sheets[BASE_TIER, 0]
        made = [base[kind] for kind in ("image_output", "audio_output") if kind in base]
        if made and not base.get("output") and self._mode not in TEXT_MODES:
            base["output"] = max(made)
        if "input" not in base and "audio_input" in base:
            base["input"] = base["audio_input"]

    def _apply_multipliers(self) -> None:
        specific = self._entry.get("provider_specific_entry")
        entries = specific if isinstance(specific, Mapping) else {}
        fast = rate_of(entries.get("fast"), "provider_specific_entry.fast")
        if fast:
            plain = [(above, sheet) for (tier, above), sheet in self._sheets.items() if tier == BASE_TIER]
            for above, sheet in plain:
                self._sheets[f"{SPEED}fast", above] = multiplied(sheet, fast)
        places = [
            key for key, value in entries.items() if len(key) == 2 and not isinstance(value, Mapping | str)
        ]
        if places:
            self.notes.append(f"requests that choose where they run are refused: {', '.join(sorted(places))}")
        uplift = self._uplift()
        if uplift is not None:
            for key, sheet in self._sheets.items():
                self._sheets[key] = multiplied(sheet, uplift)

    def _uplift(self) -> int | None:
        names = [
            name for name in self._entry if "uplift_multiplier" in name and self._entry[name] is not None
        ]
        if not names:
            return None
        if self._region == GLOBAL_REGION:
            self.notes.append(
                "the price is for global endpoints; import with a region where the upstream uses one"
            )
            return None
        own = f"regional_processing_uplift_multiplier_{self._region}"
        known = [own] if own in names else names  # a region that is not named pays the dearest
        return max(rate_of(self._entry[name], name) or 0 for name in known)

    def _check_whole(self) -> None:
        """Refuse what would be sold for nothing, in whole or on one side."""
        base = self._sheets[BASE_TIER, 0]
        rates = [rate for sheet in self._sheets.values() for rate in sheet.values()]
        pieces = {SECONDS, REQUESTS, IMAGES, CHARACTERS} & self._units.keys()
        pieces |= {unit for unit in self._units if unit.startswith(f"{IMAGES}:")}
        if not base and not pieces:
            raise Refused("no price")
        if self._mode in TEXT_MODES and not {"input", "output"} <= base.keys():
            raise Refused("no price for input" if "output" in base else "no price for output or input")
        if self._mode in ("embedding", "moderation") and "input" not in base:
            raise Refused("no price for input")
        if self._mode in IMAGE_MODES and not pieces and not base.get("output"):
            raise Refused("no price for the images it makes")
        if self._mode.startswith("audio") and not pieces and not base.get("input"):
            raise Refused("no price for what it reads")
        if self._free or self._mode in FREE_MODES:
            return
        if not any(rates) and not any(self._units[piece] for piece in pieces):
            raise Refused("every price is zero; import with `free` to give it away")
        if self._mode in TEXT_MODES and not self._units.get(REQUESTS):
            for kind in ("input", "output"):
                if base[kind] == 0:
                    raise Refused(f"the price of {kind} is zero; import with `free` to give it away")

    def _limit(self, name: str) -> int | None:
        try:
            limit = int(Decimal(str(self._entry.get(name))))
        except (InvalidOperation, ValueError, OverflowError):
            return None
        return limit if limit > 0 else None
