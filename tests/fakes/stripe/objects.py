"""Stripe's objects with every field that API version 2026-10-28.endive answers, as they are when just made.

Shapes only: no rule of what may happen to them. Fields that Stripe answers on expansion only (`charge.refunds`,
`session.line_items`) are added by expand.py.
"""

from __future__ import annotations

import copy
from typing import Any

Obj = dict[str, Any]

ADDRESS = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}
EVIDENCE = """access_activity_log billing_address cancellation_policy cancellation_policy_disclosure
    cancellation_rebuttal customer_communication customer_email_address customer_name customer_purchase_ip
    customer_signature duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id
    product_description receipt refund_policy refund_policy_disclosure refund_refusal_explanation service_date
    service_documentation shipping_address shipping_carrier shipping_date shipping_documentation
    shipping_tracking_number uncategorized_file uncategorized_text"""


def _nothing(names: str) -> Obj:
    return dict.fromkeys(names.split())


def answered(made: Obj) -> Obj:
    """A copy without what the fake keeps for itself: names that begin with an underscore."""
    return {name: value for name, value in copy.deepcopy(made).items() if not name.startswith("_")}


def listed(url: str, data: list[Any] | None = None, has_more: bool = False) -> Obj:
    return {"object": "list", "data": data or [], "has_more": has_more, "url": url}


def payment_intent(id: str, amount: int, currency: str, secret: str) -> Obj:
    return {
        "id": id,
        "object": "payment_intent",
        **_nothing(
            """application application_fee_amount allowed_payment_method_types automatic_payment_methods canceled_at
            cancellation_reason customer customer_account description excluded_payment_method_types hooks
            last_payment_error latest_charge managed_payments next_action on_behalf_of payment_method
            payment_method_configuration_details processing receipt_email review setup_future_usage shipping
            source statement_descriptor statement_descriptor_suffix transfer_data transfer_group"""
        ),
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": "automatic_async",
        "client_secret": f"{id}_secret_{secret}",
        "confirmation_method": "automatic",
        "currency": currency,
        "metadata": {},
        "payment_method_options": {},
        "payment_method_types": [],
        "status": "requires_payment_method",
    }


