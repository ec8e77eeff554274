from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from rabbitgw.dev.demo_upstream import DemoUpstream, start_demo_upstream

ASK = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def demo() -> AsyncIterator[DemoUpstream]:
    server = await start_demo_upstream()
    yield server
    await server.stop()


@pytest.fixture
async def client(demo: DemoUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="any", max_retries=0) as client:
        yield client


async def test_one_word_is_one_token_and_answers_repeat(client: openai.AsyncOpenAI) -> None:
    one = await client.chat.completions.create(model="demo-small", messages=ASK, max_tokens=7)
    two = await client.chat.completions.create(model="demo-small", messages=ASK, max_tokens=7)
    assert one.choices[0].message.content == two.choices[0].message.content
    assert len((one.choices[0].message.content or "").split()) == 7
    assert one.choices[0].finish_reason == "length"
    assert one.usage is not None
    assert (one.usage.prompt_tokens, one.usage.completion_tokens, one.usage.total_tokens) == (8, 7, 15)


async def test_an_answer_without_a_limit_ends_by_itself(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="demo-large", messages=ASK)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 48


async def test_a_stream_states_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="demo-small",
        messages=ASK,
        max_completion_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert len(text.split()) == 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
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


async def test_plain_completions_stream_too(client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(model="demo-small", prompt="hello", max_tokens=4, stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    whole = await client.completions.create(model="demo-small", prompt="hello", max_tokens=4)
    assert text == whole.choices[0].text
    assert len(text.split()) == 4


async def test_embeddings_repeat_and_count_input(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(
        model="demo-embedding", input=["a text of four words", "b"], encoding_format="float"
    )
    assert len(answer.data) == 2
    assert answer.data[0].embedding != answer.data[1].embedding
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (6, 6)


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [
        "demo-small",
        "demo-large",
        "demo-embedding",
    ]


async def test_an_unknown_model_and_a_wrong_type_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refusal:
        await client.chat.completions.create(model="gpt-9", messages=ASK)
    assert refusal.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="max_tokens must be an integer"):
        await client.chat.completions.create(
            model="demo-small",
            messages=ASK,
            max_tokens="many",  # type: ignore[call-overload]
        )
