"""Currencies that are sold for: how many decimals their minor unit has, and in which unit Stripe is told an amount.

Pure. A minor unit is ISO 4217's: a cent, a yen, a fils. Amounts in a field `amount_cents` or `price_minor` are minor
units of their currency, so 1000 of JPY are a thousand yen and 1000 of KWD are one dinar. What is not a whole number of
minor units is an error and never rounded.

Stripe differs from ISO in three currencies, and takes the three-decimal ones in tens only; `stripe_amount` knows that,
and nothing else may. A list of its own and not a library: a wrong exponent is wrong money, and these are what Stripe
takes. Source: ISO 4217; Stripe, "Supported currencies".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, NANOS_PER_UNIT

_PARTS: Final = (1, 10, 100, 1000)  # of a unit, by the decimals of the minor one
_DECIMALS_0: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_DECIMALS_3: Final = "BHD JOD KWD OMR TND"
_DECIMALS_2: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS "
    "KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB "
    "PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TOP TRY TTD TWD TZS UAH "
    "USD UYU UZS WST XCD XCG YER ZAR ZMW"
)
_EXPONENTS: Final = {
    **dict.fromkeys(_DECIMALS_0.split(), 0),
    **dict.fromkeys(_DECIMALS_2.split(), 2),
    **dict.fromkeys(_DECIMALS_3.split(), 3),
}
CURRENCIES: Final = tuple(sorted(_EXPONENTS))

# The decimals of the unit in which Stripe is told an amount, where they are not ISO's. The króna and the shilling have
# had no minor unit for years, and Stripe still counts hundredths; the ariary's fifths it never did.
_STRIPE_EXPONENTS: Final = {"ISK": 2, "UGX": 2, "MGA": 0}
# The last digit of a three-decimal amount must be 0 to Stripe.
_STRIPE_STEP_OF_3: Final = 10
STRIPE_AMOUNT_MAX: Final = 99_999_999  # eight digits

# What Stripe charges at least, in minor units. Of a currency that is not here the least is what it comes to in the
# business's own, which only Stripe knows: 1 lets it decide, by `amount_too_small`.
_MINIMA: Final = {
    "AED": 200, "ARS": 50, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "COP": 50, "CZK": 1500, "DKK": 250, "EUR": 50,
    "GBP": 30, "HKD": 400, "HUF": 17_500, "IDR": 50, "ILS": 50, "INR": 50, "JPY": 50, "KRW": 50, "MXN": 1000,
    "MYR": 200, "NOK": 300, "NZD": 50, "PHP": 50, "PLN": 200, "RON": 200, "RUB": 50, "SEK": 300, "SGD": 50, "THB": 1000,
    "USD": 50, "ZAR": 50,
}  # fmt: skip


def exponent(currency: str) -> int:
    """Decimals of the currency's minor unit, by ISO 4217. Raises: RequestInvalid for one that is not sold for."""
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise RequestInvalid(
            f"currency: {currency} is no currency that is sold for", field="currency"
        ) from None


def nanos_per_minor(currency: str) -> int:
    return NANOS_PER_UNIT // _PARTS[exponent(currency)]


def nanos_of_minor(currency: str, minor: int) -> int:
    """Raises: RequestInvalid beyond what a wallet may hold, too."""
    nanos = minor * nanos_per_minor(currency)
    if abs(nanos) > AMOUNT_NANOS_MAX:
        raise RequestInvalid(
            f"amount: {minor} minor units of {currency} are beyond the limit of {AMOUNT_NANOS_MAX} nanos",
            field="amount",
        )
    return nanos


def minor_of_nanos(currency: str, nanos: int) -> int:
    """Raises: RequestInvalid where it is no whole number of them: whoever may round, does it before."""
    minor, rest = divmod(nanos, nanos_per_minor(currency))
    if rest:
        raise RequestInvalid(
            f"amount: {nanos} nanos are no whole number of minor units of {currency}", field="amount"
        )
    return minor


def decimal_of_minor(currency: str, minor: int) -> Decimal:
    """In units: 4500 of USD are 45.00, 1000 of JPY are 1000."""
    return Decimal(minor).scaleb(-exponent(currency))


def minimum_minor(currency: str) -> int:
    """The least amount that Stripe charges."""
    exponent(currency)
    return _MINIMA.get(currency, 1)


def stripe_amount(currency: str, minor: int) -> int:
    """As Stripe is told an amount. Raises: RequestInvalid for one that it cannot be told exactly, or is too long."""
    ours = exponent(currency)
    theirs = _STRIPE_EXPONENTS.get(currency, ours)
    amount, rest = divmod(minor * _PARTS[theirs], _PARTS[ours])
    if rest or (theirs == 3 and amount % _STRIPE_STEP_OF_3):
        step = _STRIPE_STEP_OF_3 if theirs == 3 else _PARTS[ours - theirs]
        raise RequestInvalid(f"amount: of {currency} only multiples of {step} minor units", field="amount")
    if abs(amount) > STRIPE_AMOUNT_MAX:
        raise RequestInvalid(f"amount: {minor} minor units of {currency} are too many", field="amount")
    return amount


def from_stripe_amount(currency: str, amount: int) -> int:
    """What Stripe says, in minor units. Raises: RequestInvalid for a fraction of one (half a króna)."""
    ours = exponent(currency)
    theirs = _STRIPE_EXPONENTS.get(currency, ours)
    minor, rest = divmod(amount * _PARTS[ours], _PARTS[theirs])
    if rest:
        raise RequestInvalid(
            f"amount: {amount} of {currency} are no whole number of minor units", field="amount"
        )
    return minor
