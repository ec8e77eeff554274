"""The real LiteLLM stands between the tests and the fake upstream, and lets through what flows rely on.

What it makes of each dialect stands here too, so that another version of it that does otherwise is noticed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse, usage

pytestmark = pytest.mark.timeout(400)  # the first test waits for LiteLLM to start
ASK = [{"role": "user", "content": "hi"}]


BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": ASK},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": ASK, "max_tokens": 50},
    "/v1/messages/count_tokens": {"messages": ASK},
    "/v1/embeddings": {"input": "hi"},
}


async def post(proxy: LiteLLMProxy, path: str, model: str, **more: Any) -> tuple[int, bytes]:
    headers = {"authorization": f"Bearer {proxy.master_key}"}
    body = {"model": model, **BODIES[path], **more}
    async with (
        aiohttp.ClientSession() as http,
        http.post(proxy.base_url + path, json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


@pytest.fixture
async def client(litellm_proxy: LiteLLMProxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{litellm_proxy.base_url}/v1", api_key=litellm_proxy.master_key, max_retries=0
    ) as client:
        yield client


async def test_a_stream_passes_with_upstreams_usage(
    client: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.script("fake-stream", Answer(("one", " two"), usage(11, 7)))
    stream = await client.chat.completions.create(
        model="fake-stream", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "one two"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 7)


async def test_it_asks_upstream_for_usage_and_hides_it_unasked(
    client: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    stream = await client.chat.completions.create(model="fake-gpt", messages=ASK, stream=True)
    assert all([chunk.usage is None async for chunk in stream])
    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}


async def test_our_key_is_not_the_upstreams(
    client: openai.AsyncOpenAI, upstream: FakeUpstream, litellm_proxy: LiteLLMProxy
) -> None:
    await client.chat.completions.create(model="fake-gpt", messages=ASK)
    assert upstream.requests[0].header("authorization") == f"Bearer {litellm_proxy.upstream_key}"
    with pytest.raises(openai.APIStatusError) as refusal:  # without a database it is 400, "No connected db."
        await client.with_options(api_key="sk-wrong").chat.completions.create(model="fake-gpt", messages=ASK)
    assert refusal.value.status_code in (400, 401)
    assert len(upstream.requests) == 1


async def test_a_refusal_passes_once_without_retries(
    client: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.script("fake-gpt", Refuse(429))
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="fake-gpt", messages=ASK)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("path", "of_openai", "of_anthropic"),
    [
        ("/v1/chat/completions", "/v1/chat/completions", "/v1/messages"),
        ("/v1/completions", "/v1/completions", "/v1/messages"),
        ("/v1/responses", "/v1/responses", "/v1/messages"),
        ("/v1/messages", "/v1/responses", "/v1/messages"),
        ("/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/messages/count_tokens"),
        ("/v1/embeddings", "/v1/embeddings", None),
    ],
)
async def test_each_dialect_reaches_each_provider_in_the_providers_own(
    upstream: FakeUpstream, litellm_proxy: LiteLLMProxy, path: str, of_openai: str, of_anthropic: str | None
) -> None:
    assert (await post(litellm_proxy, path, "fake-gpt"))[0] == 200
    assert upstream.requests[-1].route == of_openai
    assert upstream.requests[-1].header("authorization") == f"Bearer {litellm_proxy.upstream_key}"
    status, _ = await post(litellm_proxy, path, "claude-fake")
    if of_anthropic is None:
        assert (status, len(upstream.requests)) == (400, 1)
        return
    assert (status, upstream.requests[-1].route) == (200, of_anthropic)
    assert upstream.requests[-1].header("x-api-key") == litellm_proxy.upstream_key


async def test_it_counts_itself_where_the_provider_does_not(
    upstream: FakeUpstream, litellm_proxy: LiteLLMProxy
) -> None:
    upstream.script("claude-fake", Refuse(429))
    status, body = await post(litellm_proxy, "/v1/messages/count_tokens", "claude-fake")
    assert (status, b'"local_estimate"' in body) == (200, True)


async def test_it_raises_a_limit_of_messages_that_openai_would_find_too_low(
    upstream: FakeUpstream, litellm_proxy: LiteLLMProxy
) -> None:
    await post(litellm_proxy, "/v1/messages", "fake-gpt", max_tokens=5)
    assert upstream.requests[-1].json["max_output_tokens"] == 16


async def test_completions_state_zeros_on_every_chunk_unless_they_are_asked_for_usage(
    upstream: FakeUpstream, litellm_proxy: LiteLLMProxy
) -> None:
    zeros = b'"usage":{"completion_tokens":0,"prompt_tokens":0,"total_tokens":0}'
    _, unasked = await post(litellm_proxy, "/v1/completions", "fake-gpt", stream=True)
    assert unasked.count(zeros) == 4  # three texts and the finish chunk
    _, asked = await post(
        litellm_proxy, "/v1/completions", "fake-gpt", stream=True, stream_options={"include_usage": True}
    )
    assert (asked.count(zeros), asked.count(b'"usage"')) == (0, 1)


async def test_it_makes_up_the_usage_that_upstream_did_not_state(
    upstream: FakeUpstream, litellm_proxy: LiteLLMProxy
) -> None:
    upstream.script("fake-gpt", Answer(usage=None))
    _, body = await post(
        litellm_proxy, "/v1/chat/completions", "fake-gpt", stream=True, stream_options={"include_usage": True}
    )
    assert b'"usage":{"completion_tokens":3,' in body
