"""Who may ask for money now and who waits: advice of one process, judged by what its calls have been granted."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.holding import FEW, WAITERS_MAX, Growth, Holding

ACCOUNT = 7
SLICE = 100
UNKNOWN = Growth("gpt", 10, None)


def run(holding: Holding, hold_id: str, available_nanos: int, growth: Growth | None = UNKNOWN) -> int:
    """A call that is granted what it asks for. Returns that."""
    asked = holding.begin(ACCOUNT, hold_id, SLICE, growth)
    holding.granted(ACCOUNT, hold_id, asked, available_nanos)
    return asked


def may_begin(holding: Holding, growth: Growth | None = UNKNOWN) -> bool:
    return holding.may_begin(ACCOUNT, SLICE, growth, new=True)


def learn(holding: Holding, cost_nanos: int) -> None:
    """One call of the kind has cost this much."""
    run(holding, "first of its kind", 1_000_000)
    holding.ended(ACCOUNT, "first of its kind", cost_nanos, whole=True)


def test_the_first_call_asks_at_once_and_the_next_when_redis_has_said_what_is_available() -> None:
    holding = Holding()
    assert may_begin(holding)
    holding.begin(ACCOUNT, "a", SLICE, UNKNOWN)
    assert not may_begin(holding)
    holding.granted(ACCOUNT, "a", SLICE, 1_000_000)
    assert may_begin(holding)
    assert holding.held_nanos(ACCOUNT) == SLICE


def test_a_call_that_does_not_grow_is_left_to_redis() -> None:
    holding = Holding()
    run(holding, "a", 0)
    assert may_begin(holding, None)


def test_streams_of_an_unknown_kind_begin_a_few_at_a_time_while_money_is_scarce() -> None:
    holding = Holding()
    run(holding, "a", 4_900)
    assert may_begin(holding)
    run(holding, "b", 4_800)  # each may come to 16 slices
    assert may_begin(holding)
    run(holding, "c", 4_600)  # 3 x 15 slices of 46 are spoken for
    assert not may_begin(holding)
    run(holding, "more money", 1_000_000)
    assert may_begin(holding)


def test_the_first_of_a_kind_that_ends_lets_the_others_in() -> None:
    holding = Holding()
    run(holding, "a", 1_600)
    run(holding, "b", 1_500)
    assert not may_begin(holding)
    holding.ended(ACCOUNT, "a", 120, whole=True)
    assert may_begin(holding)


def test_a_stream_begins_only_if_those_that_run_can_be_seen_to_their_end() -> None:
    holding = Holding()
    learn(holding, 400)  # with a quarter for safety: 500
    run(holding, "a", 1_000)  # will want 400 more
    assert may_begin(holding)
    run(holding, "b", 900)  # both will want 800
    assert not may_begin(holding)
    holding.ended(ACCOUNT, "a", 100, whole=False)
    assert may_begin(holding)


def test_nobody_begins_while_one_that_runs_cannot_grow() -> None:
    holding = Holding()
    learn(holding, 40)
    run(holding, "a", 1_000)
    assert may_begin(holding)
    holding.starves(ACCOUNT, "a")
    assert not may_begin(holding)
    holding.granted(ACCOUNT, "a", 200, 1_000)
    assert may_begin(holding)


def test_who_may_not_wait_may_try_while_nothing_is_known() -> None:
    holding = Holding()
    for number in range(FEW):
        holding.begin(ACCOUNT, f"hold-{number}", SLICE, UNKNOWN)
    assert holding.few_run(ACCOUNT)
    holding.granted(ACCOUNT, "hold-0", SLICE, 1_000)
    assert not holding.few_run(ACCOUNT)
    holding.ended(ACCOUNT, "hold-0", 1, whole=True)
    assert holding.few_run(ACCOUNT)


def test_a_stated_limit_is_the_most_that_a_stream_comes_to() -> None:
    holding = Holding()
    growth = Growth("gpt", 10, 3 * SLICE)
    run(holding, "a", 500, growth)  # will want 200 more
    assert may_begin(holding, growth)
    run(holding, "b", 400, growth)
    assert not may_begin(holding, growth)


def test_short_calls_hold_less_than_a_slice_while_money_is_scarce() -> None:
    holding = Holding()
    learn(holding, 40)
    assert run(holding, "nothing known of the wallet", 1_000) == SLICE
    assert run(holding, "scarce", 950) == 50
    holding.granted(ACCOUNT, "scarce", 50, 1_000_000)
    assert run(holding, "rich", 1_000_000) == SLICE


def test_a_call_holds_no_less_than_its_floor() -> None:
    holding = Holding()
    learn(holding, 1)
    run(holding, "a", 1_000)
    assert run(holding, "b", 990) == UNKNOWN.floor_nanos


def test_what_calls_come_to_is_learnt_up_fast_and_down_slowly_and_not_from_those_cut_short() -> None:
    holding = Holding()
    learn(holding, 100)
    learn(holding, 300)  # 200
    learn(holding, 100)  # 175
    run(holding, "cut", 1_000_000)
    holding.ended(ACCOUNT, "cut", 3, whole=False)
    run(holding, "a", 10_000, Growth("gpt", 10, None))
    run(holding, "b", SLICE + 300)  # "a" will want 118 more, and so will "b": 236 of 400
    assert not may_begin(holding)  # one that comes to 218
    run(holding, "b2", 10_000, None)
    assert may_begin(holding)


async def test_each_end_lets_the_next_in_line_try_and_a_cancelled_turn_is_passed_on() -> None:
    holding = Holding()
    run(holding, "a", 0)
    waits = [asyncio.create_task(holding.wait(ACCOUNT, 60, new=True)) for _ in range(3)]
    await asyncio.sleep(0)
    holding.wake(ACCOUNT)
    waits[0].cancel()  # in the same turn
    await asyncio.wait({waits[1]}, timeout=10)
    assert waits[1].result() is True
    assert not waits[2].done()
    holding.ended(ACCOUNT, "a", 1, whole=True)
    assert await waits[2] is True
    await asyncio.gather(*waits, return_exceptions=True)
    assert holding.held_nanos(ACCOUNT) == 0


async def test_a_newcomer_goes_behind_those_who_wait() -> None:
    holding = Holding()
    run(holding, "a", 1_000_000)
    waiting = asyncio.create_task(holding.wait(ACCOUNT, 60, new=True))
    await asyncio.sleep(0)
    assert not may_begin(holding)
    assert holding.may_begin(ACCOUNT, SLICE, UNKNOWN, new=False)
    holding.wake(ACCOUNT)
    await waiting
    assert may_begin(holding)


async def test_the_line_has_an_end() -> None:
    holding = Holding()
    run(holding, "a", 0)
    waits = [asyncio.create_task(holding.wait(ACCOUNT, 60, new=True)) for _ in range(WAITERS_MAX)]
    await asyncio.sleep(0)
    assert await holding.wait(ACCOUNT, 60, new=True) is False
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


AMOUNTS = st.integers(0, 3)


@given(
    running=st.lists(st.tuples(AMOUNTS, st.booleans())),
    starved=st.booleans(),
    available=st.none() | st.integers(0, 200),
    usual=st.none() | AMOUNTS,
    asked=AMOUNTS,
    grows=st.booleans(),
)
def test_the_short_way_in_is_taken_only_where_the_long_one_would_ask_for_all(
    running: list[tuple[int, bool]],
    starved: bool,
    available: int | None,
    usual: int | None,
    asked: int,
    grows: bool,
) -> None:
    short, long = Holding(), Holding()
    growth = UNKNOWN if grows else None
    for holding in (short, long):
        if usual is not None:
            learn(holding, usual)
        for number, (amount, also_grows) in enumerate(running):
            holding.begin(ACCOUNT, str(number), amount, UNKNOWN if also_grows else None)
            if available is not None:
                holding.granted(ACCOUNT, str(number), amount, available)
        if starved and running:
            holding.starves(ACCOUNT, "0")
    if short.enter(ACCOUNT, "new", asked, growth):
        assert long.may_begin(ACCOUNT, asked, growth, new=True)
        assert long.begin(ACCOUNT, "new", asked, growth) == asked
        assert short._accounts == long._accounts
    else:
        assert short._accounts == {} or "new" not in short._accounts[ACCOUNT].calls
        assert growth is not None, "what does not grow is left to Redis"


async def test_nobody_overtakes_by_the_short_way_in_those_who_wait() -> None:
    holding = Holding()
    run(holding, "a", 1_000_000)
    waiting = asyncio.create_task(holding.wait(ACCOUNT, 60.0, new=True))
    await asyncio.sleep(0)
    assert not holding.enter(ACCOUNT, "b", SLICE, UNKNOWN)
    holding.ended(ACCOUNT, "a", 100, whole=True)
    assert await waiting
    assert holding.enter(ACCOUNT, "b", SLICE, UNKNOWN)
