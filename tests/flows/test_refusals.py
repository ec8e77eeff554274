"""What is refused before anything is held or forwarded: one clear error, in the caller's dialect."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing import keys
from rabbitgw.billing.key_push import push_key
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream, Refuse
from tests.flows.house import House

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


async def refused(house: House, upstream: FakeUpstream, body: Any = None, **headers: str) -> dict[str, Any]:
    """Post what must be refused; nothing was forwarded by then, and nothing is held."""
    before = len(upstream.requests)
    reply = await house.post(BODY if body is None else body, **headers)
    assert [r for r in upstream.requests[before:] if r.method == "POST"] == []
    assert (await house.wallet())["held_nanos"] == 0
    assert reply.headers["x-request-id"] == reply.headers["request-id"]
    return {"status": reply.status, "headers": reply.headers, **reply.json()["error"]}


async def test_malformed_json(house: House, upstream: FakeUpstream) -> None:
    error = await refused(house, upstream, b'{"model": ')
    assert (error["status"], error["type"]) == (400, "invalid_request_error")
    assert "JSON" in error["message"]


async def test_a_wrong_type_names_its_field(house: House, upstream: FakeUpstream) -> None:
    error = await refused(house, upstream, {**BODY, "max_tokens": "many"})
    assert (error["status"], error["param"]) == (400, "max_tokens")


async def test_an_unknown_model(house: House, upstream: FakeUpstream) -> None:
    error = await refused(house, upstream, {**BODY, "model": "no-such"})
    assert (error["status"], error["code"], error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic eDp5", "Bearer "])
async def test_an_unknown_key(house: House, upstream: FakeUpstream, header: str) -> None:
    error = await refused(house, upstream, authorization=header)
    assert (error["status"], error["code"]) == (401, "invalid_api_key")


async def test_two_different_credentials(house: House, upstream: FakeUpstream) -> None:
    error = await refused(house, upstream, **{"x-api-key": "rk-other"})
    assert error["status"] == 400
    assert "two different credentials" in error["message"]


async def test_the_same_key_twice_is_one_credential(house: House) -> None:
    assert (await house.post(BODY, **{"x-api-key": house.secret})).status == 200


async def test_a_revoked_key_is_refused_on_the_next_request(house: House, upstream: FakeUpstream) -> None:
    secret = await house.new_key()
    authorization = {"authorization": f"Bearer {secret}"}
    assert (await house.post(BODY, **authorization)).status == 200
    newest = max((await keys.list_keys(house.stores.pg, house.account.id)), key=lambda key: key.id)
    await keys.revoke_key(house.stores.pg, newest.id)
    assert await push_key(house.stores.pg, house.stores.scripts, newest.id)
    error = await refused(house, upstream, **authorization)
    assert (error["status"], error["code"]) == (401, "invalid_api_key")
    assert "revoked" in error["message"]
    await assert_books_balance(house)


async def test_a_model_that_the_key_may_not_call(house: House, upstream: FakeUpstream) -> None:
    secret = await house.new_key(models=["claude-*"])
    error = await refused(house, upstream, authorization=f"Bearer {secret}")
    assert (error["status"], error["code"]) == (403, "model_not_allowed")


async def test_an_empty_wallet(house_with: Any, upstream: FakeUpstream) -> None:
    async with house_with(credit_nanos=0) as house:
        error = await refused(house, upstream)
        assert (error["status"], error["code"]) == (429, "insufficient_quota")
        assert error["headers"]["x-should-retry"] == "false"
        assert "retry-after" not in error["headers"]
        await assert_books_balance(house)


async def test_a_daily_window_says_when_it_resets(house: House, upstream: FakeUpstream) -> None:
    secret = await house.new_key(daily_limit_nanos=100)
    error = await refused(house, upstream, authorization=f"Bearer {secret}")
    assert (error["status"], error["code"]) == (429, "budget_exceeded")
    assert error["headers"]["x-rabbitgw-window-limit-nanos"] == "100"
    # midnight in UTC+8 is 16:00 UTC
    assert int(error["headers"]["x-rabbitgw-window-reset"]) % 86_400 == 57_600


async def test_a_lifetime_window_is_used_up_by_what_was_settled(house: House, upstream: FakeUpstream) -> None:
    secret = await house.new_key(lifetime_limit_nanos=1_000_000)
    authorization = {"authorization": f"Bearer {secret}"}
    reply = await house.post(BODY, **authorization)
    assert reply.status == 200, reply.body  # charged 19 x 2500 + 10 x 10000 = 147500
    for _ in range(5):
        assert (await house.post(BODY, **authorization)).status == 200
    error = await refused(house, upstream, authorization=f"Bearer {secret}")
    assert error["code"] == "budget_exceeded"
    assert "x-rabbitgw-window-reset" not in error["headers"]
    await assert_books_balance(house)


async def test_a_body_beyond_the_limit(house_with: Any, upstream: FakeUpstream) -> None:
    async with house_with(body_bytes_max=2000) as house:
        error = await refused(house, upstream, {**BODY, "seed_text": "x" * 3000})
        assert (error["status"], error["code"]) == (413, "request_too_large")
        assert "2000" in error["message"]


async def test_the_callers_request_id_goes_in_out_and_upstream(house: House, upstream: FakeUpstream) -> None:
    reply = await house.post(BODY, **{"x-request-id": "abc-123"})
    assert reply.headers["x-request-id"] == reply.headers["request-id"] == "abc-123"
    assert upstream.requests[-1].header("x-request-id") == "abc-123"
    assert upstream.requests[-1].header("x-litellm-call-id") == reply.request_id
    assert (await house.bill("abc-123"))["request_id"] == reply.request_id
    assert (await house.post(BODY, **{"x-request-id": "x" * 129})).headers["x-request-id"] != "x" * 129


async def test_upstream_sees_our_key_and_of_the_callers_headers_those_that_choose_the_form(
    house: House, upstream: FakeUpstream
) -> None:
    private = {
        "cookie": "a=b",
        "x-forwarded-for": "1.2.3.4",
        "forwarded": "for=1.2.3.4",
        "user-agent": "curl",
        "openai-organization": "org-1",
        "openai-project": "proj_1",
        "x-stainless-lang": "python",
        "authorization-extra": "x",
        "x-api-key": house.secret,
    }
    passed = {"openai-beta": "assistants=v2", "anthropic-beta": "a,b", "anthropic-version": "2023-06-01"}
    assert (await house.post(BODY, **private, **passed)).status == 200
    sent = upstream.requests[-1]
    assert sent.header("authorization") == "Bearer sk-upstream"
    assert {name: sent.header(name) for name in passed} == passed
    assert {name for name in private if sent.header(name) is not None} == set()
    assert house.secret not in str(sent.headers)


@pytest.mark.parametrize("header", ["x-litellm-customer-id", "X-LiteLLM-Tags", "x-litellm-unheard-of"])
async def test_a_header_that_would_route_inside_litellm_is_refused(
    house: House, upstream: FakeUpstream, header: str
) -> None:
    error = await refused(house, upstream, **{header: "someone"})
    assert (error["status"], error["code"], error["param"]) == (400, "invalid_request", header.lower())
    await assert_books_balance(house)


async def test_a_header_that_would_route_is_said_only_to_who_has_a_key(
    house: House, upstream: FakeUpstream
) -> None:
    error = await refused(house, upstream, **{"x-litellm-tags": "a", "authorization": "Bearer "})
    assert (error["status"], error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("script", "status", "code", "retry"),
    [
        (
            Refuse(401, {"error": {"message": "bad key", "type": "auth_error"}}),
            502,
            "upstream_error",
            "false",
        ),
        (Refuse(429, headers={"llm_provider-retry-after": "3"}), 429, "rate_limit_exceeded", None),
        (Refuse(429, {"error": {"message": "No deployments available"}}), 503, "overloaded", None),
        (
            Refuse(422, {"error": {"message": "x", "type": "budget_exceeded"}}),
            503,
            "upstream_budget",
            "false",
        ),
        (
            Refuse(400, {"error": {"message": "bad temperature", "param": "temperature"}}),
            400,
            "invalid_request",
            None,
        ),
        (Refuse(500), 502, "upstream_error", None),
        (Refuse(503, b"<html>"), 503, "overloaded", None),
        (Refuse(504), 504, "upstream_timeout", "false"),
    ],
)
async def test_upstreams_refusal_is_released_and_mapped(
    house: House, upstream: FakeUpstream, script: Refuse, status: int, code: str, retry: str | None
) -> None:
    upstream.script("gpt-4o", script)
    reply = await house.post({**BODY, "stream": True})
    assert reply.status == status
    assert reply.json()["error"]["code"] == code
    assert reply.headers.get("x-should-retry") == retry
    if status == 429:
        assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("3", "3000")
    bill = await house.bill(reply.request_id)
    assert (bill["status"], bill["cost_nanos"]) == ("released", 0)
    assert (await house.wallet())["balance_nanos"] == 10_000_000_000
    await assert_books_balance(house)
