"""Checks of orders and payments: made payable once, and what is said of them before and after the money.

Each check is one rule of the contract; its docstring is the rule.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rabbitgw.clock import new_id
from rabbitgw.errors import PaymentRefused, PaymentUnavailable, RequestInvalid
from rabbitgw.payments.conformance.world import Check, Trait, World, checks, demand, refusal
from rabbitgw.payments.contract import InitResult, Order, PaymentProvider, PaymentState, PaymentStatus

CHECKS: list[Check] = []
FIELDS = frozenset(
    ["amount_cents", "currency", "mode", "methods", "return_url", "cancel_url", "receipt_email", "provider"]
)
TYPES = frozenset(["client_secret", "redirect_url", "instructions"])
ID_CHARS_MAX = 255  # of whatever a provider calls something
UNPAID = (PaymentState.AWAITING, PaymentState.PROCESSING)
AT_ONCE = 3


@checks(CHECKS)
async def it_is_a_provider(world: World) -> None:
    """A provider has every method of the contract, a name, and knows whether its money is real."""
    provider = world.provider
    demand(isinstance(provider, PaymentProvider), f"{type(provider).__name__} lacks a method of the contract")
    demand(isinstance(provider.livemode, bool), "livemode is no bool")
    said = await provider.check()
    demand(bool(said) and "\n" not in said, f"check() answers one line, not {said!r}")


@checks(CHECKS)
async def closing_twice_is_closing_once(world: World) -> None:
    """`close` may be called when it is closed already."""
    provider = world.another()
    await provider.close()
    await provider.close()


@checks(CHECKS)
async def an_order_is_made_payable_once(world: World) -> None:
    """However often `create_payment` is called for one order, in one process or two, it makes one payment."""
    order = await world.some_order()
    first = await world.provider.create_payment(order)
    _well_formed(first)
    other = world.another()
    try:
        for provider in (world.provider, other):
            again = await provider.create_payment(order)
            demand(again == first, f"create_payment answered {first!r}, then {again!r} for the same order")
    finally:
        await other.close()
    different = await world.provider.create_payment(await world.some_order())
    demand(different.provider_txn_id != first.provider_txn_id, "two orders have one provider_txn_id")


@checks(CHECKS)
async def creating_at_once_makes_one_payment(world: World) -> None:
    """Two processes that make the same order payable at the same time: one payment; who is in doubt may ask again."""
    order = await world.some_order()
    others = [world.another() for _ in range(AT_ONCE)]
    try:
        answers = await asyncio.gather(*(one.create_payment(order) for one in others), return_exceptions=True)
    finally:
        for one in others:
            await one.close()
    made = await world.provider.create_payment(order)
    for answer in answers:
        if isinstance(answer, PaymentUnavailable):
            continue
        demand(answer == made, f"create_payment answered {answer!r} while others asked, and {made!r} after")


@checks(CHECKS)
async def resuming_gives_the_answer_that_creating_gave(world: World) -> None:
    """`resume` answers as `create_payment` did, in another process too; an id that is unknown is refused."""
    made = await world.provider.create_payment(await world.some_order())
    other = world.another()
    try:
        resumed = await other.resume(made.provider_txn_id)
    finally:
        await other.close()
    demand(resumed == made, f"create_payment answered {made!r}, resume {resumed!r}")
    unknown = made.provider_txn_id[:-1] + "~"
    await refusal("resume of an unknown id", world.provider.resume(unknown), PaymentRefused)


@checks(CHECKS, Trait.KEYS_END)
async def an_old_order_is_looked_for_before_it_is_made_again(world: World) -> None:
    """When an order is older than the provider's memory of requests, what was made for it is found."""
    order = await world.some_order()
    made = await world.provider.create_payment(order)
    order = await world.later(replace(order, customer_ref=made.customer_ref))
    again = await world.provider.create_payment(order)
    demand(
        again.provider_txn_id == made.provider_txn_id,
        f"an old order got a second payment: {made!r}, then {again!r}",
    )


@checks(CHECKS)
async def what_cannot_be_paid_is_refused_before_anybody_is_asked(world: World) -> None:
    """`check_order` refuses what the provider would not take, naming the checkout's field, and asks nobody for it."""
    order = await world.some_order()
    before = world.requests() if Trait.FAR in world.traits else 0
    world.provider.check_order(order)
    for changes, field in world.not_taken():
        try:
            world.provider.check_order(replace(order, **changes))
        except RequestInvalid as error:
            demand(
                error.field == field and field in FIELDS,
                f"an order with {changes} is refused for {error.field}, and not for {field}",
            )
        else:
            raise AssertionError(f"check_order takes an order with {changes}, and {field} is at fault")
    if Trait.FAR in world.traits:
        demand(world.requests() == before, "check_order asked the provider something")


