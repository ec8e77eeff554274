"""Spend windows through all scripts: a counter is settled usage plus open holds, in the spans of admission."""

from __future__ import annotations

import asyncio

from rabbitgw.redis_link import RedisLink
from rabbitgw.replies import ExtendReply, HoldPart, ReserveReply
from rabbitgw.scripts import WindowLimit
from tests.billing.money_world import (
    DAY_MS,
    FIVE_HOURS_MS,
    HOLD,
    LEASE_MS,
    OTHER,
    START_MS,
    World,
    day,
    life,
    offer,
    opening,
)


async def test_every_window_counts_the_hold_and_then_the_true_cost(world: World) -> None:
    await world.reserve(offer(300, enforce="11"), windows=[life(5000), day(500)])
    assert await world.field("w:11:life") == "300"
    assert await world.field("w:12:day0") == "300"
    await world.settle(120)
    assert await world.field("w:11:life") == "120"
    assert await world.field("w:12:day0") == "120"
    assert (await world.events())[0]["w"] == "11:life,12:day0"


async def test_a_cost_above_the_hold_raises_the_counter(world: World) -> None:
    await world.reserve(offer(300, enforce="1"), windows=[life(5000)])
    await world.settle(450)
    assert await world.field("w:11:life") == "450"


async def test_the_tightest_window_refuses_and_names_itself(world: World) -> None:
    windows = [life(900), day(400)]
    await world.reserve(offer(300, enforce="11"), windows=windows)
    assert await world.reserve(offer(101, enforce="11"), hold_id=OTHER, windows=windows) == ReserveReply(
        "WINDOW", window=1, limit_nanos=400, remaining_nanos=100, now_ms=START_MS, span="day0"
    )
    assert (await world.reserve(offer(100, enforce="11"), hold_id=OTHER, windows=windows)).word == "OK"


async def test_a_wallet_tighter_than_the_windows_answers_short(world: World) -> None:
    reply = await world.reserve(offer(2000, enforce="1"), windows=[life(1500)])
    assert reply == ReserveReply("SHORT", available_nanos=1000, now_ms=START_MS)


async def test_a_wallet_as_tight_as_the_tightest_window_answers_short(world: World) -> None:
    reply = await world.reserve(offer(2000, enforce="1"), windows=[life(1000)])
    assert reply == ReserveReply("SHORT", available_nanos=1000, now_ms=START_MS)


async def test_a_window_limits_what_is_granted_in_part(world: World) -> None:
    reply = await world.reserve(offer(800, 100, enforce="1"), windows=[life(250)])
    assert (reply.word, reply.granted_nanos) == ("OK", 250)


async def test_a_window_that_is_not_enforced_is_counted_all_the_same(world: World) -> None:
    reply = await world.reserve(offer(300, enforce="1"), offer(300, enforce="0"), windows=[life(100)])
    assert (reply.word, reply.offer) == ("OK", 1)
    assert await world.field("w:11:life") == "300"


async def test_a_window_past_its_limit_says_how_far(world: World) -> None:
    await world.reserve(offer(100, enforce="1"), windows=[life(100)])
    await world.settle(130)
    reply = await world.reserve(offer(1, enforce="1"), hold_id=OTHER, windows=[life(100)])
    assert (reply.word, reply.remaining_nanos) == ("WINDOW", -30)


async def test_a_free_call_does_not_ask_the_windows(world: World) -> None:
    await world.reserve(offer(100, enforce="1"), windows=[life(100)])
    await world.settle(130)
    assert (await world.reserve(offer(0, enforce="1"), hold_id=OTHER, windows=[life(100)])).word == "OK"


async def test_a_span_that_is_not_the_present_one_is_refused(world: World) -> None:
    world.advance(DAY_MS - 1)
    assert (await world.reserve(offer(1, enforce="1"), windows=[day(9, 1)])).word == "SPAN"
    assert (await world.reserve(offer(1, enforce="1"), windows=[day(9, 0)])).word == "OK"
    world.advance(1)
    assert await world.reserve(offer(1, enforce="1"), hold_id=OTHER, windows=[day(9, 0)]) == ReserveReply(
        "SPAN", now_ms=START_MS + DAY_MS
    )
    assert (await world.reserve(offer(1, enforce="1"), hold_id=OTHER, windows=[day(9, 1)])).word == "OK"


async def test_a_new_day_begins_at_zero_and_a_call_counts_where_it_was_admitted(world: World) -> None:
    await world.reserve(offer(300, enforce="1"), windows=[day(500, 0)])
    world.advance(DAY_MS)
    assert (await world.reserve(offer(400, enforce="1"), hold_id=OTHER, windows=[day(500, 1)])).word == "OK"
    await world.settle(310)
    assert await world.field("w:12:day0") == "310"
    assert await world.field("w:12:day1") == "400"


async def test_the_counter_of_the_day_before_yesterday_goes(world: World) -> None:
    for number, hold_id in enumerate(["a", "b", "c"]):
        await world.reserve(offer(10, enforce="1"), hold_id=hold_id, windows=[day(50, number)])
        world.advance(DAY_MS)
    assert await world.field("w:12:day0") is None
    assert await world.field("w:12:day1") == "10"
    assert await world.field("w:12:day2") == "10"
    assert (await world.field("ws:12"), await world.field("wo:12")) == ("day2", "day1")


