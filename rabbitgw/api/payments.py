"""/v1/payments, /v1/webhooks, /v1/config/stripe: selling credit in any amount, refunds, and what providers tell us."""

from __future__ import annotations

from typing import Final

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.payment_forms import (
    CheckoutForm,
    CheckoutView,
    Received,
    RefundForm,
    RefundView,
    StatusQuery,
    StatusView,
    StripeConfig,
)
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.billing import users
from rabbitgw.billing.accounts import Account, get_account
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.errors import (
    BodyTooLarge,
    Conflict,
    NotFound,
    PaymentRefused,
    PaymentsOff,
    PaymentUnavailable,
    RequestInvalid,
    SignatureInvalid,
    StoreError,
    TakeShort,
)
from rabbitgw.payments.events import receive_webhook
from rabbitgw.payments.orders import NewOrder

WEBHOOK_BYTES_MAX: Final = 1024 * 1024  # the largest event that a provider sends is a quarter of it
PAYING: Final = (NotFound, Conflict, PaymentRefused, PaymentUnavailable, PaymentsOff)


class PaymentRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._payments = deps.payments

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/v1/payments/checkout", self.checkout, "Buy credit in any amount: make an order payable",
                Auth.EITHER, CheckoutView, form=CheckoutForm, refusals=PAYING,
            ),
            Route(
                "POST", "/v1/payments/refund", self.refund_payment, "Send money of an order back", Auth.CASHIER,
                RefundView, form=RefundForm, refusals=(*PAYING, TakeShort),
            ),
            Route(
                "GET", "/v1/payments/status", self.payment_status, "Where an order stands", Auth.EITHER, StatusView,
                query=StatusQuery, refusals=(NotFound,),
            ),
            Route(
                "GET", "/v1/config/stripe", self.stripe_config, "What a page needs to mount Stripe's Payment Element",
                Auth.NONE, StripeConfig, query=Anything, refusals=(PaymentsOff,),
            ),
            Route(
                "POST", "/v1/webhooks/{provider}", self.webhook, "What a payment provider tells us, signed by it",
                Auth.NONE, Received, query=Anything, raw=True,
                refusals=(SignatureInvalid, RequestInvalid, Conflict, PaymentsOff, StoreError, NotFound),
            ),
        ]  # fmt: skip

    async def checkout(self, asked: Asked[CheckoutForm, Nothing]) -> CheckoutView:
        form = asked.form
        account, user_id = await payer(self._deps, asked.key, form.account_id, form.user_id)
        new = NewOrder(
            provider=form.provider,
            amount_minor=form.amount_cents,
            currency=form.currency,
            user_id=user_id,
            mode=form.mode,
            methods=tuple(form.methods),
            return_url=form.return_url,
            cancel_url=form.cancel_url,
            receipt_email=form.receipt_email,
            code=form.code,
        )
        made = await self._payments.orders.checkout(account, new, form.order_id)
        about = {"order_id": made.order_id, "amount_cents": made.amount_minor, "currency": made.currency}
        return CheckoutView(
            order_id=made.order_id,
            type=made.init.type,
            payload={**made.init.payload, **about},
            provider_txn_id=made.init.provider_txn_id,
        )

    async def refund_payment(self, asked: Asked[RefundForm, Nothing]) -> RefundView:
        form = asked.form
        if (form.order_id is None) == (form.provider_txn_id is None):
            raise RequestInvalid("order_id: this or provider_txn_id, one of them", field="order_id")
        refund = await self._payments.refunds.refund(
            order_id=form.order_id,
            provider_txn_id=form.provider_txn_id,
            amount_minor=form.amount_cents,
            reason=form.reason,
            idempotency_key=form.idempotency_key,
        )
        return RefundView(
            ok=refund.state not in ("failed", "refused"),
            provider_refund_id=refund.provider_refund_id,
            refund_id=str(refund.id),
            status=refund.state,
            amount_cents=refund.amount_minor,
        )

    async def payment_status(self, asked: Asked[Nothing, StatusQuery]) -> StatusView:
        account_id = None if asked.key is None else asked.key.account_id
        order = await self._payments.orders.get(asked.query.order_id, account_id)
        telemetry.log("payment_status", order_id=order["order_id"], provider=order["provider"], status=order["status"],
                      amount_cents=order["amount_minor"], currency=order["currency"])  # fmt: skip
        return StatusView(
            order_id=order["order_id"],
            status=order["status"],
            amount_cents=order["amount_minor"],
            refunded_cents=await self._payments.orders.refunded_minor(order["order_id"]),
            currency=order["currency"],
        )

    async def stripe_config(self, asked: Asked[Nothing, Anything]) -> StripeConfig:
        key = self._deps.settings.stripe_publishable_key
        if not key:
            raise PaymentsOff("STRIPE_PUBLISHABLE_KEY is not set")
        return StripeConfig(publishable_key=key)

    async def webhook(self, asked: Asked[Nothing, Anything]) -> Received:
        return await self.receive(asked, asked.part("provider"))

    async def receive(self, asked: Asked[Nothing, Anything], name: str) -> Received:
        """Store it and answer; the worker does the rest."""
        provider = self._payments.providers.get(name)
        body = bytearray()
        async for piece in asked.http.content.iter_chunked(65536):
            body += piece
            if len(body) > WEBHOOK_BYTES_MAX:
                raise BodyTooLarge(f"the body is larger than the limit of {WEBHOOK_BYTES_MAX} bytes")
        headers = {header.lower(): value for header, value in asked.http.headers.items()}
        await receive_webhook(self._deps.pg, provider, headers, bytes(body))
        self._payments.wake.set()
        return Received(received=True)


async def payer(
    deps: SideDeps, key: KeyRecord | None, account_id: int | None, user_id: int | None
) -> tuple[Account, int | None]:
    """Whose wallet a checkout is for, and who buys: a caller's own, or whoever the operator names.

    Raises: NotFound (a user or account that is not there, or not the caller's), RequestInvalid, PostgresUnavailable.
    """
    if key is not None:
        if account_id not in (None, key.account_id):
            raise NotFound(f"account {account_id} does not exist", field="account_id")
        account_id = key.account_id
        user_id = key.user_id if user_id is None else user_id
    if user_id is not None:
        try:
            user = await users.get_user(deps.pg, user_id)
            if account_id not in (None, user.account_id):
                raise NotFound(f"user {user_id} does not exist")
        except NotFound as error:  # of others and of nobody: they are told alike
            raise NotFound(error.message, field="user_id") from None
        account_id = user.account_id
    if account_id is None:
        raise RequestInvalid("user_id: this or account_id is required", field="user_id")
    return await get_account(deps.pg, account_id), user_id
