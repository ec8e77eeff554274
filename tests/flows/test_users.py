"""A user's key at two gateways: disabled, refused by both on the next request, enabled, and seen in the bills."""

from __future__ import annotations

from rabbitgw.app import Gateway
from rabbitgw.billing import keys, users
from rabbitgw.stores import connection
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import ADMIN_KEY, House, Reply

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
COST_NANOS = 147_500  # 19 tokens in at 2 500 nanos, 10 out at 10 000


async def test_every_gateway_refuses_a_disabled_users_key_on_the_next_request(
    house: House, second: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10)))
    ann = await users.create_user(house.stores.pg, house.account.id, "Ann")
    new = keys.NewKey(house.account.id, "ann's", user_id=ann.id)
    key = await keys.create_key(house.stores.pg, new)

    async def at_both() -> list[Reply]:
        own = {"authorization": f"Bearer {key.secret}", "content-type": "application/json"}
        replies = []
        for port in (house.gateway.port, second.port):
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            async with house.http.post(url, json=BODY, headers=own) as answer:
                replies.append(await Reply.read(answer))
        return replies

    async def operator(path: str) -> None:
        headers = {"x-api-key": ADMIN_KEY}
        async with house.http.post(
            f"{house.base_url}/v1/admin/users/{ann.id}/{path}", headers=headers
        ) as answer:
            assert (await answer.json())["in_effect"] is True

    served = await at_both()
    assert [reply.status for reply in served] == [200, 200]
    await operator("disable")
    asked = len(upstream.requests)
    for reply in await at_both():
        assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        assert "user of this API key is disabled" in reply.json()["error"]["message"]
    assert [request for request in upstream.requests[asked:] if request.method == "POST"] == []
    assert (await house.post(BODY)).status == 200  # a key without a user
    await operator("enable")
    served += await at_both()
    assert [reply.status for reply in served] == [200] * 4

    for reply in served:
        line = await house.bill(reply.request_id)
        assert (line["key_id"], line["user_id"], line["cost_nanos"]) == (key.id, ann.id, COST_NANOS)
    listed = (await house.get(f"/v1/usage?user_id={ann.id}")).json()["usage"]
    assert [line["id"] for line in listed] == [reply.request_id for reply in reversed(served)]
    async with connection(house.stores.pg) as db:
        assert await db.fetchval("SELECT sum(charge_nanos) FROM usage") == 5 * COST_NANOS
    await assert_books_balance(house)
