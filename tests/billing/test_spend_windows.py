"""Spend windows on accounts, teams, users, keys, through the till: shared, changed while calls run, over midnight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.billing.hold import Hold
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.keys import NewKey, create_key, list_keys
from rabbitgw.billing.spend_windows import (
    Increase,
    NewWindow,
    Window,
    change_window,
    create_window,
    list_windows,
    remove_window,
)
from rabbitgw.billing.teams import create_team
from rabbitgw.billing.users import create_user, update_user
from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict, NotFound, RequestInvalid, WindowShort
from rabbitgw.scripts import Scripts
from rabbitgw.stores import connection
from tests.billing.money_world import TEST_PROLOGUE, ClockedLink
from tests.books import assert_books_balance, end_of_call
from tests.counter import Counter

if TYPE_CHECKING:
    from rabbitgw.keynames import KeyNames
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

HOUR_MS = 3_600_000


class House(Counter):
    """A counter whose scripts read the test's clock."""

    @property
    def clock(self) -> ClockedLink:
        clock = self.scripts.link
        assert isinstance(clock, ClockedLink)
        return clock

    def at(self, text: str) -> None:
        self.clock.now_ms = round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)

    async def window(self, entity_type: str, entity_id: int, kind: str, limit: int, **place: Any) -> Window:
        made = await create_window(self.pg, NewWindow(entity_type, entity_id, kind, limit, **place))
        await push_keys_below(self.pg, self.scripts, made.entity)
        return made

    async def secret_of(self, user_id: int | None) -> str:
        return (await create_key(self.pg, NewKey(self.account.id, "k", user_id=user_id))).secret

    async def settle(self, hold: Hold, cost_nanos: int) -> None:
        await self.till.settle(hold, cost_nanos, "settled", end_of_call())

    async def spend(self, cost_nanos: int, secret: str = "") -> Hold:
        hold = await self.hold(cost_nanos, secret=secret)
        await self.settle(hold, cost_nanos)
        return hold

    async def refused(self, amount_nanos: int, secret: str = "") -> WindowShort:
        with pytest.raises(WindowShort) as refused:
            await self.hold(amount_nanos, secret=secret)
        return refused.value

    async def used(self) -> dict[tuple[int, str], int]:
        """By window and span, when all is booked and balanced."""
        await assert_books_balance(self)
        async with connection(self.pg) as db:
            rows = await db.fetch("SELECT window_id, span, used_nanos FROM window_spans")
        return {(row["window_id"], row["span"]): row["used_nanos"] for row in rows}


@pytest.fixture
async def house(pg: Pool, link: RedisLink, tmp_path: Path) -> AsyncIterator[House]:
    def clocked(link: RedisLink, names: KeyNames) -> Scripts:
        clock = ClockedLink(link)
        clock.now_ms = now_ms()
        return Scripts(clock, names, prologue=TEST_PROLOGUE)

    opened = await House.open(pg, link, tmp_path, make_scripts=clocked)
    assert isinstance(opened, House)
    yield opened
    opened.spool.close()


async def test_a_call_passes_the_windows_of_its_key_its_user_its_team_and_its_account(house: House) -> None:
    pg, account_id = house.pg, house.account.id
    team = await create_team(pg, account_id, "Sales")
    ann = await create_user(pg, account_id, "Ann", team_id=team.id)
    bob = await create_user(pg, account_id, "Bob", team_id=team.id)
    anns, bobs, nobodys = [await house.secret_of(one) for one in (ann.id, bob.id, None)]
    key = await house.keyring.find(bobs)
    of_account = await house.window("account", account_id, "lifetime", 1_000)
    of_team = await house.window("team", team.id, "lifetime", 500)
    of_ann = await house.window("user", ann.id, "lifetime", 300)
    of_key = await house.window("key", key.key_id, "lifetime", 150)

    await house.spend(300, anns)
    assert (await house.refused(1, anns)).limit_nanos == 300
    await house.spend(150, bobs)
    assert (await house.refused(1, bobs)).limit_nanos == 150
    bobs_other = await house.secret_of(bob.id)
    await house.spend(50, bobs_other)
    assert (await house.refused(1, bobs_other)).limit_nanos == 500, "the team's, whoever spent it"
    await house.spend(500, nobodys)
    assert (await house.refused(1, nobodys)).limit_nanos == 1_000, "the account's, whoever spent it"

    await update_user(pg, bob.id, team_id=None)
    await push_keys_below(pg, house.scripts, bob.entity)
    assert (await house.refused(1, bobs_other)).limit_nanos == 1_000, "no team is above it any more"
    assert await house.used() == {
        (of_account.id, "life"): 1_000,
        (of_team.id, "life"): 500,
        (of_ann.id, "life"): 300,
        (of_key.id, "life"): 150,
    }


