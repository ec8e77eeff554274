"""The conformance suite can tell: each of its checks complains of a provider that breaks its rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from rabbitgw.clock import new_id
from rabbitgw.errors import PaymentRefused, PaymentUnavailable
from rabbitgw.payments.conformance import CHECKS, World, failures
from rabbitgw.payments.contract import (
    Backfilled,
    PaymentEvent,
    PaymentState,
    PaymentStatus,
    RefundResult,
    RefundState,
)
from rabbitgw.payments.stripe_facts import read_event
from tests.payments.harbour_world import HarbourWorld
from tests.payments.worlds import StripeWorld

pytestmark = pytest.mark.usefixtures("hasty_retries", "harbour_installed")
BY_NAME = {check.name: check for check in CHECKS}


def spoil(world: World, name: str, method: Any) -> World:
    """Put a method in place of the provider's own, in every process that makes it."""

    def spoilt(provider: Any) -> Any:
        provider.__class__ = type("Spoilt", (type(provider),), {name: method})
        return provider

    make = world.another
    world.another = lambda: spoilt(make())  # type: ignore[method-assign]
    spoilt(world.provider)
    return world


def real(spoilt: Any, name: str) -> Any:
    """The provider's own method."""
    return getattr(super(type(spoilt), spoilt), name)


# -- ways to spoil one: each makes a method of that name --


def altered(change: Callable[[Any], Any]) -> Callable[[str], Any]:
    def method_of(name: str) -> Any:
        async def method(self: Any, *given: Any, **named: Any) -> Any:
            return change(await real(self, name)(*given, **named))

        return method

    return method_of


def instead_of(error: type[Exception], answer: Callable[..., Any]) -> Callable[[str], Any]:
    def method_of(name: str) -> Any:
        async def method(self: Any, *given: Any, **named: Any) -> Any:
            try:
                return await real(self, name)(*given, **named)
            except error:
                return answer(*given)

        return method

    return method_of


def by_another_key(when: str) -> Callable[[str], Any]:
    """Ask under a new name: always, after an answer was lost, or when the first to ask is not done yet."""

    def method_of(name: str) -> Any:
        async def method(self: Any, *given: Any, **named: Any) -> Any:
            key = named.get("refund_id") or given[0].order_id
            new = {**named, "refund_id": new_id()} if named else {}
            renamed = given if named else (replace(given[0], order_id=new_id()),)
            seen = self._harbour.__dict__.setdefault("seen", {})
            if when == "at once" and key in seen:
                return seen[key]
            await asyncio.sleep(0)
            try:
                if when == "in doubt" and key not in seen:
                    return await real(self, name)(*given, **named)
                seen[key] = await real(self, name)(*renamed, **new)
                return seen[key]
            except PaymentUnavailable:
                seen[key] = None
                raise

        return method

    return method_of


def answers(answer: Callable[..., Any]) -> Callable[[str], Any]:
    def method_of(name: str) -> Any:
        async def method(self: Any, *given: Any, **named: Any) -> Any:
            return answer(*given)

        return method

    return method_of


def asks_first(name: str) -> Any:
    return lambda self, order: (self._ask("bill", "", "", "0", "USD"), real(self, name)(order))[1]


def takes_anything(name: str) -> Any:
    return lambda self, order: None


def yields(*events: Backfilled) -> Callable[[str], Any]:
    async def method(self: Any, since: Any) -> AsyncIterator[Backfilled]:
        for event in events:
            yield event

    return lambda name: method


def closes_once(name: str) -> Any:
    async def method(self: Any) -> None:
        if self.__dict__.pop("closed", False):
            raise AssertionError("closed twice")
        self.closed = True

    return method


def refuses(*_: Any) -> Any:
    raise PaymentRefused("no")


def breaks(*_: Any) -> Any:
    raise KeyError("about")


def in_hundredths(status: PaymentStatus) -> PaymentStatus:
    return replace(status, received_minor=status.received_minor * (100 if status.currency == "JPY" else 1))


def refunds_with(**fields: Any) -> Callable[[PaymentStatus], PaymentStatus]:
    return lambda status: replace(status, refunds=tuple(replace(one, **fields) for one in status.refunds))


def without_failures(status: PaymentStatus) -> PaymentStatus:
    return replace(status, state=PaymentState.AWAITING if not status.received_minor else status.state)


