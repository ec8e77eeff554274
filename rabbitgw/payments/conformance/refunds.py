"""Checks of refunds: each once by our id, never more than came in, and known as ours ever after.

Each check is one rule of the contract; its docstring is the rule.
"""

from __future__ import annotations

import asyncio

from rabbitgw.clock import new_id
from rabbitgw.errors import PaymentRefused, PaymentUnavailable
from rabbitgw.payments.conformance.world import Check, Trait, World, checks, demand, refusal
from rabbitgw.payments.contract import InitResult, Order, RefundFact, RefundResult, RefundState

CHECKS: list[Check] = []
AT_ONCE = 3


@checks(CHECKS)
async def a_refund_is_made_once_by_its_id(world: World) -> None:
    """However often `refund` is called with one `refund_id`, money goes back once, and is known as that refund's."""
    order, made = await world.paid()
    part = order.amount_minor // 10 * 4
    refund_id = new_id()
    first = await _refunded(world, order, made, part, refund_id)
    again = await world.refund(order, made, part, refund_id)
    demand(again.provider_refund_id == first.provider_refund_id,
           f"one refund_id made {first!r} and {again!r}")  # fmt: skip
    second_id = new_id()
    second = await _refunded(world, order, made, part, second_id)
    demand(second.provider_refund_id != first.provider_refund_id, "two refunds have one provider_refund_id")
    facts = {fact.refund_id: fact for fact in await _facts(world, made)}
    demand(facts.keys() == {refund_id, second_id}, f"two refunds were made, query says {facts!r}")
    for refund in (refund_id, second_id):
        fact = facts[refund]
        demand((fact.amount_minor, fact.state) == (part, RefundState.SUCCEEDED),
               f"{part} went back, query says {fact!r}")  # fmt: skip


@checks(CHECKS)
async def no_more_goes_back_than_came_in(world: World) -> None:
    """A refund of more than is left is refused and moves nothing; without an amount all that is left goes back."""
    order, made = await world.paid()
    await refusal("a refund of more than was paid",
                  world.refund(order, made, order.amount_minor + 10, new_id()), PaymentRefused)  # fmt: skip
    part = order.amount_minor // 10 * 4
    await _refunded(world, order, made, part, new_id())
    left = order.amount_minor - part
    await refusal(
        "a refund of more than is left", world.refund(order, made, left + 10, new_id()), PaymentRefused
    )
    rest_id = new_id()
    await _refunded(world, order, made, None, rest_id)
    facts = {fact.refund_id: fact.amount_minor for fact in await _facts(world, made)}
    demand(facts.get(rest_id) == left, f"{left} were left, query says {facts!r}")
    demand(sum(facts.values()) == order.amount_minor, f"refunds come to what was paid, query says {facts!r}")
    for amount in (10, None):
        doing = "a refund of what went back already"
        await refusal(doing, world.refund(order, made, amount, new_id()), PaymentRefused)
    demand(len(await _facts(world, made)) == len(facts), "a refused refund is a fact")


@checks(CHECKS)
async def what_was_never_paid_is_not_refunded(world: World) -> None:
    """A refund of a payment that nobody has paid is refused; so is one of an unknown payment, or it waits: the key may
    be another account's."""
    order = await world.some_order()
    made = await world.provider.create_payment(order)
    await refusal("a refund of what was not paid", world.refund(order, made, None, new_id()), PaymentRefused)
    unknown = made.provider_txn_id[:-1] + "~"
    call = world.provider.refund(unknown, 10, None, refund_id=new_id())
    await refusal("a refund of an unknown payment", call, PaymentRefused, PaymentUnavailable)


@checks(CHECKS)
async def a_refund_is_in_a_state_of_the_contract(world: World) -> None:
    """A refund is pending or has succeeded when it is answered; a webhook that tells of it leads to the payment."""
    order, made = await world.paid()
    result = await world.refund(order, made, None, new_id())
    waits = Trait.REFUNDS_WAIT in world.traits
    due = RefundState.PENDING if waits else RefundState.SUCCEEDED
    demand(result.state is due, f"a refund is {due.value} at first in this world, not {result!r}")
    demand(
        1 <= len(result.provider_refund_id) <= 255, f"provider_refund_id has 1 to 255 characters: {result!r}"
    )
    for webhook in await world.told(order, made):
        event = await world.provider.handle_webhook(webhook.headers, webhook.body)
        if event.wanted:
            status = await world.provider.query(str(event.provider_txn_id))
            demand(status.order_id == order.order_id, f"{event!r} leads to order {status.order_id}")


@checks(CHECKS, Trait.REFUNDS_FAIL)
async def a_refund_may_fail_in_the_end(world: World) -> None:
    """A refund that could not be sent is failed, also when asked for again, and also after it had succeeded."""
    order, made = await world.paid()
    refund_id = new_id()
    result = await _refunded(world, order, made, order.amount_minor // 10 * 4, refund_id)
    told = len(await world.messages(order, made))
    await world.end_refund(order, made, result, ok=False)
    (fact,) = await _facts(world, made)
    demand((fact.refund_id, fact.state) == (refund_id, RefundState.FAILED), f"a refund failed: {fact!r}")
    again = await world.refund(order, made, order.amount_minor // 10 * 4, refund_id)
    demand(again.state is RefundState.FAILED, f"a refund that failed is asked for again: {again!r}")
    demand(len(await world.messages(order, made)) > told, "nobody was told that a refund failed")


@checks(CHECKS, Trait.FAR)
async def a_refund_whose_answer_was_lost_is_made_once(world: World) -> None:
    """When the provider made a refund and its answer was lost, the same `refund_id` finds it."""
    order, made = await world.paid()
    part, refund_id = order.amount_minor // 10 * 4, new_id()
    async with world.outage(after_work=True):
        doing = "refund whose answer is lost"
        await refusal(doing, world.refund(order, made, part, refund_id), PaymentUnavailable)
    await _refunded(world, order, made, part, refund_id)
    facts = await _facts(world, made)
    demand([fact.refund_id for fact in facts] == [refund_id], f"one refund was made, query says {facts!r}")


@checks(CHECKS)
async def refunds_at_once_are_one_by_their_id(world: World) -> None:
    """The same refund asked for at the same time is made once; who is in doubt may ask again."""
    order, made = await world.paid()
    part, refund_id = order.amount_minor // 10 * 4, new_id()
    calls = (world.refund(order, made, part, refund_id) for _ in range(AT_ONCE))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    result = await _refunded(world, order, made, part, refund_id)
    for answer in answers:
        same = isinstance(answer, RefundResult) and answer.provider_refund_id == result.provider_refund_id
        demand(same or isinstance(answer, PaymentUnavailable), f"{result!r} was made, and {answer!r} with it")
    facts = await _facts(world, made)
    demand([fact.refund_id for fact in facts] == [refund_id], f"one refund was made, query says {facts!r}")


async def _refunded(
    world: World, order: Order, made: InitResult, amount_minor: int | None, refund_id: str
) -> RefundResult:
    """A refund, to its good end."""
    result = await world.refund(order, made, amount_minor, refund_id)
    demand(isinstance(result.state, RefundState), f"a refund's state is the contract's: {result!r}")
    return await _ended(world, order, made, result)


async def _ended(world: World, order: Order, made: InitResult, result: RefundResult) -> RefundResult:
    if result.state is RefundState.PENDING and Trait.REFUNDS_WAIT in world.traits:
        await world.end_refund(order, made, result, ok=True)
    return result


async def _facts(world: World, made: InitResult) -> tuple[RefundFact, ...]:
    return (await world.status(made)).refunds
