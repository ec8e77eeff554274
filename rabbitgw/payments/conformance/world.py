"""The world around a provider, as its author builds it for the checks: a customer who pays, and a provider's far end.

Owns what the checks may ask for, and the words in which they complain. Knows no provider.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from rabbitgw import clock
from rabbitgw.clock import new_id
from rabbitgw.errors import RabbitError
from rabbitgw.payments.contract import (
    PAYMENT_ELEMENT,
    InitResult,
    Order,
    PaymentProvider,
    PaymentStatus,
    RefundResult,
)

DEPLOYMENT: Final = "0197f1a0-5c3e-7d2a-9b4f-a1b2c3d4e5f6"


class Webhook(NamedTuple):
    """As it comes: names of headers in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Trait(Enum):
    """What a provider has. Each brings the checks of it, and what it says here must be in the world."""

    SIGNS_BODY = auto()  # a signature is of the body; else of who sends it only
    SIGNS_TIME = auto()  # and of a time: an old one is refused. The world has `webhook_age_max_s`
    KEEPS_EVENTS = auto()  # `events` yields what it told
    OTHER_EVENTS = auto()  # it tells of things that are no payments. The world has `other_message`
    TRIES_FAIL = auto()  # a customer's try may fail, and the next succeed. The world has `fail`
    REFUNDS_WAIT = auto()  # a refund is pending at first. The world has `end_refund`
    REFUNDS_FAIL = auto()  # a refund may fail later. The world has `end_refund`
    FAR = auto()  # it is reached over a network. The world has `outage` and `requests`
    KEYS_END = auto()  # it forgets after a while what it was asked for before. The world has `later`


class World(ABC):
    """One provider, its far end and its customers; each check gets a new one, or at least new orders.

    `signature_headers`: the headers that make a webhook genuine, in lower case; none if it is signed inside the body.
    `amounts`: what orders are made of, in minor units by ISO 4217. Leave out what the provider does not take.
    """

    traits: ClassVar[frozenset[Trait]] = frozenset()
    signature_headers: ClassVar[tuple[str, ...]] = ()
    webhook_age_max_s: ClassVar[int] = 0
    amounts: ClassVar[tuple[tuple[str, int], ...]] = (("USD", 1050), ("JPY", 1050), ("KWD", 5120))
    mode: ClassVar[str] = PAYMENT_ELEMENT

    provider: PaymentProvider

    @abstractmethod
    def another(self) -> PaymentProvider:
        """The same provider as another process would make it. The check closes it."""

    @abstractmethod
    async def pay(self, order: Order, made: InitResult) -> None:
        """The customer pays all of it, and the money is there."""

    @abstractmethod
    async def messages(self, order: Order, made: InitResult) -> list[bytes]:
        """What the provider has told of this payment so far, oldest first, before it is signed."""

    @abstractmethod
    def sign(self, message: bytes, at: datetime) -> Webhook:
        """Make it what the provider sends."""

    async def order(self, amount_minor: int, currency: str) -> Order:
        """A new order of ours. Override it for a provider that wants more of one, or finds it somewhere."""
        return Order(
            order_id=f"ord_{new_id().replace('-', '')}",
            deployment=DEPLOYMENT,
            account_id=1,
            amount_minor=amount_minor,
            currency=currency,
            mode=self.mode,
            description="API credit",
            created_at=now(),
            return_url="https://shop.example/done",
        )

    async def refund(
        self, order: Order, made: InitResult, amount_minor: int | None, refund_id: str
    ) -> RefundResult:
        """Ask the provider. Override it where the house must know of a refund before."""
        return await self.provider.refund(
            made.provider_txn_id, amount_minor, "requested_by_customer", refund_id=refund_id
        )

    def not_taken(self) -> Iterable[tuple[dict[str, Any], str]]:
        """Changes that make an order one that this provider cannot take, and the field of the checkout at fault."""
        return ()

    # -- what traits bring; each is overridden with its trait --

    async def fail(self, order: Order, made: InitResult) -> None:
        self._lacks("fail")

    async def end_refund(self, order: Order, made: InitResult, refund: RefundResult, *, ok: bool) -> None:
        """A refund that was pending, or had succeeded, ends otherwise, and the provider tells."""
        self._lacks("end_refund")

    async def later(self, order: Order) -> Order:
        """So much time goes by that no key of the order's first request is known. Returns: the order, as old."""
        self._lacks("later")

    def other_message(self) -> bytes:
        """A genuine message about something that is no payment of ours."""
        self._lacks("other_message")

    def outage(self, *, after_work: bool) -> AbstractAsyncContextManager[None]:
        """Meanwhile the provider answers nothing; `after_work`: it does what it is asked for."""
        self._lacks("outage")

    def requests(self) -> int:
        """How many requests have reached the provider."""
        self._lacks("requests")

    def _lacks(self, name: str) -> NoReturn:
        raise AssertionError(f"{type(self).__name__} has a trait that needs {name}()")

    # -- what checks are made of --

    async def some_order(self) -> Order:
        currency, amount_minor = self.amounts[0]
        return await self.order(amount_minor, currency)

    async def paid(self) -> tuple[Order, InitResult]:
        order = await self.some_order()
        made = await self.provider.create_payment(order)
        await self.pay(order, made)
        return order, made

    async def status(self, made: InitResult) -> PaymentStatus:
        return await self.provider.query(made.provider_txn_id)

    async def told(self, order: Order, made: InitResult) -> list[Webhook]:
        """Every webhook about a payment, signed just now."""
        found = [self.sign(message, now()) for message in await self.messages(order, made)]
        demand(bool(found), "the world has no message about a payment that was made")
        return found


Run = Callable[[World], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Check:
    """One rule of the contract; what `run` is called, and its docstring, say which."""

    run: Run
    needs: frozenset[Trait] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        return str(self.run.__name__)


def checks(into: list[Check], *needs: Trait) -> Callable[[Run], Run]:
    """Decorates a check, and keeps it in a list."""

    def keep(run: Run) -> Run:
        into.append(Check(run, frozenset(needs)))
        return run

    return keep


def demand(holds: bool, complaint: str) -> None:
    """An assert that python -O does not take away."""
    if not holds:
        raise AssertionError(complaint)


async def refusal(
    doing: str, call: Awaitable[Any], *wanted: type[RabbitError], never: tuple[type[RabbitError], ...] = ()
) -> RabbitError:
    """What a call raises, which must be one of these and none of `never`."""
    names = " or ".join(one.__name__ for one in wanted)
    try:
        answer = await call
    except wanted as error:
        demand(not isinstance(error, never), f"{doing}: {type(error).__name__} says the wrong thing")
        return error
    except Exception as error:  # whatever a foreign provider does
        raise AssertionError(f"{doing}: {names} was due, {type(error).__name__} came: {error}") from error
    raise AssertionError(f"{doing}: {names} was due, and it answered {answer!r}")


def now() -> datetime:
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)


async def listed(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]
