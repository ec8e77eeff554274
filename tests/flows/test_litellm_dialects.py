"""Every dialect through a real LiteLLM, by the official SDKs: what is said, what is shown, and what it costs.

LiteLLM translates where the model's provider speaks another dialect than the caller, so each dialect is asked of an
OpenAI model and of an Anthropic one.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.books import assert_books_balance
from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse, ToolCall, usage
from tests.flows.customer import MESSAGES, Customer, HouseWith, Said, open_customer

pytestmark = pytest.mark.timeout(400)  # the first test waits for LiteLLM to start
OPENAI = ("openai-chat", "openai-completions", "openai-responses")
DIALECTS = (*OPENAI, "anthropic-messages")
MODELS = ("fake-gpt", "claude-fake")
ENDS = {
    "openai-chat": "stop",
    "openai-completions": "stop",
    "openai-responses": "completed",
    "anthropic-messages": "end_turn",
}
STATED = usage(1500, 300, prompt_tokens_details={"cached_tokens": 1024, "cache_write_tokens": 100})
COST_NANOS = {
    "fake-gpt": 5_470_000,  # 376 x 2 500 + 100 written x 2 500 + 1 024 cached x 1 250 + 300 x 10 000
    "claude-fake": 6_310_200,  # 376 x 3 000 + 100 written x 3 750 + 1 024 cached x 300 + 300 x 15 000
}


@pytest.fixture
async def customer(
    house_with: HouseWith, litellm_proxy: LiteLLMProxy, upstream: FakeUpstream
) -> AsyncIterator[Customer]:
    async with open_customer(house_with, litellm_proxy) as opened:
        yield opened


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_costs_what_upstream_stated(
    customer: Customer, upstream: FakeUpstream, dialect: str
) -> None:
    for model, stream in itertools.product(MODELS, (False, True)):
        upstream.script(model, Answer(("one", " two", " three"), STATED))
        said = await customer.say(dialect, model, stream=stream)
        assert (said.text, said.ended, said.error) == ("one two three", ENDS[dialect], None)
        bill = await customer.house.bill(said.request_id)
        assert (bill["dialect"], bill["status"], bill["usage_source"]) == (dialect, "settled", "provider")
        assert (bill["input_tokens"], bill["output_tokens"]) == (1500, 300)
        assert (bill["cached_input_tokens"], bill["cache_write_tokens"]) == (1024, 100)
        assert bill["cost_nanos"] == COST_NANOS[model]
    await customer.assert_charged(23_560_400)  # each model twice


@pytest.mark.parametrize("dialect", OPENAI[:2])
async def test_the_usage_chunk_is_shown_to_who_asked_for_it_only(
    customer: Customer, upstream: FakeUpstream, dialect: str
) -> None:
    for model in MODELS:
        upstream.script(model, Answer(usage=usage(11, 7)))
        silent = await customer.say(dialect, model, stream=True)
        asked = await customer.say(dialect, model, stream=True, stream_options={"include_usage": True})
        assert (silent.shown, asked.shown) == (None, (11, 7))
        assert silent.text == asked.text == "Hello there!"
    await customer.assert_charged(471_000)  # 2 x (11 x 2 500 + 7 x 10 000) and 2 x (11 x 3 000 + 7 x 15 000)


@pytest.mark.parametrize("dialect", ["openai-responses", "anthropic-messages"])
async def test_responses_and_messages_show_their_usage_unasked(
    customer: Customer, upstream: FakeUpstream, dialect: str
) -> None:
    for model, stream in itertools.product(MODELS, (False, True)):
        upstream.script(model, Answer(usage=usage(11, 7)))
        said = await customer.say(dialect, model, stream=stream)
        assert said.shown is not None
        assert said.shown[1] == 7
        bill = await customer.house.bill(said.request_id)
        assert (bill["input_tokens"], bill["output_tokens"]) == (11, 7)
    await customer.assert_charged(471_000)


async def test_counting_tokens_is_free(customer: Customer, upstream: FakeUpstream) -> None:
    for model, counted_by in (
        ("fake-gpt", "/v1/responses/input_tokens"),
        ("claude-fake", "/v1/messages/count_tokens"),
    ):
        upstream.script(model, Answer(usage=usage(17, 0)))
        raw = await customer.claude.messages.with_raw_response.count_tokens(model=model, messages=MESSAGES)
        assert (await raw.parse()).input_tokens == 17
        assert upstream.requests[-1].route == counted_by
        line = await customer.house.bill(raw.headers["x-rabbitgw-request-id"])
        assert (line["dialect"], line["status"], line["cost_nanos"]) == (
            "anthropic-count-tokens",
            "released",
            0,
        )
    await customer.assert_charged(0)


async def test_counting_tokens_needs_no_money(
    house_with: HouseWith, litellm_proxy: LiteLLMProxy, upstream: FakeUpstream
) -> None:
    upstream.script("claude-fake", Answer(usage=usage(17, 0)))
    async with open_customer(house_with, litellm_proxy, credit_nanos=0) as customer:
        count = await customer.claude.messages.count_tokens(model="claude-fake", messages=MESSAGES)
        assert count.input_tokens == 17
        with pytest.raises(anthropic.APIStatusError) as refused:
            await customer.claude.messages.create(model="claude-fake", messages=MESSAGES, max_tokens=9)
        assert refused.value.status_code == 402
        await assert_books_balance(customer.house)


async def test_embeddings_cost_their_input(customer: Customer, upstream: FakeUpstream) -> None:
    upstream.script("fake-embed", Answer(usage=usage(1200, 0)))
    raw = await customer.gpt.embeddings.with_raw_response.create(
        model="fake-embed", input=["one", "two"], encoding_format="float"
    )
    answer = raw.parse()
    assert [len(one.embedding) for one in answer.data] == [3, 3]
    bill = await customer.house.bill(raw.headers["x-rabbitgw-request-id"])
    assert (bill["dialect"], bill["input_tokens"], bill["output_tokens"]) == ("openai-embeddings", 1200, 0)
    await customer.assert_charged(24_000)  # 1 200 x 20


async def test_tool_calls_arrive_through_every_translation(
    customer: Customer, upstream: FakeUpstream
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    for model in MODELS:
        upstream.script(model, Answer((), usage(30, 12), tool_calls=[ToolCall("weather", {"city": "Bonn"})]))
        async with customer.gpt.chat.completions.stream(
            model=model,
            messages=MESSAGES,
            tools=[{"type": "function", "function": {"name": "weather", "parameters": schema}}],
        ) as chat:
            choice = (await chat.get_final_completion()).choices[0]
        tools: Any = choice.message.tool_calls
        assert (choice.finish_reason, tools[0].function.arguments) == ("tool_calls", '{"city": "Bonn"}')
        async with customer.claude.messages.stream(
            model=model,
            messages=MESSAGES,
            max_tokens=500,
            tools=[{"name": "weather", "input_schema": schema}],
        ) as stream:
            message = await stream.get_final_message()
        block: Any = message.content[0]
        assert (message.stop_reason, block.name, block.input) == ("tool_use", "weather", {"city": "Bonn"})
    await customer.assert_charged(
        930_000
    )  # 2 x (30 x 2 500 + 12 x 10 000) and 2 x (30 x 3 000 + 12 x 15 000)


# -- what upstream is told, and what the caller is not


async def test_upstream_hears_the_account_and_the_callers_api_version(
    customer: Customer, upstream: FakeUpstream
) -> None:
    account = str(customer.house.account.id)
    versions = {"anthropic-version": "2026-10-21", "anthropic-beta": "context-1m-2025-08-07"}
    for stream in (False, True):
        said = await customer.say("anthropic-messages", "claude-fake", stream=stream, extra_headers=versions)
        (request,) = upstream.requests
        assert request.json["metadata"] == {"user_id": account}
        assert {name: request.header(name) for name in versions} == versions
        assert customer.house.secret not in str(request.headers)
        assert said.text == "Hello there!"
        upstream.reset()
    for dialect in OPENAI[1:]:
        await customer.say(dialect, "fake-gpt", stream=False)
        assert upstream.requests[-1].json["user"] == account
    await assert_books_balance(customer.house)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"])
async def test_no_header_of_litellm_or_the_provider_reaches_the_caller(
    customer: Customer, upstream: FakeUpstream, path: str
) -> None:
    upstream.script("fake-gpt", Answer(headers={"openai-organization": "the-operators", "x-secret": "1"}))
    asks = {"messages": MESSAGES, "input": "hi", "max_tokens": 20}
    wanted = {
        "/v1/responses": ("input",),
        "/v1/embeddings": ("input",),
        "/v1/messages": ("messages", "max_tokens"),
    }
    body = {"model": "fake-gpt", **{name: asks[name] for name in wanted.get(path, ("messages",))}}
    reply = await customer.house.post(body, path=path)
    assert reply.status == 200
    ours = ("x-rabbitgw-", "x-request-id", "request-id", "content-", "date", "server", "connection")
    assert not [name for name in reply.headers if not name.startswith(ours)]
    await assert_books_balance(customer.house)


# -- errors


@pytest.mark.parametrize("dialect", OPENAI)
async def test_a_refusal_of_upstream_is_openais_error_and_costs_nothing(
    customer: Customer, upstream: FakeUpstream, dialect: str
) -> None:
    for model, stream in itertools.product(MODELS, (False, True)):
        upstream.reset()
        upstream.script(model, Refuse(429), Refuse(400), Refuse(401), Refuse(500))
        with pytest.raises(openai.RateLimitError) as limited:
            await customer.say(dialect, model, stream=stream)
        assert (limited.value.code, limited.value.type) == ("rate_limit_exceeded", "requests")
        assert limited.value.request_id == limited.value.response.headers["x-rabbitgw-request-id"]
        with pytest.raises(openai.BadRequestError) as bad:
            await customer.say(dialect, model, stream=stream)
        assert (bad.value.type, "upstream says no" in bad.value.message) == ("invalid_request_error", True)
        with pytest.raises(openai.InternalServerError) as ours:
            await customer.say(dialect, model, stream=stream)
        assert (ours.value.status_code, ours.value.code) == (502, "upstream_error")
        assert ours.value.response.headers["x-should-retry"] == "false"
        with pytest.raises(openai.InternalServerError) as broken:
            await customer.say(dialect, model, stream=stream)
        assert (broken.value.status_code, broken.value.code) == (502, "upstream_error")
        assert len(upstream.of(model)) == 4
    await customer.assert_charged(0)


async def test_a_refusal_of_upstream_is_anthropics_error_and_costs_nothing(
    customer: Customer, upstream: FakeUpstream
) -> None:
    wanted = [
        (anthropic.RateLimitError, 429, "rate_limit_error"),
        (anthropic.BadRequestError, 400, "invalid_request_error"),
        (anthropic.InternalServerError, 502, "api_error"),
        (anthropic.InternalServerError, 502, "api_error"),
    ]
    for model, stream in itertools.product(MODELS, (False, True)):
        upstream.script(model, Refuse(429), Refuse(400), Refuse(401), Refuse(500))
        for kind, status, name in wanted:
            with pytest.raises(kind) as refused:
                await customer.say("anthropic-messages", model, stream=stream)
            body: Any = refused.value.body
            assert (refused.value.status_code, body["type"]) == (status, "error")
            assert body["error"]["type"] == name
            assert refused.value.request_id == body["request_id"]
    await customer.assert_charged(0)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_breaks_is_an_error_and_is_charged_as_far_as_it_came(
    customer: Customer, upstream: FakeUpstream, dialect: str
) -> None:
    chunks = ("a" * 40, "b" * 40, "c" * 40)
    broken = (Answer(chunks, fail_after=2), Answer(chunks, cut_after=2, delay_s=0.1))
    charged = 0
    for model, script in itertools.product(MODELS, broken):
        upstream.script(model, script)
        said = await customer.say(dialect, model, stream=True)
        assert said.text == "a" * 40 + "b" * 40
        assert_broken(dialect, said)
        bill = await customer.house.bill(said.request_id)
        assert (bill["status"], bill["usage_source"]) == ("partial", "partial")
        assert bill["output_tokens"] == 20  # 80 bytes
        if (dialect, model) == ("anthropic-messages", "claude-fake"):
            assert bill["input_tokens"] == 19  # message_start stated it
        assert 1 <= bill["input_tokens"] <= 20  # three words and their framing
        input_nanos, output_nanos = {"fake-gpt": (2_500, 10_000), "claude-fake": (3_000, 15_000)}[model]
        assert bill["cost_nanos"] == bill["input_tokens"] * input_nanos + 20 * output_nanos
        charged += bill["cost_nanos"]
    await customer.assert_charged(charged)


def assert_broken(dialect: str, said: Said) -> None:
    """It ended as its dialect says that something broke."""
    if dialect == "openai-responses":  # the SDK hands this event on like any other
        assert (said.ended, said.error) == ("failed", None)
    elif dialect == "anthropic-messages":
        assert isinstance(said.error, anthropic.APIStatusError)
    else:
        assert isinstance(said.error, openai.APIError)
        assert said.ended is None


@pytest.mark.parametrize(
    ("dialect", "model"),
    [*((one, "fake-dear") for one in DIALECTS), ("anthropic-messages", "claude-dear")],
)
async def test_a_stream_ends_where_the_wallet_does_with_an_error_of_its_dialect(
    house_with: HouseWith, litellm_proxy: LiteLLMProxy, upstream: FakeUpstream, dialect: str, model: str
) -> None:
    words = [f"w{number} " for number in range(3000)]  # LiteLLM ends a stream that repeats itself
    upstream.script(model, Answer(words, usage(5, 3000), delay_s=0.001))
    async with open_customer(house_with, litellm_proxy, credit_nanos=1_000_000_000) as customer:
        more = {"max_tokens": 4000} if dialect == "anthropic-messages" else {}
        said = await customer.say(dialect, model, stream=True, **more)
        error: Any = said.error
        assert 300 < len(said.text.split()) < 1_500  # about 1000 tokens are paid for
        if dialect == "anthropic-messages":
            assert isinstance(error, anthropic.APIStatusError)
            assert error.body["error"]["type"] == "billing_error"
        else:
            assert isinstance(error, openai.APIError)
            assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
        bill = await customer.house.bill(said.request_id)
        assert bill["status"] == "partial"
        await assert_books_balance(customer.house)
