"""What Stripe's documentation says in tables: currencies, minima, test cards, event types. Data without behaviour.

Units: amounts are minor units as they are sent (cents; yen; ISK and UGX times 100).
Source: Stripe's pages on currencies, on testing, and stripe-python 16.1.0 for API version 2026-10-28.endive.
"""

from __future__ import annotations

from dataclasses import dataclass


def words(text: str) -> list[str]:
    return text.split()


API_VERSION = "2026-10-28.endive"
PAGES = "https://stripe.com/docs/error-codes/"
AMOUNT_MAX = 99_999_999  # eight digits
KEY_CHARS_MAX = 255
KEY_KEPT_S = 24 * 3600
EVENTS_KEPT_S = 30 * 24 * 3600
SESSION_OPEN_S = 24 * 3600
SESSION_OPEN_LEAST_S = 30 * 60

ZERO_DECIMAL = frozenset(words("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"))
THREE_DECIMAL = frozenset(words("bhd jod kwd omr tnd"))  # the last digit sent must be 0
SENT_TIMES_100 = frozenset({"isk", "ugx"})  # no decimals of their own, sent with two

# The least amount that can be charged. Those after cny are not in Stripe's list: there the amount converted into the
# settlement currency must pass, which is put here as a round figure near half a dollar.
MINIMUM = {
    **dict.fromkeys(
        words("usd ars aud brl cad chf cop eur idr ils inr jpy krw nzd php rub sgd zar"),
        50,
    ),
    "aed": 200,
    "czk": 1500,
    "dkk": 250,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "thb": 1000,
    "cny": 400,
    "twd": 1600,
    "isk": 7000,
    "ugx": 200_000,
    "vnd": 13_000,
    "clp": 500,
    "kwd": 160,
    "bhd": 190,
    "jod": 360,
    "omr": 200,
    "tnd": 1600,
}
MINIMUM_ELSEWHERE = 50
CURRENCIES = frozenset(MINIMUM) | ZERO_DECIMAL | THREE_DECIMAL | SENT_TIMES_100

# Alipay takes CNY and the business's own currency, for businesses in these countries.
LOCAL_CURRENCY = {
    **dict.fromkeys(words("AT BE CY DE EE ES FI FR GR IE IT LT LU LV MT NL PT SI SK"), "eur"),
    "AU": "aud",
    "CA": "cad",
    "GB": "gbp",
    "HK": "hkd",
    "JP": "jpy",
    "MY": "myr",
    "NZ": "nzd",
    "SG": "sgd",
    "US": "usd",
}


def exponent(currency: str) -> int:
    """Decimals of an amount as it is sent."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


@dataclass(frozen=True)
class Decline:
    code: str
    message: str
    decline_code: str | None = None


@dataclass(frozen=True)
class Card:
    """What becomes of a payment with a card of this number."""

    number: str
    decline: Decline | None = None
    asks_authentication: bool = False
    dispute: str | None = None  # the reason; disputed as soon as it is paid
    inquiry: bool = False
    refunds_pending: bool = False


def declined(number: str, decline_code: str, code: str = "card_declined") -> Card:
    message = {
        "expired_card": "Your card has expired.",
        "incorrect_cvc": "Your card's security code is incorrect.",
    }
    wording = {"insufficient_funds": "Your card has insufficient funds."} | message
    return Card(number, Decline(code, wording.get(decline_code, "Your card was declined."), decline_code))


CARDS = {
    card.number: card
    for card in (
        Card("4242424242424242"),
        Card("5555555555554444"),
        declined("4000000000000002", "generic_decline"),
        declined("4000000000009995", "insufficient_funds"),
        declined("4000000000000069", "expired_card", "expired_card"),
        declined("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
        declined("4000000000000119", "processing_error", "processing_error"),
        Card("4000002500003155", asks_authentication=True),
        Card("4000000000000259", dispute="fraudulent"),
        Card("4000000000002685", dispute="product_not_received"),
        Card("4000000000001976", dispute="fraudulent", inquiry=True),
        Card("4000000000007726", refunds_pending=True),
    )
}
# What a server may name instead of a number: Stripe's test payment methods.
TEST_METHODS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_createInquiryDispute": "4000000000001976",
    "pm_card_pendingRefund": "4000000000007726",
}

EVENT_TYPES = frozenset(
    words("""charge.dispute.closed charge.dispute.created charge.dispute.funds_reinstated charge.dispute.funds_withdrawn
    charge.dispute.updated charge.failed charge.pending charge.refund.updated charge.refunded charge.succeeded
    charge.updated checkout.session.async_payment_failed checkout.session.async_payment_succeeded
    checkout.session.completed checkout.session.expired customer.created customer.deleted payment_intent.canceled
    payment_intent.created payment_intent.payment_failed payment_intent.processing payment_intent.requires_action
    payment_intent.succeeded refund.created refund.failed refund.updated""")
)
