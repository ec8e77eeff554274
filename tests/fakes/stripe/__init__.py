"""A stateful fake Stripe: `async with open_fake_stripe() as stripe:`; fake.py and people.py say what it can do."""

from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.fake import FakeStripe, open_fake_stripe
from tests.fakes.stripe.faults import Fault
from tests.fakes.stripe.process import StripeProcess, open_stripe_process
from tests.fakes.stripe.server import Recorded
from tests.fakes.stripe.tables import API_VERSION
from tests.fakes.stripe.webhooks import Delivery, signed

__all__ = [
    "API_VERSION",
    "Delivery",
    "FakeStripe",
    "Fault",
    "Recorded",
    "StripeProcess",
    "StripeRefusal",
    "open_fake_stripe",
    "open_stripe_process",
    "signed",
]