async def test_a_change_holds_from_the_next_request_and_a_call_that_runs_goes_on(house: House) -> None:
    window = await house.window("account", house.account.id, "lifetime", 1_000)
    running = await house.hold(100)
    changed = await change_window(house.pg, window.id, limit_nanos=50)
    await push_keys_below(house.pg, house.scripts, changed.entity)
    later = await house.window("account", house.account.id, "lifetime", 40)
    await house.till.extend(running, 900, 500)
    assert running.granted_nanos == 900
    await house.settle(running, 800)
    refused = await house.refused(1)
    assert (refused.limit_nanos, refused.available_nanos) == (50, -750)
    await remove_window(house.pg, window.id)
    await push_keys_below(house.pg, house.scripts, window.entity)
    assert (await house.refused(41)).limit_nanos == 40
    await house.spend(40)
    assert await house.used() == {(window.id, "life"): 800, (later.id, "life"): 40}
    assert [one.id for one in await list_windows(house.pg)] == [later.id]
    with pytest.raises(Conflict):
        await change_window(house.pg, window.id, limit_nanos=5)
    assert (await remove_window(house.pg, window.id)).removed_at is not None


async def test_a_temporary_increase_ends_by_itself(house: House) -> None:
    window = await house.window("account", house.account.id, "day", 100)
    until = datetime.fromtimestamp(house.clock.now_ms / 1000, UTC) + timedelta(hours=1)
    until = until.replace(microsecond=0)
    raised = await change_window(house.pg, window.id, increase=Increase(50, until))
    assert (raised.limit_nanos, raised.extra_nanos, raised.extra_until) == (100, 50, until)
    await push_keys_below(house.pg, house.scripts, window.entity)
    hold = await house.hold(100)
    await house.till.extend(hold, 140, 0)
    await house.settle(hold, 140)
    refused = await house.refused(11)
    assert (refused.limit_nanos, refused.available_nanos) == (150, 10)
    await change_window(house.pg, window.id, increase=Increase(0, None))
    await push_keys_below(house.pg, house.scripts, window.entity)
    assert (await house.refused(1)).limit_nanos == 100
    (counted,) = (await house.used()).values()
    assert counted == 140