DONE = RefundResult("nothing", RefundState.SUCCEEDED)
UNKNOWN = PaymentStatus("x", PaymentState.AWAITING, 1, 0, "USD", True)
EVENT = PaymentEvent("id", "about", True, False)
HARBOUR = [
    ("it_is_a_provider", "check", altered("{0}\n{0}".format)),
    ("closing_twice_is_closing_once", "close", closes_once),
    ("an_order_is_made_payable_once", "create_payment", by_another_key("always")),
    ("creating_at_once_makes_one_payment", "create_payment", by_another_key("at once")),
    ("resuming_gives_the_answer_that_creating_gave", "resume", altered(lambda made: replace(made, payload={}))),
    ("resuming_gives_the_answer_that_creating_gave", "resume", instead_of(PaymentRefused, lambda *_: None)),
    ("what_cannot_be_paid_is_refused_before_anybody_is_asked", "check_order", takes_anything),
    ("what_cannot_be_paid_is_refused_before_anybody_is_asked", "check_order", asks_first),
    ("a_payment_is_described_before_and_after_it_is_paid", "query", altered(in_hundredths)),
    ("a_payment_is_described_before_and_after_it_is_paid", "query",
     altered(lambda status: replace(status, state=PaymentState.SUCCEEDED))),
    ("a_payment_is_described_before_and_after_it_is_paid", "query",
     altered(lambda status: replace(status, deployment=None))),
    ("a_payment_that_is_unknown_is_refused", "query", instead_of(PaymentRefused, lambda *_: UNKNOWN)),
    ("an_outage_leaves_it_open", "query", instead_of(PaymentUnavailable, refuses)),
    ("an_answer_that_was_lost_is_asked_for_again", "create_payment", by_another_key("in doubt")),
    ("a_genuine_webhook_names_its_payment", "handle_webhook",
     altered(lambda event: replace(event, livemode=False))),
    ("a_genuine_webhook_names_its_payment", "handle_webhook",
     altered(lambda event: replace(event, event_id=new_id()))),
    ("a_webhook_that_is_not_genuine_is_refused", "handle_webhook", answers(lambda *_: EVENT)),
    ("a_genuine_webhook_without_sense_is_a_bad_request", "handle_webhook", answers(breaks)),
    ("events_can_always_be_asked_for", "events", yields(Backfilled(EVENT, b"{}"))),
    ("a_refund_is_made_once_by_its_id", "refund", by_another_key("always")),
    ("a_refund_is_made_once_by_its_id", "query", altered(refunds_with(refund_id=None))),
    ("no_more_goes_back_than_came_in", "refund", instead_of(PaymentRefused, lambda *_: DONE)),
    ("what_was_never_paid_is_not_refunded", "refund", instead_of(PaymentRefused, lambda *_: DONE)),
    ("a_refund_is_in_a_state_of_the_contract", "refund",
     altered(lambda made: replace(made, state=RefundState.PENDING))),
    ("a_refund_whose_answer_was_lost_is_made_once", "refund", by_another_key("in doubt")),
    ("refunds_at_once_are_one_by_their_id", "refund", by_another_key("at once")),
]  # fmt: skip
STRIPE = [
    ("an_old_order_is_looked_for_before_it_is_made_again", "_search", answers(lambda *_: None)),
    ("a_try_that_fails_is_no_end", "query", altered(without_failures)),
    ("an_old_webhook_is_refused", "handle_webhook",
     answers(lambda headers, body: read_event(orjson.loads(body)))),
    ("what_is_no_payment_is_understood_and_not_wanted", "handle_webhook",
     altered(lambda event: replace(event, wanted=True))),
    ("events_are_those_that_webhooks_told", "events", yields()),
    ("a_refund_may_fail_in_the_end", "query", altered(refunds_with(state=RefundState.SUCCEEDED))),
]  # fmt: skip
Spoilt = tuple[str, str, Callable[[str], Any]]


async def complains(world: World, spoilt: Spoilt) -> None:
    check, name, method_of = spoilt
    await BY_NAME[check].run(world)  # as it should be
    with pytest.raises(AssertionError) as complaint:
        await BY_NAME[check].run(spoil(world, name, method_of(name)))
    assert "\n" not in str(complaint.value)


@pytest.mark.parametrize("spoilt", HARBOUR, ids=lambda one: f"{one[0]}-{one[1]}")
async def test_a_broken_rule_is_found(spoilt: Spoilt) -> None:
    await complains(HarbourWorld(), spoilt)


@pytest.mark.parametrize("spoilt", STRIPE, ids=lambda one: f"{one[0]}-{one[1]}")
async def test_a_broken_rule_is_found_at_stripe(spoilt: Spoilt) -> None:
    async with StripeWorld.open() as world:
        await complains(world, spoilt)


def test_every_check_was_seen_to_fail() -> None:
    assert {check for check, _, _ in (*HARBOUR, *STRIPE)} == set(BY_NAME)


async def test_the_suite_needs_no_test_runner() -> None:
    """As docs/PAYMENTS.md shows it."""

    @asynccontextmanager
    async def good() -> AsyncIterator[World]:
        yield HarbourWorld()

    @asynccontextmanager
    async def bad() -> AsyncIterator[World]:
        yield spoil(HarbourWorld(), "close", closes_once("close"))

    assert await failures(HarbourWorld, good) == {}
    assert await failures(HarbourWorld, bad) == {"closing_twice_is_closing_once": "closed twice"}
