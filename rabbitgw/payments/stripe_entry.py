"""The entry point of Stripe as a payment provider: says whether it is on, before anything heavy is loaded.

Stripe's library takes 0.3 s and 30 MB; a gateway without STRIPE_SECRET_KEY never loads it.
"""

from __future__ import annotations

import os

from rabbitgw.payments.contract import PaymentProvider, ProviderContext


def make(context: ProviderContext) -> PaymentProvider | None:
    """None while STRIPE_SECRET_KEY is not set."""
    if not context.settings.stripe_secret_key.get_secret_value():
        return None
    os.environ.pop("STRIPE_LOG", None)  # by which the library prints what it is answered, client secrets too
    from rabbitgw.payments.stripe_provider import StripeProvider

    return StripeProvider(context.settings)
