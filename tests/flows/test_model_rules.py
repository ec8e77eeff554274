"""What stands above a key, changed by an operator and met at two gateways: it holds from the next request, at each."""

from __future__ import annotations

import pytest

from rabbitgw.app import Gateway
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import ADMIN_KEY, House
from tests.flows.test_keys import CHAT, COST_NANOS, MESSAGES, Desk, refusals


@pytest.fixture
async def desk(house: House, second: Gateway, upstream: FakeUpstream) -> Desk:
    """With a key of a user of a team."""
    for model in ("gpt-4o", "words", "free"):
        upstream.script(model, Answer(usage=usage(19, 10)))
    desk = Desk(house, second)
    owner = {"account_id": house.account.id, "name": "n"}
    team = await desk.operator("teams", owner)
    user = await desk.operator("users", {**owner, "team_id": team["id"]})
    await desk.new(user_id=user["id"])
    return desk


async def test_a_rule_at_each_level_holds_from_the_next_request_at_both_gateways(
    house: House, desk: Desk, upstream: FakeUpstream
) -> None:
    served = await desk.at_both()
    assert [reply.status for reply in served] == [200, 200]
    key = await house.get(f"/v1/admin/keys/{desk.key_id}", authorization=f"Bearer {ADMIN_KEY}")
    (user,) = (await house.get("/v1/admin/users", authorization=f"Bearer {ADMIN_KEY}")).json()["users"]
    assert key.json()["user_id"] == user["id"]
    calls = len([request for request in upstream.requests if request.method == "POST"])
    for level, entity_id in (
        ("account", house.account.id), ("team", user["team_id"]), ("user", user["id"]),
    ):  # fmt: skip
        place = {"entity_type": level, "entity_id": entity_id}
        rule = await desk.operator("model_rules", {**place, "allow": ["words", "free"], "deny": ["fr?e"]})
        assert rule["in_effect"]
        for model in ("gpt-4o", "free"):
            refused = await desk.at_both(model=model)
            assert refusals(refused) == {(403, "model_not_allowed", "invalid_request_error")}
            for reply in refused:
                said = f"the {level} of this key ({entity_id}) may not call the model {model!r}"
                assert reply.json()["error"]["message"] == said
        assert refusals(await desk.at_both(MESSAGES)) == {(403, None, "permission_error")}
        for listed in await desk.at_both("/v1/models"):
            assert [model["id"] for model in listed.json()["data"]] == ["words"]
        assert len([request for request in upstream.requests if request.method == "POST"]) == calls
        await desk.operator("model_rules", {**place, "deny": ["words"]})
        assert await desk.statuses(model="words") == [403, 403]
        served += await desk.at_both()
        calls += 2
        url = f"{house.base_url}/v1/admin/model_rules/{rule['id']}"
        async with house.http.delete(url, headers={"x-api-key": ADMIN_KEY}) as removed:
            assert (await removed.json())["in_effect"]
    for listed in await desk.at_both("/v1/models"):
        assert {"words", "free", "gpt-4o"} <= {model["id"] for model in listed.json()["data"]}
    assert len(served) == 8
    for reply in served:
        assert (await house.bill(reply.request_id))["cost_nanos"] == COST_NANOS
    await assert_books_balance(house)


async def test_a_changed_rate_keeps_what_is_used_and_holds_from_the_next_request(
    house: House, desk: Desk
) -> None:
    rate = {"entity_type": "account", "entity_id": house.account.id, "rpm": 4}
    made = await desk.operator("rates", rate)
    assert await desk.statuses(CHAT) == [200, 200]
    await desk.operator(f"rates/{made['id']}", {"rpm": 2})
    # half of a minute's worth was used, and is: of two one is left, for whichever gateway asks first
    assert sorted(await desk.statuses(CHAT)) == [200, 429]
    await desk.operator(f"rates/{made['id']}", {"rpm": None, "parallel": 1})
    assert await desk.statuses(CHAT) == [200, 200]
    await assert_books_balance(house)
