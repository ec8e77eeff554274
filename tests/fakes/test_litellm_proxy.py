"""The real LiteLLM stands between the tests and the fake upstream, and lets through what flows rely on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse, usage

pytestmark = pytest.mark.timeout(400)  # the first test waits for LiteLLM to start
ASK = [{"role": "user", "content": "hi"}]


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
