"""Stripe as a payment provider: PaymentIntents, Checkout Sessions, refunds and webhooks, on aiohttp.

Owns the calls and their idempotency keys, which are made of the order and of the refund: whoever repeats one repeats
nothing. Cards and wallets, and Alipay as one of Stripe's methods. Card data never comes here; nothing is saved for
later payments (no `setup_future_usage`), so Alipay is never asked off session. Knows no database.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import orjson
import stripe

from rabbitgw import clock
from rabbitgw.errors import PaymentRefused, PaymentsOff, PaymentUnavailable, RequestInvalid, SignatureInvalid
from rabbitgw.payments.contract import (
    CHECKOUT_SESSION,
    Backfilled,
    InitResult,
    Order,
    PaymentEvent,
    PaymentStatus,
    RefundResult,
)
from rabbitgw.payments.currencies import minimum_minor, stripe_amount
from rabbitgw.payments.stripe_errors import stripe_errors
from rabbitgw.payments.stripe_facts import (
    DEPLOYMENT_KEY,
    ORDER_KEY,
    REFUND_KEY,
    WANTED_TYPES,
    intent_status,
    read_event,
    refund_state,
    session_status,
)

if TYPE_CHECKING:
    from rabbitgw.config import Settings

API_VERSION: Final = "2026-10-28.endive"  # that of stripe 16.1; what this code was written for
KEYS_LIVE: Final = timedelta(hours=20)  # Stripe keeps idempotency keys for 24 h at least
NETWORK_RETRIES: Final = 1  # of the library, with the same key; who waits has more patience of their own
PAGES_OF: Final = 100
FACTS_MAX: Final = 1_000  # refunds, or disputes, of one payment
EVENTS_MAX: Final = 100_000  # of one back-fill
ALIPAY: Final = "alipay"
# Which currencies Alipay can be asked for in; which of them it is depends on the country of the business.
ALIPAY_CURRENCIES: Final = frozenset(
    ["AUD", "CAD", "CNY", "EUR", "GBP", "HKD", "JPY", "MYR", "NZD", "SGD", "USD"]
)
# Stripe's library logs what it sends and is answered, client secrets and addresses among it, at DEBUG.
logging.getLogger("stripe").setLevel(logging.WARNING)
# Stripe's own words; another reason goes into the metadata.
REASONS: Final = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
TEXT_MAX: Final = 500  # of a value of metadata


class StripeProvider:
    name: ClassVar[str] = "stripe"

    def __init__(self, settings: Settings) -> None:
        self.livemode = settings.stripe_live
        self._secrets = [one for one in settings.stripe_webhook_secret.get_secret_value().split(",") if one]
        self._tolerance_s = settings.webhook_tolerance_s
        self._http = stripe.AIOHTTPClient(timeout=settings.payment_timeout_s)
        self._client = stripe.StripeClient(
            settings.stripe_secret_key.get_secret_value(),
            stripe_version=API_VERSION,
            base_addresses={"api": settings.stripe_api_base},
            http_client=self._http,
            max_network_retries=NETWORK_RETRIES,
        )

    async def close(self) -> None:
        await cast(Any, self._http).close_async()

    async def check(self) -> str:
        with stripe_errors("reading the balance"):
            balance = await self._client.v1.balance.retrieve_async()
            return f"Stripe takes the key ({'live' if balance['livemode'] else 'test'} mode)"

    # -- payments --

    def check_order(self, order: Order) -> None:
        least = minimum_minor(order.currency)
        if order.amount_minor < least:
            raise RequestInvalid(
                f"amount_cents: Stripe takes {least} minor units of {order.currency} at least",
                field="amount_cents",
            )
        try:
            stripe_amount(order.currency, order.amount_minor)
        except RequestInvalid as error:
            raise RequestInvalid(
                error.message.replace("amount:", "amount_cents:"), field="amount_cents"
            ) from None
        if ALIPAY in order.methods and order.currency not in ALIPAY_CURRENCIES:
            listed = ", ".join(sorted(ALIPAY_CURRENCIES))
            raise RequestInvalid(f"methods: Alipay takes {listed}, not {order.currency}", field="methods")
        if order.mode == CHECKOUT_SESSION and not order.return_url:
            raise RequestInvalid(
                "return_url: where Stripe's page sends the customer back to", field="return_url"
            )

    async def create_payment(self, order: Order) -> InitResult:
        if datetime.fromtimestamp(clock.now_ms() / 1000, UTC) - order.created_at > KEYS_LIVE:
            found = await self._search(order)
            if found is not None:
                return await self.resume(found)
        customer = order.customer_ref or await self._customer(order, "")
        try:
            return await self._create(order, customer)
        except PaymentUnavailable as error:
            # A 5xx is kept with its key for a day. What was made before it, if anything was, is found.
            found = await self._search(replace(order, customer_ref=customer)) if error.kept else None
            if found is None:
                raise
            return await self.resume(found)
        except PaymentRefused as error:
            if error.provider_code != "resource_missing" or order.customer_ref is None:
                raise
        # somebody has deleted the customer at Stripe
        return await self._create(
            order, await self._customer(order, f":after:{order.customer_ref}"), again=True
        )

    async def _create(self, order: Order, customer: str, *, again: bool = False) -> InitResult:
        key = f"order:{order.deployment}:{order.order_id}{':again' if again else ''}"
        if order.mode == CHECKOUT_SESSION:
            with stripe_errors("making a Checkout Session"):
                made = await self._client.v1.checkout.sessions.create_async(
                    cast(Any, self._session(order, customer)), {"idempotency_key": key}
                )
                return _session_result(made.to_dict())
        with stripe_errors("making a PaymentIntent"):
            intent = await self._client.v1.payment_intents.create_async(
                cast(Any, self._intent(order, customer)), {"idempotency_key": key}
            )
            return _intent_result(intent.to_dict())

    async def resume(self, provider_txn_id: str) -> InitResult:
        if provider_txn_id.startswith("cs_"):
            with stripe_errors("reading a Checkout Session"):
                session = await self._client.v1.checkout.sessions.retrieve_async(provider_txn_id)
                return _session_result(session.to_dict())
        with stripe_errors("reading a PaymentIntent"):
            intent = await self._client.v1.payment_intents.retrieve_async(provider_txn_id)
            return _intent_result(intent.to_dict())

    def _intent(self, order: Order, customer: str) -> dict[str, Any]:
        params: dict[str, Any] = {
            "amount": stripe_amount(order.currency, order.amount_minor),
            "currency": order.currency.lower(),
            "customer": customer,
            "description": order.description,
            "metadata": _metadata(order),
        }
        if order.methods:
            params["allowed_payment_method_types"] = list(order.methods)
        else:
            params["automatic_payment_methods"] = {"enabled": True}
        if order.receipt_email:
            params["receipt_email"] = order.receipt_email
        return params

    def _session(self, order: Order, customer: str) -> dict[str, Any]:
        about: dict[str, Any] = {"description": order.description, "metadata": _metadata(order)}
        if order.receipt_email:
            about["receipt_email"] = order.receipt_email
        price = {
            "currency": order.currency.lower(),
            "unit_amount": stripe_amount(order.currency, order.amount_minor),
            "product_data": {"name": order.description},
        }
        params: dict[str, Any] = {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            "customer": customer,
            "client_reference_id": order.order_id,
            "metadata": _metadata(order),  # which is not copied to the PaymentIntent
            "payment_intent_data": about,
            "adaptive_pricing": {"enabled": False},  # the wallet's currency is what is paid in
            "success_url": order.return_url,
        }
        if order.cancel_url:
            params["cancel_url"] = order.cancel_url
        if order.methods:
            params["allowed_payment_method_types"] = list(order.methods)
        return params

    async def _customer(self, order: Order, suffix: str) -> str:
        """Who the account is at Stripe. By number: no name or address of a person leaves for this."""
        try:
            return await self._new_customer(order, suffix)
        except PaymentUnavailable as error:
            if not error.kept:
                raise
        # a second Customer does no harm; an account that cannot pay for a day does
        return await self._new_customer(order, f"{suffix}:for:{order.order_id}")

    async def _new_customer(self, order: Order, suffix: str) -> str:
        with stripe_errors("making a Customer"):
            made = await self._client.v1.customers.create_async(
                {"metadata": {"account_id": str(order.account_id), DEPLOYMENT_KEY: order.deployment}},
                {"idempotency_key": f"customer:{order.deployment}:{order.account_id}{suffix}"},
            )
            return str(made.id)

    async def _search(self, order: Order) -> str | None:
        """What was made for an order whose idempotency keys are over."""
        if order.mode == CHECKOUT_SESSION:
            return await self._search_session(order)
        ask = f"metadata['{ORDER_KEY}']:'{order.order_id}' AND metadata['{DEPLOYMENT_KEY}']:'{order.deployment}'"
        with stripe_errors("searching PaymentIntents"):
            found = await self._client.v1.payment_intents.search_async({"query": ask, "limit": 1})
            return str(found.data[0].id) if found.data else None

    async def _search_session(self, order: Order) -> str | None:
        if order.customer_ref is None:
            return None
        with stripe_errors("listing Checkout Sessions"):
            listed = await self._client.v1.checkout.sessions.list_async(
                {"customer": order.customer_ref, "limit": PAGES_OF}
            )
            seen = 0
            async for session in listed.auto_paging_iter():
                seen += 1
                metadata = session.to_dict().get("metadata") or {}
                if (metadata.get(ORDER_KEY), metadata.get(DEPLOYMENT_KEY)) == (
                    order.order_id,
                    order.deployment,
                ):
                    return str(session.id)
                if seen >= FACTS_MAX:
                    break
        return None

    # -- webhooks --

    async def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent:
        if not self._secrets:
            raise PaymentsOff("STRIPE_WEBHOOK_SECRET is not set: no webhook can be believed")
        signature = headers.get("stripe-signature")
        if not signature:
            raise SignatureInvalid("Stripe-Signature: missing")
        if not signature.isascii() or not any(
            self._signed(body, signature, secret) for secret in self._secrets
        ):
            raise SignatureInvalid(
                f"Stripe-Signature: made with none of our secrets, or more than {self._tolerance_s} s ago"
            )
        try:
            return read_event(orjson.loads(body))
        except orjson.JSONDecodeError:
            raise RequestInvalid("the body is no JSON") from None

    def _signed(self, body: bytes, signature: str, secret: str) -> bool:
        try:
            return bool(stripe.WebhookSignature.verify_header(body, signature, secret, self._tolerance_s))
        except (stripe.SignatureVerificationError, ValueError, IndexError):  # it is no header, or no text
            return False

    async def events(self, since: datetime) -> AsyncIterator[Backfilled]:
        with stripe_errors("listing events"):
            listed = await self._client.v1.events.list_async(
                {"created": {"gte": int(since.timestamp())}, "types": list(WANTED_TYPES), "limit": PAGES_OF}
            )
            seen = 0
            async for event in listed.auto_paging_iter():
                plain = event.to_dict()
                with suppress(RequestInvalid):  # of a shape that a webhook would have been refused for
                    yield Backfilled(read_event(plain), orjson.dumps(plain, default=str))
                seen += 1
                if seen >= EVENTS_MAX:
                    return

    # -- refunds and facts --

    async def refund(
        self, provider_txn_id: str, amount: int | None, reason: str | None, *, refund_id: str
    ) -> RefundResult:
        try:
            return await self._refund(provider_txn_id, amount, reason, refund_id)
        except RequestInvalid as error:  # no field of a checkout: it will not be done
            raise PaymentRefused(f"Stripe: refunding: {error.message}") from error

    async def _refund(
        self, provider_txn_id: str, amount: int | None, reason: str | None, refund_id: str
    ) -> RefundResult:
        try:
            status = await self.query(provider_txn_id)
        except PaymentRefused as error:  # it was paid there: this is another account's key, and not for long
            raise PaymentUnavailable(error.message, provider_code=error.provider_code) from error
        for known in status.refunds:
            if known.refund_id == refund_id:  # of a try whose answer was lost
                return RefundResult(known.provider_refund_id, known.state, known.failure)
        if status.payment_id is None:
            raise PaymentRefused(f"Stripe: refunding: nobody has begun to pay {provider_txn_id}")
        params: dict[str, Any] = {
            "payment_intent": status.payment_id,
            "metadata": {REFUND_KEY: refund_id, **({"reason": reason[:TEXT_MAX]} if reason else {})},
        }
        if amount is not None:
            params["amount"] = stripe_amount(status.currency, amount)
        if reason in REASONS:
            params["reason"] = reason
        with stripe_errors("refunding"):
            made = await self._client.v1.refunds.create_async(
                cast(Any, params), {"idempotency_key": f"refund:{refund_id}"}
            )
            refund = made.to_dict()
            return RefundResult(refund["id"], refund_state(refund["status"]), refund.get("failure_reason"))

    async def query(self, provider_txn_id: str) -> PaymentStatus:
        asked = provider_txn_id
        if asked.startswith("cs_"):
            with stripe_errors("reading a Checkout Session"):
                session = (await self._client.v1.checkout.sessions.retrieve_async(asked)).to_dict()
                status = session_status(session)
            if status.payment_id is None:
                return status
            asked = status.payment_id
        with stripe_errors("reading a PaymentIntent"):
            intent = await self._client.v1.payment_intents.retrieve_async(
                asked, {"expand": ["latest_charge.balance_transaction"]}
            )
            paid = intent.latest_charge is not None
            refunds = await self._listed(self._client.v1.refunds, asked) if paid else []
            disputes = await self._listed(self._client.v1.disputes, asked) if paid else []
            status = intent_status(intent.to_dict(), refunds, disputes)
            return replace(status, provider_txn_id=provider_txn_id)

    async def _listed(self, service: Any, intent_id: str) -> list[dict[str, Any]]:
        listed = await service.list_async({"payment_intent": intent_id, "limit": PAGES_OF})
        found: list[dict[str, Any]] = []
        async for one in listed.auto_paging_iter():
            found.append(one.to_dict())
            if len(found) >= FACTS_MAX:
                break
        return found


def _metadata(order: Order) -> dict[str, str]:
    return {
        ORDER_KEY: order.order_id,
        DEPLOYMENT_KEY: order.deployment,
        "account_id": str(order.account_id),
    }


def _intent_result(intent: Mapping[str, Any]) -> InitResult:
    return InitResult(
        "client_secret", {"client_secret": intent["client_secret"]}, intent["id"], intent.get("customer")
    )


def _session_result(session: Mapping[str, Any]) -> InitResult:
    """A session that is complete or expired has no address any more."""
    return InitResult("redirect_url", {"url": session.get("url")}, session["id"], session.get("customer"))
