"""A hold ends for certain: at once, by the spool or from memory; in PostgreSQL where Redis has forgotten it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from rabbitgw.billing import settling as settling_module
from rabbitgw.billing.settling import Ending, NotYet, Settler
from rabbitgw.billing.spool import Spool, SpoolFailed
from rabbitgw.clock import monotonic_s, new_id
from rabbitgw.errors import InvariantBroken, PostgresUnavailable, RedisUnavailable
from tests.books import Customer, Shop, assert_books_balance, end_of_call
from tests.scripted import fail_scripts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rabbitgw.redis_link import RedisLink

CREDIT_NANOS = 1_000_000


class Booker:
    """Stands for the way into PostgreSQL."""

    def __init__(self) -> None:
        self.booked: list[str] = []
        self.errors: dict[str, Exception] = {}

    async def __call__(self, ending: Ending) -> None:
        if ending.hold_id in self.errors:
            raise self.errors[ending.hold_id]
        self.booked.append(ending.hold_id)


class Bench:
    def __init__(self, shop: Shop, customer: Customer, folder: Path) -> None:
        self.shop = shop
        self.customer = customer
        self.folder = folder
        self.book = Booker()
        self.spool = Spool(folder, new_id())
        self.settler = Settler(shop.scripts, self.spool, self.book, settle_wait_s=0.05)

    def ending(self, hold_id: str, cost_nanos: int = 700, status: str = "settled") -> Ending:
        return Ending(
            hold_id=hold_id,
            partition=self.customer.partition,
            account_id=self.customer.id,
            currency="USD",
            cost_nanos=cost_nanos,
            status=status,
            payload=end_of_call(),
            first_try_ms=0,
        )

    async def left(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.stat().st_size]


@pytest.fixture
async def bench(shop: Shop, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(shop, await shop.customer(CREDIT_NANOS), tmp_path)
    yield bench
    bench.spool.close()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, link: RedisLink) -> pytest.MonkeyPatch:
    """Redis takes no end; `undo()` brings it back."""
    fail_scripts(monkeypatch, link, ["settle", "release"], lambda: RedisUnavailable("away"))
    return monkeypatch


async def test_a_settle_is_in_redis_when_it_returns(bench: Bench) -> None:
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id))
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    assert bench.settler.kept == 0
    assert await bench.left() == []
    await assert_books_balance(bench.shop)


async def test_a_settle_that_redis_does_not_take_is_on_disk_when_it_returns(
    bench: Bench, away: pytest.MonkeyPatch
) -> None:
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id))
    assert len(await bench.left()) == 1
    away.undo()
    await bench.settler.run_once()
    assert bench.settler.kept == 0
    assert await bench.left() == []
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(bench.shop)


async def test_a_settle_that_the_disk_refuses_too_raises_and_is_tried_on(
    bench: Bench, away: pytest.MonkeyPatch
) -> None:
    async def full(record_id: str, record: bytes) -> None:
        raise SpoolFailed("no space left")

    away.setattr(bench.spool, "keep", full)
    hold_id = await bench.customer.hold(1000)
    with pytest.raises(SpoolFailed):
        await bench.settler.end(bench.ending(hold_id))
    away.undo()
    await bench.settler.run_once()
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(bench.shop)


async def test_a_disk_that_hangs_is_not_waited_for_without_end(
    bench: Bench, away: pytest.MonkeyPatch
) -> None:
    async def hang(record_id: str, record: bytes) -> None:
        await asyncio.Event().wait()

    away.setattr(bench.spool, "keep", hang)
    away.setattr(settling_module, "DISK_WAIT_S", 0.05)
    with pytest.raises(SpoolFailed, match="within"):
        await bench.settler.end(bench.ending(await bench.customer.hold(1000)))
    assert bench.settler.kept == 1


async def test_a_release_is_kept_in_memory_only(bench: Bench, away: pytest.MonkeyPatch) -> None:
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id, 0, "released"))
    assert bench.settler.kept == 1
    assert await bench.left() == []
    away.undo()
    await bench.settler.run_once()
    assert bench.settler.kept == 0
    assert await bench.customer.redis_nanos() == CREDIT_NANOS


async def test_what_a_dead_process_spooled_is_settled_by_the_next(
    bench: Bench, away: pytest.MonkeyPatch
) -> None:
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id))
    bench.spool.close()  # with a record left, as a death leaves it
    away.undo()
    following = Bench(bench.shop, bench.customer, bench.folder)
    following.settler.adopt()
    await following.settler.run_once()
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    following.spool.close()
    assert list(bench.folder.iterdir()) == []


async def test_a_record_of_another_version_does_not_stop_the_start(bench: Bench) -> None:
    left = Spool(bench.folder, "dead")
    await left.keep("odd", b'{"hold":"x"}')
    await left.keep("torn", b"{")
    hold_id = await bench.customer.hold(1000)
    await left.keep(hold_id, bench.ending(hold_id).record())
    left.close()
    bench.settler.adopt()
    await bench.settler.run_once()
    assert bench.settler.kept == 0
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    assert len(await bench.left()) >= 1  # for people to look at


async def test_a_record_reads_as_those_of_earlier_versions(bench: Bench) -> None:
    """Processes of two versions adopt each other's spools."""
    ending = bench.ending(new_id())
    fields = {name: getattr(ending, name) for name in Ending.__slots__}
    assert orjson.loads(ending.record()) == {**fields, "payload": ending.payload.decode()}


