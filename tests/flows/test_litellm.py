"""The whole line through a real LiteLLM proxy, by the official SDK: what the wallet falls by is a literal each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from pydantic import SecretStr

from tests.books import assert_books_balance
from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse, usage
from tests.flows.house import House

pytestmark = pytest.mark.timeout(400)  # the first test waits for LiteLLM to start
ASK = [{"role": "user", "content": "Say hello."}]
CREDIT_NANOS = 10_000_000_000


@dataclass
class Customer:
    """A house behind LiteLLM, and the SDK as its customer uses it."""

    house: House
    sdk: openai.AsyncOpenAI

    async def assert_charged(self, cost_nanos: int) -> None:
        """The wallet fell by exactly this much, nothing is held, and the books agree."""
        report = await assert_books_balance(self.house)
        wallet = await self.house.wallet()
        assert (wallet["balance_nanos"], wallet["held_nanos"]) == (CREDIT_NANOS - cost_nanos, 0)
        assert report.worst_overspend_nanos == 0


@pytest.fixture
async def customer(
    house_with: Callable[..., AbstractAsyncContextManager[House]],
    litellm_proxy: LiteLLMProxy,
    upstream: FakeUpstream,
) -> AsyncIterator[Customer]:
    async with (
        house_with(
            upstream_url=litellm_proxy.base_url,
            credit_nanos=CREDIT_NANOS,
            litellm_master_key=SecretStr(litellm_proxy.master_key),
        ) as house,
        openai.AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=house.secret, max_retries=0) as sdk,
    ):
        yield Customer(house, sdk)


async def test_a_plain_call_costs_what_upstream_stated(customer: Customer, upstream: FakeUpstream) -> None:
    stated = usage(1500, 300, prompt_tokens_details={"cached_tokens": 1024})
    upstream.script("fake-gpt", Answer(chunks=("Hel", "lo"), usage=stated))
    raw = await customer.sdk.chat.completions.with_raw_response.create(
        model="fake-gpt", messages=ASK, max_tokens=500
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1500, 300)
    bill = await customer.house.bill(raw.headers["x-rabbitgw-request-id"])
    assert (bill["status"], bill["usage_source"], bill["cached_input_tokens"]) == (
        "settled",
        "provider",
        1024,
    )
    # 476 x 2 500 + 1 024 x 1 250 + 300 x 10 000
    assert bill["cost_nanos"] == 5_470_000
    await customer.assert_charged(5_470_000)


async def test_a_stream_costs_what_upstream_stated_and_hides_the_usage_nobody_asked_for(
    customer: Customer, upstream: FakeUpstream
) -> None:
    upstream.script("fake-gpt", Answer(chunks=("one", " two", " three"), usage=usage(19, 10)))
    raw = await customer.sdk.chat.completions.with_raw_response.create(
        model="fake-gpt", messages=ASK, stream=True
    )
    chunks = [chunk async for chunk in raw.parse()]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    bill = await customer.house.bill(raw.headers["x-rabbitgw-request-id"])
    assert (bill["status"], bill["usage_source"]) == ("settled", "provider")
    assert bill["cost_nanos"] == 147_500  # 19 x 2 500 + 10 x 10 000
    await customer.assert_charged(147_500)


async def test_a_stream_with_include_usage_shows_what_it_is_charged_by(
    customer: Customer, upstream: FakeUpstream
) -> None:
    upstream.script("fake-gpt", Answer(chunks=("one", " two"), usage=usage(11, 7)))
    stream = await customer.sdk.chat.completions.create(
        model="fake-gpt", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 7)
    await customer.assert_charged(97_500)  # 11 x 2 500 + 7 x 10 000


async def test_a_stream_of_many_slices_is_served_whole(customer: Customer, upstream: FakeUpstream) -> None:
    words = [f"word{number} " for number in range(700)]  # LiteLLM ends a stream that repeats itself
    upstream.script("fake-gpt", Answer(chunks=words, usage=usage(10, 700)))
    stream = await customer.sdk.chat.completions.create(model="fake-gpt", messages=ASK, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "".join(words)
    await customer.assert_charged(7_025_000)  # 10 x 2 500 + 700 x 10 000


async def test_a_refusal_of_upstream_costs_nothing_and_raises_what_the_sdk_retries_on(
    customer: Customer, upstream: FakeUpstream
) -> None:
    upstream.script("fake-gpt", Refuse(429))
    with pytest.raises(openai.RateLimitError) as refused:
        await customer.sdk.chat.completions.create(model="fake-gpt", messages=ASK)
    assert refused.value.response.headers["x-rabbitgw-request-id"]
    upstream.script("fake-gpt", Refuse(400, {"error": {"message": "bad temperature", "type": "x"}}))
    with pytest.raises(openai.BadRequestError):
        await customer.sdk.chat.completions.create(model="fake-gpt", messages=ASK, stream=True)
    upstream.script("fake-gpt", Refuse(401))
    with pytest.raises(openai.InternalServerError):  # it is our key that upstream refused, not the caller's
        await customer.sdk.chat.completions.create(model="fake-gpt", messages=ASK)
    assert len(upstream.of("fake-gpt")) == 3
    await customer.assert_charged(0)


async def test_an_error_in_midstream_is_an_error_and_what_was_delivered_is_charged(
    customer: Customer, upstream: FakeUpstream
) -> None:
    upstream.script("fake-gpt", Answer(chunks=("a" * 40, "b" * 40, "c" * 40), fail_after=2))
    raw = await customer.sdk.chat.completions.with_raw_response.create(
        model="fake-gpt", messages=ASK, stream=True, extra_headers={"x-request-id": "midstream"}
    )
    text, error = await read_to_the_error(raw.parse())
    assert isinstance(error, openai.APIError)
    assert text == "a" * 40 + "b" * 40
    bill = await customer.house.bill("midstream")
    assert (bill["status"], bill["usage_source"], bill["output_tokens"]) == (
        "partial",
        "partial",
        20,
    )  # 80 bytes
    assert bill["cost_nanos"] == bill["input_tokens"] * 2_500 + 200_000
    assert 1 <= bill["input_tokens"] <= 20  # three words and their framing
    await customer.assert_charged(bill["cost_nanos"])


async def test_a_connection_cut_in_midstream_is_an_error_and_is_charged_as_far_as_it_came(
    customer: Customer, upstream: FakeUpstream
) -> None:
    upstream.script("fake-gpt", Answer(chunks=("a" * 40, "b" * 40, "c" * 40), cut_after=2, delay_s=0.2))
    raw = await customer.sdk.chat.completions.with_raw_response.create(
        model="fake-gpt", messages=ASK, stream=True, extra_headers={"x-request-id": "cut"}
    )
    _, error = await read_to_the_error(raw.parse())
    assert isinstance(error, openai.APIError)
    bill = await customer.house.bill("cut")
    assert (bill["status"], bill["output_tokens"]) == ("partial", 20)  # 80 bytes
    await customer.assert_charged(bill["cost_nanos"])


async def read_to_the_error(stream: AsyncIterator[Any]) -> tuple[str, openai.OpenAIError | None]:
    """The text of a stream, and what it raised."""
    text = ""
    try:
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    except openai.OpenAIError as error:
        return text, error
    return text, None


async def test_models_are_those_that_upstream_serves_and_we_price(customer: Customer) -> None:
    names = [model.id async for model in customer.sdk.models.list()]
    assert names == ["fake-gpt"]  # LiteLLM serves fake-* too, which has no price
    with pytest.raises(openai.NotFoundError):
        await customer.sdk.chat.completions.create(model="nobody-knows-me", messages=ASK)
    await customer.assert_charged(0)
