"""Every script at 0, at 1 and at the largest amounts: to the nano, past what a double can hold."""

from __future__ import annotations

import itertools

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.redis_link import RedisLink
from rabbitgw.replies import CreditReply
from rabbitgw.scripts import WindowLimit, load_scripts
from tests.billing.money_world import ACCOUNT, AMOUNT_MAX, LEASE_MS, PARTITION, World, life, offer

DOUBLE_EXACT = 2**53
TELLING = [
    0,
    1,
    9,
    10**9 - 1,
    10**9,
    10**15 - 1,
    10**15,
    DOUBLE_EXACT - 1,
    DOUBLE_EXACT + 1,
    10**18,
    10**18 + 1,
    AMOUNT_MAX - 1,
    AMOUNT_MAX,
]


def amounts_lua() -> str:
    source = load_scripts()["credit"].source.decode()
    return source[: source.index("-- credit:")]


async def test_a_difference_is_exact_at_any_size(link: RedisLink) -> None:
    pairs = list(itertools.product(TELLING, TELLING))
    lua = amounts_lua() + (
        "local out = {} for i = 1, #ARGV, 2 do out[#out + 1] = difference(ARGV[i], ARGV[i + 1]) end return out"
    )
    differences = await link.call("EVAL", lua, 0, *itertools.chain.from_iterable(pairs))
    assert differences == [str(a - b).encode() for a, b in pairs]


@pytest.mark.parametrize(
    "text", ["", "-0", "-1", "00", "01", "+1", "1.0", "1e3", "0x10", " 1", "1 ", "nan", "inf", "9" * 19]
)
async def test_text_that_is_no_amount_is_refused(world: World, text: str) -> None:
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="BADARG"):
        await world.reserve(offer(text))  # type: ignore[arg-type]
    with pytest.raises(InvariantBroken, match="BADARG"):
        await world.settle(text)  # type: ignore[arg-type]
    assert await world.everything() == before


@pytest.mark.parametrize("amount", TELLING)
async def test_a_hold_of_any_amount_is_given_back_to_the_nano(world: World, amount: int) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    assert (await world.reserve(offer(amount, enforce="1"), windows=[life(AMOUNT_MAX)])).word == "OK"
    assert await world.field("h:USD") == await world.field("w:11:life") == str(amount)
    await world.release()
    assert await world.field("h:USD") == await world.field("w:11:life") == "0"
    assert await world.field("b:USD") == "9000000000000000000"


@pytest.mark.parametrize("cost", TELLING)
@pytest.mark.parametrize("amount", [0, 1, DOUBLE_EXACT + 1, AMOUNT_MAX])
async def test_any_cost_of_any_hold_is_charged_to_the_nano(world: World, amount: int, cost: int) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    await world.reserve(offer(amount, enforce="1"), windows=[life(AMOUNT_MAX)])
    assert (await world.settle(cost)).word == "OK"
    assert await world.field("b:USD") == str(AMOUNT_MAX - cost)
    assert await world.field("h:USD") == "0"
    assert await world.field("w:11:life") == str(cost)
    assert (await world.events())[0]["n"] == str(cost)


@pytest.mark.parametrize(
    ("delivered", "cost"),
    [
        (0, 0),
        (1, 0),
        (0, 1),
        (AMOUNT_MAX, 0),
        (0, AMOUNT_MAX),
        (DOUBLE_EXACT + 1, DOUBLE_EXACT),
        (AMOUNT_MAX, AMOUNT_MAX - 1),
    ],
)
async def test_a_late_settle_charges_any_difference_to_the_nano(
    world: World, delivered: int, cost: int
) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    await world.reserve(offer(300, enforce="1"), windows=[life(AMOUNT_MAX)])
    await world.extend(300, delivered=delivered)
    world.advance(LEASE_MS)
    assert (await world.expire()).charged_nanos == delivered
    assert await world.field("b:USD") == str(AMOUNT_MAX - delivered)
    assert (await world.settle(cost)).word == "LATE"
    assert await world.field("b:USD") == str(AMOUNT_MAX - cost)
    assert await world.field("w:11:life") == str(cost)
    assert [event["n"] for event in await world.events()] == [str(delivered), str(cost - delivered)]


