"""billing/lua/load.lua, credit.lua, key_put.lua, key_record_put.lua: what comes from PostgreSQL into Redis."""

from __future__ import annotations

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.replies import CreditReply
from tests.billing.money_world import ACCOUNT, AMOUNT_MAX, KEY, PARTITION, World, offer

SECRET_HASH = "ab" * 32


async def test_an_account_is_loaded_once(world: World) -> None:
    before = await world.everything()
    assert await world.scripts.load(PARTITION, ACCOUNT, {"b:USD": 5, "g:7": 9}) == "LOADED"
    assert await world.everything() == before


async def test_an_account_of_thousands_of_keys_is_loaded_whole(world: World) -> None:
    fields = {"b:USD": 5, **{f"g:{key_id}": 1 for key_id in range(4500)}}
    assert await world.scripts.load(PARTITION, 99, fields) == "OK"
    assert await world.link.call("HLEN", world.keys.account(99)) == 4501


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("b:USD", "1.5"),
        ("b:USD", "-0"),
        ("b:USD", "007"),
        ("b:USD", "1e3"),
        ("b:USD", ""),
        ("b:USD", "9300000000000000000"),
        ("h:USD", "-1"),
        ("s:USD", "x"),
        ("w:11:life", "0x10"),
        ("unknown", "1"),
        ("q:1", "1"),
    ],
)
async def test_a_field_that_would_stop_a_later_script_is_not_loaded(
    world: World, field: str, value: str
) -> None:
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="BADARG"):
        await world.scripts.load(PARTITION, 99, {"g:7": 1, field: value})
    assert await world.everything() == before


async def test_credits_are_applied_in_order_and_once(world: World) -> None:
    assert await world.credit(1, 500) == CreditReply("OK", balance_nanos=1500)
    assert await world.credit(1, 500) == CreditReply("DONE", stored_seq=1)
    assert await world.credit(3, 7) == CreditReply("GAP", stored_seq=1)
    assert await world.credit(2, -1600) == CreditReply("OK", balance_nanos=-100)
    assert await world.credit(3, 0) == CreditReply("OK", balance_nanos=-100)
    assert await world.credit(2, 5) == CreditReply("DONE", stored_seq=3)
    assert await world.field("b:USD") == "-100"


async def test_a_credit_leaves_the_worst_balance_alone(world: World) -> None:
    """It says how far settles have overdrawn a wallet; a refund is no overspend."""
    await world.credit(1, -1500)
    assert await world.field("o:USD") is None


async def test_a_first_credit_in_another_currency_makes_its_wallet(world: World) -> None:
    assert await world.credit(1, 70, "EUR") == CreditReply("OK", balance_nanos=70)
    assert (await world.reserve(offer(70), currency="EUR")).word == "OK"


async def test_an_account_that_is_not_loaded_is_cold(world: World) -> None:
    await world.link.call("DEL", world.keys.account(ACCOUNT))
    assert await world.credit(1, 500) == CreditReply("COLD")
    assert await world.scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=2) == "COLD"


async def test_a_credit_past_what_can_be_counted_is_refused_whole(world: World) -> None:
    await world.credit(1, AMOUNT_MAX)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE"):
        await world.credit(2, AMOUNT_MAX)
    assert await world.everything() == before


async def test_a_negative_credit_past_what_can_be_counted_is_refused_whole(world: World) -> None:
    await world.credit(1, -AMOUNT_MAX)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE"):
        await world.credit(2, -AMOUNT_MAX)
    assert await world.everything() == before


async def test_generations_only_grow(world: World) -> None:
    put = world.scripts.key_put
    assert await put(PARTITION, ACCOUNT, key_id=KEY, generation=3) == "OK"
    assert await put(PARTITION, ACCOUNT, key_id=KEY, generation=3) == "DONE"
    assert await put(PARTITION, ACCOUNT, key_id=KEY, generation=2) == "DONE"
    assert await put(PARTITION, ACCOUNT, key_id=8, generation=1) == "OK"
    assert (await world.field("g:7"), await world.field("g:8")) == ("3", "1")


async def test_a_key_record_is_replaced_by_a_newer_generation_only(world: World) -> None:
    async def put(generation: int, record: bytes) -> tuple[str, bytes]:
        word = await world.scripts.key_record_put(SECRET_HASH, generation=generation, record=record)
        return word, await world.link.call("GET", world.names.key_record(SECRET_HASH))

    assert await put(2, b'{"a":1}') == ("OK", b'2 {"a":1}')
    assert await put(2, b'{"b":1}') == ("DONE", b'2 {"a":1}')
    assert await put(1, b'{"b":1}') == ("DONE", b'2 {"a":1}')
    assert await put(10, b'{"b":1}') == ("OK", b'10 {"b":1}')
