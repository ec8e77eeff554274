"""A customer with both official SDKs, at a house that sells what a real LiteLLM serves.

What each call says is read by the SDK of its dialect; what it cost is compared as a literal, with the books.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
from pydantic import SecretStr

from tests.books import assert_books_balance
from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.flows.house import House
from tests.flows.priced import sell

CREDIT_NANOS = 10_000_000_000
HouseWith = Callable[..., AbstractAsyncContextManager[House]]
MESSAGES: list[Any] = [{"role": "user", "content": "Say hello."}]
# beside fake-gpt of house.py: 2 500 nanos per input token, 1 250 per cached one, 10 000 per output token
CLAUDE = {"input": "3", "output": "15", "cached_input": "0.30", "cache_write": "3.75"}
DEAR = {"input": "1", "output": "1000"}
PRICES = {
    "claude-fake": CLAUDE,
    "claude-dear": DEAR,
    "fake-dear": DEAR,
    "fake-embed": {"input": "0.02", "output": "0"},
}


@dataclass
class Said:
    """What an SDK made of an answer: its text, what it showed of the usage, what it raised in the middle."""

    request_id: str
    text: str = ""
    shown: tuple[int, int] | None = None  # (input, output) tokens
    ended: str | None = None  # why, in the dialect's own words
    error: Exception | None = None


@dataclass
class Customer:
    house: House
    gpt: openai.AsyncOpenAI
    claude: anthropic.AsyncAnthropic

    async def assert_charged(self, cost_nanos: int, *, credit_nanos: int = CREDIT_NANOS) -> None:
        """The wallet fell by exactly this much, nothing is held, and the books agree."""
        report = await assert_books_balance(self.house)
        wallet = await self.house.wallet()
        assert (wallet["balance_nanos"], wallet["held_nanos"]) == (credit_nanos - cost_nanos, 0)
        assert report.worst_overspend_nanos == max(cost_nanos - credit_nanos, 0)

    async def say(self, dialect: str, model: str, *, stream: bool, **more: Any) -> Said:
        """One call; an error before the answer is raised, one in its middle is in `Said`."""
        return await SAY[dialect](self, {"model": model, "stream": stream, **more})

    async def chat(self, asks: dict[str, Any]) -> Said:
        raw = await self.gpt.chat.completions.with_raw_response.create(messages=MESSAGES, **asks)
        said, answer = Said(request_id(raw)), raw.parse()
        async for chunk in in_pieces(said, answer):
            for choice in chunk.choices:
                part = choice.delta if asks["stream"] else choice.message
                said.text += part.content or ""
                said.ended = choice.finish_reason or said.ended
            if chunk.usage is not None:
                said.shown = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        return said

    async def complete(self, asks: dict[str, Any]) -> Said:
        raw = await self.gpt.completions.with_raw_response.create(prompt="Say hello.", **asks)
        said, answer = Said(request_id(raw)), raw.parse()
        async for chunk in in_pieces(said, answer):
            for choice in chunk.choices:
                said.text += getattr(choice, "text", None) or ""  # LiteLLM leaves it out of the finish chunk
                said.ended = choice.finish_reason or said.ended
            if chunk.usage is not None:
                said.shown = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        return said

    async def respond(self, asks: dict[str, Any]) -> Said:
        raw = await self.gpt.responses.with_raw_response.create(input="Say hello.", **asks)
        said, answer = Said(request_id(raw)), raw.parse()
        async for event in in_pieces(said, answer):
            if asks["stream"] and event.type == "response.output_text.delta":
                said.text += event.delta
            response = getattr(event, "response", None) if asks["stream"] else event
            if response is not None:
                said.ended = response.status
                if response.usage is not None:
                    said.shown = (response.usage.input_tokens, response.usage.output_tokens)
                    said.text = response.output_text or said.text
        return said

    async def message(self, asks: dict[str, Any]) -> Said:
        more = {"max_tokens": 500, **asks}
        raw = await self.claude.messages.with_raw_response.create(messages=MESSAGES, **more)
        said, answer = Said(request_id(raw)), await raw.parse()
        if not asks["stream"]:
            said.text = "".join(block.text for block in answer.content)
            said.ended = answer.stop_reason
            said.shown = (answer.usage.input_tokens, answer.usage.output_tokens)
            return said
        async for event in in_pieces(said, answer):
            if event.type == "content_block_delta":
                said.text += event.delta.text
            elif event.type == "message_delta":
                said.ended = event.delta.stop_reason
                said.shown = (event.usage.input_tokens or 0, event.usage.output_tokens)
        return said


SAY = {
    "openai-chat": Customer.chat,
    "openai-completions": Customer.complete,
    "openai-responses": Customer.respond,
    "anthropic-messages": Customer.message,
}


def request_id(raw: Any) -> str:
    return str(raw.headers["x-rabbitgw-request-id"])


async def in_pieces(said: Said, answer: Any) -> AsyncIterator[Any]:
    """A stream's events up to the error that it ends with; a plain answer is one piece."""
    if not hasattr(answer, "__aiter__"):
        yield answer
        return
    try:
        async for piece in answer:
            yield piece
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        said.error = error


@contextlib.asynccontextmanager
async def open_customer(
    house_with: HouseWith, proxy: LiteLLMProxy, *, credit_nanos: int = CREDIT_NANOS
) -> AsyncIterator[Customer]:
    async with (
        house_with(
            upstream_url=proxy.base_url,
            credit_nanos=credit_nanos,
            litellm_master_key=SecretStr(proxy.master_key),
        ) as house,
        openai.AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=house.secret, max_retries=0) as gpt,
        anthropic.AsyncAnthropic(base_url=house.base_url, api_key=house.secret, max_retries=0) as claude,
    ):
        await sell(house, PRICES, listed="claude-fake")
        yield Customer(house, gpt, claude)
