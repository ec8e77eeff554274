"""What the payment routes take and answer. Names and shapes are those that pages of customers are written against.

`amount_cents` is in the currency's smallest unit, whatever it is called; `amount` and `price` are in its units.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, StrictStr

from rabbitgw.api.forms import PRINTABLE, Currency, Email, Form, Id, told, told_text
from rabbitgw.api.views import Number, Time, View
from rabbitgw.billing.accounts import CURRENCY_DEFAULT
from rabbitgw.billing.wallets import KEY_CHARS_MAX
from rabbitgw.payments.code_text import TEXT_CHARS_MAX
from rabbitgw.payments.orders import (
    AMOUNT_MINOR_MAX,
    METHOD_PATTERN,
    METHODS_MAX,
    ORDER_ID_PATTERN,
    URL_CHARS_MAX,
    URL_PATTERN,
)
from rabbitgw.payments.packages import CREDITS_MAX
from rabbitgw.payments.refunds import REASON_CHARS_MAX

TXN_CHARS_MAX = 255

OrderId = Annotated[StrictStr, told(pattern=ORDER_ID_PATTERN)]
TxnId = Annotated[StrictStr, Field(min_length=1, max_length=TXN_CHARS_MAX), told(format=PRINTABLE)]
Minor = Annotated[StrictInt, told(minimum=1, maximum=AMOUNT_MINOR_MAX)]
Url = Annotated[StrictStr, told(pattern=URL_PATTERN, maxLength=URL_CHARS_MAX)]
Methods = Annotated[list[Annotated[StrictStr, told(pattern=METHOD_PATTERN)]], told(maxItems=METHODS_MAX)]


class Way(Form):
    """How a checkout goes on."""

    provider: Annotated[StrictStr, told(pattern="^[a-z][a-z0-9_]{0,31}$")] = "stripe"
    order_id: OrderId | None = Field(
        default=None, description="yours; the same checkout again gets the same answer. Made if left out"
    )
    mode: Literal["payment_element", "checkout_session"] = Field(
        default="payment_element", description="a form in your page, or a page of the provider's"
    )
    methods: Methods = Field(
        default_factory=list,
        description="kinds of payment, like card, alipay; what is on at the provider if left out",
    )
    return_url: Url | None = Field(
        default=None, description="where the provider's page sends the customer back to"
    )
    cancel_url: Url | None = None
    receipt_email: Email | None = Field(default=None, description="whom the provider sends a receipt")
    code: Annotated[StrictStr, Field(min_length=1, max_length=TEXT_CHARS_MAX)] | None = Field(
        default=None, description="a code that adds a bonus to the purchase"
    )


class CheckoutForm(Way):
    amount_cents: Minor
    currency: Currency = CURRENCY_DEFAULT
    user_id: Id | None = Field(default=None, description="who buys; their account pays")
    account_id: Id | None = Field(default=None, description="who pays; the key's account if left out")


class CheckoutView(View):
    order_id: str
    type: str = Field(description="what the payload is: client_secret, redirect_url, instructions")
    payload: dict[str, Any]
    provider_txn_id: str


class RefundForm(Form):
    order_id: OrderId | None = None
    provider_txn_id: TxnId | None = None
    amount_cents: Minor | None = Field(default=None, description="all that is left, if left out")
    reason: Annotated[StrictStr, told_text(REASON_CHARS_MAX)] | None = None
    idempotency_key: Annotated[StrictStr, told_text(KEY_CHARS_MAX)] | None = Field(
        default=None, description="the same refund again is the same one"
    )


class RefundView(View):
    ok: bool = Field(description="it was sent, or is on its way")
    provider_refund_id: str | None = Field(description="null until the provider has answered")
    refund_id: str
    status: str = Field(
        description="taken (out of the wallet), pending (at the provider), succeeded, failed, refused"
    )
    amount_cents: int


class StatusQuery(Form):
    order_id: Annotated[str, told(pattern=ORDER_ID_PATTERN)]


class StatusView(View):
    order_id: str
    status: str
    amount_cents: int
    refunded_cents: int
    currency: str


class StripeConfig(View):
    publishable_key: str


class PackageOrderForm(Way):
    credit_amount: Annotated[StrictInt, told(minimum=1, maximum=CREDITS_MAX)] = Field(
        description="the credits of a package", examples=[500]
    )
    currency: Currency | None = Field(default=None, description="the account's, and no other")


class IntentView(View):
    client_secret: str
    payment_intent_id: str
    order_id: str
    amount: Number
    currency: str


class ConfirmForm(Form):
    payment_intent_id: TxnId


class ConfirmView(View):
    status: str = Field(description="the order's")
    credits_added: int = Field(description="those of the package, once it is paid")
    balance: str = Field(description="of the wallet, in units of its currency")


class HistoryQuery(Form):
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Annotated[str, Field(min_length=1, max_length=64), told(format=PRINTABLE)] | None = Field(
        default=None, description="`next` of the page before"
    )


class HistoryEntry(View):
    id: str
    type: Literal["purchase", "refund"]
    credits: int | None = Field(description="of the package; null: none was bought")
    amount: Number
    currency: str
    status: str
    stripe_payment_intent_id: str
    stripe_refund_id: str | None
    created: Time


class HistoryPage(View):
    history: list[HistoryEntry]
    next: str | None


class Received(View):
    received: bool
