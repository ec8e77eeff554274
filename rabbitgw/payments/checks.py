"""What `doctor` looks at of payments: settings that belong together, the providers themselves, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rabbitgw import statements
from rabbitgw.errors import SettingInvalid
from rabbitgw.findings import Checkup, Finding, State, Verdict, failed, ok, warning
from rabbitgw.payments.registry import Providers
from rabbitgw.stores import connection

if TYPE_CHECKING:
    from rabbitgw.config import Settings
    from rabbitgw.payments.contract import PaymentProvider
    from rabbitgw.stores import Pool

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
LATE_S: Final = 600  # an event that waits this long has been tried several times


def look_at_payment_settings(settings: Settings) -> list[Finding]:
    """Nothing where nothing is sold."""
    verdicts: list[tuple[str, Verdict]] = []
    if settings.stripe_secret_key.get_secret_value():
        verdicts.append(("payments.STRIPE_WEBHOOK_SECRET", _webhook_secret(settings)))
        verdicts.append(("payments.STRIPE_PUBLISHABLE_KEY", _publishable(settings)))
    if settings.dev_api_key.get_secret_value():
        verdicts.append(("payments.DEV_API_KEY", _dev_key(settings)))
    return [Finding(name, one.state, one.found, one.mend) for name, one in verdicts]


def _webhook_secret(settings: Settings) -> Verdict:
    secrets = settings.stripe_webhook_secret.get_secret_value()
    if not secrets:
        return failed(
            "not set: webhooks are answered 503, and payments are credited by the daily back-fill only",
            "set it to the whsec_… of the endpoint in Stripe's dashboard",
        )
    count = secrets.count(",") + 1
    return ok("set" if count == 1 else f"{count} are taken, as while one is rolled")


def _publishable(settings: Settings) -> Verdict:
    if settings.stripe_publishable_key:
        return ok("set")
    return warning("not set: GET /v1/config/stripe answers 503", "set it to the pk_… beside the secret key")


def _dev_key(settings: Settings) -> Verdict:
    if settings.host in LOOPBACK:
        return ok("set, on loopback: the demo page is on")
    return warning("set: whoever has it may refund", "unset it where the gateway is not for developing")


async def look_at_providers(checkup: Checkup, pg: Pool, settings: Settings) -> list[Finding]:
    """Every provider that is switched on is asked; and whether its events are worked off."""
    try:
        providers = Providers.load(settings, pg)
    except SettingInvalid as error:
        return [
            Finding("payments.providers", State.FAILED, checkup.hidden(error.message), "remove or mend it")
        ]
    if not providers.names:
        return []
    try:
        asked = [(f"payments.{one.name}", _asked(one)) for one in providers]
        found = await checkup.make_all(asked, mend="check its credentials, and the way to it")
    finally:
        await providers.close()
    waiting = await checkup.make("payments.events", _events(pg), mend="`rabbitgw migrate`")
    return [*found, waiting]


async def _asked(provider: PaymentProvider) -> Verdict:
    return ok(await provider.check())


async def _events(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.payments)
    assert row is not None
    if row["given_up"] or row["needs_review"]:
        return warning(
            f"{row['given_up']} events were given up, {row['needs_review']} orders need a person",
            "see GET /v1/admin/payments/orders?status=needs_review and the log",
        )
    if row["oldest_s"] > LATE_S:
        return warning(
            f"an event waits since {row['oldest_s']} s",
            "is `rabbitgw work` running? The log says why it waits",
        )
    return ok(f"{row['waiting']} wait")
