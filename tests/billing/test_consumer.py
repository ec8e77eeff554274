"""The consumer: every event is booked once, whatever dies in between."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.event_streams import share_out
from tests.books import Shop, assert_books_balance, drain


async def lines_of(shop: Shop, account_id: int) -> list[tuple[str, int | None, int]]:
    rows = await shop.pg.fetch(
        "SELECT ledger_account, account_id, amount_nanos FROM ledger_entries WHERE transaction_id IN"
        " (SELECT transaction_id FROM ledger_entries WHERE account_id = $1) ORDER BY transaction_id, line",
        account_id,
    )
    return [tuple(row) for row in rows]


async def test_a_settled_call_becomes_a_bill_line_and_two_ledger_lines(shop: Shop) -> None:
    customer = await shop.customer(1_000_000, windows=1)
    call = await customer.call(1_234)
    await drain(shop.pg, shop.link)
    bill = await customer.bill(call)
    assert (bill["status"], bill["charge_nanos"], bill["late"]) == ("settled", 1_234, False)
    assert (bill["input_tokens"], bill["output_tokens"], bill["model"]) == (100, 20, "gpt")
    assert (bill["usage_source"], bill["price_version"], bill["attempts"]) == ("provider", 3, 1)
    assert bill["caller_request_id"] == "caller-1"
    assert bill["admitted_at"] <= bill["first_byte_at"] <= bill["finished_at"]
    assert await customer.ledger_nanos() == 998_766
    assert await lines_of(shop, customer.id) == [
        ("wallet", customer.id, 1_000_000),
        ("credit:operator", None, -1_000_000),
        ("wallet", customer.id, -1_234),
        ("revenue", None, 1_234),
    ]
    used = await shop.pg.fetchval(
        "SELECT used_nanos FROM window_spans WHERE window_id = $1", customer.windows[0]
    )
    assert used == 1_234
    await assert_books_balance(shop)


async def test_a_batch_is_one_transaction_per_wallet(shop: Shop) -> None:
    one, other = await shop.customer(10_000), await shop.customer(10_000)
    calls = [await one.call(100) for _ in range(3)]
    await other.call(7)
    consumer = Consumer(shop.pg, shop.link)
    assert await consumer.run_once() == 4
    assert len({(await one.bill(call))["ledger_transaction_id"] for call in calls}) == 1
    assert await shop.pg.fetchval("SELECT count(*) FROM ledger_transactions WHERE kind = 'usage'") == 2
    assert (await one.ledger_nanos(), await other.ledger_nanos()) == (9_700, 9_993)
    await consumer.release()
    await assert_books_balance(shop)


async def test_a_released_call_is_a_bill_line_without_money(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.hold(300)
    assert await customer.release(hold) == "OK"
    await drain(shop.pg, shop.link)
    bill = await customer.bill(hold)
    assert (bill["status"], bill["charge_nanos"], bill["ledger_transaction_id"]) == ("released", 0, None)
    assert await customer.ledger_nanos() == 1_000
    await assert_books_balance(shop)


async def test_the_stream_is_trimmed_up_to_what_is_booked(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    for _ in range(5):
        await customer.call(10)
    consumer = Consumer(shop.pg, shop.link, events_max=3)
    assert await consumer.run_once() == 3
    assert await shop.link.call("XLEN", customer.events) == 2
    assert await consumer.run_once() == 2
    assert await shop.link.call("XLEN", customer.events) == 0
    assert await consumer.run_once() == 0
    await consumer.release()
    await assert_books_balance(shop)


@pytest.mark.parametrize("apart", [False, True], ids=["one batch", "two batches"])
@pytest.mark.parametrize(
    ("delivered", "cost", "left"),
    [(50, 120, 880), (50, 20, 980), (50, 50, 950), (0, 120, 880), (50, 0, 1_000)],
)
async def test_a_late_end_charges_the_true_cost_once(
    shop: Shop, apart: bool, delivered: int, cost: int, left: int
) -> None:
    customer = await shop.customer(1_000, windows=2)
    hold = await customer.hold(300)
    await customer.deliver(hold, delivered)
    assert await customer.expire(hold) == "OK"
    if apart:
        await drain(shop.pg, shop.link)
        bill = await customer.bill(hold)
        assert (bill["status"], bill["charge_nanos"], bill["late"]) == ("expired", delivered, False)
        assert await customer.ledger_nanos() == 1_000 - delivered
        await assert_books_balance(shop)
    assert await customer.settle(hold, cost) == "LATE"
    assert await customer.settle(hold, cost) == "DONE"
    await drain(shop.pg, shop.link)
    bill = await customer.bill(hold)
    assert (bill["status"], bill["charge_nanos"], bill["late"]) == ("settled", cost, True)
    assert (bill["expired_nanos"], bill["input_tokens"]) == (delivered, 100)
    assert await customer.ledger_nanos() == await customer.redis_nanos() == left
    spans = await shop.pg.fetch("SELECT used_nanos FROM window_spans")
    assert [row["used_nanos"] for row in spans] == ([cost, cost] if cost or apart else [])
    await assert_books_balance(shop)


async def test_a_redelivered_late_end_is_not_swallowed_and_not_doubled(shop: Shop) -> None:
    """The same two events stand in the stream once more, as after a Redis that lost its tail."""
    customer = await shop.customer(1_000)
    hold = await customer.hold(300)
    await customer.deliver(hold, 50)
    await customer.expire(hold)
    await customer.settle(hold, 120)
    events = await shop.link.call("XRANGE", customer.events, "-", "+")
    await drain(shop.pg, shop.link)
    for _, flat in events:
        await shop.link.call("XADD", customer.events, "*", *flat)
        await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 880
    await assert_books_balance(shop)


GOOD = {"s": "settled", "n": "5", "x": "0", "c": "USD", "w": "", "p": '{"at":1,"t0":1700000000000}'}
ID = "01930000-0000-7000-8000-00000000000{}"


@pytest.mark.parametrize(
    "changes",
    [
        {"p": "{"}, {"p": "[]"}, {"p": b"\xff"}, {"p": '{"in": -1}'}, {"p": '{"in": 1e300}'},
        {"p": '{"in": 99999999999999999999}'}, {"p": '{"m": 7}'}, {"p": '{"t1": 9e18}'},
        {"p": '{"tools": {"a": "\\u0000"}}'}, {"w": "x"}, {"w": b"\xff"}, {"s": "odd"}, {"s": b"\xff"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_event_whose_charge_can_be_read_is_charged(shop: Shop, changes: dict[str, Any]) -> None:
    customer = await shop.customer(1_000)
    await customer.emit(**{**GOOD, "id": ID.format(1), "a": str(customer.id), **changes})
    await customer.emit(**{**GOOD, "id": ID.format(2), "a": str(customer.id)})
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 990
    (dead,) = await shop.pg.fetch("SELECT reason, charged FROM dead_events")
    assert dead["charged"], dead["reason"]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "7"}, {"id": b"\xff"}, {"a": "x"}, {"a": "-1"}, {"n": "1.5"}, {"n": ""}, {"c": "usd"}, {"c": "US\x00"},
        {"n": "99999999999999999999"}, {"a": "99999999999999999999"}, {"s": "late", "x": "?"}, {"a": "987654321"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_event_that_cannot_be_charged_is_buried_and_the_line_goes_on(
    shop: Shop, changes: dict[str, Any]
) -> None:
    customer = await shop.customer(1_000)
    for number in (1, 2, 3):
        await customer.emit(**{**GOOD, "id": ID.format(number), "a": str(customer.id)})
        if number == 2:
            await customer.emit(**{**GOOD, "id": ID.format(9), "a": str(customer.id), **changes})
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 985
    (dead,) = await shop.pg.fetch("SELECT reason, charged, fields FROM dead_events")
    assert not dead["charged"]
    assert dead["reason"]


async def test_text_that_postgres_refuses_is_kept_readable(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    said = '{"m": "a\\u0000b", "r": "' + "x" * 9_000 + '"}'
    await customer.emit(**{**GOOD, "id": ID.format(1), "a": str(customer.id), "p": said})
    await drain(shop.pg, shop.link)
    bill = await customer.bill(ID.format(1))
    assert bill["model"] == "a�b"
    assert len(bill["caller_request_id"]) == 256


async def test_a_second_end_of_one_call_is_told_and_not_charged(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    for _ in range(2):
        await customer.emit(**{**GOOD, "id": ID.format(1), "a": str(customer.id)})
    await drain(shop.pg, shop.link)
    assert await customer.ledger_nanos() == 995
    assert await shop.pg.fetchval("SELECT reason FROM dead_events") == (
        "a second end of the call: settled after settled"
    )


async def test_the_worst_balance_is_copied(shop: Shop) -> None:
    customer = await shop.customer(1_000)
    hold = await customer.hold(900)
    await customer.settle(hold, 1_250)
    await drain(shop.pg, shop.link)
    worst = await shop.pg.fetchval("SELECT worst_nanos FROM wallets WHERE account_id = $1", customer.id)
    assert (worst, await customer.ledger_nanos()) == (-250, -250)
    report = await assert_books_balance(shop, overspend_bounds={"streamed": 250})
    assert (report.worst_overspend_nanos, report.overspend_bound_nanos) == (250, 250)


def test_a_busy_partition_cannot_starve_the_others() -> None:
    assert share_out({0: 10_000, 1: 3, 2: 50}, 100) == {1: 3, 2: 48, 0: 49}
    assert share_out({0: 5, 1: 3}, 100) == {0: 5, 1: 3}
    assert share_out(dict.fromkeys(range(64), 9), 10) == dict.fromkeys(range(64), 1)
    assert share_out({}, 10) == {}
