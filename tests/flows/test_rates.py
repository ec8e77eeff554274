"""Rates as a caller meets them: refused before upstream hears of it, told when to come back, and let in then."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import orjson
import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse, usage
from tests.flows.house import ADMIN_KEY, House, until

MESSAGES: list[Any] = [{"role": "user", "content": "Say hello."}]
BODY = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 100}


class Peak:
    """How many calls upstream answers at a time, at most; told by answers that each lasts a while."""

    def __init__(self, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running = self.most = 0
        play = upstream._play

        async def counted(request: Any, out: Any) -> bool:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                return await play(request, out)
            finally:
                self.running -= 1

        monkeypatch.setattr(upstream, "_play", counted)


def caller(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def limits(headers: dict[str, str]) -> Iterator[str]:
    for kind in ("requests", "tokens"):
        for what in ("limit", "remaining", "reset"):
            yield headers.get(f"x-ratelimit-{what}-{kind}", "")


async def test_the_openai_sdk_comes_back_when_it_is_told_to(
    house: House, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script("words", Answer(hang_after=1))
    secret = await house.new_key(parallel=1)
    slept: list[float] = []
    running = await house.http.post(
        f"{house.base_url}/v1/chat/completions",
        json={**BODY, "model": "words", "stream": True},
        headers=caller(secret),
    )
    await running.content.readany()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        upstream.reset()  # which cuts what runs: the place is free once its hold has ended
        await until(nothing_held)

    async def nothing_held() -> bool:
        return (await house.wallet())["held_nanos"] == 0

    monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
    async with openai.AsyncOpenAI(api_key=secret, base_url=f"{house.base_url}/v1") as gpt:
        with pytest.raises(openai.RateLimitError) as refused:
            await gpt.with_options(max_retries=0).chat.completions.create(messages=MESSAGES, model="gpt-4o")
        made = await gpt.chat.completions.create(messages=MESSAGES, model="gpt-4o")
    running.close()
    assert made.choices[0].message.content == "Hello there!"
    assert slept == [1.0], "retry-after-ms, and not the SDK's own half a second and less"
    error = refused.value
    assert (error.code, error.type, error.param) == ("rate_limit_exceeded", "requests", None)
    assert "allows 1 calls in parallel" in error.message
    assert [error.response.headers[name] for name in ("retry-after", "retry-after-ms")] == ["1", "1000"]
    await assert_books_balance(house)


async def test_never_more_calls_in_parallel_than_allowed(
    house: House, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script("gpt-4o", Answer(delay_s=0.002))
    upstream.script("fake-gpt", Refuse(400))
    peak = Peak(upstream, monkeypatch)
    secret = await house.new_key(parallel=5)
    places = asyncio.Semaphore(0)  # one for each call that has ended

    async def call(number: int) -> int:
        """Until it is let in. Every third is streamed; every seventh is one that upstream refuses."""
        model = "gpt-4o" if number % 7 else "fake-gpt"
        refused = 0
        body = {**BODY, "model": model, "stream": number % 3 == 0}
        while (reply := await house.post(body, **caller(secret))).status == 429:
            refused += 1
            await places.acquire()
        assert reply.status == (200 if number % 7 else 400)
        places.release()
        return refused

    refused = await asyncio.gather(*map(call, range(200)))
    assert (peak.most, peak.running) == (5, 0)
    assert sum(refused) > 0
    assert (await house.post(BODY, **caller(secret))).status == 200
    await assert_books_balance(house)


async def test_tokens_are_estimated_and_then_set_right(house: House, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(1, 1)), Answer(usage=usage(99_000, 1_000)))
    secret = await house.new_key(tpm=600)
    body = orjson.dumps(BODY)
    left = 600 - 100 - -(-len(body) // 4)  # the limit of its output, and a quarter token per byte
    first = await house.post(body, **caller(secret))
    assert list(limits(first.headers)) == ["", "", "", "600", str(left), f"{(600 - left) / 10:g}s"]
    second = await house.post(body, **caller(secret))
    assert int(second.headers["x-ratelimit-remaining-tokens"]) >= left - 2, "2 were used, as upstream said"
    refused = await house.post(body, **caller(secret))
    assert (refused.status, refused.json()["error"]["type"]) == (429, "tokens")
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert 8_000 <= int(refused.headers["retry-after"]) <= 10_000, "100 000 were used, at ten a second"
    assert re.fullmatch(r"2h\d+m[\d.]+s", refused.headers["x-ratelimit-reset-tokens"])
    large = {**BODY, "messages": [{"role": "user", "content": "x" * 4000}]}
    never = await house.post(large, **caller(secret))
    assert (never.status, never.headers["x-should-retry"]) == (429, "false")
    assert "can never pass" in never.json()["error"]["message"]
    assert "retry-after" not in never.headers
    await assert_books_balance(house)


async def test_a_count_of_tokens_is_a_request_and_no_more(house: House, upstream: FakeUpstream) -> None:
    secret = await house.new_key(rpm=2, tpm=1000, parallel=1)
    count = {"model": "gpt-4o", "messages": MESSAGES}
    path = "/v1/messages/count_tokens"
    for left in ("1", "0"):
        counted = await house.post(count, path=path, **caller(secret))
        assert counted.status == 200
        assert list(limits(counted.headers))[:2] == ["2", left]
        assert list(limits(counted.headers))[3:] == ["", "", ""]
    async with anthropic.AsyncAnthropic(api_key=secret, base_url=house.base_url, max_retries=0) as claude:
        with pytest.raises(anthropic.RateLimitError) as refused:
            await claude.messages.count_tokens(model="gpt-4o", messages=MESSAGES)
    body: Any = refused.value.body
    assert body["error"]["type"] == "rate_limit_error"
    assert int(refused.value.response.headers["retry-after"]) in (29, 30)


async def test_a_pattern_binds_its_models_together_and_no_others(house: House) -> None:
    admin, path = {"x-api-key": ADMIN_KEY}, f"{house.base_url}/v1/admin/rates"
    place = {"entity_type": "account", "entity_id": house.account.id}
    ids = []
    for terms in ({"rpm": 2, "model_pattern": "*gpt*"}, {"rpm": 50}):
        async with house.http.post(path, json={**place, **terms}, headers=admin) as made:
            ids.append((await made.json())["id"])

    async def ask(model: str) -> tuple[int, str]:
        reply = await house.post({**BODY, "model": model})
        return reply.status, next(limits(reply.headers))

    asked = ["gpt-4o", "fake-gpt", "gpt-4o", "fake-gpt", "words", "free"]
    assert [await ask(model) for model in asked] == [
        (200, "2"), (200, "2"), (429, "2"), (429, "2"), (200, "50"), (200, "50"),
    ]  # fmt: skip
    for rate_id in ids:
        async with house.http.delete(f"{path}/{rate_id}", headers=admin) as removed:
            assert (await removed.json())["in_effect"]
    assert await ask("gpt-4o") == (200, "")