async def test_an_increase_that_is_over_does_not_raise_the_limit(house: House) -> None:
    window = await house.window("account", house.account.id, "lifetime", 100)
    until = datetime.fromtimestamp(house.clock.now_ms // 1000 + 3600, UTC)
    await change_window(house.pg, window.id, increase=Increase(50, until))
    await push_keys_below(house.pg, house.scripts, window.entity)
    await house.spend(120)
    house.clock.now_ms += HOUR_MS + 1_000
    refused = await house.refused(1)  # the gateway thinks that it is an hour ago, and is told
    assert (refused.limit_nanos, refused.available_nanos) == (100, -20)
    await assert_books_balance(house)


@pytest.mark.parametrize(
    ("kind", "zone", "before", "after", "spans"),
    [
        ("day", "+08:00", "2026-11-20T15:59:30", "2026-11-20T16:00:30", ("2026-11-20", "2026-11-21")),
        # The day on which clocks go forward is over after 23 hours, and that on which they go back after 25.
        ("day", "Europe/Berlin", "2026-03-29T21:59:30", "2026-03-29T22:00:30", ("2026-03-29", "2026-03-30")),
        ("day", "Europe/Berlin", "2026-10-25T22:59:30", "2026-10-25T23:00:30", ("2026-10-25", "2026-10-26")),
        ("month", "+08:00", "2028-02-29T15:59:30", "2028-02-29T16:00:30", ("2028-02-01", "2028-03-01")),
        ("week", "+08:00", "2028-02-27T15:59:30", "2028-02-27T16:00:30", ("2028-02-21", "2028-02-28")),
    ],
)
async def test_a_call_counts_in_the_span_of_its_admission_though_the_clock_goes_on_or_back(
    house: House, kind: str, zone: str, before: str, after: str, spans: tuple[str, str]
) -> None:
    house.at(before)
    window = await house.window("account", house.account.id, kind, 100, timezone=zone)
    running = await house.hold(60)
    house.at(after)
    await house.spend(95)
    await house.till.extend(running, 70, 65)
    await house.settle(running, 70)
    assert (await house.refused(6)).available_nanos == 5
    house.at(before)
    await house.spend(30)
    refused = await house.refused(1)
    assert refused.available_nanos == 0
    house.at(after)
    assert refused.resets_at_s == house.clock.now_ms // 1000 - 30
    await house.spend(5)
    assert await house.used() == {(window.id, spans[0]): 100, (window.id, spans[1]): 100}


async def test_five_hours_open_at_the_first_call_and_are_found_again_in_the_books(house: House) -> None:
    window = await house.window("account", house.account.id, "5h", 100)
    assert (window.timezone, window.reset_time) == (None, None)
    running = await house.hold(60)
    opened_ms = house.clock.now_ms
    house.clock.now_ms += 5 * HOUR_MS - 30_000
    refused = await house.refused(101)
    assert (refused.available_nanos, refused.resets_at_s) == (40, (opened_ms + 5 * HOUR_MS) // 1000)
    house.clock.now_ms -= HOUR_MS  # the clock is set back
    await house.spend(25)
    house.clock.now_ms += HOUR_MS + 60_000
    later_ms = house.clock.now_ms
    await house.spend(90)
    await house.till.extend(running, 70, 65)
    await house.settle(running, 65)
    assert await house.used() == {(window.id, str(opened_ms)): 90, (window.id, str(later_ms)): 90}
    await house.link.call("DEL", house.wallet_key)
    refused = await house.refused(11)
    assert (refused.available_nanos, refused.resets_at_s) == (10, (later_ms + 5 * HOUR_MS) // 1000)
    await house.spend(10)
    assert (await house.used())[window.id, str(later_ms)] == 100


async def test_a_thousand_calls_at_once_take_windows_to_their_limit_and_no_further(house: House) -> None:
    pg, account_id = house.pg, house.account.id
    team = await create_team(pg, account_id, "Sales")
    users = [await create_user(pg, account_id, name, team_id=team.id) for name in ("Ann", "Bob")]
    secrets = [await house.secret_of(user.id) for user in users]
    of_team = await house.window("team", team.id, "5h", 500_000)
    of_account = await house.window("account", account_id, "day", 600_000)
    opened_ms = house.clock.now_ms
    day = (datetime.fromtimestamp(opened_ms / 1000, UTC) + timedelta(hours=8)).date().isoformat()

    async def call(secret: str) -> int:
        try:
            hold = await house.hold(700, 1, secret=secret)
        except WindowShort:
            return 0
        await house.settle(hold, hold.granted_nanos)
        return hold.granted_nanos

    granted = await asyncio.gather(*(call(secret) for secret in secrets for _ in range(500)))
    assert sum(granted) == 500_000
    assert 0 < granted.count(0) < 1_000
    assert await house.used() == {(of_team.id, str(opened_ms)): 500_000, (of_account.id, day): 500_000}
    nobodys = await house.secret_of(None)
    granted = await asyncio.gather(*(call(nobodys) for _ in range(200)))
    assert sum(granted) == 100_000
    assert (await house.used())[of_account.id, day] == 600_000


async def test_sixteen_windows_bind_a_call_and_no_more_can_stand_above_a_key(house: House) -> None:
    pg, account_id = house.pg, house.account.id
    team = await create_team(pg, account_id, "Sales")
    ann = await create_user(pg, account_id, "Ann")
    anns = await house.secret_of(ann.id)
    key = await house.keyring.find(anns)
    for entity_type, entity_id, number in (
        ("account", account_id, 5),
        ("team", team.id, 4),
        ("user", ann.id, 4),
        ("key", key.key_id, 4),
    ):
        for kind in ["day", "week", "month", "lifetime", "day"][:number]:
            await house.window(entity_type, entity_id, kind, 1_000)
    with pytest.raises(Conflict, match=rf"key {key.key_id} would have 17 .* at most 16"):
        await update_user(pg, ann.id, team_id=team.id)
    (extra,) = [one for one in await list_windows(pg) if one.entity_type == "key"][-1:]
    await remove_window(pg, extra.id)
    await update_user(pg, ann.id, team_id=team.id)
    await push_keys_below(pg, house.scripts, ann.entity)
    await house.spend(7, anns)
    assert list((await house.used()).values()) == [7] * 16

    for entity_type, entity_id in (("account", account_id), ("team", team.id), ("key", key.key_id)):
        with pytest.raises(Conflict, match="would have 17"):
            await create_window(pg, NewWindow(entity_type, entity_id, "day", 5))
    full = await create_user(pg, account_id, "Full")
    for _ in range(11):
        await create_window(pg, NewWindow("user", full.id, "day", 5))
    with pytest.raises(Conflict, match=f"user {full.id} would have 17"):
        await create_window(pg, NewWindow("user", full.id, "day", 5))
    with pytest.raises(Conflict, match=r"key \d+ would have 17"):
        await create_key(pg, NewKey(account_id, "k", user_id=full.id, daily_limit_nanos=5))
    assert await create_key(pg, NewKey(account_id, "k", user_id=full.id))
    assert len(await list_keys(pg, account_id)) == 3, "what was refused has left no key behind"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "year"}, "kind"),
        ({"limit_nanos": -1}, "limit_nanos"),
        ({"limit_nanos": 9 * 10**18 + 1}, "limit_nanos"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"reset_time": "24:00"}, "reset_time"),
        ({"reset_time": ""}, "reset_time"),
        ({"kind": "lifetime", "timezone": "+08:00"}, "timezone"),
        ({"kind": "lifetime", "reset_time": "00:00"}, "reset_time"),
    ],
)
async def test_a_wrong_field_is_named(pg: Pool, wrong: dict[str, Any], field: str) -> None:
    fields = {"entity_type": "account", "entity_id": 1, "kind": "day", "limit_nanos": 5, **wrong}
    with pytest.raises(RequestInvalid) as refused:
        await create_window(pg, NewWindow(**fields))
    assert refused.value.field == field


async def test_unknown_ids_and_increases_that_make_no_sense_are_refused(house: House) -> None:
    for entity_type in ("account", "team", "user", "key"):
        with pytest.raises(NotFound, match=f"{entity_type} 77 does not exist"):
            await create_window(house.pg, NewWindow(entity_type, 77, "day", 5))
    with pytest.raises(NotFound):
        await change_window(house.pg, 77, limit_nanos=5)
    with pytest.raises(NotFound):
        await remove_window(house.pg, 77)
    window = await house.window("account", house.account.id, "day", 9 * 10**18)
    soon = datetime.now(UTC) + timedelta(hours=1)
    for increase, field in (
        (Increase(5, None), "extra_until"),
        (Increase(5, datetime(2020, 1, 1, tzinfo=UTC)), "extra_until"),
        (Increase(5, datetime(2099, 1, 1)), "extra_until"),  # noqa: DTZ001
        (Increase(-1, soon), "extra_nanos"),
        (Increase(1, soon), "extra_nanos"),  # past what a window can count
    ):
        with pytest.raises(RequestInvalid) as refused:
            await change_window(house.pg, window.id, increase=increase)
        assert refused.value.field == field
    assert await list_windows(house.pg, house.account.id) == [window]