@checks(CHECKS)
async def a_payment_is_described_before_and_after_it_is_paid(world: World) -> None:
    """In every currency: the amount in ISO minor units, what came in, whose order it is, and the mode."""
    for currency, amount_minor in world.amounts:
        order = await world.order(amount_minor, currency)
        world.provider.check_order(order)
        made = await world.provider.create_payment(order)
        status = await world.status(made)
        _about(world, order, made, status)
        demand(status.state in UNPAID and status.received_minor == 0,
               f"{order.order_id} is not paid, and query says {status!r}")  # fmt: skip
        await world.pay(order, made)
        status = await world.status(made)
        _about(world, order, made, status)
        demand(status.state is PaymentState.SUCCEEDED, f"{amount_minor} {currency} were paid: {status!r}")
        demand(status.received_minor == amount_minor,
               f"{amount_minor} minor units of {currency} were paid, query says {status.received_minor}")  # fmt: skip
        demand(bool(status.payment_id) and len(status.payment_id or "") <= ID_CHARS_MAX,
               f"a payment has an id of 1 to {ID_CHARS_MAX} characters, not {status.payment_id!r}")  # fmt: skip
        demand((status.fee_nanos is None) == (status.fee_currency is None), "a fee has a currency")
        demand(
            not (status.refunds or status.disputes or status.further), f"nothing else happened: {status!r}"
        )
        demand(await world.provider.query(str(status.payment_id)) is not None, "a payment's own id is known")


@checks(CHECKS)
async def a_payment_that_is_unknown_is_refused(world: World) -> None:
    """`query` of an id that the provider never gave raises PaymentRefused: nobody need ask again."""
    made = await world.provider.create_payment(await world.some_order())
    for unknown in (made.provider_txn_id[:-1] + "~", "nobody:" + made.provider_txn_id):
        await refusal(f"query of {unknown}", world.provider.query(unknown), PaymentRefused)


@checks(CHECKS, Trait.TRIES_FAIL)
async def a_try_that_fails_is_no_end(world: World) -> None:
    """After a try that failed the payment is failed, with a code; the next try may pay it."""
    order = await world.some_order()
    made = await world.provider.create_payment(order)
    await world.fail(order, made)
    status = await world.status(made)
    demand(status.state is PaymentState.FAILED and status.received_minor == 0, f"a try failed: {status!r}")
    demand(bool(status.failure_code), "a try that failed has a failure_code")
    await world.pay(order, made)
    status = await world.status(made)
    demand(status.state is PaymentState.SUCCEEDED, f"the second try paid: {status!r}")


@checks(CHECKS, Trait.FAR)
async def an_outage_leaves_it_open(world: World) -> None:
    """While the provider does not answer, every call says PaymentUnavailable, and works again when it does."""
    order, made = await world.paid()
    new = await world.some_order()
    provider = world.provider
    async with world.outage(after_work=False):
        for doing, ask in (
            ("create_payment", lambda: provider.create_payment(new)),
            ("resume", lambda: provider.resume(made.provider_txn_id)),
            ("query", lambda: provider.query(made.provider_txn_id)),
            ("refund", lambda: world.refund(order, made, None, new_id())),
            ("check", provider.check),
        ):
            await refusal(f"{doing} while the provider is away", ask(), PaymentUnavailable)
    demand(not (await world.status(made)).refunds, "a refund was made while the provider was away")
    await provider.create_payment(new)


@checks(CHECKS, Trait.FAR)
async def an_answer_that_was_lost_is_asked_for_again(world: World) -> None:
    """When the provider made a payment and its answer was lost, the next call finds that payment."""
    order = await world.some_order()
    async with world.outage(after_work=True):
        doing = "create_payment whose answer is lost"
        await refusal(doing, world.provider.create_payment(order), PaymentUnavailable)
    made = await world.provider.create_payment(order)
    await world.pay(order, made)
    again = await world.provider.create_payment(order)
    demand(again.provider_txn_id == made.provider_txn_id, "a lost answer made a second payment")


def _well_formed(made: InitResult) -> None:
    demand(made.type in TYPES, f"type is one of {', '.join(sorted(TYPES))}, not {made.type}")
    demand(bool(made.payload), "the customer is given nothing to go on with")
    demand(1 <= len(made.provider_txn_id) <= ID_CHARS_MAX,
           f"provider_txn_id has 1 to {ID_CHARS_MAX} characters")  # fmt: skip
    demand(made.customer_ref is None or 1 <= len(made.customer_ref) <= ID_CHARS_MAX,
           f"customer_ref has 1 to {ID_CHARS_MAX} characters")  # fmt: skip


def _about(world: World, order: Order, made: InitResult, status: PaymentStatus) -> None:
    """What is true of a payment at any time."""
    for name, said, wanted in (
        ("provider_txn_id", status.provider_txn_id, made.provider_txn_id),
        ("amount_minor", status.amount_minor, order.amount_minor),
        ("currency", status.currency, order.currency),
        ("livemode", status.livemode, world.provider.livemode),
        ("order_id", status.order_id, order.order_id),
        ("deployment", status.deployment, order.deployment),
    ):
        demand(said == wanted, f"query of {order.order_id} says {name} {said!r}, and it is {wanted!r}")
