"""billing/lua/set_aside.lua, put_back.lua, and credit.lua of a take: money is kept from calls, and taken once."""

from __future__ import annotations

from uuid import UUID

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.replies import CreditReply, PutBackReply, SetAsideReply
from tests.billing.money_world import ACCOUNT, AMOUNT_MAX, MARK_LIFE_MS, TAKE, World, offer

ANOTHER = UUID("01930000-0000-7000-8000-00000000000b")


async def test_what_is_set_aside_no_call_can_hold(world: World) -> None:
    assert await world.set_aside(400) == SetAsideReply("OK", available_nanos=600)
    assert (await world.reserve(offer(601))).available_nanos == 600
    assert (await world.reserve(offer(600))).available_nanos == 0
    account = await world.account()
    assert (account["b:USD"], account["h:USD"], account[f"a:USD:{TAKE}"]) == ("1000", "1000", "400")
    assert await world.events() == []


async def test_what_calls_hold_cannot_be_set_aside(world: World) -> None:
    await world.reserve(offer(300))
    before = await world.everything()
    assert await world.set_aside(701) == SetAsideReply("SHORT", available_nanos=700)
    assert await world.everything() == before
    assert await world.set_aside(700) == SetAsideReply("OK", available_nanos=0)
    assert (await world.settle(300)).available_nanos == 0


async def test_set_aside_again_it_is_held_and_nothing_is_written(world: World) -> None:
    await world.set_aside(400)
    before = await world.everything()
    assert await world.set_aside(400) == SetAsideReply("HELD", available_nanos=600)
    assert await world.set_aside(400, 7) == SetAsideReply("HELD", available_nanos=600), (
        "credits that came between"
    )
    with pytest.raises(InvariantBroken, match="is of 400 nanos"):
        await world.set_aside(399)
    assert await world.everything() == before


async def test_two_takes_are_set_aside_beside_each_other(world: World) -> None:
    assert await world.set_aside(400) == SetAsideReply("OK", available_nanos=600)
    assert await world.set_aside(601, take_id=ANOTHER) == SetAsideReply("SHORT", available_nanos=600)
    assert await world.set_aside(600, take_id=ANOTHER) == SetAsideReply("OK", available_nanos=0)
    assert await world.put_back() == PutBackReply("OK", 400)
    assert await world.field("h:USD") == "600"


async def test_its_credit_takes_it_and_available_falls_once(world: World) -> None:
    await world.reserve(offer(100))
    await world.set_aside(400)
    assert await world.credit(1, -400, take_id=TAKE) == CreditReply("OK", balance_nanos=600)
    account = await world.account()
    assert (account["b:USD"], account["h:USD"], account["s:USD"]) == ("600", "100", "1")
    assert not any(name.startswith("a:") for name in account)
    before = await world.everything()
    assert await world.credit(1, -400, take_id=TAKE) == CreditReply("DONE", stored_seq=1)
    assert await world.everything() == before
    assert (await world.settle(100)).available_nanos == 500


async def test_another_credit_leaves_it(world: World) -> None:
    await world.set_aside(400)
    assert await world.credit(1, 5) == CreditReply("OK", balance_nanos=1005)
    assert await world.credit(2, -3, take_id=ANOTHER) == CreditReply("OK", balance_nanos=1002)
    assert await world.credit(4, -400, take_id=TAKE) == CreditReply("GAP", stored_seq=2)
    assert await world.field("h:USD") == await world.field(f"a:USD:{TAKE}") == "400"


async def test_a_try_that_comes_late_takes_nothing_again(world: World) -> None:
    await world.set_aside(400)
    await world.credit(1, -400, take_id=TAKE)
    before = await world.everything()
    assert await world.set_aside(400) == SetAsideReply("STALE", stored_seq=1)
    assert await world.everything() == before


