"""A charge whose hold Redis no longer knows goes straight into the books, once, and reaches Redis as a credit."""

from __future__ import annotations

import pytest

from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.settling import Ending, NotYet
from rabbitgw.billing.stray import StrayBooker
from rabbitgw.clock import new_id
from tests.books import Customer, Shop, assert_books_balance, drain, end_of_call

CREDIT_NANOS = 1_000_000


@pytest.fixture
async def customer(shop: Shop) -> Customer:
    return await shop.customer(CREDIT_NANOS)


def booker(shop: Shop) -> StrayBooker:
    return StrayBooker(shop.pg, shop.link, shop.scripts.names)


def ending(customer: Customer, hold_id: str, cost_nanos: int) -> Ending:
    return Ending(hold_id, customer.partition, customer.id, "USD", cost_nanos, "settled", end_of_call(), 0)


async def test_it_is_booked_once_and_taken_from_the_wallet(shop: Shop, customer: Customer) -> None:
    await drain(shop.pg, shop.link)  # opens the cursors
    hold_id = new_id()
    for _ in range(3):
        await booker(shop).book(ending(customer, hold_id, 700))
    assert await customer.ledger_nanos() == CREDIT_NANOS - 700
    assert (await customer.bill(hold_id))["charge_nanos"] == 700
    await Credits(shop.pg, shop.link).run_once()
    assert await customer.redis_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(shop)


async def test_a_call_that_was_booked_by_its_event_is_not_booked_again(
    shop: Shop, customer: Customer
) -> None:
    hold_id = await customer.call(700)
    await drain(shop.pg, shop.link)
    await booker(shop).book(ending(customer, hold_id, 700))
    assert await customer.ledger_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(shop)


async def test_its_event_may_still_be_in_the_stream_so_it_waits(shop: Shop, customer: Customer) -> None:
    await drain(shop.pg, shop.link)
    hold_id = await customer.call(700)
    strays = booker(shop)
    with pytest.raises(NotYet):
        await strays.book(ending(customer, hold_id, 700))
    await drain(shop.pg, shop.link)
    await strays.book(ending(customer, hold_id, 700))
    assert await customer.ledger_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(shop)


async def test_traffic_that_keeps_the_stream_ahead_of_the_books_does_not_keep_it_waiting(
    shop: Shop, customer: Customer
) -> None:
    await drain(shop.pg, shop.link)
    consumer = Consumer(shop.pg, shop.link)
    strays = booker(shop)
    hold_id = new_id()
    await customer.call(100)
    with pytest.raises(NotYet):
        await strays.book(ending(customer, hold_id, 700))
    assert await consumer.run_once()
    await customer.call(100)  # the next event is there before the next try
    await strays.book(ending(customer, hold_id, 700))
    await consumer.release()
    assert (await customer.bill(hold_id))["charge_nanos"] == 700
    await assert_books_balance(shop)


async def test_of_a_call_that_expired_the_difference_is_booked(shop: Shop, customer: Customer) -> None:
    hold_id = await customer.hold(1000)
    await customer.deliver(hold_id, 300)
    assert await customer.expire(hold_id) == "OK"
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == CREDIT_NANOS - 300
    await booker(shop).book(ending(customer, hold_id, 700))
    assert await customer.ledger_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(shop)


async def test_a_free_call_moves_nothing(shop: Shop, customer: Customer) -> None:
    await drain(shop.pg, shop.link)
    hold_id = new_id()
    await booker(shop).book(ending(customer, hold_id, 0))
    assert (await customer.bill(hold_id))["status"] == "settled"
    assert await customer.ledger_nanos() == CREDIT_NANOS
    await assert_books_balance(shop)