@pytest.mark.parametrize(("first", "then"), [(0, 1), (1, AMOUNT_MAX), (DOUBLE_EXACT + 1, 10**18 + 1)])
async def test_an_extension_grows_to_the_nano(world: World, first: int, then: int) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    await world.reserve(offer(first, enforce="1"), windows=[life(AMOUNT_MAX)])
    reply = await world.extend(then, delivered=then, windows=[WindowLimit(11, AMOUNT_MAX)])
    assert (reply.word, reply.granted_nanos) == ("OK", then)
    assert await world.field("h:USD") == await world.field("w:11:life") == str(then)
    await world.release()
    assert await world.field("h:USD") == await world.field("w:11:life") == "0"


@pytest.mark.parametrize("amount", [*TELLING, *(-amount for amount in TELLING if amount)])
async def test_a_credit_of_any_amount_is_applied_and_told_to_the_nano(world: World, amount: int) -> None:
    await world.credit(1, -1000)
    assert await world.credit(2, amount) == CreditReply("OK", balance_nanos=amount)
    assert await world.field("b:USD") == str(amount)


async def test_a_last_money_grant_of_a_vast_wallet_can_be_freed(world: World) -> None:
    await world.credit(1, AMOUNT_MAX - 2000)  # 8999999999999999000, which no double holds
    reply = await world.reserve(offer(AMOUNT_MAX, 1, last=1))
    assert abs(reply.granted_nanos - (AMOUNT_MAX - 1000)) <= 1024
    assert await world.field("h:USD") == str(reply.granted_nanos)
    await world.settle(1)
    assert (await world.field("h:USD"), await world.field("b:USD")) == ("0", "8999999999999998999")


async def test_the_worst_balance_is_kept_to_the_nano(world: World) -> None:
    await world.reserve(offer(0))
    await world.settle(AMOUNT_MAX - 1)
    assert await world.field("o:USD") == "-8999999999999998999"


async def test_a_balance_that_could_not_be_counted_is_refused_whole(world: World) -> None:
    await world.reserve(offer(10))
    await world.reserve(offer(10), hold_id="b")
    await world.settle(AMOUNT_MAX)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE b:USD"):
        await world.settle(AMOUNT_MAX, hold_id="b")
    assert await world.everything() == before
    assert (await world.release(hold_id="b")).word == "OK"


async def test_an_expiry_that_could_not_be_counted_is_refused_whole(world: World) -> None:
    await world.reserve(offer(10))
    await world.extend(10, delivered=AMOUNT_MAX)
    await world.credit(1, -AMOUNT_MAX)
    await world.lease(0)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE b:USD"):
        await world.expire()
    assert await world.everything() == before


async def test_a_counter_that_a_cost_would_break_is_refused_whole(world: World) -> None:
    await world.reserve(offer(10, enforce="1"), windows=[life(AMOUNT_MAX)])
    await world.link.call("HSET", world.keys.account(ACCOUNT), "w:11:life", 10**18)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE w:11:life"):
        await world.settle(AMOUNT_MAX)
    assert await world.everything() == before


async def test_a_counter_that_an_extension_would_break_is_refused_whole(world: World) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    await world.reserve(offer(10, enforce="1"), windows=[life(AMOUNT_MAX)])
    await world.link.call("HSET", world.keys.account(ACCOUNT), "w:11:life", 10**18)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE w:11:life"):
        await world.extend(AMOUNT_MAX)
    assert await world.everything() == before


async def test_a_counter_that_could_not_be_counted_is_refused_whole(world: World) -> None:
    await world.link.call("HSET", world.keys.account(ACCOUNT), "w:11:life", 92 * 10**17)
    await world.credit(1, 10**18)
    before = await world.everything()
    with pytest.raises(InvariantBroken, match="RANGE"):
        await world.reserve(offer(10**17, enforce="0"), windows=[life(1)])
    assert await world.everything() == before


@pytest.mark.parametrize("limit", [0, 1, AMOUNT_MAX])
async def test_a_window_of_any_limit_grants_just_that(world: World, limit: int) -> None:
    await world.credit(1, AMOUNT_MAX - 1000)
    reply = await world.reserve(offer(AMOUNT_MAX, 0, enforce="1"), windows=[life(limit)])
    assert (reply.word, reply.granted_nanos) == (("OK", limit) if limit else ("WINDOW", 0))


async def test_a_generation_and_a_sequence_may_be_large(world: World) -> None:
    put = world.scripts.key_put
    assert await put(PARTITION, ACCOUNT, key_id=7, generation=DOUBLE_EXACT - 1) == "OK"
    assert (await world.reserve(offer(1), generation=DOUBLE_EXACT - 1)).word == "OK"
