"""What a check of a key reads: the account itself and its balance."""

from __future__ import annotations

from tests.fakes.stripe.objects import Obj, listed
from tests.fakes.stripe.tables import words


def account(id: str, country: str, currency: str) -> Obj:
    """What GET /v1/account answers: only what a check of a key looks at is filled."""
    todo = "alternatives currently_due errors eventually_due past_due pending_verification"
    requirements: Obj = {
        "current_deadline": None,
        "disabled_reason": None,
        **{name: [] for name in todo.split()},
    }
    return {
        "id": id,
        "object": "account",
        "business_profile": dict.fromkeys(
            words(
                """annual_revenue estimated_worker_count mcc minority_owned_business_designation name
            product_description
            support_address support_email support_phone support_url url"""
            )
        ),
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": country,
        "default_currency": currency,
        "details_submitted": True,
        "email": "owner@example.com",
        "external_accounts": listed(f"/v1/accounts/{id}/external_accounts"),
        "future_requirements": dict(requirements),
        "metadata": {},
        "payouts_enabled": True,
        "requirements": dict(requirements),
        "settings": {
            "card_payments": {"decline_on": {"avs_failure": False, "cvc_failure": False}},
            "dashboard": {"display_name": "Fake", "timezone": "Etc/UTC"},
            "payments": {"statement_descriptor": "FAKE STRIPE"},
        },
        "tos_acceptance": dict.fromkeys(("date", "ip", "user_agent")),
        "type": "standard",
    }


def balance(sums: dict[str, int], livemode: bool) -> Obj:
    def rows(amounts: dict[str, int]) -> list[Obj]:
        return [
            {"amount": amount, "currency": name, "source_types": {"card": amount}}
            for name, amount in amounts.items()
        ]

    return {
        "object": "balance",
        "available": rows(sums),
        "connect_reserved": [{"amount": 0, "currency": name} for name in sums],
        "livemode": livemode,
        "pending": rows(dict.fromkeys(sums, 0)),
    }
