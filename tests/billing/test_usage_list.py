"""Lists of bill lines: in order, each once, filtered, and never more work at a time than a bound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from rabbitgw import statements
from rabbitgw.billing import usage_list
from rabbitgw.billing.accounts import create_account
from rabbitgw.billing.keys import NewKey, create_key
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.usage_list import UsageList, Wanted
from rabbitgw.billing.users import create_user
from rabbitgw.clock import now_ms
from tests.billing.usage_history import book, call, call_id

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

DAY_MS = 86_400_000
T0 = 1_795_000_000_000


async def listed(reader: UsageList, wanted: Wanted, rows_max: int) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    after: UUID | None = None
    while True:
        page = await reader.page(wanted, after, rows_max)
        assert len(page.lines) <= rows_max
        ids += [line["id"] for line in page.lines]
        after = page.next
        if after is None:
            return ids


async def test_pages_join_to_the_whole_newest_first(pg: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    await Partitions(pg).run_once()
    now = now_ms()
    # of the months that have tables, of one before and of one long after them
    moments = [T0 + 7, *(now + n * 3 * DAY_MS for n in range(30)), now + 400 * DAY_MS]
    ids = [call_id(ms, number) for ms in moments for number in (1, 2)]
    await book(pg, [call(one) for one in ids])
    await book(pg, [call(call_id(ms, 3), account_id=2, key_id=9) for ms in moments])
    newest_first = sorted(ids, reverse=True)
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 4)
    for rows_max in (1, 3, 7, 64, 1000):
        assert await listed(UsageList(pg), Wanted(account_id=1), rows_max) == newest_first
    everyone = await listed(UsageList(pg), Wanted(), 10)
    assert len(everyone) == len(ids) + len(moments)
    assert everyone == sorted(everyone, reverse=True)


async def test_what_is_booked_meanwhile_moves_nothing(pg: Pool) -> None:
    ids = [call_id(T0 + n) for n in range(10)]
    await book(pg, [call(one) for one in ids])
    reader = UsageList(pg)
    first = await reader.page(Wanted(account_id=1), None, 5)
    await book(pg, [call(call_id(T0 + 100 + n)) for n in range(7)])
    rest = await reader.page(Wanted(account_id=1), first.next, 100)
    assert [line["id"] for line in (*first.lines, *rest.lines)] == ids[::-1]


async def test_times_are_half_open_and_spans_meet_without_gap_or_overlap(pg: Pool) -> None:
    ids = [call_id(T0 + n, number) for n in range(4) for number in (0, 2**60)]
    await book(pg, [call(one) for one in ids])
    reader = UsageList(pg)
    later = await listed(reader, Wanted(from_ms=T0 + 2), 100)
    earlier = await listed(reader, Wanted(to_ms=T0 + 2), 100)
    assert later == ids[:3:-1]
    assert later + earlier == ids[::-1]
    assert await listed(reader, Wanted(from_ms=T0 + 1, to_ms=T0 + 2), 100) == [ids[3], ids[2]]
    assert await listed(reader, Wanted(from_ms=T0 + 1, to_ms=T0 + 1), 100) == []
    assert await listed(reader, Wanted(to_ms=2**60), 100) == ids[::-1]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"account_id": 2}, [8]),
        ({"key_id": 5}, [1]),
        ({"account_id": 2, "key_id": 5}, []),  # another account's key is not there
        ({"user_id": 6}, [2]),
        ({"status": "partial"}, [3]),
        ({"status": "released"}, []),
        ({"dialect": "anthropic-messages"}, [4]),
        ({"caller_request_id": "same"}, [6, 5]),
        ({"caller_request_id": "same", "account_id": 1}, [6, 5]),
        ({"caller_request_id": "SAME"}, []),
        ({"model": "gpt-4o"}, [8, 6, 5, 4, 3, 2, 1]),
        ({"model": "claude*"}, [9, 7]),
        ({"model": "*[1m]"}, [7]),
        ({"model": "claude-3[1m]"}, [7]),
        ({"model": "claude-?x"}, [9]),
        ({"model": "claude_5%"}, []),  # what is a wildcard to SQL is none here
        ({"model": "claude-5\\*"}, []),
        ({"model": "gpt-4o", "key_id": 5, "status": "settled"}, [1]),
        ({"model": "gpt-4o", "user_id": 6, "dialect": "cohere"}, []),
    ],
)
async def test_a_filter_leaves_what_fits(pg: Pool, filters: dict[str, Any], numbers: list[int]) -> None:
    facts: dict[int, dict[str, Any]] = {
        1: {"key_id": 5},
        2: {"user_id": 6},
        3: {"status": "partial"},
        4: {"dialect": "anthropic-messages"},
        5: {"caller_request_id": "same"},
        6: {"caller_request_id": "same"},
        7: {"model": "claude-3[1m]"},
        8: {"account_id": 2},
        9: {"model": "claude-5x"},
    }
    await book(pg, [call(call_id(T0, number), **facts[number]) for number in facts])
    expected = [call_id(T0, number) for number in numbers]
    assert await listed(UsageList(pg), Wanted(**filters), 100) == expected
    assert await listed(UsageList(pg), Wanted(**filters), 1) == expected


async def test_a_page_of_what_is_rare_ends_in_time_and_says_where_to_go_on(
    pg: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_list, "SCAN_ROWS", 10)
    monkeypatch.setattr(usage_list, "SCANS_PER_PAGE", 3)
    ids = [call_id(T0 + n) for n in range(100)]
    rare = {2, 50, 51, 99}
    await book(pg, [call(one, model="rare" if n in rare else "gpt-4o") for n, one in enumerate(ids)])
    reader = UsageList(pg)
    wanted = Wanted(account_id=1, model="rare")
    first = await reader.page(wanted, None, 100)
    assert ([line["id"] for line in first.lines], first.next) == ([ids[99]], UUID(ids[70]))
    second = await reader.page(wanted, first.next, 100)
    assert [line["id"] for line in second.lines] == [ids[51], ids[50]]
    assert await listed(reader, wanted, 100) == [ids[n] for n in sorted(rare, reverse=True)]
    assert await listed(reader, wanted, 1) == [ids[n] for n in sorted(rare, reverse=True)]
    # with nothing to look for in vain, the same list is one page
    assert (await reader.page(Wanted(account_id=1), None, 1000)).next is None


async def test_few_readings_use_the_pool_at_once(pg: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(pg, [call(call_id(T0 + n)) for n in range(20)])
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 5)
    reader = UsageList(pg)
    blocker = await pg.acquire()
    await blocker.execute("BEGIN; LOCK TABLE usage IN ACCESS EXCLUSIVE MODE")
    readings = [asyncio.create_task(listed(reader, Wanted(), 20)) for _ in range(30)]
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND datname = current_database()"
    )
    while await blocker.fetchval(waiting) < usage_list.READS_AT_ONCE:
        await asyncio.sleep(0.01)
    assert await asyncio.gather(*(pg.fetchval("SELECT 1") for _ in range(10))) == [1] * 10
    await blocker.execute("COMMIT")
    await pg.release(blocker)
    for ids in await asyncio.gather(*readings):
        assert len(ids) == 20


async def test_a_page_walks_one_index_of_each_table(pg: Pool) -> None:
    await Partitions(pg).run_once()
    highest, lowest = UUID(int=2**128 - 1), UUID(int=0)
    none = [None] * 4
    for who in (
        (1, None, None, None),
        (1, 5, None, None),
        (1, None, 6, None),
        (1, None, None, "r"),
        (None,) * 4,
    ):
        account_id, key_id, user_id, request_id = who
        async with pg.acquire() as db, db.transaction():
            await db.execute("SET LOCAL enable_seqscan = off")  # tables this small are read whole
            await db.fetchval(statements.session.plan_anew)
            plan = await db.fetch(
                f"EXPLAIN {statements.usage.page}",
                account_id, highest, lowest, key_id, user_id, request_id, *none, 100,
            )  # fmt: skip
        lines = [row[0] for row in plan]
        scans = [line for line in lines if " on usage_" in line]
        assert len(scans) >= 5  # this month, three to come, and the default
        assert all("Index" in line for line in scans), "\n".join(lines)
        assert not any("IS NULL" in line for line in lines), "planned for all values, not for these"


async def test_the_user_of_a_call_is_who_had_the_key_then(pg: Pool, dsn: str) -> None:
    account = await create_account(pg, "Acme")
    ann, bob = [(await create_user(pg, account.id, name)).id for name in ("Ann", "Bob")]
    key = await create_key(pg, NewKey(account.id, "k", user_id=ann))
    await book(pg, [call(call_id(T0), key_id=key.id, user_id=ann)])
    owner = await asyncpg.connect(dsn)
    await owner.execute("UPDATE api_keys SET user_id = $1, generation = generation + 1", bob)
    await owner.close()
    (line,) = (await UsageList(pg).page(Wanted(account_id=account.id), None, 10)).lines
    assert (line["key_id"], line["user_id"]) == (key.id, ann)
