"""What a payment provider is: the types and the protocol that any package may fulfil, found by entry point.

Owns the words between the payment plane and a provider. Knows no provider, no database and no route.
A provider keeps no state of ours. It turns an order into something that a customer can pay, checks that a webhook is
genuine, refunds, and says what is so. Facts come from `query` only: a webhook says that something changed, never what.

Amounts `_minor` are whole numbers of the currency's smallest unit by ISO 4217 (cents; yen): what a provider sends or
wants otherwise it converts itself. Every call is bounded by the provider in time and in retries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from rabbitgw.config import Settings
    from rabbitgw.stores import Pool

ENTRY_POINTS = "rabbitgw.payment_providers"

# What `Order.mode` may be.
PAYMENT_ELEMENT = "payment_element"
CHECKOUT_SESSION = "checkout_session"


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to pay. `deployment`: whose order ids these are; a provider keeps it with the order id.

    `methods`: kinds of payment the customer may use ("card", "alipay"); empty: what is on at the provider.
    `customer_ref`: who the account is at this provider, if that is known.
    """

    order_id: str
    deployment: str
    account_id: int
    amount_minor: int
    currency: str
    mode: str
    description: str
    created_at: datetime
    methods: tuple[str, ...] = ()
    return_url: str | None = None
    cancel_url: str | None = None
    receipt_email: str | None = None
    customer_ref: str | None = None


@dataclass(frozen=True, slots=True)
class InitResult:
    """How a customer goes on. `type` says what `payload` is: "client_secret", "redirect_url", "instructions".

    `payload` is for the customer's eyes and not for logs. `customer_ref`: to be kept with the account.
    """

    type: str
    payload: Mapping[str, Any]
    provider_txn_id: str
    customer_ref: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """A genuine message of a provider's. `provider_txn_id` and `order_id` say what it is about, as far as it tells.

    `wanted`: it can change what we know of a payment; others are stored and no more. `exact`: its id is of a person's
    making, so the same id with other bytes is refused and not taken for a repetition.
    """

    event_id: str
    type: str
    livemode: bool
    wanted: bool
    provider_txn_id: str | None = None
    order_id: str | None = None
    made_at: datetime | None = None
    exact: bool = False


class PaymentState(Enum):
    AWAITING = "awaiting_payment"  # nobody has tried, or is at it
    FAILED = "failed"  # the last try failed; another may succeed
    PROCESSING = "processing"  # the customer has done their part, the money is not there
    SUCCEEDED = "paid"
    CANCELED = "canceled"  # nobody can pay it any more


class RefundState(Enum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # also after it had succeeded


@dataclass(frozen=True, slots=True)
class RefundFact:
    """`refund_id`: ours, if the provider was given one."""

    provider_refund_id: str
    amount_minor: int
    state: RefundState
    refund_id: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class DisputeFact:
    """`open`: it is not decided, and money may be taken. `withdrawn_minor`: what the provider has taken from us for it
    and not given back; `fee_minor`: its fees. An inquiry that moves no money is neither open nor lost."""

    dispute_id: str
    amount_minor: int
    currency: str
    status: str
    open: bool
    lost: bool
    withdrawn_minor: int
    fee_minor: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """Everything that a provider knows of one payment, at one moment.

    `provider_txn_id`: what was asked for. `payment_id`: the payment itself, which may have another name.
    `received_minor`: what came in; `fee_nanos`: what the provider kept of it, None while that is not known.
    `further`: where more than one payment can come in for one order (transfers), those after the first, each under a
    `payment_id` of its own and with its own refunds.
    """

    provider_txn_id: str
    state: PaymentState
    amount_minor: int
    received_minor: int
    currency: str
    livemode: bool
    payment_id: str | None = None
    order_id: str | None = None
    deployment: str | None = None
    failure_code: str | None = None
    fee_nanos: int | None = None
    fee_currency: str | None = None
    refunds: tuple[RefundFact, ...] = ()
    disputes: tuple[DisputeFact, ...] = ()
    further: tuple[PaymentStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class RefundResult:
    provider_refund_id: str
    state: RefundState
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Backfilled:
    """An event that a provider kept: as `handle_webhook` would have understood it, and its bytes."""

    event: PaymentEvent
    body: bytes


@runtime_checkable
class PaymentProvider(Protocol):
    """Every method may raise PaymentUnavailable: nobody knows whether it had its effect, so it may be called again.

    `livemode`: whether its money is real; events and payments of the other kind are not ours.
    """

    name: ClassVar[str]
    livemode: bool

    def check_order(self, order: Order) -> None:
        """Whether it is one that this provider can take: amount, currency, methods. No I/O, no effect.

        Raises: RequestInvalid naming a field of the checkout.
        """

    async def create_payment(self, order: Order) -> InitResult:
        """Make it payable, once per order however often it is asked: by a key made of the order, and where the order
        is older than such keys live, by looking for it first.

        Raises: RequestInvalid (naming a field of the checkout), PaymentRefused, PaymentUnavailable.
        """

    async def resume(self, provider_txn_id: str) -> InitResult:
        """The answer that `create_payment` gave. Raises: PaymentRefused, PaymentUnavailable."""

    async def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent:
        """Check that a webhook is genuine and understand it. No I/O, no effect. `headers`: names in lower case.

        Raises: SignatureInvalid, PaymentsOff (there is no secret to check it by).
        """

    async def refund(
        self, provider_txn_id: str, amount: int | None, reason: str | None, *, refund_id: str
    ) -> RefundResult:
        """Send money back, once per `refund_id`. `amount`: in minor units; None: all that is left.

        Raises: PaymentRefused (it will not be done), PaymentUnavailable.
        """

    async def query(self, provider_txn_id: str) -> PaymentStatus:
        """What is so, read at the provider now. Raises: PaymentRefused (unknown there), PaymentUnavailable."""

    def events(self, since: datetime) -> AsyncIterator[Backfilled]:
        """What it told, or tried to tell, since then; oldest or newest first. Nothing where it keeps no events.

        Raises: PaymentUnavailable.
        """

    async def check(self) -> str:
        """Ask whether the provider takes our credentials. Returns one line for `doctor`.

        Raises: PaymentRefused, PaymentUnavailable.
        """

    async def close(self) -> None:
        """Give up its connections."""


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a provider is made of. `environ`: for settings of its own, by its own names."""

    settings: Settings
    pg: Pool
    environ: Mapping[str, str] = field(default_factory=dict)


class ProviderFactory(Protocol):
    """What the entry point names. None: it is installed and not switched on."""

    def __call__(self, context: ProviderContext) -> PaymentProvider | None: ...
