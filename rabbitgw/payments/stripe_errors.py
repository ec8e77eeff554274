"""Turns what Stripe's library raises into ours. Nothing else translates its errors.

The rule is whether Stripe has decided. What it refused it will refuse again: PaymentRefused, or RequestInvalid where a
field of the checkout is at fault. All else (no answer, 409, 429, 5xx, an answer that makes no sense) leaves the effect
unknown: PaymentUnavailable, and the same call with the same key may be sent again. Messages never quote
Stripe's, which may repeat what was sent; the code and Stripe's request id are enough to find it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import stripe

from rabbitgw.errors import PaymentRefused, PaymentUnavailable, RabbitError, RequestInvalid

# Fields of a checkout, by Stripe's names for them.
_FIELDS: Final = {
    "amount": "amount_cents",
    "currency": "currency",
    "line_items[0][price_data][unit_amount]": "amount_cents",
    "line_items[0][price_data][currency]": "currency",
    "success_url": "return_url",
    "return_url": "return_url",
    "cancel_url": "cancel_url",
    "receipt_email": "receipt_email",
    "payment_intent_data[receipt_email]": "receipt_email",
    "allowed_payment_method_types": "methods",
}
_SMALL: Final = ("amount_too_small", "amount_too_large")
_UNDECIDED: Final = frozenset({409, 429})


@contextmanager
def stripe_errors(doing: str) -> Iterator[None]:
    """Translate what Stripe's library raises inside. `doing`: for the message, like "making a PaymentIntent"."""
    try:
        yield
    except stripe.StripeError as error:
        raise _ours(error, doing) from None  # whose message may repeat what was sent, to the log too
    except (aiohttp.ClientError, TimeoutError, OSError) as error:  # an answer that broke off in its body
        raise PaymentUnavailable(f"Stripe: {doing}: {type(error).__name__}") from error
    except (KeyError, AttributeError, TypeError, ValueError) as error:  # an answer of another shape
        raise PaymentUnavailable(
            f"Stripe: {doing}: it answered something else ({type(error).__name__})"
        ) from error


def _ours(error: stripe.StripeError, doing: str) -> RabbitError:
    code = error.code or getattr(error.error, "decline_code", None) or ""
    said = f"Stripe: {doing}: {type(error).__name__}"
    said += "".join(f", {part}" for part in (code, error.request_id) if part)
    status = error.http_status
    decided = status is not None and 400 <= status < 500 and status not in _UNDECIDED
    if not decided or isinstance(error, (stripe.APIConnectionError, stripe.RateLimitError)):
        replayed = (error.headers or {}).get("Idempotent-Replayed") == "true"
        return PaymentUnavailable(said, provider_code=code, kept=replayed)
    if isinstance(error, stripe.IdempotencyError):
        # The key made something by other parameters, like another Customer of the account: it is there to be found.
        return PaymentUnavailable(said, provider_code="idempotency_error", kept=True)
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        # Ours to mend, and then the same call may pass: nobody's order is refused for a key that was rolled.
        return PaymentUnavailable(f"{said}: STRIPE_SECRET_KEY is not taken", provider_code=code)
    if isinstance(error, stripe.InvalidRequestError):
        field = _FIELDS.get(error.param or "")
        if code in _SMALL:
            size = "small" if code == "amount_too_small" else "large"
            return RequestInvalid(
                f"amount_cents: too {size} for Stripe in this currency", field="amount_cents"
            )
        if field is not None:
            return RequestInvalid(f"{field}: Stripe does not take it ({code or 'invalid'})", field=field)
    return PaymentRefused(said, provider_code=code)
