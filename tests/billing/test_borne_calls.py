"""Calls that a plan bears, wholly or in part, from their end in Redis to the books."""

from __future__ import annotations

import orjson
import pytest

from rabbitgw.billing.events import ticket
from rabbitgw.billing.hold import Terms
from rabbitgw.billing.settling import Ending
from rabbitgw.billing.stray import StrayBooker
from rabbitgw.clock import new_id, now_ms
from rabbitgw.prepared import WindowCheck
from tests.books import Customer, Shop, assert_books_balance, drain, end_of_call

CREDIT_NANOS = 1_000


@pytest.fixture
async def customer(shop: Shop) -> Customer:
    """With two windows: what its plan includes counts in the first, what it does not in the second."""
    return await shop.customer(CREDIT_NANOS, windows=2)


async def borne(customer: Customer, amount_nanos: int) -> str:
    """Hold by an allowance."""
    scripts = customer.shop.scripts
    command = scripts.reserve_command(
        customer.partition,
        customer.id,
        worker_id="worker-1",
        currency="USD",
        key_id=7,
        generation=1,
        max_age_ms=60_000,
        backlog_max=1000,
        windows=[WindowCheck(window, "life", 0, 0, 9 * 10**18) for window in customer.windows],
        enforce=b"1-",
        how=b"~",
    )
    hold_id = new_id()
    offers = command.offers([Terms(amount_nanos, amount_nanos, 0)])
    facts = ticket(
        key_id=7,
        caller_request_id=None,
        model="gpt",
        dialect="openai-chat",
        price_version=3,
        admitted_ms=now_ms(),
    )
    said = orjson.dumps({**facts, "of": "spill"})
    assert (await scripts.reserve(command, hold_id, offers, said)).word == "OK"
    return hold_id


async def goes_on(customer: Customer, hold_id: str, total_nanos: int, delivered_nanos: int) -> None:
    """The stream goes on by the wallet."""
    reply = await customer.shop.scripts.extend(
        customer.partition,
        customer.id,
        hold_id=hold_id,
        new_total_nanos=total_nanos,
        least_total_nanos=total_nanos,
        delivered_nanos=delivered_nanos,
        way=b"%d:life" % customer.windows[1],
    )
    assert reply.word == "OK"


async def counted(customer: Customer) -> list[int]:
    rows = await customer.shop.pg.fetch("SELECT window_id, used_nanos FROM window_spans")
    used = {row["window_id"]: row["used_nanos"] for row in rows}
    return [used.get(window, 0) for window in customer.windows]


async def kept(customer: Customer, hold_id: str) -> tuple[str, int, int, str | None]:
    bill = await customer.bill(hold_id)
    return bill["status"], bill["charge_nanos"], bill["included_nanos"], bill["overflow"]


async def test_what_is_borne_is_counted_and_not_charged(shop: Shop, customer: Customer) -> None:
    hold_id = await borne(customer, 5_000)  # more than the wallet has
    assert await customer.settle(hold_id, 4_200) == "OK"
    await drain(shop.pg, shop.link)
    assert await kept(customer, hold_id) == ("settled", 0, 4_200, None)
    assert await counted(customer) == [4_200, 0]
    assert await customer.ledger_nanos() == await customer.redis_nanos() == CREDIT_NANOS
    assert await shop.pg.fetchval("SELECT count(*) FROM ledger_transactions WHERE kind = 'usage'") == 0
    await assert_books_balance(shop)


async def test_what_is_released_is_neither(shop: Shop, customer: Customer) -> None:
    hold_id = await borne(customer, 5_000)
    assert await customer.release(hold_id) == "OK"
    await drain(shop.pg, shop.link)
    assert await kept(customer, hold_id) == ("released", 0, 0, None)
    assert await counted(customer) == [0, 0]
    await assert_books_balance(shop)


