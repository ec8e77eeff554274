"""Pure arithmetic of money. The unit is the nano: 10**-9 of a currency unit, always an int.

Decimal text enters and leaves here; no float is accepted. A wallet is limited to 9e9 units, so every
amount fits a signed 64-bit integer in Redis and PostgreSQL.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from rabbitgw.errors import RequestInvalid

NANOS_PER_UNIT = 10**9
CENTS_PER_UNIT = 100
NANOS_PER_CENT = NANOS_PER_UNIT // CENTS_PER_UNIT
TOKENS_PER_MTOK = 10**6
AMOUNT_NANOS_MAX = 9 * 10**18  # Redis HINCRBY and PostgreSQL bigint are exact to 9.2e18
CENTS_MAX = AMOUNT_NANOS_MAX // NANOS_PER_CENT


def nanos(text: str | int | Decimal, *, field: str = "amount") -> int:
    """Decimal units ("2.50", 2, Decimal) to nanos, exactly.

    Raises: RequestInvalid when it is no number, finer than a nano, or beyond AMOUNT_NANOS_MAX.
    """
    if isinstance(text, float):
        raise RequestInvalid(f"{field}: write the amount as text, not as a float", field=field)
    try:
        amount = Decimal(text) * NANOS_PER_UNIT
    except (InvalidOperation, ValueError, TypeError):
        raise RequestInvalid(f"{field}: {text!r} is not a decimal amount", field=field) from None
    if not amount.is_finite():
        raise RequestInvalid(f"{field}: {text!r} is not a finite amount", field=field)
    whole = int(amount)
    if whole != amount:
        raise RequestInvalid(f"{field}: {text!r} is finer than 0.000000001", field=field)
    if abs(whole) > AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"{field}: {text!r} is beyond the limit of 9000000000 units", field=field)
    return whole


def units(amount_nanos: int) -> str:
    """Nanos as decimal units with all nine places: 12345678900 -> "12.345678900"."""
    sign = "-" if amount_nanos < 0 else ""
    whole, fraction = divmod(abs(amount_nanos), NANOS_PER_UNIT)
    return f"{sign}{whole}.{fraction:09d}"


def decimal_units(amount_nanos: int) -> Decimal:
    """Nanos as decimal units, exactly."""
    return Decimal(amount_nanos).scaleb(-9)


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up; how the cost of a request is rounded, once."""
    return -(-numerator // denominator)