async def test_an_end_does_not_bring_a_counter_back_that_is_gone(world: World) -> None:
    for number, hold_id in enumerate(["a", "b", "c"]):
        await world.reserve(offer(10, enforce="1"), hold_id=hold_id, windows=[day(50, number)])
        world.advance(DAY_MS)
    assert (await world.extend(25, delivered=5, hold_id="a")).granted_nanos == 25
    await world.settle(20, hold_id="a")
    assert await world.field("w:12:day0") is None
    assert await world.field("b:USD") == "980"


async def test_a_day_without_calls_in_between_keeps_both_counters(world: World) -> None:
    await world.reserve(offer(10, enforce="1"), hold_id="a", windows=[day(50, 0)])
    world.advance(5 * DAY_MS)
    await world.reserve(offer(20, enforce="1"), hold_id="b", windows=[day(50, 5)])
    assert (await world.field("w:12:day0"), await world.field("w:12:day5")) == ("10", "20")


async def test_a_clock_set_back_finds_its_counter_again(world: World) -> None:
    await world.reserve(offer(10, enforce="1"), hold_id="a", windows=[day(50, 0)])
    world.advance(DAY_MS)
    await world.reserve(offer(20, enforce="1"), hold_id="b", windows=[day(50, 1)])
    world.advance(-1)
    await world.reserve(offer(5, enforce="1"), hold_id="c", windows=[day(50, 0)])
    assert (await world.field("w:12:day0"), await world.field("w:12:day1")) == ("15", "20")
    assert (await world.field("ws:12"), await world.field("wo:12")) == ("day1", "day0")


async def test_a_loaded_counter_goes_on_from_where_it_stood(world: World) -> None:
    await world.link.call("DEL", world.keys.account(41))
    await world.open(1000, **{"w:12:day0": 480, "ws:12": "day0"})
    reply = await world.reserve(offer(30, enforce="1"), windows=[day(500)])
    assert (reply.word, reply.remaining_nanos) == ("WINDOW", 20)


async def test_expiry_keeps_the_delivered_part_in_the_windows(world: World) -> None:
    await world.reserve(offer(300, enforce="1"), windows=[life(5000)])
    await world.extend(300, delivered=50)
    world.advance(LEASE_MS)
    await world.expire()
    assert await world.field("w:11:life") == "50"


async def test_a_late_settle_corrects_the_windows_of_admission_up_and_down(world: World) -> None:
    for hold_id in (HOLD, OTHER):
        await world.reserve(offer(300, enforce="1"), hold_id=hold_id, windows=[day(5000)])
        await world.extend(300, delivered=50, hold_id=hold_id)
    world.advance(DAY_MS)
    for hold_id in (HOLD, OTHER):
        await world.expire(hold_id=hold_id)
    assert (await world.settle(120)).word == "LATE"
    assert await world.field("w:12:day0") == "170"
    assert (await world.settle(20, hold_id=OTHER)).word == "LATE"
    assert await world.field("w:12:day0") == "140"


async def test_release_takes_the_hold_out_of_the_windows(world: World) -> None:
    await world.reserve(offer(300, enforce="1"), windows=[life(5000)])
    await world.release()
    assert await world.field("w:11:life") == "0"


async def test_sixteen_windows_are_moved_by_one_call(world: World) -> None:
    windows = [life(5000, window_id) for window_id in range(16)]
    await world.reserve(offer(300, enforce="1" * 16), windows=windows)
    await world.extend(400, windows=[WindowLimit(window_id, 5000) for window_id in range(16)])
    await world.settle(7)
    account = await world.account()
    assert [account[f"w:{window_id}:life"] for window_id in range(16)] == ["7"] * 16


async def test_an_extension_stops_at_the_tightest_window(world: World) -> None:
    await world.reserve(offer(100, enforce="11"), windows=[life(5000), day(250)])
    limits = [WindowLimit(11, 5000), WindowLimit(12, 250)]
    assert await world.extend(400, 200, windows=limits) == ExtendReply("OK", 250, 750)
    assert await world.extend(400, 251, windows=limits) == ExtendReply(
        "WINDOW", window=1, limit_nanos=250, remaining_nanos=0, span="day0"
    )
    assert await world.field("w:12:day0") == "250"


async def test_an_extension_stops_at_a_window_that_is_nearly_used(world: World) -> None:
    await world.reserve(offer(450, enforce="1"), windows=[life(500)])
    limits = [WindowLimit(11, 500)]
    assert (await world.extend(600, 501, windows=limits)).remaining_nanos == 50
    assert await world.extend(600, 500, windows=limits) == ExtendReply("OK", 500, 500)


async def test_an_extension_counts_windows_that_its_list_leaves_out_or_does_not_enforce(world: World) -> None:
    await world.reserve(offer(100, enforce="11"), windows=[life(150), day(150)])
    reply = await world.extend(400, windows=[WindowLimit(12, 150, enforce=0)])
    assert reply == ExtendReply("OK", 400, 600)
    assert (await world.field("w:11:life"), await world.field("w:12:day0")) == ("400", "400")


