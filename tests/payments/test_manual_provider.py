"""Bank transfers from the checkout to the wallet: what an operator confirms, mistypes, repeats and takes back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.errors import Conflict, PaymentRefused, PaymentsOff, RequestInvalid, SignatureInvalid
from rabbitgw.payments.events import receive_webhook
from rabbitgw.payments.manual_provider import ManualProvider, check_confirmation
from rabbitgw.payments.orders import Checkout
from rabbitgw.payments.refunds import Refund
from tests.books import Customer
from tests.payments.shop import DOLLAR, PaymentShop

TEN = 10 * DOLLAR
KEY = {"authorization": "Bearer admin-of-the-tests"}
LINE = {"id": "line-1", "type": "received", "order_id": "ORD-1", "amount_cents": 1000, "currency": "USD"}
WORD = {
    "id": "word-1",
    "type": "refund_sent",
    "order_id": "ORD-1",
    "refund_id": "0197f1a0-5c3e-7d2a-9b4f-a1b2c3d4e5f6",
}


async def said(shop: PaymentShop, fields: Any, headers: dict[str, str] = KEY) -> bool:
    """What POST /v1/webhooks/manual does. Returns: whether it was new."""
    body = fields if isinstance(fields, bytes) else orjson.dumps(fields)
    return await receive_webhook(shop.shop.pg, shop.payments.providers.get("manual"), headers, body)


async def confirm(shop: PaymentShop, **fields: Any) -> None:
    """An operator's word, worked off."""
    await said(shop, {**LINE, **fields})
    await shop.payments.run_once()


async def ordered(shop: PaymentShop, customer: Customer, order_id: str = "ORD-1", **fields: Any) -> Checkout:
    return await shop.checkout(customer, order_id=order_id, provider="manual", **fields)


async def paid_and_refunding(shop: PaymentShop, customer: Customer, order_id: str = "ORD-1") -> Refund:
    """An order of ten dollars, paid, of which four are to go back."""
    await ordered(shop, customer, order_id)
    await confirm(shop, id=f"line of {order_id}", order_id=order_id)
    refund = await shop.refund(order_id, 400)
    assert (refund.state, refund.provider_refund_id) == ("pending", f"manual:{refund.id}")
    return refund


async def word_on(shop: PaymentShop, refund: Refund, word: str, line_id: str) -> None:
    """What became of a refund, worked off."""
    await said(shop, {"id": line_id, "type": word, "order_id": refund.order_id, "refund_id": str(refund.id)})
    await shop.payments.run_once()


async def review_reason(shop: PaymentShop, order_id: str = "ORD-1") -> str:
    return str((await shop.payments.orders.get(order_id, None))["review_reason"])


