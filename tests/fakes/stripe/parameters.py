"""Which parameters each route takes, transcribed from the parameter classes of stripe-python 16.1.0.

A rule says what the fake does with one: it is read and acted upon, or `Unserved`. Names that stand in no table are
unknown to Stripe as well.
"""

from __future__ import annotations

from tests.fakes.stripe.forms import (
    CardData,
    Choice,
    Either,
    Email,
    Flag,
    Gone,
    Many,
    Metadata,
    Rule,
    Shape,
    Text,
    Unserved,
    Url,
    Whole,
)
from tests.fakes.stripe.tables import words

TYPES_GONE = Gone(
    "payment_method_types_no_longer_supported",
    "The payment_method_types parameter is no longer supported. Use automatic_payment_methods, "
    "allowed_payment_method_types or your Dashboard settings instead.",
)
EXPAND = {"expand": Many(Text(), most=20)}
PAGE: dict[str, Rule] = {
    **EXPAND,
    "limit": Whole(1, 100),
    "starting_after": Text(),
    "ending_before": Text(),
}
CREATED = {"created": Either(Whole(), Shape({name: Whole() for name in ("gt", "gte", "lt", "lte")}))}
TYPE_NAMES = Many(Text(40))
ADDRESS = Shape({name: Text() for name in ["city", "country", "line1", "line2", "postal_code", "state"]})
SHIPPING = Shape(
    {"address": ADDRESS, "name": Text(), "phone": Text(), "carrier": Text(), "tracking_number": Text()}
)


def _unserved(names: str) -> dict[str, Rule]:
    return {name: Unserved() for name in names.split()}


def _method_data(from_browser: bool) -> Shape:
    billing = Shape({"address": ADDRESS, "email": Email(), "name": Text(), "phone": Text()})
    fields: dict[str, Rule] = {
        "type": Choice(("card", "alipay")),
        "card": CardData(from_browser),
        "alipay": Shape({}),
        "billing_details": billing,
        "allow_redisplay": Choice(("always", "limited", "unspecified")),
        "metadata": Metadata(),
    }
    if from_browser:
        fields |= {name: Text() for name in words("payment_user_agent guid muid sid referrer time_on_page")}
    return Shape(fields, ("type",))


_CONFIRMING: dict[str, Rule] = {
    "payment_method": Text(),
    "payment_method_data": _method_data(from_browser=False),
    "return_url": Url(),
    "off_session": Flag(),
    "error_on_requires_action": Flag(),
    "use_stripe_sdk": Flag(),
    **EXPAND,
    **_unserved(
        """allowed_payment_method_types amount_details capture_method confirmation_token
        excluded_payment_method_types hooks mandate mandate_data payment_details payment_method_options
        radar_options receipt_email setup_future_usage shipping"""
    ),
    "payment_method_types": TYPES_GONE,
}
CONFIRM_ONLY = ("return_url", "off_session", "error_on_requires_action")

PAYMENT_INTENT_CREATE = Shape(
    {
        **_unserved(
            "customer_account application_fee_amount on_behalf_of transfer_data payment_method_configuration"
        ),
        **_CONFIRMING,
        "amount": Whole(1, 10**12),
        "currency": Text(3),
        "confirm": Flag(),
        "automatic_payment_methods": Shape(
            {"enabled": Flag(), "allow_redirects": Choice(("always", "never"))}, ("enabled",)
        ),
        "allowed_payment_method_types": TYPE_NAMES,
        "excluded_payment_method_types": TYPE_NAMES,
        "capture_method": Choice(("automatic", "automatic_async")),
        "confirmation_method": Choice(("automatic",)),
        "customer": Text(),
        "description": Text(1000),
        "metadata": Metadata(),
        "receipt_email": Email(512),
        "setup_future_usage": Choice(("off_session", "on_session")),
        "shipping": SHIPPING,
        "statement_descriptor": Text(22),
        "statement_descriptor_suffix": Text(22),
        "transfer_group": Text(),
    },
    ("amount", "currency"),
)
PAYMENT_INTENT_CONFIRM = Shape({**_CONFIRMING, "amount_to_confirm": Unserved()})
# What stripe.js sends with the publishable key.
BROWSER_CONFIRM = Shape(
    {
        "key": Text(),
        "client_secret": Text(),
        "payment_method_data": _method_data(from_browser=True),
        "return_url": Url(),
        "expected_payment_method_type": Text(),
        "use_stripe_sdk": Flag(),
        "_stripe_version": Text(),
        "client_context": Shape({name: Text() for name in words("currency mode")}),
    },
    ("client_secret",),
)
BROWSER_READ = Shape({"key": Text(), "client_secret": Text(), "_stripe_version": Text()}, ("client_secret",))
PAYMENT_INTENT_CANCEL = Shape(
    {
        **EXPAND,
        "cancellation_reason": Choice(("abandoned", "duplicate", "fraudulent", "requested_by_customer")),
    }
)
PAYMENT_INTENT_LIST = Shape({**PAGE, **CREATED, "customer": Text(), "customer_account": Unserved()})
SEARCH = Shape({**EXPAND, "query": Text(), "limit": Whole(1, 100), "page": Text()}, ("query",))

