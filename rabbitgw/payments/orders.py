"""Orders: what somebody sets out to buy, made payable at a provider.

Owns the way from a checkout to an answer that the customer can pay with. The order is committed before the provider is
asked, outside of any transaction, by a key made of the order: so a lost answer is asked for again, by the same checkout
with the same `order_id`, and nobody pays twice. What the provider answers with (a client secret, an address) is not
kept: it is read there again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from rabbitgw import metrics, statements, telemetry
from rabbitgw.billing.users import checked_email
from rabbitgw.clock import new_id
from rabbitgw.errors import Conflict, NotFound, PaymentRefused, RequestInvalid
from rabbitgw.payments.codes import find_code, release_for_order, reserve_for_order
from rabbitgw.payments.contract import CHECKOUT_SESSION, PAYMENT_ELEMENT, InitResult, Order
from rabbitgw.payments.currencies import nanos_of_minor
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.billing.accounts import Account
    from rabbitgw.payments.contract import PaymentProvider
    from rabbitgw.payments.registry import Providers
    from rabbitgw.stores import Pool

ORDER_ID_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,64}$"
URL_CHARS_MAX: Final = 2048
METHODS_MAX: Final = 10
METHOD_PATTERN: Final = r"^[a-z][a-z0-9_]{1,31}$"
URL_PATTERN: Final = r"^https?://[!-~]+$"  # as it goes over the wire: what is not ASCII is percent-coded
MODES: Final = (PAYMENT_ELEMENT, CHECKOUT_SESSION)
AMOUNT_MINOR_MAX: Final = 99_999_999  # eight digits, as card networks have it

_ORDER_ID = re.compile(ORDER_ID_PATTERN)
_METHOD = re.compile(METHOD_PATTERN)
_URL = re.compile(URL_PATTERN)


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A checkout. `bonus_nanos`: credited on top of what is paid; `code`: a coupon that adds to it."""

    provider: str
    amount_minor: int
    currency: str
    user_id: int | None = None
    mode: str = PAYMENT_ELEMENT
    methods: tuple[str, ...] = ()
    return_url: str | None = None
    cancel_url: str | None = None
    receipt_email: str | None = None
    bonus_nanos: int = 0
    package_credits: int | None = None
    code: str | None = None

    @property
    def description(self) -> str:
        return "API credit" if self.package_credits is None else f"{self.package_credits} credits"


@dataclass(frozen=True, slots=True)
class Checkout:
    order_id: str
    amount_minor: int
    currency: str
    init: InitResult


