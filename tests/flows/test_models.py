"""/v1/models: what upstream serves, a price allows and the key may call; each as the client of its API reads it."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream, Refuse
from tests.flows.house import House
from tests.flows.priced import sell
from tests.flows.raw_client import read_answer
from tests.flows.refusing import Desk

# fake-gpt is listed by upstream in any case; of these the first three have a price
LISTED = ("gpt-4o", "words", "free", "unpriced-1", "GPT-4O", "gpt-4o-mini")
SOLD = ["fake-gpt", "free", "gpt-4o", "words"]
AS_ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def listed(upstream: FakeUpstream) -> FakeUpstream:
    for name in LISTED:
        upstream.script(name)
    return upstream


def names(document: dict[str, Any]) -> list[str]:
    return [model["id"] for model in document["data"]]


async def test_models_are_those_served_priced_and_allowed(house: House, listed: FakeUpstream) -> None:
    everything = await house.get("/v1/models")
    assert (everything.status, everything.json()["object"]) == (200, "list")
    assert names(everything.json()) == SOLD
    assert everything.json()["data"][2] == {
        "id": "gpt-4o", "object": "model", "created": 0, "owned_by": "rabbitgw",
    }  # fmt: skip
    ids = {everything.headers[name] for name in ("x-request-id", "request-id", "x-rabbitgw-request-id")}
    assert len(ids) == 1
    for patterns, allowed in (
        (["claude-*"], []),
        (["gpt-4o"], ["gpt-4o"]),
        (["gpt-*", "free"], ["free", "gpt-4o"]),
        (["*"], SOLD),
        (["GPT-*"], []),
        (["unpriced-*"], []),
    ):
        secret = await house.new_key(models=patterns)
        shown = await house.get("/v1/models", authorization=f"Bearer {secret}")
        assert (patterns, names(shown.json())) == (patterns, allowed)
    assert [request.path for request in listed.requests] == ["/v1/models"]  # read once a minute, whoever asks
    await assert_books_balance(house)


async def test_models_for_anthropics_client_have_its_form(house: House, listed: FakeUpstream) -> None:
    shown = (await house.get("/v1/models", **AS_ANTHROPIC)).json()
    assert names(shown) == SOLD
    assert (shown["has_more"], shown["first_id"], shown["last_id"]) == (False, SOLD[0], SOLD[-1])
    entry = {
        "type": "model",
        "id": "gpt-4o",
        "display_name": "gpt-4o",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
    }
    assert shown["data"][2] == entry
    assert (await house.get("/v1/models/gpt-4o", **AS_ANTHROPIC)).json() == entry
    secret = await house.new_key(models=["claude-*"])
    none = (await house.get("/v1/models", authorization=f"Bearer {secret}", **AS_ANTHROPIC)).json()
    assert none == {"data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_the_official_clients_read_the_list_and_one_model(house: House, listed: FakeUpstream) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{house.base_url}/v1", api_key=house.secret, max_retries=0
    ) as gpt:
        assert [model.id async for model in gpt.models.list()] == SOLD
        assert (await gpt.models.retrieve("gpt-4o")).id == "gpt-4o"
        with pytest.raises(openai.NotFoundError) as missing:
            await gpt.models.retrieve("nope")
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    async with anthropic.AsyncAnthropic(
        base_url=house.base_url, api_key=house.secret, max_retries=0
    ) as claude:
        assert [model.id async for model in claude.models.list()] == SOLD
        assert (await claude.models.retrieve("gpt-4o")).display_name == "gpt-4o"
        with pytest.raises(anthropic.NotFoundError):
            await claude.models.retrieve("nope")


async def test_one_model_is_shown_if_it_would_be_listed(house: House, listed: FakeUpstream) -> None:
    entry = await house.get("/v1/models/gpt-4o")
    assert (entry.status, entry.json()["id"], entry.json()["object"]) == (200, "gpt-4o", "model")
    for name in (
        "nope",
        "unpriced-1",
        "GPT-4O",
        "gpt-4o-mini",
        "gpt-4o%20",
        "gpt-*",
        "*",
        "a/b",
        "a%2fb",
        "%00",
        "%ff",
    ):
        for headers, kind in (({}, "invalid_request_error"), (AS_ANTHROPIC, "not_found_error")):
            reply = await house.get(f"/v1/models/{name}", **headers)
            assert (name, reply.status, reply.json()["error"]["type"]) == (name, 404, kind)
            assert "does not exist" in reply.json()["error"]["message"]
    secret = await house.new_key(models=["gpt-4*"])
    authorization = f"Bearer {secret}"
    assert (await house.get("/v1/models/gpt-4o", authorization=authorization)).status == 200
    hidden = await house.get("/v1/models/words", authorization=authorization)
    assert (hidden.status, hidden.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_model_with_a_slash_in_its_name_is_found(house: House, upstream: FakeUpstream) -> None:
    upstream.script("meta/llama-3")
    await sell(house, {"meta/*": {"input": "1", "output": "1"}}, listed="meta/llama-3")
    desk = Desk(house, upstream)
    for path in ("/v1/models/meta/llama-3", "/v1/models/meta%2Fllama-3"):
        answer, _ = read_answer(await desk.exchange(desk.request(path, b"", method="GET")))
        assert (path, answer.status, b'"id":"meta/llama-3"' in answer.body) == (path, 200, True)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
async def test_models_need_a_key_and_the_headers_of_a_call(
    house: House, listed: FakeUpstream, path: str
) -> None:
    for authorization in ("Bearer nonsense", "Bearer ", "Basic eDp5"):
        reply = await house.get(path, authorization=authorization)
        assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        reply = await house.get(path, authorization=authorization, **AS_ANTHROPIC)
        assert (reply.status, reply.json()["error"]["type"]) == (401, "authentication_error")
    for wrong, field in (
        ({"x-api-key": "rk-other"}, "authorization"),
        ({"x-litellm-tags": "a"}, "x-litellm-tags"),
    ):
        reply = await house.get(path, **wrong)
        assert (reply.status, reply.json()["error"]["param"]) == (400, field)
    assert listed.requests == []


async def test_models_are_listed_though_the_wallet_is_empty(house_with: Any, listed: FakeUpstream) -> None:
    async with house_with(credit_nanos=0) as house:
        assert names((await house.get("/v1/models")).json()) == SOLD


async def test_nothing_is_listed_while_upstream_never_told(house: House, upstream: FakeUpstream) -> None:
    upstream.script("/v1/models", Refuse(500))
    assert names((await house.get("/v1/models")).json()) == []
    reply = await house.get("/v1/models/gpt-4o")
    assert (reply.status, reply.json()["error"]["code"]) == (404, "model_not_found")
