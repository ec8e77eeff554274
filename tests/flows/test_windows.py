"""Spend windows over HTTP: what an operator changes while a stream runs holds from the next request on."""

from __future__ import annotations

from typing import Any

from rabbitgw.clock import now_ms
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import ADMIN_KEY, House, Reply

BODY = {"model": "words", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 400}
COST_NANOS = 300_005_000  # 5 tokens in at 1 000 nanos, 300 out at 1 000 000


async def operator(house: House, method: str, path: str, **fields: Any) -> dict[str, Any]:
    headers = {"x-api-key": ADMIN_KEY}
    url = f"{house.base_url}/v1/admin/{path}"
    async with house.http.request(method, url, headers=headers, json=fields or None) as answer:
        body: dict[str, Any] = await answer.json()
        assert answer.status == 200, body
        assert body["in_effect"] is True
        return body


async def test_a_window_that_is_changed_while_a_stream_runs_binds_the_next_request(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("words", Answer(chunks=("tok ",) * 300, usage=usage(5, 300), delay_s=0.001))
    account = {"entity_type": "account", "entity_id": house.account.id}
    month = await operator(house, "POST", "windows", **account, kind="month", limit_nanos=1_000_000_000)
    headers = {"authorization": f"Bearer {house.secret}"}
    url = f"{house.base_url}/v1/chat/completions"
    async with house.http.post(url, headers=headers, json={**BODY, "stream": True}) as answer:
        first = await answer.content.readany()
        await operator(house, "POST", f"windows/{month['id']}", limit_nanos=100)
        week = await operator(house, "POST", "windows", **account, kind="week", limit_nanos=0)
        rest = await answer.content.read()
        request_id = answer.headers["x-rabbitgw-request-id"]
    assert (first + rest).rstrip().endswith(b"data: [DONE]")
    assert (await house.bill(request_id))["cost_nanos"] == COST_NANOS

    def told(reply: Reply) -> tuple[str, str]:
        assert (reply.status, reply.json()["error"]["code"]) == (429, "budget_exceeded")
        assert int(reply.headers["x-rabbitgw-window-reset"]) > now_ms() // 1000
        limit, remaining = (
            reply.headers[f"x-rabbitgw-window-{name}-nanos"] for name in ("limit", "remaining")
        )
        return limit, remaining

    assert told(await house.post(BODY)) == ("100", "0")
    await operator(house, "DELETE", f"windows/{month['id']}")
    assert told(await house.post(BODY)) == ("0", "0")
    await operator(house, "DELETE", f"windows/{week['id']}")
    five = await operator(house, "POST", "windows", **account, kind="5h", limit_nanos=COST_NANOS)
    reply = await house.post({**BODY, "max_tokens": 300})
    assert reply.status == 200
    left = COST_NANOS - (await house.bill(reply.request_id))["cost_nanos"]
    assert told(await house.post(BODY)) == (str(COST_NANOS), str(left))
    assert five["timezone"] is None
    await assert_books_balance(house)
