"""How a stream's hold grows ahead of need, and what happens when it cannot."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from rabbitgw.billing.hold import Hold
from rabbitgw.billing.ways import Laid
from rabbitgw.errors import BalanceShort, InvariantBroken, RabbitError, RedisUnavailable
from rabbitgw.proxy import slices as slices_module
from rabbitgw.proxy.quote import Quote
from rabbitgw.proxy.slices import Slices
from tests.loops import until
from tests.proxy.test_quote import KEY, quoted

SLICE = 256
INPUT_NANOS = 1_000_000
TOKEN_NANOS = 10_000
SHORT = BalanceShort("short", available_nanos=0)


class Purse:
    """Stands for Till: gives, refuses or breaks as the test says; a hold without it would need a store each time."""

    def __init__(self) -> None:
        self.answer: RabbitError | Exception | None = None
        self.asked: list[tuple[int, int]] = []
        self.others = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def extend(self, hold: Hold, wanted_nanos: int, delivered_nanos: int) -> None:
        self.asked.append((wanted_nanos, delivered_nanos))
        await self.gate.wait()
        if self.answer is not None:
            raise self.answer
        hold.granted_nanos = wanted_nanos

    def others_hold(self, hold: Hold) -> bool:
        return self.others


class Stream:
    def __init__(self, quote: Quote, *, hidden_tokens_per_s: int = 0) -> None:
        self.purse = Purse()
        self.hold = Hold("h", KEY, 0, INPUT_NANOS + SLICE * TOKEN_NANOS, (), cast("Any", None), Laid((), b""))
        self.slices = Slices(self.purse, self.hold, quote, hidden_tokens_per_s=hidden_tokens_per_s)  # type: ignore[arg-type]
        self.more = self.spent = 0
        self.slices.bind(self._on_more, self._on_spent)

    def _on_more(self) -> None:
        self.more += 1

    def _on_spent(self) -> None:
        self.spent += 1


def stream(hidden_tokens_per_s: int = 0, **fields: Any) -> Stream:
    return Stream(quoted(stream=True, **fields)[1], hidden_tokens_per_s=hidden_tokens_per_s)


async def test_the_next_slice_is_held_half_a_slice_ahead() -> None:
    one = stream()
    assert one.slices.seen(127)
    assert one.purse.asked == []
    assert one.slices.seen(128)
    await until(lambda: one.more)
    # 512 tokens and the input; delivered: 250 tokens of plain input and 128 of output
    assert one.purse.asked == [(1_000_000 + 5_120_000, 500_000 + 1_280_000)]
    assert one.slices.room_tokens() == 512 - 128


async def test_a_stream_that_outran_its_hold_waits_for_the_answer() -> None:
    one = stream()
    one.purse.gate.clear()
    assert one.slices.seen(200)
    assert not one.slices.seen(300)
    one.purse.gate.set()
    await until(lambda: one.more)
    assert one.slices.seen(301)
    assert one.spent == 0


async def test_a_refusal_ahead_of_need_is_not_the_last_word() -> None:
    one = stream()
    one.purse.answer = SHORT
    assert one.slices.seen(130)
    await until(lambda: one.more)
    assert one.slices.seen(255)
    one.purse.answer = None  # a credit came meanwhile
    assert not one.slices.seen(256)
    await until(lambda: one.more == 2)
    assert one.slices.seen(257)
    assert (one.spent, one.slices.refusal) == (0, None)


async def test_a_refusal_where_the_hold_is_used_up_ends_the_stream() -> None:
    one = stream()
    one.purse.answer = SHORT
    assert not one.slices.seen(256)
    await until(lambda: one.spent)
    assert one.slices.refusal is SHORT
    assert one.more == 0


async def test_money_that_others_hold_is_waited_for() -> None:
    one = stream()
    one.purse.answer, one.purse.others = SHORT, True
    assert not one.slices.seen(256)
    await until(lambda: len(one.purse.asked) > 1)
    one.purse.answer = None
    await until(lambda: one.more)
    assert one.spent == 0


async def test_a_store_that_stays_away_ends_the_stream_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices_module, "STORE_PATIENCE_S", 0.2)
    one = stream()
    one.purse.answer = RedisUnavailable("away")
    assert not one.slices.seen(256)
    await until(lambda: one.spent)
    assert isinstance(one.slices.refusal, RedisUnavailable)


@pytest.mark.parametrize("error", [InvariantBroken("BADARG extend"), TypeError("a bug")])
async def test_a_bug_in_an_extension_ends_the_stream_instead_of_leaving_it_waiting(error: Exception) -> None:
    one = stream()
    one.purse.answer = error
    assert not one.slices.seen(256)
    await until(lambda: one.spent)
    assert isinstance(one.slices.refusal, InvariantBroken)
    assert "BADARG" not in one.slices.refusal.message


async def test_a_stream_that_holds_its_own_limit_asks_no_more() -> None:
    one = stream(max_tokens=300)
    assert one.slices.seen(200)
    await until(lambda: one.more)
    assert one.purse.asked == [(1_000_000 + 3_000_000, 500_000 + 2_000_000)]
    assert one.slices.seen(100_000)
    assert len(one.purse.asked) == 1


async def test_silence_is_held_for_by_time_but_not_while_upstream_is_not_read() -> None:
    one = stream(hidden_tokens_per_s=100)
    began_ms = one.slices._seen_ms
    one.slices.tick(began_ms + 1000)
    assert one.slices.room_tokens() == SLICE - 100
    one.slices.tick(began_ms + 60_000, paused=True)
    assert one.slices.room_tokens() == SLICE - 100
    one.slices.tick(began_ms + 61_000)
    await until(lambda: one.more)
    assert one.purse.asked[0][1] == 500_000 + 2_000_000


async def test_visible_output_stops_the_count_of_hidden_output() -> None:
    one = stream(hidden_tokens_per_s=100)
    began_ms = one.slices._seen_ms
    one.slices.seen(10)
    one.slices.tick(began_ms + 1000)
    assert one.slices.room_tokens() == SLICE - 10


async def test_below_its_calm_tokens_a_stream_has_nothing_to_ask() -> None:
    one = stream(hidden_tokens_per_s=10)
    assert one.slices.calm_tokens == SLICE // 2
    one.slices.tick(one.slices._seen_ms + 1000)  # 10 hidden tokens
    assert one.slices.calm_tokens == SLICE // 2 - 10
    one.slices.visible_tokens = SLICE // 2 - 11
    assert one.slices.seen(SLICE // 2 - 11)
    assert one.purse.asked == []
    assert one.slices.seen(SLICE // 2 - 10)
    await until(lambda: one.more)
    assert len(one.purse.asked) == 1
    assert one.slices.calm_tokens == 2 * SLICE - SLICE // 2 - 10


async def test_after_a_refusal_ahead_of_need_a_stream_is_calm_up_to_its_hold() -> None:
    one = stream()
    one.purse.answer = SHORT
    one.slices.seen(130)
    await until(lambda: one.more)
    assert one.slices.calm_tokens == SLICE


async def test_a_stream_that_holds_its_own_limit_is_calm_to_its_end() -> None:
    assert stream(max_tokens=100).slices.calm_tokens > 1 << 40


async def test_nothing_is_asked_after_the_close() -> None:
    one = stream(hidden_tokens_per_s=100)
    one.purse.gate.clear()
    one.slices.seen(200)
    await asyncio.sleep(0)
    await one.slices.close()
    one.slices.tick(one.slices._seen_ms + 100_000)
    one.slices.seen(10_000)
    one.purse.gate.set()
    await asyncio.sleep(0)
    assert len(one.purse.asked) == 1
    assert (one.more, one.spent) == (0, 0)
    assert one.hold.granted_nanos == INPUT_NANOS + SLICE * TOKEN_NANOS