async def test_a_transfer_that_is_confirmed_is_in_the_wallet_once(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await ordered(shop, customer, bonus_nanos=DOLLAR)
    assert (made.init.type, made.init.payload) == (
        "instructions",
        {"instructions": "Rabbit Ltd, IBAN XX00", "reference": "ORD-1"},
    )
    assert made == await ordered(shop, customer, bonus_nanos=DOLLAR)
    await shop.payments.run_once()
    assert (await shop.status("ORD-1"), await customer.ledger_nanos()) == ("awaiting_payment", 0)
    assert await said(shop, LINE)
    assert not await said(shop, LINE, {"x-api-key": "admin-of-the-tests"})
    await shop.payments.run_once()
    await confirm(shop)
    assert (await shop.status("ORD-1"), await customer.ledger_nanos()) == ("paid", 11 * DOLLAR)
    assert await shop.house("cash:manual") == -TEN
    await shop.balanced()


MISFITS = (
    ({"amount_cents": 999}, "1000 minor units of USD were asked for, 999 came in"),
    ({"amount_cents": 1001}, "1000 minor units of USD were asked for, 1001 came in"),
    ({"currency": "JPY"}, "USD were asked for, JPY came in"),
)


async def test_a_transfer_that_does_not_fit_waits_for_a_person(shop: PaymentShop) -> None:
    customer = await shop.customer()
    for number, (line, why) in enumerate(MISFITS):
        order_id = f"ORD-{number}"
        await ordered(shop, customer, order_id)
        await confirm(shop, id=order_id, order_id=order_id, **line)
        assert (await shop.status(order_id), await review_reason(shop, order_id)) == ("needs_review", why)
    assert await customer.ledger_nanos() == 0
    assert await shop.house("clearing") == 20_000_000_000
    assert await shop.house("clearing", "JPY") == 1_000_000_000_000
    # and can be sent back from where it is
    for number in range(len(MISFITS)):
        await word_on(shop, await shop.refund(f"ORD-{number}"), "refund_sent", f"word-{number}")
        assert await shop.status(f"ORD-{number}") == "refunded"
    for account in ("clearing", "cash:manual", "refunds:pending"):
        assert await shop.house(account) == await shop.house(account, "JPY") == 0
    await shop.balanced()


async def test_what_comes_in_beside_the_first_transfer_is_not_lost(shop: PaymentShop) -> None:
    customer = await shop.customer()
    for order_id in ("AT-ONCE", "ONE-BY-ONE"):
        await ordered(shop, customer, order_id)
        for number, fields in enumerate(
            [{}, {"amount_cents": 250}, {"currency": "EUR", "amount_cents": 300}]
        ):
            await said(shop, {**LINE, "id": f"{order_id} {number}", "order_id": order_id, **fields})
            if order_id == "ONE-BY-ONE":
                await shop.payments.run_once()
        await shop.payments.run_once()
        assert await shop.status(order_id) == "needs_review"
        assert await review_reason(shop, order_id) == "another payment than the order's own"
    assert await customer.ledger_nanos() == 2 * TEN
    assert await shop.house("clearing") == 5_000_000_000
    assert await shop.house("clearing", "EUR") == 6_000_000_000
    assert await shop.house("cash:manual") == -25_000_000_000
    # what came in beside an order goes back first, each in its own currency; then the order is paid
    for order_id in ("AT-ONCE", "ONE-BY-ONE"):
        for word in ("first word", "second word"):
            await word_on(shop, await shop.refund(order_id), "refund_sent", f"{word} {order_id}")
        assert await shop.status(order_id) == "paid"
    assert await shop.house("clearing") == await shop.house("clearing", "EUR") == 0
    assert await customer.ledger_nanos() == 2 * TEN
    await shop.balanced()


@pytest.mark.parametrize(
    ("words", "status", "left"),
    [
        (["refund_sent", "refund_sent"], "partially_refunded", 6 * DOLLAR),
        (["refund_failed", "refund_failed"], "paid", TEN),
        (["refund_sent", "refund_failed"], "paid", TEN),  # it came back
    ],
)
async def test_a_refund_is_what_the_operators_last_word_says(
    shop: PaymentShop, words: list[str], status: str, left: int
) -> None:
    customer = await shop.customer()
    refund = await paid_and_refunding(shop, customer)
    assert await customer.ledger_nanos() == 6 * DOLLAR
    assert await shop.house("refunds:pending") == 4 * DOLLAR
    for number, word in enumerate(words):
        await word_on(shop, refund, word, f"word-{number}")
    await word_on(shop, refund, words[-1], f"word-{len(words) - 1}")
    assert (await customer.ledger_nanos(), await shop.status("ORD-1")) == (left, status)
    assert await shop.house("cash:manual") == -left
    assert await shop.house("refunds:pending") == 0
    await shop.balanced()


async def test_a_word_about_another_orders_refund_moves_nothing(
    shop: PaymentShop, caplog: pytest.LogCaptureFixture
) -> None:
    customer = await shop.customer()
    refund = await paid_and_refunding(shop, customer)
    await ordered(shop, customer, "ORD-2")
    await confirm(shop, id="line-2", order_id="ORD-2")
    words = {"id": "word-1", "type": "refund_sent", "order_id": "ORD-2", "refund_id": str(refund.id)}
    await said(shop, words)
    await shop.payments.run_once()
    assert (await shop.status("ORD-2"), await customer.ledger_nanos()) == ("paid", 16 * DOLLAR)
    assert "transfer_refund_unknown" in caplog.text
    await shop.balanced()


async def test_a_confirmation_that_nobody_ordered_is_given_up_and_kept(shop: PaymentShop) -> None:
    customer = await shop.customer()
    await shop.checkout(customer, order_id="ORD-1")  # at Stripe
    await said(shop, LINE)
    await said(shop, {**LINE, "id": "line-2", "order_id": "ORD-9"})
    await shop.payments.run_once()
    rows = await shop.shop.pg.fetch("SELECT state, outcome FROM provider_events ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("given_up", "no transfer is expected for order ORD-1"),
        ("given_up", "no transfer is expected for order ORD-9"),
    ]
    assert await shop.house("cash:manual") == 0
    await shop.balanced()


async def test_one_line_of_the_bank_says_one_thing(shop: PaymentShop) -> None:
    customer = await shop.customer()
    for order_id in ("ORD-1", "ORD-2"):
        await ordered(shop, customer, order_id)
    await confirm(shop)
    for differs in ({"amount_cents": 100}, {"order_id": "ORD-2"}):
        with pytest.raises(Conflict, match="id: another message has it") as refused:
            await confirm(shop, **differs)
        assert refused.value.field == "id"
    assert (await shop.status("ORD-2"), await customer.ledger_nanos()) == ("awaiting_payment", TEN)
    await shop.balanced()


async def test_without_the_key_nothing_is_stored(shop: PaymentShop) -> None:
    keys = [
        "",
        "admin-of-the-test",
        "admin-of-the-tests ",
        "admin-of-the-testsx",
        "ADMIN-OF-THE-TESTS",
        "\udcff",
    ]
    for headers in [{}, *({"authorization": f"Bearer {key}"} for key in keys), {"x-api-key": "x", **KEY}]:
        with pytest.raises(SignatureInvalid, match="the admin key"):
            await said(shop, LINE, headers)
    with pytest.raises(PaymentsOff, match="RABBITGW_ADMIN_KEY"):
        await ManualProvider(shop.shop.pg, "details", "").handle_webhook(KEY, orjson.dumps(LINE))
    assert await shop.shop.pg.fetchval("SELECT count(*) FROM provider_events") == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**LINE, "type": "paid"}, "type"),
        ({**LINE, "type": ["received"]}, "type"),
        ({name: value for name, value in LINE.items() if name != "type"}, "type"),
        ({name: value for name, value in LINE.items() if name != "id"}, "id"),
        ({name: value for name, value in LINE.items() if name != "currency"}, "currency"),
        ({**LINE, "refund_id": WORD["refund_id"]}, "refund_id"),
        ({**LINE, "amount": 1000}, "amount"),
        ({**LINE, "id": ""}, "id"),
        ({**LINE, "id": 4711}, "id"),
        ({**LINE, "id": "x" * 181}, "id"),
        ({**LINE, "id": "line\n1"}, "id"),
        ({**LINE, "order_id": "ORD 1"}, "order_id"),
        ({**LINE, "order_id": "ORD/1"}, "order_id"),
        ({**LINE, "order_id": "o" * 65}, "order_id"),
        ({**LINE, "order_id": None}, "order_id"),
        ({**LINE, "amount_cents": 0}, "amount_cents"),
        ({**LINE, "amount_cents": -1000}, "amount_cents"),
        ({**LINE, "amount_cents": True}, "amount_cents"),
        ({**LINE, "amount_cents": 10.0}, "amount_cents"),
        ({**LINE, "amount_cents": "1000"}, "amount_cents"),
        ({**LINE, "amount_cents": 100_000_000}, "amount_cents"),
        ({**LINE, "currency": "usd"}, "currency"),
        ({**LINE, "currency": "XAU"}, "currency"),
        ({**LINE, "currency": 840}, "currency"),
        ({**WORD, "refund_id": "re_1"}, "refund_id"),
        ({**WORD, "refund_id": WORD["refund_id"].upper()}, "refund_id"),
        ({**WORD, "amount_cents": 400}, "amount_cents"),
    ],
)  # fmt: skip
def test_a_confirmation_names_the_field_that_is_wrong(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        check_confirmation(fields)
    assert refused.value.field == field
    assert refused.value.message.startswith(f"{field}: ")


async def test_an_order_that_a_transfer_cannot_pay_is_refused(shop: PaymentShop) -> None:
    customer = await shop.customer()
    with pytest.raises(RequestInvalid, match="methods: a bank transfer knows none"):
        await ordered(shop, customer, methods=("card",))
    with pytest.raises(RequestInvalid, match="mode: a bank transfer has no page"):
        await ordered(shop, customer, mode="checkout_session", return_url="https://shop.example/")
    assert await shop.shop.pg.fetchval("SELECT count(*) FROM payment_orders") == 0
    with pytest.raises(PaymentRefused, match="no transfer is expected for order ORD-1"):
        await shop.payments.providers.get("manual").query("manual:ORD-1")