@pytest.mark.parametrize("apart", [False, True], ids=["one batch", "two batches"])
@pytest.mark.parametrize(
    ("cost", "charged", "included"),
    [(420, 120, 300), (120, 0, 120), (350, 50, 300), (0, 0, 0), (900, 600, 300)],
    ids=["more", "less", "the same", "nothing", "beyond the hold"],
)
async def test_a_late_end_divides_the_true_cost_among_the_parts(
    shop: Shop, customer: Customer, apart: bool, cost: int, charged: int, included: int
) -> None:
    hold_id = await borne(customer, 300)
    await goes_on(customer, hold_id, 500, 350)
    assert await customer.expire(hold_id) == "OK"
    if apart:
        await drain(shop.pg, shop.link)
        assert await kept(customer, hold_id) == ("expired", 50, 300, "spill")
        assert await counted(customer) == [300, 50]
        assert await customer.ledger_nanos() == CREDIT_NANOS - 50
        await assert_books_balance(shop)
    assert await customer.settle(hold_id, cost) == "LATE"
    await drain(shop.pg, shop.link)
    assert await kept(customer, hold_id) == ("settled", charged, included, None)
    assert await counted(customer) == [included, charged]
    assert await customer.ledger_nanos() == await customer.redis_nanos() == CREDIT_NANOS - charged
    await assert_books_balance(shop)


async def test_the_same_events_once_more_move_nothing(shop: Shop, customer: Customer) -> None:
    hold_id = await borne(customer, 300)
    await goes_on(customer, hold_id, 500, 350)
    await customer.expire(hold_id)
    await customer.settle(hold_id, 420)
    events = await shop.link.call("XRANGE", customer.events, "-", "+")
    await drain(shop.pg, shop.link)
    for _, flat in events:
        await shop.link.call("XADD", customer.events, "*", *flat)
        await drain(shop.pg, shop.link)
    assert await kept(customer, hold_id) == ("settled", 120, 300, None)
    assert await counted(customer) == [300, 120]
    await assert_books_balance(shop)


@pytest.mark.parametrize("expired", [False, True])
async def test_a_settle_that_redis_no_longer_knows_charges_what_the_plan_does_not_bear(
    shop: Shop, customer: Customer, expired: bool
) -> None:
    await drain(shop.pg, shop.link)
    hold_id = new_id()
    if expired:
        hold_id = await borne(customer, 300)
        await goes_on(customer, hold_id, 500, 350)
        await customer.expire(hold_id)
        await drain(shop.pg, shop.link)
    ending = Ending(
        hold_id, customer.partition, customer.id, "USD", 420, "settled", end_of_call(), 0, borne_nanos=300
    )
    strays = StrayBooker(shop.pg, shop.link, shop.scripts.names)
    for _ in range(2):
        await strays.book(ending)
    assert await kept(customer, hold_id) == ("settled", 120, 300, None)
    assert await counted(customer) == (
        [300, 50] if expired else [0, 0]
    )  # as of every stray: what expiry counted
    assert await customer.ledger_nanos() == CREDIT_NANOS - 120
    await assert_books_balance(shop)


@pytest.mark.parametrize(
    "moves", ["7:day=", "7:day=x", "7=5", "x:day=5", "7:day=5,8:day", "7:day=9000000000000000001"]
)
async def test_moves_that_cannot_be_read_lose_no_charge(shop: Shop, customer: Customer, moves: str) -> None:
    hold_id = await customer.hold(100)
    assert await customer.settle(hold_id, 70) == "OK"
    ((_, flat),) = await shop.link.call("XRANGE", customer.events, "-", "+")
    values = dict(zip(flat[::2], flat[1::2], strict=True))
    await shop.link.call("XTRIM", customer.events, "MAXLEN", 0)
    await customer.emit(**{name.decode(): value for name, value in values.items()} | {"w": moves, "i": "?"})
    await drain(shop.pg, shop.link)
    assert (await customer.bill(hold_id))["charge_nanos"] == 70
    reason = await shop.pg.fetchval("SELECT reason FROM dead_events")
    assert reason == "the windows cannot be read; what a plan bore cannot be read"
