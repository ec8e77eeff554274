"""Calls beyond a plan's daily limit, over HTTP: who pays, what the caller is told, what the books say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rabbitgw.billing import keys, plan_assignments, plans
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.overflow import Overflow
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, Raw, usage
from tests.flows.house import ADMIN_KEY, House, Reply, until
from tests.flows.media import received, sdk_of

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
WORDS = {**BODY, "model": "words", "max_tokens": 400, "stream": True}
COST_NANOS = 147_500  # 19 tokens in at 2 500 nanos, 10 out at 10 000; 270 000 are held for it
LESSER_NANOS = 8_850  # the same at 150 and 600
WORDS_NANOS = 300_005_000  # 5 tokens in at 1 000 nanos, 300 out at 1 000 000
CREDIT_NANOS = 10_000_000_000
DEGRADE = Overflow(("degrade", "block"), degrade_map=(("gpt-4*", "mini"),))


@pytest.fixture(autouse=True)
def answers(upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10)))
    upstream.script("mini", Answer(usage=usage(19, 10)))
    upstream.script("words", Answer(chunks=("tok ",) * 300, usage=usage(5, 300)))


@pytest.fixture
async def house(house_with: Callable[..., AbstractAsyncContextManager[House]]) -> AsyncIterator[House]:
    async with house_with(overdraft_gating="degrade") as opened:
        await append_prices(opened.stores.pg, [price_from_text("mini", {"input": "0.15", "output": "0.60"})])
        yield opened


async def on_plan(house: House, limit_nanos: int, overflow: Overflow, **entity: Any) -> plans.DailyLimit:
    """Put the account, or another entity, on a new plan, and wait until the gateway goes by it."""
    pg = house.stores.pg
    plan = await plans.create_plan(pg, "plan", "daily_limit", "USD")
    limit = await plans.add_daily_limit(
        pg, plan.id, plans.DailyLimit(limit_nanos, "+08:00", "00:00", overflow)
    )
    of = {"entity_type": "account", "entity_id": house.account.id, **entity}
    made = await plan_assignments.assign(pg, plan.id, **of)
    assert await push_keys_below(pg, house.stores.scripts, made.entity)
    await known(house, plan.id)
    return limit


async def known(house: House, plan_id: int) -> None:
    """The gateway follows plans by their revisions: what it has seen is in force."""
    revision = await house.stores.pg.fetchval("SELECT revision FROM plans WHERE id = $1", plan_id)
    await until(lambda: house.gateway._plans._revision >= revision)


async def told(house: House, reply: Reply) -> tuple[str | None, int, int, str | None]:
    """(header, charged, borne by the plan, policy) of a call."""
    bill = await house.bill(reply.request_id)
    header = reply.headers.get("x-rabbitgw-overflow")
    return header, bill["cost_nanos"], bill.get("included_nanos", 0), bill.get("overflow")


def refused(reply: Reply) -> None:
    assert (reply.status, reply.json()["error"]["code"]) == (429, "budget_exceeded")
    assert reply.headers["x-rabbitgw-overflow"] == "block"


async def balance(house: House) -> int:
    wallet = await house.wallet()
    assert wallet["held_nanos"] == 0
    return int(wallet["balance_nanos"])


async def test_grace_lets_so_much_pass_once_a_day_and_is_not_charged(house: House) -> None:
    await on_plan(house, 300_000, Overflow(("grace", "block"), grace_nanos=300_000))
    within, beyond, after = [await house.post(BODY) for _ in range(3)]
    assert await told(house, within) == (None, 147_500, 0, None)
    assert await told(house, beyond) == ("grace", 0, 147_500, "grace")
    refused(after)
    assert await balance(house) == CREDIT_NANOS - 147_500
    await assert_books_balance(house)


async def test_a_grace_that_is_charged_takes_from_the_wallet(house: House) -> None:
    await on_plan(house, 0, Overflow(("grace",), grace_nanos=300_000, grace_charged=True))
    assert await told(house, await house.post(BODY)) == ("grace", 147_500, 0, "grace")
    refused(await house.post(BODY))
    assert await balance(house) == CREDIT_NANOS - 147_500
    await assert_books_balance(house)


async def test_a_lesser_model_serves_at_its_own_price_and_all_say_so(
    house: House, upstream: FakeUpstream
) -> None:
    await on_plan(house, 300_000, DEGRADE)
    within, beyond = await house.post(BODY), await house.post(BODY)
    assert "x-rabbitgw-model" not in within.headers
    assert beyond.headers["x-rabbitgw-model"] == "mini"
    assert beyond.json()["model"] == "mini"  # as upstream names it
    assert await told(house, beyond) == ("degrade", 8_850, 0, "degrade")
    bill = await house.bill(beyond.request_id)
    assert (bill["model"], bill["model_asked"]) == ("mini", "gpt-4o")
    assert [one.json["model"] for one in upstream.of("mini")] == ["mini"]
    streamed = await house.post({**BODY, "stream": True})
    assert (streamed.status, streamed.headers["x-rabbitgw-model"]) == (200, "mini")
    assert await told(house, streamed) == ("degrade", 8_850, 0, "degrade")
    # a key that may not call the lesser model is not given it
    barred = await keys.create_key(
        house.stores.pg, keys.NewKey(house.account.id, "barred", models_denied=("mini",))
    )
    refused(await house.post(BODY, authorization=f"Bearer {barred.secret}"))
    assert await balance(house) == CREDIT_NANOS - 147_500 - 2 * 8_850
    await assert_books_balance(house)


async def test_a_lesser_model_hears_a_form_that_names_it(house: House, upstream: FakeUpstream) -> None:
    answer = b'{"text": "Hello", "usage": {"type": "duration", "seconds": 9}}'
    upstream.script(
        "/v1/audio/transcriptions", Raw([answer], content_type="application/json", framing="length")
    )
    overflow = Overflow(("degrade",), degrade_map=(("gpt-4o-transcribe", "whisper-1"),))
    await on_plan(house, 0, overflow)
    async with sdk_of(house) as sdk:
        raw = await sdk.audio.transcriptions.with_raw_response.create(
            model="gpt-4o-transcribe", file=("a.mp3", b"ID3" * 500)
        )
    assert raw.headers["x-rabbitgw-model"] == "whisper-1"
    bill = await house.bill(raw.headers["x-rabbitgw-request-id"])
    # 9 s at 7 000 000 nanos a minute
    assert (bill["model"], bill["model_asked"], bill["cost_nanos"]) == (
        "whisper-1",
        "gpt-4o-transcribe",
        1_050_000,
    )
    (sent,) = (one for one in upstream.requests if one.path == "/v1/audio/transcriptions")
    fields, files = received(sent)
    assert (fields["model"], [file.data for file in files]) == ("whisper-1", [b"ID3" * 500])
    await assert_books_balance(house)


async def test_an_allowance_is_free_until_it_is_used_up_and_spills_to_the_wallet(house: House) -> None:
    await on_plan(house, 300_000, Overflow(("spill", "block"), funding="allowance"))
    within, beyond = await house.post(BODY), await house.post(BODY)
    assert await told(house, within) == (None, 0, 147_500, None)
    assert await told(house, beyond) == ("spill", 147_500, 0, "spill")
    assert await balance(house) == CREDIT_NANOS - 147_500
    await assert_books_balance(house)


async def test_an_allowance_serves_an_account_without_money_and_ends(
    house_with: Callable[..., AbstractAsyncContextManager[House]],
) -> None:
    async with house_with(credit_nanos=0) as house:
        await on_plan(house, 300_000, Overflow(funding="allowance"))
        assert await told(house, await house.post(BODY)) == (None, 0, 147_500, None)
        refused(await house.post(BODY))
        await assert_books_balance(house)


async def test_a_chain_is_tried_in_its_order(house: House) -> None:
    chain = Overflow(
        ("grace", "degrade", "spill"),
        300_000,
        degrade_default="mini",
        degrade_nanos=30_000,
        funding="allowance",
    )
    await on_plan(house, 0, chain)
    replies = [await house.post(BODY) for _ in range(4)]
    assert [await told(house, reply) for reply in replies] == [
        ("grace", 0, 147_500, "grace"),
        ("degrade", 0, 8_850, "degrade"),
        ("degrade", 0, 8_850, "degrade"),
        ("spill", 147_500, 0, "spill"),
    ]
    assert await balance(house) == CREDIT_NANOS - 147_500
    await assert_books_balance(house)


async def test_a_stream_that_outgrows_its_allowance_goes_on_by_grace_and_then_by_the_wallet(
    house: House,
) -> None:
    chain = Overflow(("grace", "spill"), 20_000_000, funding="allowance")
    await on_plan(house, 270_000_000, chain)
    reply = await house.post(WORDS)
    assert reply.body.rstrip().endswith(b"data: [DONE]")
    assert await told(house, reply) == (None, 10_005_000, 290_000_000, "spill")
    assert await balance(house) == CREDIT_NANOS - 10_005_000
    await assert_books_balance(house)


async def test_a_stream_that_nothing_carries_on_ends_where_its_grace_does(house: House) -> None:
    await on_plan(house, 270_000_000, Overflow(("grace", "block"), 20_000_000))
    reply = await house.post(WORDS)
    assert b"budget_exceeded" in reply.body
    bill = await house.bill(reply.request_id)
    assert (bill["status"], bill["overflow"]) == ("partial", "grace")
    assert bill["cost_nanos"] == 270_000_000
    assert 0 < bill["included_nanos"] <= 20_000_000
    await assert_books_balance(house)


async def test_shadow_tells_and_refuses_nothing_and_does_not_bind_on_the_day_it_is_taken_off(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    limit = await on_plan(house, 300_000, Overflow(("spill",), funding="allowance", shadow=True))
    within, beyond = await house.post(BODY), await house.post(BODY)
    for reply in (within, beyond):
        assert await told(house, reply) == (None, 147_500, 0, None)
    shadowed = [record for record in caplog.records if record.getMessage() == "plan_limit_passed_in_shadow"]
    assert len(shadowed) == 1
    plan_id, _ = await plans.change_daily_limit(house.stores.pg, limit.id, {"shadow": False})
    await known(house, plan_id)
    assert await told(house, await house.post(BODY)) == (None, 147_500, 0, None)
    await assert_books_balance(house)


async def test_an_account_below_zero_has_its_allowance_degraded_until_it_is_paid_up(
    house: House, upstream: FakeUpstream
) -> None:
    planned = await keys.create_key(house.stores.pg, keys.NewKey(house.account.id, "planned"))
    overflow = Overflow(("degrade",), degrade_default="mini", funding="allowance")
    await on_plan(house, 1_000_000, overflow, entity_type="key", entity_id=planned.id)
    of_plan = {"authorization": f"Bearer {planned.secret}"}
    # upstream says that it gave more than it was allowed: 19 tokens at 2 500 nanos and 1 000 001 at 10 000
    upstream.script("gpt-4o", Answer(usage=usage(19, 1_000_001)), Answer(usage=usage(19, 10)))
    assert await told(house, await house.post(BODY)) == (None, 10_000_057_500, 0, None)
    assert await balance(house) == -57_500
    short = await house.post(BODY)
    assert (short.status, short.json()["error"]["code"]) == (429, "insufficient_quota")
    assert await told(house, await house.post(BODY, **of_plan)) == ("degrade", 0, 8_850, "degrade")
    await house.credit(57_500)

    async def is_paid_up() -> bool:
        return await balance(house) == 0

    await until(is_paid_up)
    assert await told(house, await house.post(BODY, **of_plan)) == (None, 0, 147_500, None)
    await assert_books_balance(house, overspend_bounds={"plain": 10**10})  # an upstream that lies


async def test_fifty_calls_at_once_at_the_edge_of_allowance_and_grace_pass_neither(house: House) -> None:
    chain = Overflow(("grace", "block"), 1_000_000, funding="allowance")
    await on_plan(house, 2_000_000, chain)

    replies = await asyncio.gather(*(house.post(BODY) for _ in range(50)))
    served = [reply for reply in replies if reply.status == 200]
    for reply in replies:
        if reply.status != 200:
            refused(reply)
    bills = [await told(house, reply) for reply in served]
    assert {(charged, borne) for _, charged, borne, _ in bills} == {(0, 147_500)}
    by_grace = sum(policy == "grace" for *_, policy in bills)
    assert 0 < by_grace <= 6  # of a million, at 147 500
    assert 0 < len(bills) - by_grace <= 13  # of two
    assert await balance(house) == CREDIT_NANOS
    await assert_books_balance(house)


async def test_a_draft_of_the_same_plan_says_of_the_same_calls_what_became_of_them(house: House) -> None:
    chain = Overflow(
        ("grace", "degrade", "block"), 280_000, degrade_map=(("gpt-4*", "mini"),), degrade_nanos=26_000
    )
    limit = await on_plan(house, 280_000, chain)
    replies = [await house.post(BODY) for _ in range(6)]
    assert [reply.headers.get("x-rabbitgw-overflow") for reply in replies] == [
        None, "grace", "degrade", "degrade", "block", "block",
    ]  # fmt: skip
    for reply in replies[:4]:
        await house.bill(reply.request_id)
    now = datetime.now(UTC)
    span = {"from": (now - timedelta(days=1)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
    asked = {"entity_type": "account", "entity_id": house.account.id, **span}
    headers = {"x-api-key": ADMIN_KEY}

    async def whatif(**how: Any) -> Any:
        url = f"{house.base_url}/v1/admin/plans/whatif"
        async with house.http.post(url, json={**asked, **how}, headers=headers) as answer:
            return await answer.json()

    plan_id = await house.stores.pg.fetchval("SELECT plan_id FROM plan_daily_limits WHERE id = $1", limit.id)
    same = await whatif(plan_id=plan_id)
    assert [same[name] for name in ("calls", "within", "grace", "degraded", "refused")] == [4, 1, 1, 2, 0]
    assert (same["cost_nanos"], same["included_nanos"]) == (165_200, 147_500)
    assert (same["would_cost_nanos"], same["would_include_nanos"], same["difference_nanos"]) == (
        165_200,
        147_500,
        0,
    )
    # the degraded ones were asked for as gpt-4o, and would have been served as such
    open_to_all = await whatif(daily_limit={"daily_limit_cents": 100})
    assert (open_to_all["within"], open_to_all["would_cost_nanos"]) == (4, 590_000)
    none = await whatif(daily_limit={"daily_limit_cents": 0})
    assert (none["refused"], none["would_cost_nanos"], len(none["refused_calls"])) == (4, 0, 4)
    cheap = {"model_pattern": "gpt-4o", "unit": "request", "base_price": "0.000001"}
    priced = await whatif(pricing=[cheap])
    assert (priced["within"], priced["would_cost_nanos"]) == (4, 4_000)
    refusal = await whatif(pricing=[{**cheap, "unit": "hour"}])
    assert refusal["error"]["field"] == "unit"
    assert (await whatif())["error"]["field"] == "daily_limit"
    assert await house.stores.pg.fetchval("SELECT count(*) FROM plans") == 1
    await assert_books_balance(house)


# of degraded calls two, by what they hold or cost
LESSER: dict[str, Any] = {"degrade_map": (("gpt-4*", "mini"),), "degrade_nanos": 26_000}
CHAINS = {
    "refused at the end": (
        Overflow(("grace", "degrade", "block"), 280_000, **LESSER), [1, 1, 2, 0, 2], 165_200, 147_500,
    ),
    "spilled at the end": (
        Overflow(("grace", "degrade", "spill"), 280_000, grace_charged=True, funding="allowance", **LESSER),
        [1, 1, 2, 2, 0], 442_500, 165_200,
    ),
    "by allowance alone": (Overflow(funding="allowance"), [1, 0, 0, 0, 5], 0, 147_500),
    "in shadow": (Overflow(funding="allowance", shadow=True), [6, 0, 0, 0, 0], 885_000, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
async def test_calls_without_a_plan_are_judged_as_a_gateway_takes_the_same_calls_on_it(
    house: House, name: str
) -> None:
    """The limits are such that what is held for a call decides as what it costs does."""
    chain, counts, charged_nanos, borne_nanos = CHAINS[name]
    pg, of = house.stores.pg, house.account.id
    planned, free = [await keys.create_key(pg, keys.NewKey(of, name)) for name in ("planned", "free")]
    limit = await on_plan(house, 280_000, chain, entity_type="key", entity_id=planned.id)
    on_it = [await house.post(BODY, authorization=f"Bearer {planned.secret}") for _ in range(6)]
    without = [await house.post(BODY, authorization=f"Bearer {free.secret}") for _ in range(6)]
    assert [reply.status for reply in without] == [200] * 6
    for reply in without:
        await house.bill(reply.request_id)
    policies = [reply.headers.get("x-rabbitgw-overflow") for reply in on_it]
    bills = [await told(house, reply) for reply in on_it if reply.status == 200]
    really = [policies.count(policy) for policy in (None, "grace", "degrade", "spill", "block")]
    assert really == counts
    paid = (sum(bill[1] for bill in bills), sum(bill[2] for bill in bills))
    assert paid == (charged_nanos, borne_nanos)

    plan_id = await pg.fetchval("SELECT plan_id FROM plan_daily_limits WHERE id = $1", limit.id)
    now = datetime.now(UTC)
    asked = {
        "entity_type": "key", "entity_id": free.id, "plan_id": plan_id,
        "from": (now - timedelta(days=1)).isoformat(), "to": (now + timedelta(days=1)).isoformat(),
    }  # fmt: skip
    url = f"{house.base_url}/v1/admin/plans/whatif"
    async with house.http.post(url, json=asked, headers={"x-api-key": ADMIN_KEY}) as answer:
        said = await answer.json()
    assert [said[one] for one in ("within", "grace", "degraded", "spilled", "refused")] == counts
    assert (said["would_cost_nanos"], said["would_include_nanos"]) == paid
    refused_calls = [
        reply.request_id for reply, policy in zip(without, policies, strict=True) if policy == "block"
    ]
    assert said["refused_calls"] == refused_calls[:5]
    assert (said["cost_nanos"], said["included_nanos"], said["calls"]) == (885_000, 0, 6)
    assert said["shadowed"] == (5 if chain.shadow else 0)
    await assert_books_balance(house)
