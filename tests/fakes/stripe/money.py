"""Amounts: what may be charged, what Stripe keeps of it, and what arrives on the account's balance.

Stripe's fee is 2.9 % of the charge plus 30 minor units, in the currency of settlement, rounded half up. A dispute
costs 1500 minor units, which stay lost when it is won; refunds cost nothing and give no fee back.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from tests.fakes.stripe import objects
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.objects import Obj
from tests.fakes.stripe.tables import (
    AMOUNT_MAX,
    CURRENCIES,
    MINIMUM,
    MINIMUM_ELSEWHERE,
    SENT_TIMES_100,
    THREE_DECIMAL,
    exponent,
)

FEE_PER_MILLE = 29
FEE_FIXED = 30
DISPUTE_FEE = 1500


def check_currency(currency: str, param: str = "currency") -> None:
    if currency not in CURRENCIES:
        known = ", ".join(sorted(CURRENCIES))
        message = f"Invalid currency: {currency}. Stripe currently supports these currencies: {known}"
        raise StripeRefusal(message, param=param)


def check_amount(amount: int, currency: str, param: str = "amount") -> None:
    """Raises what Stripe answers for an amount that it does not charge."""
    check_currency(currency, "currency" if param == "amount" else param)
    if amount > AMOUNT_MAX:
        message = f"Amount must be no more than {AMOUNT_MAX} in the smallest unit of {currency}"
        raise StripeRefusal(message, code="amount_too_large", param=param)
    if currency in SENT_TIMES_100 and amount % 100:
        message = f"{currency.upper()} has no decimals: amounts are sent as multiples of 100"
        raise StripeRefusal(message, code="invalid_charge_amount_no_decimal_compatible", param=param)
    if currency in THREE_DECIMAL and amount % 10:
        message = f"Invalid integer: {amount}; the last digit must be 0 in {currency.upper()}"
        raise StripeRefusal(message, code="parameter_invalid_integer", param=param)
    least = MINIMUM.get(currency, MINIMUM_ELSEWHERE)
    if amount < least:
        message = f"Amount must be at least {least} in the smallest unit of {currency}"
        raise StripeRefusal(message, code="amount_too_small", param=param)


def fee_of(amount: int) -> int:
    return (amount * FEE_PER_MILLE + 500) // 1000 + FEE_FIXED


def settled(account: Account, amount: int, currency: str) -> tuple[int, str, float | None]:
    """The amount on the balance, its currency, and the rate that made it."""
    target = account.settles_in
    if target is None or target == currency:
        return amount, currency, None
    rate = Decimal(account.rates[currency])
    scale = Decimal(10) ** (exponent(target) - exponent(currency))
    return int((amount * rate * scale).quantize(Decimal(1), ROUND_HALF_UP)), target, float(rate)


def move(account: Account, kind: str, source: Obj, amount: int, *, category: str, costs: str = "") -> Obj:
    """Put a movement on the balance; `amount` in the source's currency, negative when money leaves."""
    value, currency, rate = settled(account, amount, source["currency"])
    fee = fee_of(value) if costs == "charge" else DISPUTE_FEE if costs == "dispute" else 0
    made = objects.balance_transaction(
        account.new_id("balance_transaction"), kind, source, value, currency, fee
    )
    made |= {"exchange_rate": rate, "reporting_category": category, "available_on": account.now}
    return account.add(made)