def charge(id: str, intent: Obj, method_details: Obj) -> Obj:
    return {
        "id": id,
        "object": "charge",
        **_nothing(
            """application application_fee application_fee_amount balance_transaction
            failure_balance_transaction failure_code failure_message on_behalf_of receipt_number receipt_url review
            source source_transfer transfer_data"""
        ),
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "billing_details": {
            "address": dict(ADDRESS),
            "email": intent["receipt_email"],
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": "FAKE STRIPE",
        "captured": False,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "fraud_details": {},
        "metadata": dict(intent["metadata"]),
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": method_details,
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "shipping": intent["shipping"],
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_group": intent["transfer_group"],
    }


def outcome(approved: bool, reason: str | None = None) -> Obj:
    return {
        **_nothing("advice_code network_advice_code network_decline_code"),
        "network_status": "approved_by_network" if approved else "declined_by_network",
        "reason": reason,
        "risk_level": "normal",
        "seller_message": "Payment complete." if approved else "The bank did not approve the payment.",
        "type": "authorized" if approved else "issuer_declined",
    }


def card_details(number: str, amount: int) -> Obj:
    """A charge's payment_method_details of a card."""
    return {
        "type": "card",
        "card": {
            **_nothing(
                """authorization_code installments mandate network_transaction_id regulated_status three_d_secure
                transaction_link_id wallet"""
            ),
            "amount_authorized": amount,
            "brand": "mastercard" if number.startswith("5") else "visa",
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "exp_month": 12,
            "exp_year": 2034,
            "extended_authorization": {"status": "disabled"},
            "fingerprint": "fake" + number[-4:].rjust(12, "0"),
            "funding": "credit",
            "incremental_authorization": {"status": "unavailable"},
            "last4": number[-4:],
            "multicapture": {"status": "unavailable"},
            "network": "mastercard" if number.startswith("5") else "visa",
            "network_token": {"used": False},
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        },
    }


def alipay_details() -> Obj:
    return {"type": "alipay", "alipay": _nothing("buyer_id fingerprint transaction_id")}


def balance_transaction(id: str, kind: str, source: Obj, amount: int, currency: str, fee: int) -> Obj:
    """`amount` and `fee` in the currency of settlement; the amount is negative when money leaves."""
    return {
        "id": id,
        "object": "balance_transaction",
        "amount": amount,
        "balance_type": "payments",
        "currency": currency,
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [
            {
                "amount": fee,
                "application": None,
                "currency": currency,
                "description": "Dispute fee" if kind == "adjustment" else "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]
        if fee
        else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source["id"],
        "status": "available",
        "type": kind,
    }


def customer(id: str) -> Obj:
    return {
        "id": id,
        "object": "customer",
        **_nothing(
            "address currency default_source description discount email name phone shipping test_clock"
        ),
        "balance": 0,
        "delinquent": False,
        "invoice_prefix": id[-8:].upper(),
        "invoice_settings": _nothing("custom_fields default_payment_method footer rendering_options"),
        "metadata": {},
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
    }


def refund(id: str, of: Obj, amount: int) -> Obj:
    kind = of["payment_method_details"]["type"]
    details = (
        {"type": "card", "card": {"type": "refund", "reference_status": "pending", "reference_type": None}}
        if kind == "card"
        else {"type": kind, kind: {}}
    )
    return {
        "id": id,
        "object": "refund",
        **_nothing(
            """balance_transaction customer_account reason receipt_number source_transfer_reversal
            transfer_reversal"""
        ),
        "amount": amount,
        "charge": of["id"],
        "currency": of["currency"],
        "customer": of["customer"],
        "destination_details": details,
        "metadata": {},
        "payment_intent": of["payment_intent"],
        "payment_method": of["payment_method"],
        "status": "pending",
    }


def dispute(id: str, of: Obj, amount: int, status: str, reason: str, due_by: int) -> Obj:
    inquiry = status.startswith("warning_")
    return {
        "id": id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": of["id"],
        "currency": of["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**_nothing(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": due_by,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "metadata": {},
        "payment_intent": of["payment_intent"],
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": "visa",
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": "visa",
                "network_reason_code": "10.4",
            },
        },
        "reason": reason,
        "status": status,
    }


def session(id: str, params: Obj, total: int, currency: str) -> Obj:
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    return {
        "id": id,
        "object": "checkout.session",
        **_nothing(
            """after_expiration allow_promotion_codes allowed_payment_method_types billing_address_collection
            cancel_url client_reference_id client_secret collected_information consent consent_collection
            currency_conversion customer customer_account customer_creation customer_details customer_email
            discounts excluded_payment_method_types integration_identifier invoice locale managed_payments
            origin_context payment_intent payment_link payment_method_configuration_details permissions
            presentment_details recovered_from redirect_on_completion return_url setup_intent
            shipping_address_collection shipping_cost submit_type subscription success_url wallet_options"""
        ),
        "adaptive_pricing": {"enabled": bool(params.get("adaptive_pricing", {}).get("enabled", True))},
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "currency": currency,
        "custom_fields": [],
        "custom_text": _nothing("after_submit shipping_address submit terms_of_service_acceptance"),
        "invoice_creation": {
            "enabled": False,
            "invoice_data": {
                **_nothing("account_tax_ids custom_fields description footer issuer rendering_options"),
                "metadata": {},
            },
        },
        "metadata": {},
        "mode": "payment",
        "payment_method_collection": "if_required",
        "payment_method_options": {},
        "payment_method_types": [],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "saved_payment_method_options": None,
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": f"https://checkout.stripe.com/c/pay/{id}" if hosted else None,
    }


def payment_method(id: str, kind: str, number: str | None, owner: str | None) -> Obj:
    made: Obj = {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict(ADDRESS),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "customer": owner,
        "customer_account": None,
        "metadata": {},
        "type": kind,
    }
    if number is None:
        return made | {"alipay": {}}
    card = card_details(number, 0)["card"]
    names = "brand checks country exp_month exp_year fingerprint funding last4 regulated_status wallet"
    return made | {
        "card": {
            **{name: card[name] for name in names.split()},
            "display_brand": card["brand"],
            "generated_from": None,
            "networks": {"available": [card["brand"]], "preferred": None},
            "three_d_secure_usage": {"supported": True},
        }
    }