async def test_what_is_outstanding_is_applied_first(world: World) -> None:
    """A credit of -900 that Redis has not heard of: the money is not there."""
    before = await world.everything()
    assert await world.set_aside(400, 1) == SetAsideReply("GAP", stored_seq=0)
    assert await world.everything() == before
    await world.credit(1, -900)
    assert await world.set_aside(400, 1) == SetAsideReply("SHORT", available_nanos=100)


async def test_put_back_it_is_free_again_once(world: World) -> None:
    await world.set_aside(400)
    assert await world.put_back() == PutBackReply("OK", 400)
    account = await world.account()
    assert (account["b:USD"], account["h:USD"], f"a:USD:{TAKE}" in account) == ("1000", "0", False)
    assert await world.put_back() == PutBackReply("GONE")
    assert await world.field("h:USD") == "0"


async def test_what_was_put_back_is_never_set_aside_by_a_try_that_comes_late(world: World) -> None:
    assert await world.put_back() == PutBackReply("GONE")
    assert await world.set_aside(400) == SetAsideReply("GONE")
    assert await world.field("h:USD") == "0"
    left_ms = await world.link.call("PTTL", world.keys.mark(str(TAKE)))
    assert MARK_LIFE_MS - 60_000 < left_ms <= MARK_LIFE_MS
    assert (await world.set_aside(400, take_id=ANOTHER)).word == "OK"


async def test_an_account_that_is_not_loaded_is_cold_and_can_be_barred(world: World) -> None:
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert await world.set_aside(1) == SetAsideReply("COLD")
    assert await world.put_back() == PutBackReply("GONE")
    assert await world.account() == {}
    assert await world.set_aside(1) == SetAsideReply("GONE")


@pytest.mark.parametrize(
    ("balance", "held", "amount", "reply"),
    [
        (0, 0, 1, SetAsideReply("SHORT", available_nanos=0)),
        (1, 0, 1, SetAsideReply("OK", available_nanos=0)),
        (5, 9, 1, SetAsideReply("SHORT", available_nanos=-4)),
        (-5, 0, 1, SetAsideReply("SHORT", available_nanos=-5)),
        (-AMOUNT_MAX, 1, 1, SetAsideReply("SHORT", available_nanos=-9_000_000_000_000_000_001)),
        # to the nano, where Lua's numbers have long lost them
        (AMOUNT_MAX, 0, AMOUNT_MAX, SetAsideReply("OK", available_nanos=0)),
        (AMOUNT_MAX - 1, 0, AMOUNT_MAX, SetAsideReply("SHORT", available_nanos=8_999_999_999_999_999_999)),
        (AMOUNT_MAX, 1, AMOUNT_MAX - 1, SetAsideReply("OK", available_nanos=0)),
        (AMOUNT_MAX, 2, AMOUNT_MAX - 1, SetAsideReply("SHORT", available_nanos=8_999_999_999_999_999_998)),
        (AMOUNT_MAX, 0, 1, SetAsideReply("OK", available_nanos=8_999_999_999_999_999_999)),
    ],
)
async def test_every_amount_is_exact(
    world: World, balance: int, held: int, amount: int, reply: SetAsideReply
) -> None:
    await world.link.call("HSET", world.keys.account(ACCOUNT), "b:USD", str(balance), "h:USD", str(held))
    assert await world.set_aside(amount) == reply
    if reply.word == "OK":
        assert await world.field("h:USD") == str(held + amount)
        assert (await world.set_aside(amount)).available_nanos == reply.available_nanos
        assert await world.put_back() == PutBackReply("OK", amount)
    assert await world.field("h:USD") == str(held)


@pytest.mark.parametrize("amount", [1, AMOUNT_MAX])
async def test_a_taken_amount_is_exact(world: World, amount: int) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    assert (await world.set_aside(amount, 1)).word == "OK"
    assert await world.credit(2, -amount, take_id=TAKE) == CreditReply(
        "OK", balance_nanos=AMOUNT_MAX - amount
    )
    assert await world.field("h:USD") == "0"
