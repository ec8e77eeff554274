"""Codes given with an order: a use is reserved, used or released, each once, and what it gives stays what it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rabbitgw.billing.accounts import create_account
from rabbitgw.errors import Conflict, RabbitError
from rabbitgw.payments.code_stock import Terms, create_codes, list_codes, retire_code
from rabbitgw.payments.code_text import ALPHABET, new_code, read_code
from rabbitgw.payments.codes import find_code, release_for_order, reserve_for_order, use_for_order
from rabbitgw.stores import transaction

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

BONUS = Terms("bonus", currency="USD", amount_nanos=3_000_000_000)
PAID = 45_000_000_000


async def reserved(
    pg: Pool, code_id: int, account_id: int, order_id: str, *, paid: int = PAID, currency: str = "USD"
) -> int | str:
    """The bonus, or why there is none."""
    try:
        async with transaction(pg) as db:
            return await reserve_for_order(
                db, code_id, account_id, order_id, paid_nanos=paid, currency=currency
            )
    except RabbitError as error:
        return error.message


async def used(pg: Pool, order_id: str, ledger_transaction_id: int | None = None) -> int:
    async with transaction(pg) as db:
        return await use_for_order(db, order_id, ledger_transaction_id)


async def released(pg: Pool, order_id: str) -> None:
    async with transaction(pg) as db:
        await release_for_order(db, order_id)


async def uses(pg: Pool) -> list[int]:
    return [code.uses for code in await list_codes(pg)]


async def test_a_use_is_reserved_then_used_and_each_again_changes_nothing(pg: Pool) -> None:
    account = await create_account(pg, "a")
    (made,) = await create_codes(pg, BONUS)
    code_id = await find_code(pg, account.id, made.text)
    assert code_id == made.code.id
    for _ in range(2):
        assert await reserved(pg, code_id, account.id, "order-1") == 3_000_000_000
    assert await uses(pg) == [1]
    await retire_code(pg, code_id)
    for _ in range(2):
        assert await used(pg, "order-1", 77) == 3_000_000_000
    await released(pg, "order-1")
    assert await used(pg, "order-1") == 3_000_000_000, "what is used is not released"
    assert await uses(pg) == [1]
    row = await pg.fetchrow("SELECT state, ledger_transaction_id, amount_nanos FROM credit_code_uses")
    assert row is not None
    assert tuple(row) == ("used", 77, 3_000_000_000)
    assert await used(pg, "order-2") == 0


async def test_what_is_released_is_free_for_another_order(pg: Pool) -> None:
    account = await create_account(pg, "a")
    ((one,), (two,)) = [await create_codes(pg, BONUS), await create_codes(pg, BONUS)]
    assert await reserved(pg, one.code.id, account.id, "order-1") == 3_000_000_000
    assert await reserved(pg, two.code.id, account.id, "order-1") == "code: order order-1 has another code"
    mine = "code: your account has used it already"
    assert await reserved(pg, one.code.id, account.id, "order-2") == mine
    for _ in range(2):
        await released(pg, "order-1")
    assert await uses(pg) == [0, 0]
    assert await used(pg, "order-1") == 0, "it was released"
    assert await reserved(pg, one.code.id, account.id, "order-2") == 3_000_000_000
    assert await reserved(pg, two.code.id, account.id, "order-1") == 3_000_000_000
    assert await uses(pg) == [1, 1]


async def test_of_many_orders_at_once_one_gets_the_code(pg: Pool) -> None:
    owners = [await create_account(pg, "a") for _ in range(3)]
    (made,) = await create_codes(pg, BONUS)
    answers = await asyncio.gather(
        *(reserved(pg, made.code.id, owners[n % 3].id, f"order-{n}") for n in range(30))
    )
    assert sorted(answers, key=str)[0] == 3_000_000_000
    assert {answer for answer in answers if answer != 3_000_000_000} == {
        "code: it has been used", "code: your account has used it already",
    }  # fmt: skip
    assert answers.count(3_000_000_000) == 1
    winner = answers.index(3_000_000_000)
    await asyncio.gather(*(released(pg, f"order-{winner}") for _ in range(5)))
    assert await uses(pg) == [0]


async def test_one_order_asked_for_many_times_at_once_has_one_code(pg: Pool) -> None:
    account = await create_account(pg, "a")
    one, two = [made.code.id for made in await create_codes(pg, BONUS, 2)]
    assert (
        await asyncio.gather(*(reserved(pg, one, account.id, "a") for _ in range(10))) == [3_000_000_000] * 10
    )
    await released(pg, "a")
    answers = await asyncio.gather(*(reserved(pg, (one, two)[n % 2], account.id, "b") for n in range(10)))
    assert sorted(map(str, answers)) == ["3000000000"] * 5 + ["code: order b has another code"] * 5
    assert sorted(await uses(pg)) == [0, 1]


async def test_a_percentage_is_of_what_is_paid_rounded_down_and_of_any_currency(pg: Pool) -> None:
    account = await create_account(pg, "a", "JPY")
    terms = Terms("bonus_percent", percent=15, uses_max=9, uses_per_account_max=9)
    (made,) = await create_codes(pg, terms)
    assert await reserved(pg, made.code.id, account.id, "a", currency="JPY") == 6_750_000_000
    assert await reserved(pg, made.code.id, account.id, "b", paid=7) == 1
    assert await reserved(pg, made.code.id, account.id, "c", paid=6) == 0
    assert await used(pg, "c") == 0
    (dollars,) = await create_codes(pg, BONUS)
    assert await reserved(pg, dollars.code.id, account.id, "d", currency="JPY") == (
        "code: it is worth USD, and this is paid in JPY"
    )
    (credit,) = await create_codes(pg, Terms("credit", currency="JPY", amount_nanos=1))
    assert await reserved(pg, credit.code.id, account.id, "d", currency="JPY") == (
        "code: it is no bonus on a purchase: redeem it by itself"
    )


async def test_what_fails_around_it_takes_no_use(pg: Pool) -> None:
    account = await create_account(pg, "a")
    (made,) = await create_codes(pg, BONUS)

    async def failing() -> None:
        async with transaction(pg) as db:
            await reserve_for_order(db, made.code.id, account.id, "order-1", paid_nanos=PAID, currency="USD")
            raise Conflict("of the order")

    with pytest.raises(Conflict, match="of the order"):
        await failing()
    assert await uses(pg) == [0]


def test_a_text_is_twenty_characters_that_people_can_read() -> None:
    texts = [new_code() for _ in range(1000)]
    assert len(set(texts)) == 1000
    assert {letter for text in texts for letter in text} == {*ALPHABET, "-"}
    assert all(len(text) == 24 for text in texts)
    assert not set("ILOU") & set(ALPHABET)
    assert read_code(" 7q2m rxOv-3ktn8wpc-5Ihz ") == "7Q2MRX0V3KTN8WPC51HZ"
    for wrong in ("", "7Q2M-RX0V-3KTN-8WPC-51H", "7Q2M-RX0V-3KTN-8WPC-51HU", "7Q2M-RX0V-3KTN-8WPC-51HZ0"):
        assert read_code(wrong) is None