async def test_a_settle_that_redis_does_not_know_is_booked_apart(bench: Bench) -> None:
    unknown = new_id()
    await bench.settler.end(bench.ending(unknown))
    await bench.settler.run_once()
    assert bench.book.booked == [unknown]
    assert bench.settler.kept == 0
    assert await bench.left() == []


async def test_strays_that_wait_hold_up_nobody(bench: Bench) -> None:
    """More of them than one batch: the release behind them is still tried."""
    for _ in range(250):
        stray = new_id()
        bench.book.errors[stray] = NotYet("the books are behind")
        bench.settler.end_later(bench.ending(stray), on_disk=True)
    last = new_id()
    bench.settler.end_later(bench.ending(last), on_disk=True)
    hold_id = await bench.customer.hold(1000)
    bench.settler.end_later(bench.ending(hold_id, 0, "released"))
    await bench.settler.run_once()
    assert bench.settler.kept == 250
    assert bench.book.booked == [last]
    bench.book.errors = dict.fromkeys(bench.book.errors, PostgresUnavailable("away"))
    other = await bench.customer.hold(1000)
    bench.settler.end_later(bench.ending(other, 0, "released"))
    await bench.settler.run_once()
    assert bench.settler.kept == 250
    assert (
        await bench.shop.link.call("HLEN", bench.shop.scripts.names.partition[bench.customer.partition].holds)
        == 0
    )


async def test_a_charge_that_the_books_refuse_does_not_stop_the_line(bench: Bench) -> None:
    poison, good = new_id(), new_id()
    bench.book.errors[poison] = ValueError("a row that PostgreSQL refuses")
    await bench.settler.end(bench.ending(poison))
    await bench.settler.end(bench.ending(good))
    await bench.settler.run_once()
    assert bench.book.booked == [good]
    assert bench.settler.kept == 0
    assert len(await bench.left()) == 1


async def test_a_settle_after_a_release_is_a_breach_that_is_not_repeated(bench: Bench) -> None:
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id, 0, "released"))
    bench.settler.end_later(bench.ending(hold_id))
    await bench.settler.run_once()
    assert bench.settler.kept == 0
    assert await bench.customer.redis_nanos() == CREDIT_NANOS


async def test_repeating_an_end_charges_once(bench: Bench) -> None:
    hold_id = await bench.customer.hold(1000)
    ending = bench.ending(hold_id)
    await asyncio.gather(*(bench.settler.end(ending) for _ in range(5)))
    bench.settler.end_later(replace(ending, cost_nanos=900))
    await bench.settler.run_once()
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(bench.shop)


async def test_the_loop_ends_what_is_kept_and_stops_with_nothing_left_behind(
    bench: Bench, away: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(bench.settler.run(stop))
    before = asyncio.all_tasks()
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id))
    away.undo()
    async with asyncio.timeout(20):
        while bench.settler.kept:
            await asyncio.sleep(0.01)
    stop.set()
    await running
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before - {running}
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700


async def settle(bench: Bench, hold_id: str, cost_nanos: int = 700) -> None:
    """What the till has sent and does not know to be charged."""
    ending, scripts = bench.ending(hold_id, cost_nanos), bench.shop.scripts
    ends = scripts.end_commands(ending.partition, ending.account_id, ending.currency)
    command = ends.settle(hold_id, cost_nanos, 0, "settled", ending.payload)
    await bench.settler.settle(ending, command, scripts.link.send(command), monotonic_s())


async def test_what_the_till_sent_charges_once_however_often(bench: Bench) -> None:
    hold_id = await bench.customer.hold(1000)
    for _ in range(2):
        await settle(bench, hold_id)
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    assert bench.settler.kept == 0
    await assert_books_balance(bench.shop)


async def test_what_the_till_sent_is_tried_again_within_its_time_and_then_kept(
    bench: Bench, away: pytest.MonkeyPatch
) -> None:
    hold_id = await bench.customer.hold(1000)
    await settle(bench, hold_id)
    assert (bench.settler.kept, len(await bench.left())) == (1, 1)
    away.undo()
    await bench.settler.run_once()
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700
    await assert_books_balance(bench.shop)


async def test_what_the_till_sent_goes_on_when_redis_comes_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settler._settle_wait_s = 60.0
    hold_id = await bench.customer.hold(1000)
    answer, tries = bench.shop.link.send, 0

    def away_twice(command: bytes) -> asyncio.Future[Any]:
        nonlocal tries
        tries += 1
        if tries < 3:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(RedisUnavailable("away"))
            return future
        return answer(command)

    monkeypatch.setattr(bench.shop.link, "send", away_twice)
    await settle(bench, hold_id)
    assert (tries, bench.settler.kept, await bench.left()) == (3, 0, [])
    assert await bench.customer.redis_nanos() == CREDIT_NANOS - 700


async def test_what_the_till_sent_is_kept_if_redis_does_not_know_it_and_refused_if_it_was_released(
    bench: Bench,
) -> None:
    unknown = new_id()
    await settle(bench, unknown)
    await bench.settler.run_once()
    assert bench.book.booked == [unknown]
    hold_id = await bench.customer.hold(1000)
    await bench.settler.end(bench.ending(hold_id, 0, "released"))
    with pytest.raises(InvariantBroken, match="released and then settled"):
        await settle(bench, hold_id)
    assert bench.settler.kept == 0
