"""The JSON forms of a price: the terms that are stored, and the fields of the admin API.

Owns checking what operators send. Knows no store and no matching. A field that is not known is refused: a
misspelt rate must not become a free one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.billing.pieces import checked_units
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import BASE_TIER, KINDS, RateTable
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX

RATE_SUFFIX: Final = "_nanos_per_mtok"
UNITS_PER_RATE: Final = 10**6  # a rate is for a million pieces
TIERS_MAX: Final = 32
THRESHOLDS_MAX: Final = 32
THRESHOLD_TOKENS_MAX: Final = 10**12
COUNT_MAX: Final = 10**15

LIMITS: Final = ("max_input_tokens", "max_output_tokens", "image_tokens_max")

_OTHER_FIELDS: Final = frozenset(
    {
        "pattern",
        "currency",
        "above",
        "tiers",
        "unit_nanos",
        "mode",
        "sold",
        "reasons",
        "effective_from_ms",
        *LIMITS,
    }
)

MutableSheets = dict[tuple[str, int], dict[str, int]]


def terms_json(price: Price) -> str:
    """Everything about a price but its name, currency, sale and time, as stored. Equal terms, equal text."""
    terms: dict[str, Any] = {
        "rates": [
            {"tier": tier, "above_tokens": above, "nanos_per_mtok": dict(sorted(rates.items()))}
            for (tier, above), rates in sorted(price.table.sheets.items())
        ]
    }
    if price.table.inclusive:
        terms["inclusive"] = True
    if price.units:
        terms["units"] = dict(sorted(price.units.items()))
    if price.unsold:
        terms["unsold"] = sorted(price.unsold)
    for name in LIMITS:
        limit = getattr(price, name)
        if limit is not None:
            terms[name] = limit
    if price.mode:
        terms["mode"] = price.mode
    if price.reasons:
        terms["reasons"] = True
    if price.min_charge_nanos:
        terms["min_charge_nanos"] = price.min_charge_nanos
    return orjson.dumps(terms).decode()


def price_from_terms(
    terms_text: str,
    *,
    pattern: str,
    currency: str,
    version: int = 0,
    sold: bool = True,
    origin: str = "set",
    effective_from_us: int = 0,
    plan_id: int | None = None,
) -> Price:
    """The price that `terms_json` wrote."""
    terms = orjson.loads(terms_text)
    sheets = {
        (sheet["tier"], sheet["above_tokens"]): dict(sheet["nanos_per_mtok"]) for sheet in terms["rates"]
    }
    return Price(
        pattern=pattern,
        currency=currency,
        version=version,
        sold=sold,
        origin=origin,
        effective_from_us=effective_from_us,
        table=RateTable(sheets, inclusive=terms.get("inclusive", False)),
        units=terms.get("units", {}),
        unsold=frozenset(terms.get("unsold", ())),
        max_input_tokens=terms.get("max_input_tokens"),
        max_output_tokens=terms.get("max_output_tokens"),
        image_tokens_max=terms.get("image_tokens_max"),
        mode=terms.get("mode", ""),
        reasons=terms.get("reasons", False),
        plan_id=plan_id,
        min_charge_nanos=terms.get("min_charge_nanos", 0),
    )


def price_from_fields(fields: Mapping[str, Any]) -> Price:
    """A price from the admin API's JSON object.

    `pattern`; `<kind>_nanos_per_mtok` for the kinds of `rates.KINDS`; `currency` (USD); `above`: list of
    {"tokens", rates}; `tiers`: {name: {rates, "above"?}}; `unit_nanos`: {"web_search_requests": nanos each}, the pieces
    of pieces.py among them;
    the limits of LIMITS, `mode`, `reasons`, `sold`, `effective_from_ms`.
    Raises: RequestInvalid naming the field; a field that is not known is refused, never ignored.
    """
    for name in fields:
        if name not in _OTHER_FIELDS and not _is_rate(name):
            raise RequestInvalid(f"{name}: not a field of a price", field=str(name))
    sheets: MutableSheets = {}
    _read_sheets(sheets, BASE_TIER, fields, where="")
    tiers = _object(fields.get("tiers", {}), "tiers")
    if len(tiers) > TIERS_MAX:
        raise RequestInvalid(f"tiers: at most {TIERS_MAX}", field="tiers")
    for tier, tier_fields in tiers.items():
        where = f"tiers.{tier}"
        if not tier or tier != tier.strip().lower():
            raise RequestInvalid(f"{where}: a tier is named in lower case", field="tiers")
        for name in _object(tier_fields, where):
            if name != "above" and not _is_rate(name):
                raise RequestInvalid(f"{where}.{name}: not a field of a tier", field="tiers")
        _read_sheets(sheets, tier, tier_fields, where=f"{where}.")
    unit_nanos = _object(fields.get("unit_nanos", {}), "unit_nanos")
    units = {
        name: _integer(each, f"unit_nanos.{name}", AMOUNT_NANOS_MAX // UNITS_PER_RATE) * UNITS_PER_RATE
        for name, each in unit_nanos.items()
    }
    checked_units(units, "unit_nanos")
    sold = _boolean(fields.get("sold", True), "sold")
    reasons = _boolean(
        fields.get("reasons", any("reasoning" in sheet for sheet in sheets.values())), "reasons"
    )
    mode = fields.get("mode", "")
    if not isinstance(mode, str):
        raise RequestInvalid("mode: must be a string", field="mode")
    return checked_price(
        Price(
            pattern=checked_pattern(fields.get("pattern")),
            currency=checked_currency(fields.get("currency", "USD")),
            table=RateTable(sheets),
            units=units,
            max_input_tokens=_optional_integer(fields, "max_input_tokens"),
            max_output_tokens=_optional_integer(fields, "max_output_tokens"),
            image_tokens_max=_optional_integer(fields, "image_tokens_max"),
            mode=mode,
            reasons=reasons,
            sold=sold,
            effective_from_us=(_optional_integer(fields, "effective_from_ms") or 0) * 1000,
        )
    )


def fields_of(price: Price) -> dict[str, Any]:
    """The admin API's JSON object for a price: what `price_from_fields` reads, with version and origin."""
    fields: dict[str, Any] = {
        "price_version": price.version,
        "pattern": price.pattern,
        "currency": price.currency,
        "sold": price.sold,
        "origin": price.origin,
        "effective_from_ms": price.effective_from_us // 1000,
    }
    tiers: dict[str, dict[str, Any]] = {}
    for (tier, above), rates in sorted(price.table.sheets.items()):
        target = fields if tier == BASE_TIER else tiers.setdefault(tier, {})
        named = {f"{kind}{RATE_SUFFIX}": rate for kind, rate in rates.items()}
        if above == 0:
            target.update(named)
        else:
            target.setdefault("above", []).append({"tokens": above, **named})
    if tiers:
        fields["tiers"] = tiers
    if price.units:
        # Rounded up for show; the stored rate is per million pieces and exact.
        fields["unit_nanos"] = {name: -(-rate // UNITS_PER_RATE) for name, rate in price.units.items()}
    for name in LIMITS:
        if getattr(price, name) is not None:
            fields[name] = getattr(price, name)
    if price.mode:
        fields["mode"] = price.mode
    fields["reasons"] = price.reasons
    if price.unsold:
        fields["unsold"] = sorted(price.unsold)
    return fields


def checked_price(price: Price) -> Price:
    if price.sold and not price.units and not any(price.table.sheets.values()):
        raise RequestInvalid("a price needs at least one rate, such as input and output", field="input")
    return price


def checked_currency(currency: Any) -> str:
    text = currency.strip().upper() if isinstance(currency, str) else ""
    if len(text) != 3 or not text.isascii() or not text.isalpha():
        raise RequestInvalid(f"currency: {currency!r} is not a three-letter code", field="currency")
    return text


def _read_sheets(sheets: MutableSheets, tier: str, fields: Mapping[str, Any], *, where: str) -> None:
    sheets[tier, 0] = dict(_rates(fields, where))
    above = fields.get("above", [])
    if not isinstance(above, list) or len(above) > THRESHOLDS_MAX:
        raise RequestInvalid(f"{where}above: must be a list of at most {THRESHOLDS_MAX}", field="above")
    for index, step in enumerate(above):
        here = f"{where}above[{index}]"
        for name in _object(step, here):
            if name != "tokens" and not _is_rate(name):
                raise RequestInvalid(f"{here}.{name}: not a field of a threshold", field="above")
        tokens = _integer(step.get("tokens"), f"{here}.tokens", THRESHOLD_TOKENS_MAX)
        if tokens == 0 or (tier, tokens) in sheets:
            raise RequestInvalid(f"{here}.tokens: must be positive and stand once", field="above")
        sheets[tier, tokens] = dict(_rates(step, f"{here}."))


def _is_rate(name: object) -> bool:
    return isinstance(name, str) and name.endswith(RATE_SUFFIX) and name.removesuffix(RATE_SUFFIX) in KINDS


def _rates(fields: Mapping[str, Any], where: str) -> Iterator[tuple[str, int]]:
    for name, value in fields.items():
        if _is_rate(name) and value is not None:
            yield name.removesuffix(RATE_SUFFIX), _integer(value, f"{where}{name}", AMOUNT_NANOS_MAX)


def _object(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestInvalid(f"{field}: must be an object", field=field.split(".", maxsplit=1)[0])
    return value


def _integer(value: Any, field: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise RequestInvalid(f"{field}: must be an integer from 0 to {most}", field=field)
    return value


def _boolean(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise RequestInvalid(f"{field}: must be a boolean", field=field)
    return value


def _optional_integer(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else _integer(value, name, COUNT_MAX)
