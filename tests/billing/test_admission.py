"""The till against real stores: a reserve of a cold account, of a stale key, without Redis, when money is short."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from rabbitgw.billing import keys
from rabbitgw.billing.hold import Terms
from rabbitgw.billing.keyring import KeyRecord
from rabbitgw.clock import new_id
from rabbitgw.errors import (
    AccessDenied,
    AuthError,
    Backlog,
    BalanceShort,
    BudgetError,
    InvariantBroken,
    RedisReplyError,
    RedisTimeout,
    RedisUnavailable,
    WindowShort,
)
from tests.books import assert_books_balance, end_of_call
from tests.counter import Counter
from tests.scripted import fail_scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

CREDIT_NANOS = 1_000_000


@pytest.fixture
async def counter(pg: Pool, link: RedisLink, tmp_path: Path) -> Any:
    counter = await Counter.open(pg, link, tmp_path, credit_nanos=CREDIT_NANOS)
    yield counter
    counter.spool.close()


def local_nanos(counter: Counter) -> int:
    return counter.till._holding.held_nanos(counter.account.id)


async def test_a_cold_account_is_loaded_and_held_in_one_reserve(counter: Counter) -> None:
    assert await counter.link.call("EXISTS", counter.wallet_key) == 0
    hold = await counter.hold(300_000)
    assert hold.granted_nanos == 300_000
    assert await counter.held_nanos() == local_nanos(counter) == 300_000


async def test_a_settle_and_a_release_leave_nothing_held_anywhere(counter: Counter) -> None:
    first, second = await counter.hold(300_000), await counter.hold(200_000)
    await counter.till.settle(first, 120_000, "settled", end_of_call())
    assert local_nanos(counter) == 200_000
    await counter.till.release(second, end_of_call())
    assert await counter.held_nanos() == local_nanos(counter) == 0
    assert await counter.balance_nanos() == CREDIT_NANOS - 120_000
    await assert_books_balance(counter)


async def test_growth_is_counted_and_ends_with_the_hold(counter: Counter) -> None:
    hold = await counter.hold(300_000)
    await counter.till.extend(hold, 500_000, 100_000)
    assert hold.granted_nanos == await counter.held_nanos() == local_nanos(counter) == 500_000
    await counter.till.settle(hold, 450_000, "settled", end_of_call())
    assert await counter.held_nanos() == local_nanos(counter) == 0
    await assert_books_balance(counter)


async def test_an_extension_after_the_end_does_nothing(counter: Counter) -> None:
    hold = await counter.hold(300_000)
    await counter.till.settle(hold, 100_000, "settled", end_of_call())
    with pytest.raises(BudgetError, match="has ended"):
        await counter.till.extend(hold, 500_000, 100_000)
    assert await counter.held_nanos() == local_nanos(counter) == 0
    assert await counter.balance_nanos() == CREDIT_NANOS - 100_000
    await assert_books_balance(counter)


async def test_an_end_that_fails_is_not_waited_for_by_others(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = await counter.hold(900_000)

    fail_scripts(monkeypatch, counter.link, ["settle"], lambda: RedisReplyError("ERR BADARG settle"))
    with pytest.raises(InvariantBroken):
        await counter.till.settle(hold, 100_000, "settled", end_of_call())
    assert local_nanos(counter) == 0


async def test_a_reserve_waits_for_what_others_hold(counter: Counter) -> None:
    first = await counter.hold(900_000)
    waiting = [asyncio.create_task(counter.hold(800_000)), asyncio.create_task(counter.hold(100_000))]
    await asyncio.sleep(0.05)
    await counter.till.settle(first, 50_000, "settled", end_of_call())
    holds = await asyncio.gather(*waiting)
    assert [hold.granted_nanos for hold in holds] == [800_000, 100_000]


async def test_a_reserve_that_no_end_can_help_is_refused_at_once(counter: Counter) -> None:
    with pytest.raises(BalanceShort) as refused:
        await counter.hold(CREDIT_NANOS + 1)
    assert refused.value.available_nanos == CREDIT_NANOS
    assert local_nanos(counter) == 0


async def test_a_window_refuses_by_its_own_numbers(pg: Pool, link: RedisLink, tmp_path: Path) -> None:
    counter = await Counter.open(
        pg, link, tmp_path, credit_nanos=CREDIT_NANOS, daily_limit_nanos=1_000, lifetime_limit_nanos=500
    )
    hold = await counter.hold(400)
    await counter.till.settle(hold, 400, "settled", end_of_call())
    with pytest.raises(WindowShort) as refused:
        await counter.hold(200)
    assert (refused.value.limit_nanos, refused.value.available_nanos) == (500, 100)
    assert refused.value.resets_at_s is None
    await assert_books_balance(counter)


async def test_a_reserve_whose_reply_is_lost_leaves_no_hold(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counter.hold(1)  # loaded
    send = counter.link.send

    def unheard(command: bytes) -> asyncio.Future[Any]:
        async def lose() -> None:
            await send(command)
            raise RedisTimeout("no reply within 1 s")

        return asyncio.ensure_future(lose())

    monkeypatch.setattr(counter.link, "send", unheard)
    with pytest.raises(RedisUnavailable):
        await counter.hold(300_000)
    monkeypatch.undo()
    assert await counter.held_nanos() == 300_001
    assert counter.settler.kept == 1
    await counter.settler.run_once()
    assert await counter.held_nanos() == local_nanos(counter) == 1


async def test_a_reserve_that_is_cancelled_is_counted_no_more(counter: Counter) -> None:
    await counter.till.release(await counter.hold(1), end_of_call())
    key, terms = await counter.key(), (Terms(7, 7, 0),)
    asking = asyncio.create_task(counter.till.reserve(counter.secret, key, new_id(), terms, counter.ticket()))
    await asyncio.sleep(0)
    assert counter.till._holding._accounts
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not counter.till._holding._accounts


async def test_a_reserve_that_redis_refused_leaves_no_tombstone(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = "OOM command not allowed when used memory > 'maxmemory'"
    fail_scripts(monkeypatch, counter.link, ["reserve"], lambda: RedisReplyError(full))
    with pytest.raises(RedisReplyError):
        await counter.hold(300_000)
    assert counter.settler.kept == 0
    assert local_nanos(counter) == 0


async def test_a_revoked_key_is_refused_though_memory_knows_it_as_good(counter: Counter) -> None:
    await counter.till.release(await counter.hold(1), end_of_call())
    key = await counter.key()
    await keys.revoke_key(counter.pg, key.key_id)
    await counter.scripts.key_put(
        key.partition, key.account_id, key_id=key.key_id, generation=key.generation + 1
    )
    with pytest.raises(AuthError, match="revoked"):
        await counter.till.reserve(counter.secret, key, new_id(), (Terms(1, 1, 0),), counter.ticket())
    assert local_nanos(counter) == 0


async def test_a_key_that_changed_is_checked_again_and_held_for_as_it_is_now(
    counter: Counter, dsn: str
) -> None:
    old = await counter.key()
    await counter.till.release(await counter.hold(1), end_of_call())
    owner = await asyncpg.connect(dsn)
    await owner.execute("UPDATE api_keys SET models = '{a-*}', generation = generation + 1")
    await owner.close()
    await counter.scripts.key_put(
        old.partition, old.account_id, key_id=old.key_id, generation=old.generation + 1
    )
    asked: list[KeyRecord] = []

    def check(key: KeyRecord) -> None:
        asked.append(key)

    terms, ticket = (Terms(5, 5, 0),), counter.ticket()
    hold = await counter.till.reserve(counter.secret, old, new_id(), terms, ticket, check=check)
    assert [key.models for key in asked] == [("a-*",)]
    assert hold.key.generation == old.generation + 1
    await counter.till.release(hold, end_of_call())

    def refuse(key: KeyRecord) -> None:
        raise AccessDenied("not this model")

    with pytest.raises(AccessDenied):
        await counter.till.reserve(counter.secret, old, new_id(), terms, ticket, check=refuse)
    assert await counter.held_nanos() == local_nanos(counter) == 0


async def test_a_key_that_redis_has_not_heard_of_begins_to_work(counter: Counter) -> None:
    await counter.till.release(await counter.hold(1), end_of_call())
    created = await keys.create_key(counter.pg, keys.NewKey(account_id=counter.account.id, name="new"))
    key = await counter.keyring.find(created.secret)
    hold = await counter.till.reserve(created.secret, key, new_id(), (Terms(7, 7, 0),), counter.ticket())
    assert hold.granted_nanos == 7


async def test_books_that_are_behind_admit_no_more(counter: Counter) -> None:
    await counter.till.release(await counter.hold(1), end_of_call())
    counter.till._desks._backlog_max = 1
    counter.till._desks._desks.clear()
    with pytest.raises(Backlog) as refused:
        await counter.hold(1)
    assert refused.value.retry_after_s == 5


async def test_another_epoch_admits_nothing(counter: Counter) -> None:
    await counter.till.release(await counter.hold(1), end_of_call())
    await counter.link.call("SET", counter.partition_keys.epoch_key, "99")
    with pytest.raises(RedisUnavailable, match="epoch"):
        await counter.hold(1)
    assert local_nanos(counter) == 0


async def test_a_settle_of_another_epoch_goes_to_the_books(counter: Counter) -> None:
    hold = await counter.hold(300_000)
    await counter.link.call("SET", counter.partition_keys.epoch_key, "99")
    await counter.till.settle(hold, 100_000, "settled", end_of_call())
    assert counter.settler.kept == 1
    assert await counter.balance_nanos() == CREDIT_NANOS
    assert local_nanos(counter) == 0
