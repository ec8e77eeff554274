"""The main job: a call is held, forwarded, answered, charged by what upstream stated, and booked."""

from __future__ import annotations

import openai

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import ADMIN_KEY, House

MESSAGES = [{"role": "user", "content": "Say hello."}]


async def test_a_plain_call_costs_what_upstream_stated(house: House, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(1500, 300, prompt_tokens_details={"cached_tokens": 1024})))
    reply = await house.post({"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 500})
    assert reply.status == 200, reply.body
    assert reply.json()["usage"]["prompt_tokens"] == 1500
    bill = await house.bill(reply.request_id)
    # 476 x 2500 + 1024 x 1250 + 300 x 10000 nanos
    assert bill["cost_nanos"] == 5_470_000
    assert bill["status"] == "settled"
    assert bill["usage_source"] == "provider"
    assert (bill["input_tokens"], bill["cached_input_tokens"], bill["output_tokens"]) == (1500, 1024, 300)
    wallet = await house.wallet()
    assert wallet["balance_nanos"] == 9_994_530_000
    assert wallet["held_nanos"] == 0
    await assert_books_balance(house)


async def test_a_stream_through_the_sdk_hides_the_usage_it_did_not_ask_for(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(chunks=("Hel", "lo"), usage=usage(19, 10)))
    async with openai.AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=house.secret) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=MESSAGES, stream=True
        )
        chunks = [chunk async for chunk in raw.parse()]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello"
    assert all(chunk.choices for chunk in chunks)
    assert upstream.requests[-1].json["stream_options"] == {"include_usage": True}
    assert upstream.requests[-1].json["user"] == str(house.account.id)
    bill = await house.bill(raw.headers["x-rabbitgw-request-id"])
    assert bill["cost_nanos"] == 147_500  # 19 x 2500 + 10 x 10000
    await assert_books_balance(house)


async def test_a_caller_that_asks_for_usage_gets_upstreams_bytes(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10)))
    body = {"model": "gpt-4o", "messages": MESSAGES, "stream": True}
    with_usage = await house.post({**body, "stream_options": {"include_usage": True}})
    assert b'"prompt_tokens":19' in with_usage.body.replace(b" ", b"")
    assert with_usage.body.endswith(b"data: [DONE]\n\n")
    without = await house.post(body)
    assert b"prompt_tokens" not in without.body
    assert without.body.endswith(b"data: [DONE]\n\n")
    await assert_books_balance(house)


async def test_what_upstream_says_it_cost_is_kept_and_shown_to_no_caller(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script(
        "gpt-4o",
        Answer(headers={"x-litellm-response-cost": "0.0001234567891"}),
        Answer(usage=usage(19, 10, cost=2.5e-05)),
        Answer(headers={"x-litellm-response-cost": "None"}),
    )
    bills = []
    for stream in (False, True, False):
        reply = await house.post({"model": "gpt-4o", "messages": MESSAGES, "stream": stream})
        assert (reply.status, "cost" in str(reply.headers)) == (200, False)
        bills.append(await house.bill(reply.request_id))
    kept = [
        await house.stores.pg.fetchval(
            "SELECT upstream_cost_nanos FROM usage WHERE id = $1::uuid", bill["id"]
        )
        for bill in bills
    ]
    assert kept == [123_457, 25_000, None]
    assert {bill["cost_nanos"] for bill in bills} == {147_500}
    assert "upstream_cost" not in str(bills)
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    report = await house.get(f"/v1/reports/margin?account_id={house.account.id}", **admin)
    (total,) = report.json()["totals"]
    assert (total["calls"], total["calls_without_cost"], total["margin_nanos"]) == (3, 1, 146_543)
    await assert_books_balance(house)
