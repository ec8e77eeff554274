"""The bound of overspend: of each class what was really served can come to, of the account with the most."""

from __future__ import annotations

from typing import Any

from rabbitgw.billing.overspend import overspend_bounds
from rabbitgw.config import Settings
from rabbitgw.stores import Pool
from tests.billing.usage_history import book, call, call_id

NONE = {
    "streamed": 0, "hidden": 0, "last_money": 0, "dense_input": 0, "dense_output": 0, "tools": 0, "estimated": 0,
    "late": 0, "taken": 0, "corrected": 0,
}  # fmt: skip


def dense(number: int, excess_nanos: int, **facts: Any) -> dict[str, Any]:
    """A stream that cost 1000 nanos, so many of them beyond its hold."""
    hold_id = call_id(1_795_000_000_000, number)
    return call(hold_id, cost_nanos=1_000, streamed=True, excess_nanos=excess_nanos, **facts)


async def test_nothing_served_bounds_nothing(pg: Pool) -> None:
    assert await overspend_bounds(pg, Settings.load()) == NONE


async def test_what_streams_cost_beyond_their_holds_is_summed_per_account(pg: Pool) -> None:
    await book(pg, [dense(1, 300), dense(2, 51), dense(3, 0), dense(4, 350, account_id=2)])
    assert await overspend_bounds(pg, Settings.load()) == NONE | {"dense_output": 351}


async def test_what_counts_in_whole_elsewhere_is_not_counted_again(pg: Pool) -> None:
    searched = dense(2, 900, usage={"server_tools": {"web_search_requests": 2}})
    await book(pg, [dense(1, 300), searched, dense(3, 700, status="late")])
    assert await overspend_bounds(pg, Settings.load()) == NONE | {
        "dense_output": 300, "tools": 1_000, "late": 1_000,
    }  # fmt: skip


async def test_a_late_end_says_the_excess_of_a_call_that_expired(pg: Pool) -> None:
    hold_id = call_id(1_795_000_000_000, 1)
    await book(pg, [call(hold_id, status="expired", streamed=True)])
    await book(pg, [dense(1, 300, status="late")])
    assert await pg.fetchval("SELECT excess_nanos FROM usage WHERE late AND charge_nanos = 1000") == 300
