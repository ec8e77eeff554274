"""Prices from decimal text, as an operator types them: units of a currency per million tokens, multipliers.

Owns the way from text to integers, exactly; a multiplied rate is rounded up to the next nano. Knows no store.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.billing.pieces import checked_units, without_overridden
from rabbitgw.billing.price_terms import (
    UNITS_PER_RATE,
    MutableSheets,
    checked_currency,
    checked_price,
)
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import BASE_TIER, INPUT_KINDS, KINDS, OUTPUT_KINDS, RateTable
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, ceil_div, nanos

MULTIPLIER_MAX: Final = 1000  # a slip of the decimal point, not a price


def price_from_text(
    pattern: str,
    rates: Mapping[str, str],
    *,
    currency: str = "USD",
    base_unit: str | None = None,
    base: Price | None = None,
    input_multiplier: str = "1",
    output_multiplier: str = "1",
    units: Mapping[str, str] | None = None,
    max_output_tokens: int | None = None,
    reasons: bool | None = None,
) -> Price:
    """A price from decimal text, as `prices set` takes it.

    `rates` is by kind ({"input": "2.50", "output": "10"}), `units` by piece ({"images": "0.04"}; names: pieces.py).
    `base_unit` is one price for both directions; `base` is a price to start from, all its tiers and sizes.
    The multipliers apply to all of it: input's also to what is sold by the piece.
    Units:  units of the currency per million tokens, or per piece.
    Raises: RequestInvalid naming the field.
    """
    given = dict.fromkeys(("input", "output"), base_unit) if base_unit is not None else {}
    given |= dict(rates)
    own = {}
    for kind, text in given.items():
        if kind not in KINDS:
            raise RequestInvalid(f"{kind}: not a kind of token", field=str(kind))
        own[kind] = _amount(str(text), kind)
    pieces = {
        name: _amount(text, name, AMOUNT_NANOS_MAX // UNITS_PER_RATE) * UNITS_PER_RATE
        for name, text in (units or {}).items()
    }
    checked_units(pieces, "per")
    sheets: MutableSheets = {key: dict(sheet) for key, sheet in base.table.sheets.items()} if base else {}
    sheets.setdefault((BASE_TIER, 0), {}).update(own)
    factors = dict.fromkeys(INPUT_KINDS, _multiplier(input_multiplier, "input_multiplier"))
    factors |= dict.fromkeys(OUTPUT_KINDS, _multiplier(output_multiplier, "output_multiplier"))
    for sheet in sheets.values():
        for kind, rate in sheet.items():
            sheet[kind] = _scaled(rate, factors[kind], kind)
    sold_by_piece = {**without_overridden(base.units if base else {}, pieces), **pieces}
    return checked_price(
        Price(
            pattern=checked_pattern(pattern),
            currency=checked_currency(currency),
            table=RateTable(sheets, inclusive=base.table.inclusive if base else False),
            units={name: _scaled(rate, factors["input"], name) for name, rate in sold_by_piece.items()},
            max_input_tokens=base.max_input_tokens if base else None,
            image_tokens_max=base.image_tokens_max if base else None,
            max_output_tokens=max_output_tokens or (base.max_output_tokens if base else None),
            mode=base.mode if base else "",
            reasons=reasons
            if reasons is not None
            else "reasoning" in own or (base is not None and base.reasons),
            unsold=base.unsold if base else frozenset(),
        )
    )


def _amount(text: str, field: str, most: int = AMOUNT_NANOS_MAX) -> int:
    amount = nanos(text, field=field)
    if not 0 <= amount <= most:
        raise RequestInvalid(f"{field}: {text!r} is no price", field=field)
    return amount


def _multiplier(text: str, field: str) -> Fraction:
    try:
        number = Decimal(text)
    except (InvalidOperation, ValueError, TypeError):
        raise RequestInvalid(f"{field}: {text!r} is not a number", field=field) from None
    if not number.is_finite() or not 0 < number <= MULTIPLIER_MAX:
        raise RequestInvalid(f"{field}: must be above 0, at most {MULTIPLIER_MAX}", field=field)
    return Fraction(number)


def _scaled(rate: int, factor: Fraction, field: str) -> int:
    scaled = ceil_div(rate * factor.numerator, factor.denominator)
    if scaled > AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"{field}: the multiplied price is beyond the limit", field=field)
    return scaled
