"""The demo upstream, read by the official SDKs. Whatever they return must also pass their own models whole."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from rabbitgw.dev.demo_media import ROUTES
from rabbitgw.dev.demo_upstream import FORMS, DemoUpstream, start_demo_upstream
from rabbitgw.proxy.dialects import DIALECTS, MEDIA_DIALECTS

ASK: Any = [{"role": "user", "content": "hello"}]
SEVEN_WORDS = "after it lands so that the burrow"


@pytest.fixture
async def demo() -> AsyncIterator[DemoUpstream]:
    server = await start_demo_upstream()
    yield server
    await server.stop()


@pytest.fixture
async def client(demo: DemoUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(demo: DemoUpstream) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=demo.base_url, api_key="any", max_retries=0) as client:
        yield client


def whole(answer: Any) -> Any:
    """The SDKs build their objects unchecked; this is the check: nothing is missing, every type is right."""
    type(answer).model_validate(answer.to_dict())
    return answer


def test_it_serves_what_is_sold() -> None:
    served = {path: form.steps is not None for path, form in FORMS.items()}
    assert served == {dialect.path: dialect.streams for dialect in DIALECTS}
    assert sorted(ROUTES) == sorted(dialect.path for dialect in MEDIA_DIALECTS)


# -- chat completions and completions --


async def test_one_word_is_one_token_and_answers_repeat(client: openai.AsyncOpenAI) -> None:
    one = whole(await client.chat.completions.create(model="demo-small", messages=ASK, max_tokens=7))
    two = await client.chat.completions.create(model="demo-small", messages=ASK, max_tokens=7)
    assert one.choices[0].message.content == two.choices[0].message.content == SEVEN_WORDS
    assert one.choices[0].finish_reason == "length"
    assert (one.usage.prompt_tokens, one.usage.completion_tokens, one.usage.total_tokens) == (8, 7, 15)


@pytest.mark.parametrize("limit", [{}, {"max_tokens": 48}, {"max_completion_tokens": 8192}], ids=str)
async def test_an_answer_that_no_limit_cuts_ends_by_itself(client: openai.AsyncOpenAI, limit: Any) -> None:
    answer = await client.chat.completions.create(model="demo-large", messages=ASK, **limit)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 48


async def test_a_stream_states_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="demo-small",
        messages=ASK,
        max_completion_tokens=7,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [whole(chunk) async for chunk in stream]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == SEVEN_WORDS
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 7
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_a_stream_states_no_usage_unasked(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="demo-small", messages=ASK, stream=True, max_tokens=3)
    chunks = [chunk async for chunk in stream]
    assert len(chunks) == 4
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_every_choice_is_counted(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="demo-small", messages=ASK, max_tokens=4, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12


async def test_completions_answer_every_prompt_streamed_and_not(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "demo-small", "prompt": ["hello", "again"], "max_tokens": 4, "n": 2}
    answer = whole(await client.completions.create(**asked))
    options = {"include_usage": True}
    stream = await client.completions.create(**asked, stream=True, stream_options=options)
    chunks = [
        chunk async for chunk in stream
    ]  # null finish reasons, as at OpenAI, where the SDK's type has none
    texts = dict.fromkeys(range(4), "")
    for choice in [choice for chunk in chunks for choice in chunk.choices]:
        texts[choice.index] += choice.text
    assert list(texts.values()) == [choice.text for choice in answer.choices]
    assert {len(text.split()) for text in texts.values()} == {4}
    for usage in (answer.usage, chunks[-1].usage):
        assert (usage.prompt_tokens, usage.completion_tokens) == (4, 16)


# -- responses --


async def test_a_response_states_its_usage_and_what_cut_it(client: openai.AsyncOpenAI) -> None:
    answer = whole(await client.responses.create(model="demo-small", input=ASK, max_output_tokens=7))
    assert answer.output_text == SEVEN_WORDS
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (8, 7, 15)
    assert (answer.max_output_tokens, answer.instructions) == (7, None)
    told = whole(await client.responses.create(model="demo-small", input="hello", instructions="be brief"))
    assert (told.status, told.incomplete_details, told.instructions) == ("completed", None, "be brief")
    assert (told.usage.input_tokens, told.usage.output_tokens) == (4, 48)


async def test_a_response_is_streamed_in_order(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "demo-small", "input": ASK, "max_output_tokens": 2}
    events = [whole(event) async for event in await client.responses.create(**asked, stream=True)]
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    assert events[-1].response == await client.responses.create(**asked)
    async with client.responses.stream(model="demo-small", input=ASK) as stream:
        final = await stream.get_final_response()
    assert (final.status, len(final.output_text.split())) == ("completed", 48)


# -- messages and count_tokens --


async def test_a_message_states_its_usage_and_what_cut_it(claude: anthropic.AsyncAnthropic) -> None:
    answer = whole(await claude.messages.create(model="demo-small", messages=ASK, max_tokens=7))
    assert [block.text for block in answer.content] == [SEVEN_WORDS]
    assert answer.stop_reason == "max_tokens"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (8, 7)
    told = await claude.messages.create(model="demo-small", messages=ASK, max_tokens=1024)
    assert (told.stop_reason, told.usage.output_tokens) == ("end_turn", 48)


async def test_a_message_is_streamed_in_order(claude: anthropic.AsyncAnthropic) -> None:
    asked: Any = {"model": "demo-small", "messages": ASK, "max_tokens": 2}
    events = [whole(event) async for event in await claude.messages.create(**asked, stream=True)]
    assert [event.type for event in events if event.type != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0].message.usage.input_tokens == 8
    assert (events[-2].delta.stop_reason, events[-2].usage.output_tokens) == ("max_tokens", 2)
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    plain = await claude.messages.create(**asked)
    assert final.to_dict(exclude_unset=False) == plain.to_dict(exclude_unset=False)


async def test_tokens_are_counted_as_they_are_billed(claude: anthropic.AsyncAnthropic) -> None:
    asked: Any = {"model": "demo-small", "messages": ASK, "system": "You are a rabbit."}
    count = whole(await claude.messages.count_tokens(**asked))
    answer = await claude.messages.create(**asked, max_tokens=1)
    assert count.input_tokens == answer.usage.input_tokens == 13


# -- embeddings, models, refusals --


async def test_embeddings_repeat_and_count_input(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "demo-embed", "input": ["a text of four words", "b"]}
    answer = whole(await client.embeddings.create(**asked, encoding_format="float"))
    assert [len(one.embedding) for one in answer.data] == [8, 8]
    assert answer.data[0].embedding != answer.data[1].embedding
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (6, 6)
    packed = await client.embeddings.create(**asked)  # the client asks for base64 by itself
    assert packed.data == answer.data


async def test_models_are_listed(client: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> None:
    names = ["demo-small", "demo-large", "demo-embed", "demo-image", "demo-speech", "demo-ears"]
    assert [whole(model).id async for model in client.models.list()] == names
    assert [whole(model).id async for model in claude.models.list()] == names


async def test_a_refusal_has_the_form_of_its_api(
    client: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="gpt-9", messages=ASK)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    wrong: Any = "many"
    with pytest.raises(openai.BadRequestError, match="max_tokens must be an integer above 0"):
        await client.chat.completions.create(model="demo-small", messages=ASK, max_tokens=wrong)
    with pytest.raises(openai.BadRequestError, match="input is required"):
        await client.responses.create(model="demo-small")
    with pytest.raises(anthropic.NotFoundError) as missing:
        await claude.messages.create(model="gpt-9", messages=ASK, max_tokens=7)
    assert missing.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="messages is required") as empty:
        await claude.messages.count_tokens(model="demo-small", messages=[])
    assert empty.value.type == "invalid_request_error"


# -- images and sound --


async def test_it_draws_speaks_and_hears(client: openai.AsyncOpenAI) -> None:
    drawn = whole(await client.images.generate(model="demo-image", prompt="a rabbit", n=2))
    png = base64.b64decode(drawn.data[0].b64_json)
    assert (len(drawn.data), png[:4]) == (2, b"\x89PNG")
    edited = await client.images.edit(model="demo-image", prompt="a hat", image=("a.png", png))
    assert edited.data == drawn.data[:1]
    spoken = (await client.audio.speech.create(model="demo-speech", input="x" * 30, voice="alloy")).content
    heard = await client.audio.transcriptions.create(
        model="demo-ears", file=("a.wav", spoken), response_format="verbose_json"
    )
    assert (spoken[:4], heard.duration, heard.usage.seconds) == (b"RIFF", 3.0, 3)  # type: ignore[union-attr]
    words = await client.audio.transcriptions.create(
        model="demo-ears", file=("a.mp3", b"ID3"), response_format="text"
    )
    assert words.startswith("a rabbit counts")
    with pytest.raises(openai.NotFoundError):
        await client.images.generate(model="demo-small", prompt="a rabbit")
    with pytest.raises(openai.BadRequestError):
        await client.audio.speech.create(model="demo-speech", input="", voice="alloy")
