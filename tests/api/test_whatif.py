"""/v1/admin/plans/whatif on stored calls: which of them a draft judges, by which cost, and that nothing is written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from rabbitgw.billing import whatif_replay
from tests.billing.rerated import CALL_NANOS, CHEAPER_NANOS, Till, sell
from tests.billing.usage_history import book, call, call_id
from tests.books import Shop, assert_books_balance, drain

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.scripts import Scripts
    from rabbitgw.stores import Pool
    from tests.api.conftest import Operator

FROM_MS, TO_MS = 1_795_000_000_000, 1_795_600_000_000  # a week less some hours
SPAN = {"from": "2026-11-18T11:06:40Z", "to": "2026-11-25T09:46:40Z"}
DAY_MS = 86_400_000
# A call of usage_history has 100 tokens in and 20 out: 180 000 nanos at a dollar and four.
RULE = {"model_pattern": "gpt-*", "unit": "token", "base_price": "1", "output_multiplier": "4"}


async def contents(dsn: str) -> dict[str, tuple[int, int]]:
    """How many rows each table has, and a sum of what they say."""
    db = await asyncpg.connect(dsn)
    try:
        names = await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            name: tuple(await db.fetchrow(f'SELECT count(*), sum(hashtext(t::text)) FROM "{name}" AS t'))
            for (name,) in names
        }
    finally:
        await db.close()


def moment(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).isoformat()


@pytest.fixture
def shop(pg: Pool, link: RedisLink, scripts: Scripts) -> Shop:
    return Shop(pg, link, scripts)


async def asked(operator: Operator, entity: str, entity_id: int, status: int = 200, **how: Any) -> Any:
    fields = {"entity_type": entity, "entity_id": entity_id, **SPAN, **how}
    return await operator.post("plans/whatif", fields, status)


async def test_the_calls_of_whom_in_which_span_are_judged(
    operator: Operator, pg: Pool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whatif_replay, "ROWS_AT_ONCE", 2)
    account, key, _ = await operator.account_with_key()
    team = (await operator.post("teams", {"account_id": account, "name": "a"}))["id"]
    user = (await operator.post("users", {"account_id": account, "name": "Ann", "team_id": team}))["id"]
    whose: list[tuple[int, dict[str, Any]]] = [
        (FROM_MS - 1, {}),  # before the span
        (FROM_MS, {}),
        (FROM_MS + 1, {"team_id": team}),
        (FROM_MS + 1, {"team_id": team, "user_id": user}),
        (FROM_MS + 2, {"key_id": 99}),
        (FROM_MS + 3, {"status": "released", "cost_nanos": 0}),
        (FROM_MS + 3 * DAY_MS, {"team_id": team, "user_id": user, "key_id": 99}),  # days without any between
        (TO_MS - 1, {"key_id": 99}),
        (TO_MS, {}),  # behind it
    ]
    calls = [
        call(call_id(ms, number), **{"account_id": account, "key_id": key, **facts})
        for number, (ms, facts) in enumerate(whose)
    ]
    await book(pg, [*calls, call(call_id(FROM_MS, 50), account_id=account + 1)])
    before = await contents(dsn)

    for entity, entity_id, count in (
        ("account", account, 6), ("organization", account, 6), ("team", team, 3), ("user", user, 2), ("key", key, 3),
    ):  # fmt: skip
        said = await asked(operator, entity, entity_id, daily_limit={"daily_limit_cents": 0})
        assert (said["calls"], said["refused"], said["cost_nanos"]) == (count, count, 7 * count), entity
        assert sum(day["calls"] for day in said["days"]) == count
    said = await asked(operator, "account", account, daily_limit={"daily_limit_cents": 0})
    in_order = [calls[number]["id"] for number in (1, 2, 3, 4, 6)]
    assert said["refused_calls"] == in_order  # the first few
    assert await contents(dsn) == before

    monkeypatch.setattr(whatif_replay, "CALLS_MAX", 6)
    assert (await asked(operator, "account", account, pricing=[RULE]))["calls"] == 6
    monkeypatch.setattr(whatif_replay, "CALLS_MAX", 5)
    refusal = await asked(operator, "account", account, 400, pricing=[RULE])
    assert refusal["error"]["field"] == "to"
    assert re.search(r"more than 5 calls .* narrow it", refusal["error"]["message"])


async def test_a_plan_is_judged_by_what_it_says_now(operator: Operator, pg: Pool) -> None:
    account, key, _ = await operator.account_with_key()
    await book(pg, [call(call_id(FROM_MS), account_id=account, key_id=key)])

    async def plan(path: str, fields: dict[str, Any]) -> Any:
        headers = {"authorization": "Bearer admin-of-the-tests"}
        async with operator.client.post(f"/v1/plans{path}", json=fields, headers=headers) as answer:
            return await answer.json()

    plan_id = (await plan("", {"name": "p", "type": "daily_limit"}))["id"]
    assert (await asked(operator, "key", key, plan_id=plan_id))["would_cost_nanos"] == 7
    await plan("/pricing", {"plan_id": plan_id, **RULE, "effective_to": "2090-01-01T00:00:00Z"})
    dearer = {**RULE, "base_price": "9", "effective_from": "2080-01-01T00:00:00Z"}
    await plan("/pricing", {"plan_id": plan_id, **dearer})
    assert (await asked(operator, "key", key, plan_id=plan_id))["would_cost_nanos"] == 180_000
    # a draft holds for the whole span, so that moments have no place in it
    for field in ("effective_from", "effective_to"):
        draft = [{**RULE, field: "2090-01-01T00:00:00Z"}]
        assert field in (await asked(operator, "key", key, 400, pricing=draft))["error"]["message"]
    nowhere = await asked(operator, "key", key, 400, pricing=[RULE], timezone="Mars/Base")
    assert nowhere["error"]["field"] == "timezone"
    euros = (await plan("", {"name": "e", "type": "daily_limit", "currency": "EUR"}))["id"]
    assert (await asked(operator, "key", key, 409, plan_id=euros))["error"]["field"] == "plan_id"


async def test_a_call_that_was_corrected_is_judged_by_what_it_costs_now(
    operator: Operator, shop: Shop
) -> None:
    await sell(shop.pg)
    till = Till(shop)
    customer = await shop.customer(10_000_000)
    for _ in range(3):
        await till.call(customer)
    await drain(shop.pg, shop.link)
    draft = {"daily_limit": {"daily_limit_cents": 0, "overflow_policy": "grace", "grace_cents": 1}}
    span = {"from": moment(till.began_ms - DAY_MS), "to": moment(till.began_ms + DAY_MS)}
    said = await asked(operator, "account", customer.id, **draft, **span)
    assert (said["grace"], said["would_include_nanos"]) == (3, 3 * CALL_NANOS)
    await till.apply()
    said = await asked(operator, "account", customer.id, **draft, **span)
    assert (said["grace"], said["would_include_nanos"]) == (3, 3 * CHEAPER_NANOS)
    assert (said["cost_nanos"], said["difference_nanos"]) == (330_000, -330_000)
    await assert_books_balance(shop)