# -- a window that opens at an admission --


async def test_five_hours_open_at_an_admission_and_the_next_at_the_first_after_they_are_over(
    world: World,
) -> None:
    window = [opening(500)]
    assert (await world.reserve(offer(501, enforce="1"), windows=window)).word == "WINDOW"
    assert await world.field("ws:14") is None, "a refusal opens nothing"
    world.advance(1_000)
    first = str(world.now_ms)
    await world.reserve(offer(300, enforce="1"), windows=window, hold_id="a")
    world.advance(FIVE_HOURS_MS - 1)
    assert await world.reserve(offer(201, enforce="1"), windows=window) == ReserveReply(
        "WINDOW", window=0, limit_nanos=500, remaining_nanos=200, now_ms=world.now_ms, span=first
    )
    await world.reserve(offer(200, enforce="1"), windows=window, hold_id="b")
    world.advance(1)
    second = str(world.now_ms)
    await world.reserve(offer(500, enforce="1"), windows=window, hold_id="c")
    hold = await world.hold("c")
    assert hold is not None
    assert hold.parts == (HoldPart(hold.amount_nanos, False, (f"14:{second}",)),)
    assert (await world.field("ws:14"), await world.field("wo:14")) == (second, first)
    await world.settle(310, hold_id="a")
    await world.release(hold_id="b")
    assert [await world.field(f"w:14:{span}") for span in (first, second)] == ["310", "500"]
    world.advance(7 * FIVE_HOURS_MS)
    await world.reserve(offer(1, enforce="1"), windows=window, hold_id="d")
    assert await world.field(f"w:14:{first}") is None
    assert [event["w"] for event in await world.events()] == [f"14:{first}"] * 2


async def test_a_clock_set_back_stays_in_the_five_hours_that_are_open(world: World) -> None:
    await world.reserve(offer(300, enforce="1"), windows=[opening(500)], hold_id="a")
    world.advance(-60_000)
    await world.reserve(offer(200, enforce="1"), windows=[opening(500)], hold_id="b")
    assert await world.field(f"w:14:{START_MS}") == "500"
    assert (await world.reserve(offer(1, enforce="1"), windows=[opening(500)])).word == "WINDOW"


async def test_a_stream_grows_in_the_five_hours_of_its_admission(world: World) -> None:
    await world.reserve(offer(100, enforce="1"), windows=[opening(250)], hold_id="a")
    world.advance(FIVE_HOURS_MS)
    await world.reserve(offer(200, enforce="1"), windows=[opening(250)], hold_id="b")
    limits = [WindowLimit(14, 250)]
    assert await world.extend(400, 200, windows=limits, hold_id="a") == ExtendReply("OK", 250, 550)
    assert await world.extend(400, 251, windows=limits, hold_id="a") == ExtendReply(
        "WINDOW", window=0, limit_nanos=250, remaining_nanos=0, span=str(START_MS)
    )
    assert await world.field(f"w:14:{START_MS + FIVE_HOURS_MS}") == "200"


async def test_loaded_five_hours_are_still_open(world: World) -> None:
    await world.link.call("DEL", world.keys.account(41))
    opened = str(START_MS - FIVE_HOURS_MS + 1)
    await world.open(1000, **{f"w:14:{opened}": 480, "ws:14": opened})
    assert (await world.reserve(offer(21, enforce="1"), windows=[opening(500)])).remaining_nanos == 20
    world.advance(1)
    assert (await world.reserve(offer(21, enforce="1"), windows=[opening(500)])).word == "OK"


async def test_a_thousand_reserves_at_once_hold_what_the_tightest_window_has_and_no_more(
    world: World, redis_url: str
) -> None:
    await world.link.call("DEL", world.keys.account(41))
    await world.open(10**9)
    windows, other = [life(9_000), day(6_000), opening(5_000)], await RedisLink.connect(redis_url)
    worlds = [world, World(other)]
    replies = await asyncio.gather(
        *(
            worlds[number % 2].reserve(offer(7, 1, enforce="111"), hold_id=f"h-{number}", windows=windows)
            for number in range(1_000)
        )
    )
    await other.close()
    granted = [reply.granted_nanos for reply in replies]
    assert (sum(granted), granted.count(7), granted.count(2), granted.count(0)) == (5_000, 714, 1, 285)
    assert {reply.window for reply in replies if reply.word == "WINDOW"} == {2}
    for number in range(1_000):
        if granted[number]:
            await world.settle(granted[number] - 1, hold_id=f"h-{number}")
    counters = [await world.field(f"w:{name}") for name in ("11:life", "12:day0", f"14:{START_MS}")]
    assert counters == [str(5_000 - 715)] * 3


async def test_an_extension_ignores_windows_that_came_after_admission(world: World) -> None:
    await world.reserve(offer(100))
    assert (await world.extend(400, windows=[WindowLimit(99, 1)])).granted_nanos == 400
    assert await world.field("w:99:life") is None