class Orders:
    def __init__(self, pg: Pool, providers: Providers) -> None:
        self._pg = pg
        self._providers = providers

    async def checkout(self, account: Account, new: NewOrder, order_id: str | None = None) -> Checkout:
        """Make an order payable. The same checkout with the same `order_id` gets the same answer.

        Raises: RequestInvalid (naming the field), Conflict (the id is another order's), NotFound, PaymentsOff (the
                provider), PaymentRefused, PaymentUnavailable (the order stands: ask again with its id), StoreError.
        """
        _check(account, new, order_id)
        provider = self._providers.get(new.provider)
        order_id = order_id or f"ord_{new_id().replace('-', '')}"
        code_id = None if new.code is None else await find_code(self._pg, account.id, new.code)
        row, deployment = await self._begin(provider, account, new, order_id, code_id)
        init = await self._make_payable(provider, row, deployment)
        metrics.CHECKOUTS.add(1, new.provider)
        telemetry.log("checkout_created", order_id=order_id, provider=new.provider, account_id=account.id,
                      user_id=new.user_id, amount_cents=new.amount_minor, currency=new.currency)  # fmt: skip
        return Checkout(order_id, new.amount_minor, new.currency, init)

    async def _begin(
        self, provider: PaymentProvider, account: Account, new: NewOrder, order_id: str, code_id: int | None
    ) -> tuple[asyncpg.Record, str]:
        digest = hashlib.sha256(orjson.dumps([account.id, asdict(new)])).digest()
        terms = {
            "methods": list(new.methods),
            "return_url": new.return_url,
            "cancel_url": new.cancel_url,
            "receipt_email": new.receipt_email,
            "description": new.description,
        }
        async with transaction(self._pg) as db:
            deployment = await db.fetchval(statements.deployment.id)
            credit_nanos = nanos_of_minor(new.currency, new.amount_minor)
            if code_id is not None:
                await reserve_for_order(
                    db, code_id, account.id, order_id, paid_nanos=credit_nanos, currency=new.currency
                )
            row = await db.fetchrow(
                statements.orders.create, order_id, account.id, new.user_id, new.provider, new.mode, new.currency,
                new.amount_minor, credit_nanos, new.bonus_nanos, new.package_credits,
                digest, orjson.dumps(terms).decode(),
            )  # fmt: skip
            if row is None:
                row = await db.fetchrow(statements.orders.get, order_id)
                if row is None or row["request_sha256"] != digest:
                    raise Conflict("order_id: it is another order's; take a new one", field="order_id")
            else:
                provider.check_order(
                    order_of(row, deployment, None)
                )  # what it raises takes the order away again
        return row, deployment

    async def _make_payable(
        self, provider: PaymentProvider, row: asyncpg.Record, deployment: str
    ) -> InitResult:
        if row["provider_txn_id"] is not None:
            return await provider.resume(row["provider_txn_id"])
        async with connection(self._pg) as db:
            customer = await db.fetchval(
                statements.provider_customers.get, row["account_id"], provider.name, provider.livemode
            )
            await db.execute(statements.orders.sent, row["order_id"])
        try:
            init = await provider.create_payment(order_of(row, deployment, customer))
        except (PaymentRefused, RequestInvalid) as error:
            async with transaction(self._pg) as db:
                await db.execute(statements.orders.not_made, row["order_id"], error.code)
                await release_for_order(db, row["order_id"])
            raise
        async with transaction(self._pg) as db:
            kept = await db.fetchval(statements.orders.made, row["order_id"], init.provider_txn_id)
            if init.customer_ref is not None:
                await db.execute(
                    statements.provider_customers.keep,
                    row["account_id"],
                    provider.name,
                    provider.livemode,
                    init.customer_ref,
                )
        if kept != init.provider_txn_id:  # a webhook was here first, or another try
            return await provider.resume(kept)
        return init

    async def get(self, order_id: str, account_id: int | None) -> asyncpg.Record:
        """An order, of this account if one is given. Raises: NotFound, PostgresUnavailable."""
        async with connection(self._pg) as db:
            row = await db.fetchrow(statements.orders.get, order_id)
        if row is None or account_id not in (None, row["account_id"]):
            raise NotFound("there is no such order", field="order_id")
        return row

    async def by_txn(self, txn_id: str, account_id: int) -> asyncpg.Record:
        """The order of this account that a provider's id belongs to. Raises: NotFound, PostgresUnavailable."""
        async with connection(self._pg) as db:
            order_id = await db.fetchval(statements.orders.by_any_txn, txn_id)
        try:
            if order_id is not None:
                return await self.get(order_id, account_id)
        except NotFound:  # another account's: told as one that is nobody's
            pass
        raise NotFound("there is no such payment", field="payment_intent_id")

    async def refunded_minor(self, order_id: str) -> int:
        """What of an order has gone back, or is on its way."""
        async with connection(self._pg) as db:
            return int(await db.fetchval(statements.refunds.sum_of_order, order_id))


def order_of(row: asyncpg.Record, deployment: str, customer_ref: str | None) -> Order:
    """The contract's order, of its row."""
    terms: Mapping[str, Any] = orjson.loads(row["terms"])
    return Order(
        order_id=row["order_id"],
        deployment=deployment,
        account_id=row["account_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        mode=row["mode"],
        description=terms["description"],
        created_at=row["sent_at"] or row["created_at"],
        methods=tuple(terms["methods"]),
        return_url=terms["return_url"],
        cancel_url=terms["cancel_url"],
        receipt_email=terms["receipt_email"],
        customer_ref=customer_ref,
    )


def _check(account: Account, new: NewOrder, order_id: str | None) -> None:
    if order_id is not None and not _ORDER_ID.fullmatch(order_id):
        raise RequestInvalid("order_id: 1 to 64 letters, digits and . _ : -", field="order_id")
    if new.currency != account.currency:
        raise RequestInvalid(
            f"currency: account {account.id} is billed in {account.currency}", field="currency"
        )
    if not 1 <= new.amount_minor <= AMOUNT_MINOR_MAX:
        raise RequestInvalid(f"amount_cents: 1 to {AMOUNT_MINOR_MAX}", field="amount_cents")
    if new.mode not in MODES:
        raise RequestInvalid(f"mode: one of {', '.join(MODES)}", field="mode")
    if len(new.methods) > METHODS_MAX or not all(_METHOD.fullmatch(one) for one in new.methods):
        raise RequestInvalid(f"methods: at most {METHODS_MAX} names like card, alipay", field="methods")
    for field, url in (("return_url", new.return_url), ("cancel_url", new.cancel_url)):
        if url is not None and (len(url) > URL_CHARS_MAX or not _URL.fullmatch(url)):
            raise RequestInvalid(
                f"{field}: an address with http:// or https://, at most {URL_CHARS_MAX} characters of ASCII",
                field=field,
            )
    if new.receipt_email is not None:
        checked_email(new.receipt_email, "receipt_email")
