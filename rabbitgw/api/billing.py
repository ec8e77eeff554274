"""/billing: credit by the package, as the payment setup guide has it. Beside it stand /v1/payments, for any amount."""

from __future__ import annotations

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.payment_forms import (
    ConfirmForm,
    ConfirmView,
    HistoryEntry,
    HistoryPage,
    HistoryQuery,
    IntentView,
    PackageOrderForm,
    Received,
    RefundForm,
    RefundView,
)
from rabbitgw.api.payments import PAYING, PaymentRoutes, payer
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.billing.wallets import live_wallets
from rabbitgw.errors import (
    NotFound,
    PaymentsOff,
    RequestInvalid,
    SignatureInvalid,
    StoreError,
    TakeShort,
)
from rabbitgw.money import units
from rabbitgw.payments import history
from rabbitgw.payments.contract import PAYMENT_ELEMENT
from rabbitgw.payments.currencies import decimal_of_minor
from rabbitgw.payments.orders import NewOrder
from rabbitgw.payments.packages import find_package, list_packages
from rabbitgw.stores import connection

STRIPE = "stripe"


class BillingRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps, payments: PaymentRoutes) -> None:
        self._deps = deps
        self._routes = payments
        self._payments = deps.payments

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/billing/create-payment-intent", self.create_payment_intent,
                "Buy a credit package: make its order payable", Auth.CALLER, IntentView, form=PackageOrderForm,
                refusals=PAYING,
            ),
            Route(
                "POST", "/billing/confirm-payment", self.confirm_payment,
                "Look now whether a payment has come in, instead of waiting for the webhook", Auth.CALLER, ConfirmView,
                form=ConfirmForm, refusals=PAYING,
            ),
            Route(
                "POST", "/billing/webhook", self.stripe_webhook, "The same as /v1/webhooks/stripe", Auth.NONE, Received,
                query=Anything, raw=True,
                refusals=(SignatureInvalid, RequestInvalid, PaymentsOff, StoreError, NotFound),
            ),
            Route(
                "POST", "/billing/refund", self.refund_purchase, "The same as /v1/payments/refund", Auth.CASHIER,
                RefundView, form=RefundForm, refusals=(*PAYING, TakeShort),
            ),
            Route(
                "GET", "/billing/history", self.billing_history, "Purchases and refunds of the account, newest first",
                Auth.CALLER, HistoryPage, query=HistoryQuery,
            ),
        ]  # fmt: skip

    async def create_payment_intent(self, asked: Asked[PackageOrderForm, Nothing]) -> IntentView:
        form = asked.form
        if form.mode != PAYMENT_ELEMENT or form.provider != STRIPE:
            field = "provider" if form.mode == PAYMENT_ELEMENT else "mode"
            raise RequestInvalid(
                f"{field}: this route answers client secrets of Stripe's; POST /v1/payments/checkout has others",
                field=field,
            )
        account, user_id = await payer(self._deps, asked.key, None, None)
        currency = account.currency
        if form.currency not in (None, currency):
            raise RequestInvalid(f"currency: account {account.id} is billed in {currency}", field="currency")
        async with connection(self._deps.pg) as db:
            package = await find_package(db, form.credit_amount, currency)
            if package is None:
                sold = [str(one.credits) for one in await list_packages(db, currency)]
                listed = f"one of {', '.join(sold)}" if sold else f"no package is sold in {currency}"
                raise RequestInvalid(f"credit_amount: {listed}", field="credit_amount")
        new = NewOrder(
            provider=STRIPE,
            amount_minor=package.price_minor,
            currency=package.currency,
            user_id=user_id,
            methods=tuple(form.methods),
            return_url=form.return_url,
            cancel_url=form.cancel_url,
            receipt_email=form.receipt_email,
            code=form.code,
            bonus_nanos=package.bonus_nanos,
            package_credits=package.credits,
        )
        made = await self._payments.orders.checkout(account, new, form.order_id)
        return IntentView(
            client_secret=made.init.payload["client_secret"],
            payment_intent_id=made.init.provider_txn_id,
            order_id=made.order_id,
            amount=package.price,
            currency=package.currency,
        )

    async def confirm_payment(self, asked: Asked[ConfirmForm, Nothing]) -> ConfirmView:
        """What the caller says of the payment is not believed; the provider is asked."""
        key, txn_id = asked.caller, asked.form.payment_intent_id
        order = await self._payments.orders.by_txn(txn_id, key.account_id)
        provider = self._payments.providers.get(order["provider"])
        await self._payments.sync.look(provider, txn_id)
        order = await self._payments.orders.get(order["order_id"], key.account_id)
        found = await live_wallets(
            self._deps.pg,
            self._deps.scripts,
            self._deps.link,
            account_id=key.account_id,
            partition=key.partition,
        )
        balance = next((one.balance_nanos for one in found if one.currency == order["currency"]), 0)
        paid = order["status"] == "paid"
        return ConfirmView(
            status=order["status"],
            credits_added=(order["package_credits"] or 0) if paid else 0,
            balance=units(balance),
        )

    async def stripe_webhook(self, asked: Asked[Nothing, Anything]) -> Received:
        return await self._routes.receive(asked, STRIPE)

    async def refund_purchase(self, asked: Asked[RefundForm, Nothing]) -> RefundView:
        return await self._routes.refund_payment(asked)

    async def billing_history(self, asked: Asked[Nothing, HistoryQuery]) -> HistoryPage:
        query = asked.query
        rows = await history.page(
            self._deps.pg, asked.caller.account_id, after=query.after, rows_max=query.limit
        )
        entries = [
            HistoryEntry(
                id=row["id"],
                type=row["type"],
                credits=row["credits"],
                amount=decimal_of_minor(row["currency"], row["amount"]),
                currency=row["currency"],
                status=row["status"],
                stripe_payment_intent_id=row["stripe_payment_intent_id"],
                stripe_refund_id=row["stripe_refund_id"],
                created=row["created"],
            )
            for row in rows
        ]
        return HistoryPage(history=entries, next=entries[-1].id if len(entries) == query.limit else None)
