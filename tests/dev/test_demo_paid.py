"""`rabbitgw dev` as a process: by what its dev.env says, both SDKs are answered in every dialect, and pay for it."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import anthropic
import openai
import pytest

from rabbitgw.app import open_stores
from rabbitgw.dev import child
from rabbitgw.dev.files import read_dev_env
from tests.books import assert_books_balance
from tests.flows.house import house_settings, until

STARTS_WITHIN_S = 90.0  # generous: many tests may share the machine
ASK: Any = [{"role": "user", "content": "hello"}]
SEVEN_WORDS = "after it lands so that the burrow"


@pytest.fixture
async def env(dsn: str, redis_url: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """dev.env of a `rabbitgw dev` that runs until the test ends, and is then asked to end."""
    told = {"DATABASE_URL": dsn, "REDIS_URL": redis_url, "RABBITGW_DATA_DIR": str(tmp_path)}
    dev = child.start(
        "dev",
        [sys.executable, "-m", "rabbitgw", "dev"],
        log=tmp_path / "dev.log",
        death_signal=signal.SIGKILL,
        env={**told, "RABBITGW_PORT": "0"},
    )
    try:

        def ready() -> bool:
            assert dev.running, f"`rabbitgw dev` ended with {dev.process.returncode}:{dev.tail()}"
            return b"keys and addresses: " in dev.log.read_bytes()

        await until(ready, timeout_s=STARTS_WITHIN_S)
        yield read_dev_env(tmp_path)
    finally:
        await dev.stop(signal.SIGTERM)
    assert dev.process.returncode == 0, dev.tail()


async def test_every_dialect_is_answered_and_paid(
    env: dict[str, str], dsn: str, redis_url: str, tmp_path: Path
) -> None:
    secret, address = env["OPENAI_API_KEY"], env["OPENAI_BASE_URL"]
    async with openai.AsyncOpenAI(base_url=address, api_key=secret, max_retries=0) as client:
        assert await told_by_openai(client) == [SEVEN_WORDS] * 4
        completion = await client.completions.create(model="demo-small", prompt="hello", max_tokens=7)
        stream = await client.completions.create(
            model="demo-small", prompt="hello", max_tokens=7, stream=True
        )
        assert "".join([chunk.choices[0].text async for chunk in stream]) == completion.choices[0].text
        vectors = await client.embeddings.create(model="demo-embed", input=["a text of four words", "b"])
        assert [len(one.embedding) for one in vectors.data] == [8, 8]
    async with anthropic.AsyncAnthropic(
        base_url=env["ANTHROPIC_BASE_URL"], api_key=env["ANTHROPIC_API_KEY"], max_retries=0
    ) as claude:
        assert await told_by_anthropic(claude) == [SEVEN_WORDS] * 2
        count = await claude.messages.count_tokens(model="demo-small", messages=ASK)
        assert count.input_tokens == 8
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {secret}"}) as http:
        bills = await booked(http, address, calls=9)
        (wallet,) = (await got(http, f"{address}/wallets"))["wallets"]
    assert {bill["usage_source"] for bill in bills} == {"provider"}
    assert {(bill["account_id"], bill["key_id"], bill["user_id"]) for bill in bills} == {(1, 1, 1)}
    assert sorted((bill["dialect"], bill["cost_nanos"]) for bill in bills) == [
        ("anthropic-messages", 5_400),  # 8 x 150 + 7 x 600; to count tokens is free
        ("anthropic-messages", 5_400),
        ("openai-chat", 5_400),
        ("openai-chat", 5_400),
        ("openai-completions", 4_350),  # 1 x 150 + 7 x 600
        ("openai-completions", 4_350),
        ("openai-embeddings", 120),  # 6 x 20
        ("openai-responses", 5_400),
        ("openai-responses", 5_400),
    ]
    assert (wallet["balance_nanos"], wallet["available_nanos"]) == (99_999_958_780, 99_999_958_780)
    settings = house_settings(dsn, redis_url, "http://127.0.0.1:1", tmp_path)
    async with open_stores(settings) as stores:
        await assert_books_balance(cast(Any, SimpleNamespace(stores=stores)))


async def told_by_openai(client: openai.AsyncOpenAI) -> list[str | None]:
    """What chat completions and responses said, plain and streamed."""
    asked: Any = {"model": "demo-small", "messages": ASK, "max_tokens": 7}
    chat = await client.chat.completions.create(**asked)
    chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
    asked = {"model": "demo-small", "input": ASK, "max_output_tokens": 7}
    response = await client.responses.create(**asked)
    events = [event async for event in await client.responses.create(**asked, stream=True)]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return [chat.choices[0].message.content, streamed, response.output_text, events[-1].response.output_text]


async def told_by_anthropic(client: anthropic.AsyncAnthropic) -> list[str]:
    asked: Any = {"model": "demo-small", "messages": ASK, "max_tokens": 7}
    plain: Any = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        return [plain.content[0].text, await stream.get_final_text()]


async def booked(http: aiohttp.ClientSession, address: str, *, calls: int) -> list[dict[str, Any]]:
    """The bill lines, once there are so many."""
    found: list[dict[str, Any]] = []

    async def all_there() -> bool:
        found[:] = (await got(http, f"{address}/usage?status=settled"))["usage"]
        return len(found) >= calls

    await until(all_there)
    return found


async def got(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with http.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())
