"""Plans at two running gateways: their limits and prices reach a call, and what was is not priced again."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.app import Gateway
from rabbitgw.billing import keys, plan_assignments, plan_pricing, plans
from rabbitgw.billing.key_push import push_keys_below
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import House, Reply, until

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
LISTED_NANOS = 147_500  # 19 tokens in at 2 500 nanos, 10 out at 10 000
CENT = 10_000_000


@pytest.fixture(autouse=True)
def answers(upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10)))


async def at_both(house: House, second: Gateway, secret: str = "") -> list[Reply]:
    sent = {"authorization": f"Bearer {secret or house.secret}", "content-type": "application/json"}
    replies = []
    for port in (house.gateway.port, second.port):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with house.http.post(url, json=BODY, headers=sent) as answer:
            replies.append(await Reply.read(answer))
    return replies


async def on_plan(house: House, plan_id: int, **entity: Any) -> plan_assignments.Assignment:
    of = {"entity_type": "account", "entity_id": house.account.id, **entity}
    made = await plan_assignments.assign(house.stores.pg, plan_id, **of)
    assert await push_keys_below(house.stores.pg, house.stores.scripts, made.entity)
    return made


async def test_a_limit_reaches_every_gateway_and_so_does_its_change(house: House, second: Gateway) -> None:
    pg = house.stores.pg
    plan = await plans.create_plan(pg, "team", "daily_limit", "USD")
    limit = await plans.add_daily_limit(pg, plan.id, plans.DailyLimit(0, "+08:00", "00:00"))
    assert [reply.status for reply in await at_both(house, second)] == [200, 200]
    assignment = await on_plan(house, plan.id)

    async def both_refuse() -> bool:
        replies = await at_both(house, second)
        return [reply.status for reply in replies] == [429, 429]

    async def both_serve() -> bool:
        return [reply.status for reply in await at_both(house, second)] == [200, 200]

    # an assignment is in force from the next request on, wherever the plan itself is known
    await until(both_refuse)
    (refused, _) = await at_both(house, second)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    await plans.change_daily_limit(pg, limit.id, {"limit_nanos": 100 * CENT})
    await until(both_serve)
    await plans.change_daily_limit(pg, limit.id, {"limit_nanos": 0})
    await until(both_refuse)
    await plan_assignments.end_assignment(pg, assignment.id)
    await push_keys_below(pg, house.stores.scripts, assignment.entity)
    assert await both_serve()
    await assert_books_balance(house)


async def test_the_nearest_plan_with_a_rule_sets_the_price(house: House, second: Gateway) -> None:
    pg = house.stores.pg
    outer, inner = [await plans.create_plan(pg, name, "daily_limit", "USD") for name in ("outer", "inner")]
    rule = plan_pricing.PriceRule("gpt-*", "token", "1", output_multiplier="2")
    outer_price = await plan_pricing.add_rule(pg, outer.id, rule)
    inner_rule = plan_pricing.PriceRule("gpt-4o", "request", "0.5")
    inner_price = await plan_pricing.add_rule(pg, inner.id, inner_rule)
    await plan_pricing.add_rule(
        pg, inner.id, plan_pricing.PriceRule("other", "token", "9", min_charge_cents=1)
    )
    mine = await keys.create_key(pg, keys.NewKey(house.account.id, "mine"))
    await on_plan(house, outer.id)
    await on_plan(house, inner.id, entity_type="key", entity_id=mine.id)
    costs: dict[str, set[int]] = {}

    async def priced(secret: str, version: int) -> bool:
        bills = [await house.bill(reply.request_id) for reply in await at_both(house, second, secret)]
        if {bill["price_version"] for bill in bills} != {version}:
            return False
        costs[secret] = {bill["cost_nanos"] for bill in bills}
        return True

    await until(lambda: priced(house.secret, outer_price.version))
    await until(lambda: priced(mine.secret, inner_price.version))
    assert costs == {house.secret: {39_000}, mine.secret: {500_000_000}}
    before = await at_both(house, second)
    await plan_pricing.add_rule(
        pg, outer.id, plan_pricing.PriceRule("gpt-*", "token", "0", min_charge_cents=1)
    )

    async def least() -> bool:
        bills = [await house.bill(reply.request_id) for reply in await at_both(house, second)]
        return {bill["cost_nanos"] for bill in bills} == {CENT}

    await until(least)
    assert {(await house.bill(reply.request_id))["cost_nanos"] for reply in before} == {39_000}
    await assert_books_balance(house)


async def test_a_rule_that_has_ended_leaves_the_list_price(house: House, second: Gateway) -> None:
    pg = house.stores.pg
    plan = await plans.create_plan(pg, "summer", "daily_limit", "USD")
    await on_plan(house, plan.id)
    price = await plan_pricing.add_rule(pg, plan.id, plan_pricing.PriceRule("gpt-*", "token", "1"))

    async def costs() -> set[int]:
        bills = [await house.bill(reply.request_id) for reply in await at_both(house, second)]
        return {bill["cost_nanos"] for bill in bills}

    async def are(nanos: int) -> bool:
        return await costs() == {nanos}

    await until(lambda: are(29_000))
    await plan_pricing.end_rule(pg, plan.id, price.pattern)
    await until(lambda: are(LISTED_NANOS))
    await assert_books_balance(house)
