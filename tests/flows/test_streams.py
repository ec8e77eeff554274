"""How an answer may end, and what it then costs: whole, without usage, cut, refused midway, left by its client."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from rabbitgw.proxy import front
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, Drop, FakeUpstream, Hang, Raw, usage
from tests.flows.house import House, until

MESSAGES = [{"role": "user", "content": "Say hello."}]
STREAM = {"model": "gpt-4o", "messages": MESSAGES, "stream": True}
PLAIN = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 200}


async def idle(house: House) -> None:
    """Wait until nothing is held any more."""

    async def free() -> bool:
        return bool((await house.wallet())["held_nanos"] == 0)

    await until(free)


async def test_no_usage_from_upstream_is_estimated_from_the_delivered_text(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(chunks=("x" * 40, "y" * 40), usage=None))
    reply = await house.post(STREAM)
    bill = await house.bill(reply.request_id)
    assert (bill["status"], bill["usage_source"]) == ("settled", "estimated")
    assert bill["output_tokens"] == 20  # 80 bytes
    assert bill["cost_nanos"] == bill["input_tokens"] * 2_500 + 200_000
    assert 3 <= bill["input_tokens"] <= 30
    await assert_books_balance(house)


async def test_a_plain_answer_without_usage_is_estimated_too(house: House, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(chunks=("x" * 40,), usage=None))
    bill = await house.bill((await house.post(PLAIN)).request_id)
    assert (bill["usage_source"], bill["output_tokens"]) == ("estimated", 10)
    await assert_books_balance(house)


async def test_a_cut_midway_charges_what_was_delivered_and_says_so(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(chunks=("a" * 40, "b" * 40, "c" * 40), cut_after=3))
    reply = await house.post(STREAM)
    assert reply.status == 200
    assert b'"code":"upstream_error"' in reply.body
    assert b"[DONE]" not in reply.body
    bill = await house.bill(reply.request_id)
    assert (bill["status"], bill["usage_source"]) == ("partial", "partial")
    assert 0 < bill["output_tokens"] <= 30
    await assert_books_balance(house)


async def test_an_error_event_of_upstream_passes_and_ends_the_charge(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(chunks=("a" * 40, "b" * 40), fail_after=2))
    reply = await house.post(STREAM)
    assert b'"error"' in reply.body
    bill = await house.bill(reply.request_id)
    assert bill["status"] == "partial"
    await assert_books_balance(house)


@pytest.mark.parametrize(
    "script", [Answer(cut_after=0), Drop(), Raw([b"<html>no</html>"], content_type="text/html")]
)
async def test_an_upstream_that_delivers_nothing_costs_nothing(
    house: House, upstream: FakeUpstream, script: Any
) -> None:
    upstream.script("gpt-4o", script)
    await house.post(STREAM)
    await idle(house)
    assert (await house.wallet())["balance_nanos"] == 10_000_000_000
    await assert_books_balance(house)


async def test_a_plain_answer_that_is_cut_is_not_whole_for_the_client(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script(
        "gpt-4o", Raw([b'{"choices":[{"message":{"content":"hel'], content_type="application/json", cut=True)
    )
    with pytest.raises(aiohttp.ClientError):
        await house.post(PLAIN)
    await idle(house)
    await assert_books_balance(house)


async def leave_after(house: House, body: dict[str, Any], bytes_read: int) -> str:
    """Read so many bytes of an answer, then close the connection. Returns the request id."""
    headers = {"authorization": f"Bearer {house.secret}"}
    answer = await house.http.post(f"{house.base_url}/v1/chat/completions", headers=headers, json=body)
    await answer.content.readexactly(bytes_read)
    answer.close()
    return answer.headers["x-rabbitgw-request-id"]


async def test_a_client_that_leaves_cancels_upstream_and_pays_for_what_was_produced(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(chunks=("word " * 8,) * 500, delay_s=0.02))
    request_id = await leave_after(house, STREAM, 600)
    bill = await house.bill(request_id)
    assert (bill["status"], bill["usage_source"]) == ("partial", "partial")
    assert 0 < bill["output_tokens"] < 1000
    await until(lambda: upstream.requests[-1].client_left)
    await idle(house)
    await assert_books_balance(house)


async def leave_at_upstream(house: House, upstream: FakeUpstream, body: Any, request_id: str) -> None:
    """Ask, and go as soon as upstream has the call."""
    asked = asyncio.create_task(house.post(body, **{"x-request-id": request_id}))
    await until(lambda: upstream.of("gpt-4o"))
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_drain_reads_on_and_charges_the_true_usage(house_with: Any, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(chunks=("word",) * 20, delay_s=0.02, usage=usage(10, 20)))
    async with house_with(client_gone="drain") as house:
        bill = await house.bill(await leave_after(house, STREAM, 300))
        assert (bill["status"], bill["cost_nanos"]) == ("settled", 225_000)  # 10 x 2500 + 20 x 10000
        assert upstream.requests[-1].finished
        await assert_books_balance(house)


async def test_a_client_that_leaves_before_the_head_of_a_plain_call_pays_for_the_call(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(delay_s=0.4, usage=usage(10, 20)))
    await leave_at_upstream(house, upstream, PLAIN, "left-early")
    bill = await house.bill("left-early")
    assert (bill["status"], bill["cost_nanos"]) == ("settled", 225_000)
    await assert_books_balance(house)


async def test_a_client_that_leaves_a_silent_stream_pays_nothing(
    house_with: Any, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it closed, and not only its half, is seen by nothing but the silence."""
    monkeypatch.setattr(front, "HALF_CLOSED_SILENCE_S", 0.5)
    upstream.script("gpt-4o", Hang())
    async with house_with() as house:
        await leave_at_upstream(house, upstream, STREAM, "left-silent")
        bill = await house.bill("left-silent")
        assert (bill["status"], bill["cost_nanos"]) == ("released", 0)
        await idle(house)
        await assert_books_balance(house)


