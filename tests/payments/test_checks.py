"""What `doctor` says of payments."""

from __future__ import annotations

from pydantic import SecretStr

from rabbitgw.findings import Checkup, Finding
from rabbitgw.payments.checks import look_at_payment_settings, look_at_providers
from tests.payments.shop import PaymentShop


def states(findings: list[Finding]) -> dict[str, str]:
    return {one.check: one.state.value for one in findings}


async def test_settings_and_providers_that_are_well(shop: PaymentShop) -> None:
    settings = shop.settings
    assert states(look_at_payment_settings(settings)) == {
        "payments.STRIPE_WEBHOOK_SECRET": "ok",
        "payments.STRIPE_PUBLISHABLE_KEY": "ok",
    }
    found = await look_at_providers(Checkup(), shop.shop.pg, settings)
    assert states(found) == {"payments.manual": "ok", "payments.stripe": "ok", "payments.events": "ok"}


async def test_what_is_missing_or_wrong_is_told(shop: PaymentShop) -> None:
    settings = shop.settings.model_copy(
        update={
            "stripe_secret_key": SecretStr("sk_test_another"),
            "stripe_webhook_secret": SecretStr(""),
            "stripe_publishable_key": "",
            "dev_api_key": SecretStr("dev"),
            "host": "0.0.0.0",
            "bank_details": "",
        }
    )
    assert states(look_at_payment_settings(settings)) == {
        "payments.STRIPE_WEBHOOK_SECRET": "failed",
        "payments.STRIPE_PUBLISHABLE_KEY": "warning",
        "payments.DEV_API_KEY": "warning",
    }
    customer = await shop.customer()
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id)
    await shop.stripe.tamper(made.init.provider_txn_id, amount_received=1)
    await shop.settle()
    found = await look_at_providers(Checkup(("sk_test_another",)), shop.shop.pg, settings)
    assert states(found) == {"payments.stripe": "failed", "payments.events": "warning"}
    assert "STRIPE_SECRET_KEY is not taken" in found[0].found
    assert "sk_test_another" not in found[0].found
    assert "1 orders need a person" in found[1].found
