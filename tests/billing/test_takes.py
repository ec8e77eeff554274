"""Takes: unspent money leaves a wallet once, whatever runs beside it and whatever dies in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from rabbitgw.billing import ledger
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.moves import Moved, put
from rabbitgw.billing.rebuild import rebuild
from rabbitgw.billing.takes import Takes
from rabbitgw.errors import (
    BalanceLimit,
    Conflict,
    InvariantBroken,
    PostgresUnavailable,
    RedisUnavailable,
    RequestInvalid,
    TakeShort,
)
from rabbitgw.prepared import WindowCheck
from rabbitgw.replies import SetAsideReply
from rabbitgw.scripts import Scripts
from rabbitgw.stores import transaction
from tests.books import Customer, Shop, assert_books_balance
from tests.scripted import Offer, fail_scripts, reserve

LIMIT = 9_000_000_000_000_000_000
TAKE = UUID("01930000-0000-7000-8000-00000000000a")


class Crash(BaseException):
    pass


@dataclass
class Desk:
    """Refunds of one customer."""

    shop: Shop
    customer: Customer

    @property
    def takes(self) -> Takes:
        return Takes(self.shop.pg, self.shop.link)

    async def take(
        self, amount_nanos: int, take_id: UUID = TAKE, *, may_overdraw: bool = False, dies: bool = False
    ) -> Moved:
        """One transaction. Redis is not told."""
        async with transaction(self.shop.pg) as db:
            moved = await self.takes.take(
                db,
                account_id=self.customer.id,
                partition=self.customer.partition,
                currency="USD",
                amount_nanos=amount_nanos,
                take_id=take_id,
                lines=ledger.credit_lines(self.customer.id, "USD", -amount_nanos, ledger.CLEARING),
                kind="withdrawal",
                ref=f"refund:{take_id}",
                detail={"reason": "asked for"},
                may_overdraw=may_overdraw,
            )
            if dies:
                raise Crash
        return moved

    async def apply(self) -> int:
        return await Credits(self.shop.pg, self.shop.link).apply(
            self.customer.id, "USD", self.customer.partition
        )

    async def put_back(self, take_id: UUID = TAKE) -> bool:
        return await self.takes.put_back(
            account_id=self.customer.id, partition=self.customer.partition, currency="USD", take_id=take_id
        )

    async def in_redis(self) -> tuple[int, int, int]:
        """Balance, held, and how many takes are set aside."""
        flat = await self.shop.link.call("HGETALL", self.customer.key)
        fields = {name.decode(): int(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
        return fields["b:USD"], fields["h:USD"], sum(name.startswith("a:") for name in fields)

    async def taken(self) -> list[tuple[int, UUID]]:
        rows = await self.shop.pg.fetch(
            "SELECT amount_nanos, take_id FROM wallet_credits WHERE take_id IS NOT NULL ORDER BY seq"
        )
        return [(row["amount_nanos"], row["take_id"]) for row in rows]


@pytest.fixture
async def desk(shop: Shop) -> Desk:
    """1 000 nanos, loaded."""
    return Desk(shop, await shop.customer(1_000))


async def test_a_take_is_booked_and_leaves_the_wallet_once(desk: Desk, shop: Shop) -> None:
    moved = await desk.take(400)
    assert (moved.amount_nanos, moved.seq, moved.balance_nanos) == (-400, 2, 600)
    assert await desk.in_redis() == (1_000, 400, 1)
    await assert_books_balance(shop)  # which applies it
    assert await desk.in_redis() == (600, 0, 0)
    assert await desk.taken() == [(-400, TAKE)]
    line = await shop.pg.fetchrow(
        "SELECT kind, ref, detail FROM ledger_transactions WHERE id = $1", moved.ledger_transaction_id
    )
    assert tuple(line) == ("withdrawal", f"refund:{TAKE}", '{"reason": "asked for"}')
    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.take(1, may_overdraw=True)
    await assert_books_balance(shop)


async def test_what_is_short_is_not_taken(desk: Desk, shop: Shop) -> None:
    await desk.customer.hold(700)
    with pytest.raises(TakeShort, match=r"0\.000000300 USD available, .* 0\.000000301 to be taken") as caught:
        await desk.take(301)
    assert (caught.value.available_nanos, caught.value.http_status, caught.value.code) == (
        300,
        409,
        "balance_short",
    )
    assert isinstance(caught.value, Conflict)
    assert await desk.taken() == []
    assert await desk.in_redis() == (1_000, 700, 0)
    await desk.take(300)
    await assert_books_balance(shop)


@pytest.mark.parametrize(("before", "passed"), [(0, 13), (13, 13), (14, 33)])
async def test_a_take_in_a_crowd_of_calls_never_overdraws(
    desk: Desk, shop: Shop, monkeypatch: pytest.MonkeyPatch, before: int, passed: int
) -> None:
    """Fifty calls of 30 reach Redis with a take of 600, which is behind `before` of them; ten more with its credit."""
    customer, real, words = desk.customer, Scripts.set_aside, list[str]()

    async def call() -> None:
        hold_id = str(uuid4())
        reply = await reserve(
            shop.scripts, customer.partition, customer.id, hold_id=hold_id, worker_id="w", currency="USD", key_id=7,
            generation=1, max_age_ms=3_600_000, backlog_max=10**9, windows=list[WindowCheck](),
            offers=[Offer(30, 30, 0, "")], ticket=b'{"k":7}',
        )  # fmt: skip
        words.append(reply.word)
        assert reply.available_nanos >= 0
        if reply.word == "OK":
            assert await customer.settle(hold_id, 30) == "OK"

    async def in_the_crowd(self: Scripts, *args: Any, **named: Any) -> SetAsideReply:
        first, behind = [call() for _ in range(before)], [call() for _ in range(50 - before)]
        first_ones = asyncio.gather(*first)
        answer = asyncio.ensure_future(real(self, *args, **named))
        await asyncio.gather(first_ones, answer, *behind)
        return answer.result()

    monkeypatch.setattr(Scripts, "set_aside", in_the_crowd)
    if passed == 13:
        await desk.take(600)
    else:
        with pytest.raises(TakeShort) as caught:
            await desk.take(600)
        assert caught.value.available_nanos == 580
    await asyncio.gather(desk.apply(), *(call() for _ in range(10)))
    assert (words.count("OK"), words.count("SHORT")) == (passed, 60 - passed)
    assert await desk.in_redis() == (10, 0, 0)
    assert await shop.link.call("HGET", customer.key, "o:USD") is None
    await assert_books_balance(shop, overspend_bounds={"any": 0})


async def test_a_try_that_died_is_gone_on_with_and_taken_once(desk: Desk, shop: Shop) -> None:
    with pytest.raises(Crash):
        await desk.take(400, dies=True)
    assert await desk.taken() == []
    await desk.customer.hold(600)
    await desk.customer.credit(50)  # and another credit comes between
    moved = await desk.take(400)
    assert (moved.seq, moved.balance_nanos) == (3, 650)
    assert await desk.apply() == 2
    assert await desk.in_redis() == (650, 600, 0)
    assert await desk.taken() == [(-400, TAKE)]
    await assert_books_balance(shop)


async def test_another_amount_under_the_same_id_is_refused(desk: Desk, shop: Shop) -> None:
    with pytest.raises(Crash):
        await desk.take(400, dies=True)
    with pytest.raises(InvariantBroken, match="is of 400 nanos"):
        await desk.take(399)
    assert await desk.put_back()
    await assert_books_balance(shop)


@pytest.mark.parametrize("had_its_effect", [False, True])
async def test_with_redis_away_nothing_is_booked_and_a_later_try_takes_it_once(
    desk: Desk, shop: Shop, monkeypatch: pytest.MonkeyPatch, had_its_effect: bool
) -> None:
    with monkeypatch.context() as patch:
        if had_its_effect:
            real = Scripts.set_aside

            async def no_reply(self: Scripts, *args: Any, **named: Any) -> SetAsideReply:
                await real(self, *args, **named)
                raise RedisUnavailable("away")

            patch.setattr(Scripts, "set_aside", no_reply)
        else:
            fail_scripts(patch, shop.link, ["set_aside"], lambda: RedisUnavailable("away"))
        with pytest.raises(RedisUnavailable):
            await desk.take(400)
    assert await desk.taken() == []
    assert await desk.customer.ledger_nanos() == 1_000
    assert await desk.in_redis() == (1_000, 400 if had_its_effect else 0, int(had_its_effect))
    await desk.take(400)
    await assert_books_balance(shop)
    assert await desk.in_redis() == (600, 0, 0)


async def test_a_command_that_comes_after_the_commit_sets_nothing_aside(desk: Desk, shop: Shop) -> None:
    await desk.take(400)
    customer = desk.customer

    async def late() -> SetAsideReply:
        return await shop.scripts.set_aside(
            customer.partition, customer.id, currency="USD", take_id=TAKE, amount_nanos=400, seq=1
        )

    assert await late() == SetAsideReply("HELD", available_nanos=600)
    assert await desk.apply() == 1
    assert await late() == SetAsideReply("STALE", stored_seq=2)
    assert await desk.in_redis() == (600, 0, 0)
    await assert_books_balance(shop)


async def test_an_account_that_is_not_loaded_is_loaded(shop: Shop) -> None:
    desk = Desk(shop, await shop.customer(1_000, load=False))
    await desk.take(1_000)
    assert await desk.in_redis() == (1_000, 1_000, 1)
    await assert_books_balance(shop)
    assert await desk.in_redis() == (0, 0, 0)


async def test_outstanding_credits_are_applied_first(desk: Desk, shop: Shop) -> None:
    await desk.customer.credit(500)
    await desk.take(900, uuid4(), may_overdraw=True)
    assert await desk.in_redis() == (1_000, 0, 0)
    with pytest.raises(TakeShort) as caught:
        await desk.take(601)
    assert caught.value.available_nanos == 600
    await desk.take(600)
    await assert_books_balance(shop)
    assert await desk.in_redis() == (0, 0, 0)


async def test_what_may_overdraw_is_taken_without_asking(desk: Desk, shop: Shop) -> None:
    hold = await desk.customer.hold(800)
    moved = await desk.take(1_500, may_overdraw=True)
    assert moved.balance_nanos == -500
    assert await desk.apply() == 1
    assert await desk.in_redis() == (-500, 800, 0)
    await desk.customer.release(hold)
    await assert_books_balance(shop)


async def test_a_take_that_is_given_up_is_put_back_for_good(desk: Desk, shop: Shop) -> None:
    with pytest.raises(Crash):
        await desk.take(400, dies=True)
    assert await desk.put_back()
    assert not await desk.put_back()
    assert await desk.in_redis() == (1_000, 0, 0)
    with pytest.raises(InvariantBroken, match="GONE"):
        await desk.take(400)
    assert await desk.taken() == []
    await assert_books_balance(shop)


@pytest.mark.parametrize("booked", [False, True])
async def test_a_new_epoch_forgets_what_was_set_aside_and_no_take(
    desk: Desk, shop: Shop, booked: bool
) -> None:
    if booked:
        await desk.take(400)
    else:
        with pytest.raises(Crash):
            await desk.take(400, dies=True)
    await rebuild(shop.pg, shop.link)
    shop = await Shop.open(shop.pg, shop.link)
    desk = Desk(shop, Customer(shop, desk.customer.account))
    if not booked:
        await desk.take(400)
    await desk.customer.load()
    await assert_books_balance(shop)
    assert await desk.in_redis() == (600, 0, 0)
    assert await desk.taken() == [(-400, TAKE)]


async def test_no_epoch_ends_between_setting_aside_and_the_commit(desk: Desk, shop: Shop) -> None:
    async with transaction(shop.pg) as db:
        lines = ledger.credit_lines(desk.customer.id, "USD", -400, ledger.CLEARING)
        await desk.takes.take(
            db, account_id=desk.customer.id, partition=desk.customer.partition, currency="USD", amount_nanos=400,
            take_id=TAKE, lines=lines, kind="withdrawal", ref=None,
        )  # fmt: skip
        with pytest.raises(Conflict, match="money is being taken back"):
            await rebuild(shop.pg, shop.link)
    async with transaction(shop.pg) as db:
        await db.execute("SELECT epoch FROM deployment FOR UPDATE")  # as a rebuild does
        with pytest.raises(PostgresUnavailable):
            await desk.take(1, uuid4())
    await assert_books_balance(shop)
    assert await desk.in_redis() == (600, 0, 0)


async def test_redis_in_another_epoch_books_nothing(desk: Desk, shop: Shop) -> None:
    key = shop.scripts.names.partition[desk.customer.partition].epoch_key
    await shop.link.call("SET", key, "2")
    with pytest.raises(RedisUnavailable, match="another epoch"):
        await desk.take(400)
    with pytest.raises(RedisUnavailable, match="another epoch"):
        await desk.put_back()
    await shop.link.call("SET", key, "1")
    assert await desk.taken() == []
    await assert_books_balance(shop)


async def test_money_put_in_is_the_reverse(desk: Desk, shop: Shop) -> None:
    bonus = (
        *ledger.credit_lines(desk.customer.id, "USD", 700, ledger.CLEARING),
        *ledger.credit_lines(desk.customer.id, "USD", 50, ledger.CREDIT_OPERATOR),
    )

    async def pay(amount_nanos: int, lines: tuple[ledger.Line, ...]) -> Moved:
        async with transaction(shop.pg) as db:
            return await put(
                db, account_id=desk.customer.id, currency="USD", amount_nanos=amount_nanos, lines=lines,
                kind="deposit", ref="order:1",
            )  # fmt: skip

    moved = await pay(750, bonus)
    assert (moved.amount_nanos, moved.seq, moved.balance_nanos) == (750, 2, 1_750)
    with pytest.raises(InvariantBroken, match="do not move 751 nanos"):
        await pay(751, bonus)
    with pytest.raises(BalanceLimit, match="the wallet holds 1750 nanos, its limit is 9000000000000000000"):
        await pay(LIMIT - 1_749, ledger.credit_lines(desk.customer.id, "USD", LIMIT - 1_749, ledger.CLEARING))
    await desk.take(LIMIT, may_overdraw=True)
    with pytest.raises(BalanceLimit):
        await desk.take(1_751, uuid4(), may_overdraw=True)
    await assert_books_balance(shop)
    assert await desk.in_redis() == (1_750 - LIMIT, 0, 0)


async def test_an_amount_that_is_none_is_refused(desk: Desk) -> None:
    for amount_nanos in (0, -1, LIMIT + 1):
        with pytest.raises(RequestInvalid, match="amount_nanos: 1 to 9000000000000000000"):
            await desk.take(amount_nanos)
    assert await desk.taken() == []