CUSTOMER_CREATE = Shape(
    {
        **EXPAND,
        "address": ADDRESS,
        "description": Text(),
        "email": Email(512),
        "metadata": Metadata(),
        "name": Text(256),
        "phone": Text(20),
        "preferred_locales": Many(Text(20)),
        "shipping": SHIPPING,
        **_unserved(
            """balance business_name cash_balance individual_name invoice_prefix invoice_settings
            next_invoice_sequence payment_method source tax tax_exempt tax_id_data test_clock validate"""
        ),
    }
)
CUSTOMER_LIST = Shape({**PAGE, **CREATED, "email": Text(512), "test_clock": Unserved()})

REFUND_CREATE = Shape(
    {
        **EXPAND,
        "amount": Whole(1),
        "charge": Text(),
        "payment_intent": Text(),
        "metadata": Metadata(),
        "reason": Choice(("duplicate", "fraudulent", "requested_by_customer")),
        **_unserved("currency customer instructions_email origin refund_application_fee reverse_transfer"),
    }
)
OF_PAYMENT = Shape({**PAGE, **CREATED, "charge": Text(), "payment_intent": Text()})
CHARGE_LIST = Shape(
    {**PAGE, **CREATED, "customer": Text(), "payment_intent": Text(), "transfer_group": Unserved()}
)

PRODUCT = Shape(
    {
        "name": Text(250),
        "description": Text(),
        "images": Many(Url(), most=8),
        "metadata": Metadata(),
        **_unserved("tax_code tax_details unit_label"),
    },
    ("name",),
)
PRICE = Shape(
    {
        "currency": Text(3),
        "product_data": PRODUCT,
        "unit_amount": Whole(),
        **_unserved("product recurring tax_behavior unit_amount_decimal"),
    },
    ("currency", "product_data", "unit_amount"),
)
LINE = Shape(
    {
        "price_data": PRICE,
        "quantity": Whole(1, 999_999),
        "metadata": Metadata(),
        **_unserved("adjustable_quantity price tax_rates"),
    },
    ("price_data", "quantity"),
)
SESSION_PAYMENT = Shape(
    {
        "description": Text(1000),
        "metadata": Metadata(),
        "receipt_email": Email(512),
        "setup_future_usage": Choice(("off_session", "on_session")),
        "statement_descriptor": Text(22),
        "statement_descriptor_suffix": Text(22),
        "transfer_group": Text(),
        "capture_method": Choice(("automatic", "automatic_async")),
        **_unserved("application_fee_amount on_behalf_of shipping transfer_data"),
    }
)
SESSION_CREATE = Shape(
    {
        **_unserved(
            """after_expiration allow_promotion_codes automatic_tax branding_settings consent_collection currency
            custom_fields custom_text customer_account customer_update discounts integration_identifier
            invoice_creation managed_payments name_collection optional_items origin_context
            payment_method_collection payment_method_configuration payment_method_data payment_method_options
            permissions phone_number_collection saved_payment_method_options setup_intent_data
            shipping_address_collection shipping_options subscription_data tax_id_collection wallet_options"""
        ),
        **EXPAND,
        "mode": Choice(("payment",)),
        "line_items": Many(LINE),
        "success_url": Url(),
        "cancel_url": Url(),
        "return_url": Url(),
        "redirect_on_completion": Choice(("always", "if_required", "never")),
        "ui_mode": Choice(("elements", "embedded_page", "hosted_page")),
        "customer": Text(),
        "customer_email": Email(800),
        "customer_creation": Choice(("always", "if_required")),
        "client_reference_id": Text(200),
        "metadata": Metadata(),
        "payment_intent_data": SESSION_PAYMENT,
        "expires_at": Whole(),
        "allowed_payment_method_types": TYPE_NAMES,
        "excluded_payment_method_types": TYPE_NAMES,
        "adaptive_pricing": Shape({"enabled": Flag()}),
        "billing_address_collection": Choice(("auto", "required")),
        "locale": Text(8),
        "submit_type": Choice(("auto", "book", "donate", "pay")),
        "payment_method_types": TYPES_GONE,
    },
    ("mode", "line_items"),
)
SESSION_LIST = Shape(
    {
        **PAGE,
        **CREATED,
        "customer": Text(),
        "payment_intent": Text(),
        "status": Choice(("complete", "expired", "open")),
        **_unserved("customer_account customer_details payment_link subscription"),
    }
)
EVENT_LIST = Shape(
    {**PAGE, **CREATED, "delivery_success": Flag(), "type": Text(), "types": Many(Text(), most=20)}
)
READ = Shape(EXPAND)
NOTHING = Shape({})