async def test_an_upstream_that_says_nothing_is_timed_out(house_with: Any, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Hang())
    async with house_with(upstream_first_byte_timeout_s=0.3) as house:
        reply = await house.post(STREAM)
        assert (reply.status, reply.json()["error"]["code"]) == (504, "upstream_timeout")
        assert reply.headers["x-should-retry"] == "false"
        await assert_books_balance(house)


async def test_an_upstream_that_falls_silent_midway_is_ended(house_with: Any, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(chunks=("word " * 8,) * 5, hang_after=3))
    async with house_with(upstream_silence_timeout_s=0.3) as house:
        reply = await house.post(STREAM)
        assert b'"code":"upstream_timeout"' in reply.body
        bill = await house.bill(reply.request_id)
        assert bill["status"] == "partial"
        await assert_books_balance(house)


async def test_a_slow_client_holds_upstream_back(house: House, upstream: FakeUpstream) -> None:
    upstream.script("free", Answer(chunks=("x" * 10_000,) * 4000, usage=usage(1, 1)))
    headers = {"authorization": f"Bearer {house.secret}"}
    answer = await house.http.post(
        f"{house.base_url}/v1/chat/completions", headers=headers, json={**STREAM, "model": "free"}
    )
    await asyncio.sleep(1.0)
    # of 40 MB: what four sockets may hold, which Linux lets grow to 20 MB in all, and one buffer
    assert upstream.requests[-1].bytes_sent < 30_000_000
    body = await answer.read()
    assert body.endswith(b"data: [DONE]\n\n")
    assert len(body) > 40_000_000
    await assert_books_balance(house)


async def test_a_stream_goes_on_by_slices_as_long_as_the_wallet_pays(
    house_with: Any, upstream: FakeUpstream
) -> None:
    # 2000 tokens at 1 000 000 nanos a token; a slice is 256
    upstream.script("words", Answer(chunks=("tok ",) * 2000, usage=usage(5, 2000), delay_s=0.0005))
    async with house_with(credit_nanos=3_000_000_000) as house:
        reply = await house.post({**STREAM, "model": "words"})
        assert reply.body.endswith(b"data: [DONE]\n\n")
        bill = await house.bill(reply.request_id)
        assert bill["cost_nanos"] == 2_000_005_000
        await assert_books_balance(house)


async def test_a_stream_ends_cleanly_where_the_wallet_does(house_with: Any, upstream: FakeUpstream) -> None:
    upstream.script("words", Answer(chunks=("tok ",) * 3000, usage=usage(5, 3000), delay_s=0.001))
    async with house_with(credit_nanos=1_000_000_000) as house:  # about 1000 tokens
        reply = await house.post({**STREAM, "model": "words"})
        assert reply.status == 200
        assert b'"code":"insufficient_quota"' in reply.body
        assert b"[DONE]" not in reply.body
        bill = await house.bill(reply.request_id)
        assert bill["status"] == "partial"
        wallet = await house.wallet()
        # overspend: at most what 64 KiB of delivered events can hold, at a token each
        assert wallet["balance_nanos"] > -400_000_000
        await assert_books_balance(house)


async def test_a_plain_call_is_limited_to_what_the_wallet_grants(
    house_with: Any, upstream: FakeUpstream
) -> None:
    upstream.script("words", Answer(usage=usage(5, 90)))
    async with house_with(credit_nanos=100_000_000) as house:  # 100 tokens
        reply = await house.post({**PLAIN, "model": "words", "max_tokens": 4000})
        assert reply.status == 200
        granted = int(reply.headers["x-rabbitgw-max-tokens"])
        assert 90 <= granted < 100
        assert upstream.requests[-1].json["max_tokens"] == granted
        await assert_books_balance(house)


async def test_a_drain_that_runs_out_of_time_settles_what_was_delivered(
    house_with: Any, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(chunks=("word " * 8,) * 50, hang_after=20))
    async with house_with(drain_timeout_s=0.3) as house:
        call = asyncio.create_task(house.post(STREAM))
        await until(lambda: upstream.requests and upstream.requests[-1].bytes_sent > 1000)
        await house.gateway.stop()
        reply = await call
        assert b'"error"' in reply.body
        assert b"[DONE]" not in reply.body
        await assert_books_balance(house)
        async with house.stores.pg.acquire() as db:
            statuses = await db.fetch("SELECT status, charge_nanos > 0 AS charged FROM usage")
        assert [tuple(row) for row in statuses] == [("partial", True)]
