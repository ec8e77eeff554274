"""One script, every dialect: the official SDKs read the fake as they read the providers themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.fakes.openai_upstream import Answer, Drop, FakeUpstream, Hang, Raw, Refuse, Script, ToolCall, usage

ASK: list[Any] = [{"role": "user", "content": "hi"}]
CACHED = usage(
    100,
    20,
    prompt_tokens_details={"cached_tokens": 30, "cache_write_tokens": 50},
    completion_tokens_details={"reasoning_tokens": 7},
)
TOOL = ToolCall("weather", {"city": "Köln"})
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": ASK},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": ASK, "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": ASK},
    "/v1/embeddings": {"input": "hi"},
}
STREAMED = tuple(BODIES)[:4]


class City(BaseModel):
    city: str


@pytest.fixture
async def gpt(upstream: FakeUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{upstream.base_url}/v1", api_key="k", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def claude(upstream: FakeUpstream) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=upstream.base_url, api_key="k", max_retries=0) as sdk:
        yield sdk


async def post(upstream: FakeUpstream, path: str, **more: Any) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(upstream.base_url + path, json={"model": "m", **BODIES[path], **more}) as answer,
    ):
        return answer.status, await answer.read()


# -- text and usage


async def test_completions_tell_their_text_and_usage(gpt: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.script("m", Answer(("one", " two"), usage(3, 2)))
    plain = await gpt.completions.create(model="m", prompt="hi")
    assert (plain.choices[0].text, plain.usage and plain.usage.total_tokens) == ("one two", 5)
    stream = await gpt.completions.create(
        model="m", prompt="hi", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert [choice.text for chunk in chunks for choice in chunk.choices] == ["one", " two", ""]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 3


async def test_responses_tell_their_text_and_usage(gpt: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.script("m", Answer(("one", " two"), CACHED))
    plain = await gpt.responses.create(model="m", input="hi")
    async with gpt.responses.stream(model="m", input="hi") as stream:
        events = [event async for event in stream]
        streamed = await stream.get_final_response()
    assert events[0].type == "response.created"
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["one", " two"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for response in (plain, streamed):
        assert (response.status, response.output_text) == ("completed", "one two")
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (100, 20)
        assert response.usage.input_tokens_details.cached_tokens == 30
        assert response.usage.input_tokens_details.cache_write_tokens == 50
        assert response.usage.output_tokens_details.reasoning_tokens == 7


async def test_messages_tell_their_text_and_the_uncached_input(
    claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(("one", " two"), CACHED))
    plain = await claude.messages.create(model="m", messages=ASK, max_tokens=9)
    async with claude.messages.stream(model="m", messages=ASK, max_tokens=9) as stream:
        events = [event async for event in stream]
        streamed = await stream.get_final_message()
    assert [event.type for event in events if event.type != "text"] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    for message in (plain, streamed):
        (block,) = message.content
        assert block.type == "text"
        assert (block.text, message.stop_reason) == ("one two", "end_turn")
        assert (message.usage.input_tokens, message.usage.output_tokens) == (20, 20)
        assert message.usage.cache_read_input_tokens == 30
        assert message.usage.cache_creation_input_tokens == 50


async def test_counting_and_embedding(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(usage=usage(17, 0)))
    assert (await claude.messages.count_tokens(model="m", messages=ASK)).input_tokens == 17
    vectors = await gpt.embeddings.create(model="m", input=["a", "b"])
    assert [one.index for one in vectors.data] == [0, 1]
    assert (vectors.usage.prompt_tokens, vectors.usage.total_tokens) == (17, 17)


async def test_models_are_listed_to_both_sdks(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("claude-x", Answer())
    upstream.script("*", Answer())
    assert [model.id async for model in gpt.models.list()] == ["claude-x", "fake-gpt"]
    assert [model.id async for model in claude.models.list()] == ["claude-x", "fake-gpt"]


async def test_usage_none_is_stated_in_no_dialect(upstream: FakeUpstream) -> None:
    upstream.script("m", Answer(usage=None))
    for path in STREAMED:
        for stream in (False, True):
            _, body = await post(upstream, path, stream=stream, stream_options={"include_usage": True})
            assert b"usage" not in body.replace(b'"usage": null', b"").replace(b'"usage":null', b"")


# -- tools, refusals, structure


async def test_tool_calls_arrive_in_each_dialect(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(("Let me see.",), tool_calls=(TOOL, ToolCall("clock", id="call_2"))))
    chat = await gpt.chat.completions.create(model="m", messages=ASK)
    async with gpt.chat.completions.stream(model="m", messages=ASK) as stream:
        streamed_chat = await stream.get_final_completion()
    for completion in (chat, streamed_chat):
        choice = completion.choices[0]
        calls: list[Any] = list(choice.message.tool_calls or ())
        assert [(one.id, one.function.name) for one in calls] == [
            ("call_fake_1", "weather"),
            ("call_2", "clock"),
        ]
        assert json.loads(calls[0].function.arguments) == {"city": "Köln"}
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me see.")

    plain = await gpt.responses.create(model="m", input="hi")
    async with gpt.responses.stream(model="m", input="hi") as events:
        streamed = await events.get_final_response()
    for response in (plain, streamed):
        items: list[Any] = list(response.output)
        assert [item.type for item in items] == ["message", "function_call", "function_call"]
        assert (items[1].call_id, json.loads(items[1].arguments)) == ("call_fake_1", {"city": "Köln"})

    message = await claude.messages.create(model="m", messages=ASK, max_tokens=9)
    async with claude.messages.stream(model="m", messages=ASK, max_tokens=9) as blocks:
        streamed_message = await blocks.get_final_message()
    for answer in (message, streamed_message):
        content: list[Any] = list(answer.content)
        assert [block.type for block in content] == ["text", "tool_use", "tool_use"]
        assert (content[1].name, content[1].input, content[2].input) == ("weather", {"city": "Köln"}, {})
        assert answer.stop_reason == "tool_use"


async def test_a_refusal_takes_the_place_of_the_text(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(refusal="I won't."))
    chat = await gpt.chat.completions.create(model="m", messages=ASK)
    async with gpt.chat.completions.stream(model="m", messages=ASK) as stream:
        streamed = await stream.get_final_completion()
    for completion in (chat, streamed):
        assert (completion.choices[0].message.refusal, completion.choices[0].message.content) == (
            "I won't.",
            None,
        )
    async with gpt.responses.stream(model="m", input="hi") as events:
        async for _ in events:
            pass
        (item,) = (await events.get_final_response()).output
    assert item.type == "message"
    assert item.content[0].type == "refusal"
    message = await claude.messages.create(model="m", messages=ASK, max_tokens=9)
    assert message.stop_reason == "refusal"


async def test_structured_output_is_text_that_is_json(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(('{"city":', '"Bonn"}')))
    chat = await gpt.chat.completions.parse(model="m", messages=ASK, response_format=City)
    assert chat.choices[0].message.parsed == City(city="Bonn")
    response = await gpt.responses.parse(model="m", input="hi", text_format=City)
    assert response.output_parsed == City(city="Bonn")
    message = await claude.messages.parse(model="m", messages=ASK, max_tokens=9, output_format=City)
    assert message.parsed_output == City(city="Bonn")


async def test_a_length_limit_is_said_in_each_dialects_words(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(finish_reason="length"))
    response = await gpt.responses.create(model="m", input="hi")
    assert response.incomplete_details is not None
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    _, events = await post(upstream, "/v1/responses", stream=True)
    assert b"event: response.incomplete\n" in events
    message = await claude.messages.create(model="m", messages=ASK, max_tokens=9)
    assert message.stop_reason == "max_tokens"


# -- faults


@pytest.mark.parametrize("path", STREAMED)
async def test_a_stream_fails_after_the_same_text_in_each_dialect(upstream: FakeUpstream, path: str) -> None:
    upstream.script("m", Answer(("aaa", "bbb", "ccc"), fail_after=2))
    _, body = await post(upstream, path, stream=True)
    assert b"aaa" in body
    assert b"bbb" in body
    assert b"ccc" not in body
    assert b'"error"' in body
    assert not body.rstrip().endswith((b"[DONE]", b'"message_stop"}'))


async def test_each_sdk_raises_the_error_of_a_stream(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Answer(fail_after=1))
    with pytest.raises(openai.APIError, match="upstream broke"):
        _ = [event async for event in await gpt.responses.create(model="m", input="hi", stream=True)]
    with pytest.raises(anthropic.APIStatusError, match="upstream broke"):
        _ = [
            one
            async for one in await claude.messages.create(model="m", messages=ASK, max_tokens=9, stream=True)
        ]


@pytest.mark.parametrize("path", STREAMED)
async def test_a_stream_is_cut_after_the_same_text_in_each_dialect(upstream: FakeUpstream, path: str) -> None:
    upstream.script("m", Answer(cut_after=1))
    with pytest.raises(aiohttp.ClientPayloadError):
        await post(upstream, path, stream=True)


async def test_an_error_is_shaped_as_its_route_has_it(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    upstream.script("m", Refuse(529))
    with pytest.raises(anthropic.APIStatusError) as ours:
        await claude.messages.create(model="m", messages=ASK, max_tokens=9)
    assert isinstance(ours.value.body, dict)
    assert ours.value.body["error"]["type"] == "overloaded_error"
    upstream.script("m", Refuse(404))
    with pytest.raises(openai.NotFoundError) as theirs:
        await gpt.responses.create(model="m", input="hi")
    assert theirs.value.type == "invalid_request_error"


@pytest.mark.parametrize("path", BODIES)
async def test_faults_work_on_every_route(upstream: FakeUpstream, path: str) -> None:
    scripts: list[Script] = [Refuse(418), Raw([b"<html>"], content_type="text/html"), Drop(), Hang()]
    upstream.script("m", *scripts)
    assert (await post(upstream, path))[0] == 418
    assert await post(upstream, path) == (200, b"<html>")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(upstream, path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await post(upstream, path)
    assert [request.path for request in upstream.requests] == [path] * 4


async def test_a_path_can_be_scripted_too(gpt: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.script("/v1/models", Refuse(503))
    with pytest.raises(openai.InternalServerError):
        await gpt.models.list()
    await gpt.responses.create(model="m", input="hi")
