"""Minor units: what an amount of a currency is in nanos, and in which unit Stripe is told it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rabbitgw.errors import RequestInvalid
from rabbitgw.payments.currencies import (
    CURRENCIES,
    decimal_of_minor,
    exponent,
    from_stripe_amount,
    minimum_minor,
    minor_of_nanos,
    nanos_of_minor,
    stripe_amount,
)


@pytest.mark.parametrize(
    ("currency", "minor", "nanos", "units", "to_stripe"),
    [
        ("USD", 1050, 10_500_000_000, "10.50", 1050),
        ("HUF", 17_501, 175_010_000_000, "175.01", 17_501),
        ("JPY", 1000, 1_000_000_000_000, "1000", 1000),
        ("KWD", 5120, 5_120_000_000, "5.120", 5120),
        ("ISK", 5, 5_000_000_000, "5", 500),
        ("UGX", 4000, 4_000_000_000_000, "4000", 400_000),
        ("MGA", 2500, 25_000_000_000, "25.00", 25),
        ("USD", -50, -500_000_000, "-0.50", -50),
    ],
)
def test_an_amount_is_the_same_in_every_unit(
    currency: str, minor: int, nanos: int, units: str, to_stripe: int
) -> None:
    assert nanos_of_minor(currency, minor) == nanos
    assert minor_of_nanos(currency, nanos) == minor
    assert decimal_of_minor(currency, minor) == Decimal(units)
    assert stripe_amount(currency, minor) == to_stripe
    assert from_stripe_amount(currency, to_stripe) == minor


@pytest.mark.parametrize(
    ("currency", "nanos"), [("USD", 10_000_001), ("JPY", 500_000_000), ("ISK", 10_000_000), ("KWD", 999_999)]
)
def test_a_fraction_of_a_minor_unit_is_refused(currency: str, nanos: int) -> None:
    with pytest.raises(RequestInvalid, match="no whole number of minor units"):
        minor_of_nanos(currency, nanos)


def test_what_stripe_cannot_be_told_exactly_is_refused() -> None:
    with pytest.raises(RequestInvalid, match="of KWD only multiples of 10 minor units"):
        stripe_amount("KWD", 5124)
    with pytest.raises(RequestInvalid, match="of MGA only multiples of 100 minor units"):
        stripe_amount("MGA", 2510)
    with pytest.raises(RequestInvalid, match="are too many"):
        stripe_amount("USD", 100_000_000)
    with pytest.raises(RequestInvalid, match="are too many"):
        stripe_amount("ISK", 1_000_000)  # a hundred million hundredths
    assert stripe_amount("ISK", 999_999) == 99_999_900
    with pytest.raises(RequestInvalid, match="no whole number of minor units"):
        from_stripe_amount("ISK", 150)
    assert from_stripe_amount("KWD", 5124) == 5124, "what was charged is what was charged"


def test_what_no_wallet_can_hold_is_refused() -> None:
    assert nanos_of_minor("JPY", 9_000_000_000) == 9_000_000_000_000_000_000
    with pytest.raises(RequestInvalid, match="beyond the limit"):
        nanos_of_minor("JPY", 9_000_000_001)


def test_least_amounts_are_in_minor_units() -> None:
    least = {"USD": 50, "JPY": 50, "GBP": 30, "HUF": 17_500, "CZK": 1500, "KWD": 1, "CNY": 1}
    assert {currency: minimum_minor(currency) for currency in least} == least


def test_a_currency_that_is_not_sold_for_is_named() -> None:
    for work in (exponent, minimum_minor):
        with pytest.raises(RequestInvalid, match="XAU is no currency that is sold for") as refused:
            work("XAU")
        assert refused.value.field == "currency"
    by_exponent = {places: [one for one in CURRENCIES if exponent(one) == places] for places in (0, 3)}
    assert by_exponent[0] == [
        "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
    ]  # fmt: skip
    assert by_exponent[3] == ["BHD", "JOD", "KWD", "OMR", "TND"]
