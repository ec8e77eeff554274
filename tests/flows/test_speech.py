"""Speech by the official SDK, as bytes and as events: what is held, what is charged, and when the last byte leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Drop, FakeUpstream, Raw, Refuse
from tests.flows.house import House, until
from tests.flows.media import charged, sdk_of, settled

PATH = "/v1/audio/speech"
SOUND = bytes(range(256)) * 1_200  # more than is kept of a body to be read
ASK: dict[str, Any] = {"model": "tts-1", "input": "Guten Tag, schöne Welt.", "voice": "alloy"}
CHARACTERS = 23
NANOS = 345_000  # 23 characters at 15 000


def sound(**options: Any) -> Raw:
    return Raw.split(SOUND, 1, 1_000, 200_000, content_type="audio/mpeg", **options)


def events(*documents: dict[str, Any], delay_s: float = 0.0) -> Raw:
    return Raw([f"data: {json.dumps(document)}\n\n".encode() for document in documents], delay_s=delay_s)


async def test_speech_is_relayed_as_it_is_and_costs_its_characters(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script(PATH, sound())
    async with sdk_of(house) as sdk:
        plain = await sdk.audio.speech.with_raw_response.create(**ASK, response_format="mp3")
        assert plain.content == SOUND
        assert plain.headers["content-type"] == "audio/mpeg"
        async with sdk.audio.speech.with_streaming_response.create(**ASK) as streamed:
            assert b"".join([piece async for piece in streamed.iter_bytes()]) == SOUND
    bill = await house.bill(plain.headers["x-rabbitgw-request-id"])
    assert (bill["dialect"], bill["status"], bill["usage_source"]) == ("openai-speech", "settled", "request")
    assert (bill["characters"], bill["cost_nanos"], "audio_ms" in bill) == (CHARACTERS, NANOS, False)
    sent = upstream.requests[-1]
    assert (sent.json, sent.header("x-litellm-call-id")) == (ASK, streamed.headers["x-rabbitgw-request-id"])
    await charged(house, 2 * NANOS)


async def test_events_state_tokens_which_are_charged_where_the_price_has_them(
    house: House, upstream: FakeUpstream
) -> None:
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    upstream.script(
        PATH,
        events(
            {"type": "speech.audio.delta", "audio": "AAAA"},
            {"type": "speech.audio.delta", "audio": "AAAA" * 2_000},
            {"type": "speech.audio.done", "usage": usage},
        ),
    )
    by_token = await house.post({**ASK, "model": "gpt-4o-mini-tts", "stream_format": "sse"}, path=PATH)
    assert by_token.headers["content-type"].startswith("text/event-stream")
    bill = await house.bill(by_token.request_id)
    # 14 x 600 + 101 x 12 000
    assert (bill["usage_source"], bill["audio_output_tokens"], bill["cost_nanos"]) == (
        "provider",
        101,
        1_220_400,
    )
    by_character = await house.post({**ASK, "stream_format": "sse"}, path=PATH)
    assert by_character.body.endswith(b"}\n\n")
    assert (await house.bill(by_character.request_id))["cost_nanos"] == NANOS
    # bytes state nothing: 24 bytes are 6 tokens of text, and 1.6 s of sound at 20 tokens
    upstream.script(PATH, sound())
    estimated = await house.post({**ASK, "model": "gpt-4o-mini-tts", "speed": 1.0}, path=PATH)
    bill = await house.bill(estimated.request_id)
    assert (bill["usage_source"], bill["input_tokens"], bill["output_tokens"]) == ("estimated", 6, 32)
    assert bill["cost_nanos"] == 387_600
    await charged(house, 1_220_400 + NANOS + 387_600)


REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"model": "whisper-2"}, 404, "does not exist", "model"),
    ({"model": "dall-e-3"}, 403, "characters", "model"),
    ({"input": ""}, 400, "32000", "input"),
    ({"input": "x" * 32_001}, 400, "32000", "input"),
    ({"speed": 5}, 400, "0.25 to 4.0", "speed"),
    ({"speed": True}, 400, "0.25 to 4.0", "speed"),
    ({"stream_format": "wav"}, 400, "sse", "stream_format"),
    ({"voice": {"id": "voice_1"}}, 400, "stored", "voice"),
    ({"stream": True}, 400, "not a field", "stream"),
    ({"instructions": "x" * 530_000}, 413, "524288", None),
]


async def test_what_cannot_be_priced_is_not_forwarded(house: House, upstream: FakeUpstream) -> None:
    for body, status, words, field in REFUSED:
        reply = await house.post({**ASK, **body}, path=PATH)
        error = reply.json()["error"]
        assert (reply.status, error["param"]) == (status, field), error
        assert words in error["message"]
    assert [request for request in upstream.requests if request.method == "POST"] == []


async def test_money_that_is_not_there_and_upstreams_that_fail(
    house_with: Callable[..., AbstractAsyncContextManager[House]], upstream: FakeUpstream
) -> None:
    async with house_with(credit_nanos=1_000_000_000, balance_status=402, client_gone="cancel") as house:
        # its 32 000 bytes are 8 002 s at most, at 32 tokens each: more than three units
        long = {**ASK, "model": "gpt-4o-mini-tts", "input": "x" * 32_000}
        short = await house.post(long, path=PATH)
        assert (short.status, short.json()["error"]["code"]) == (402, "insufficient_quota")
        for script, status in (
            (Refuse(429), 429),
            (Drop(), 502),
            (Raw([b"{}"], content_type="application/json"), 502),
            (sound(cut=True), 0),  # the work was done
        ):
            upstream.script(PATH, script)
            try:
                answered = (await house.post(ASK, path=PATH)).status
            except aiohttp.ClientPayloadError:
                answered = 0
            assert answered == status
        # who leaves pays for all of it, where a text would be cancelled
        done = {"type": "speech.audio.done", "usage": {"input_tokens": 1, "output_tokens": 1}}
        upstream.script(
            PATH, events({"type": "speech.audio.delta", "audio": "AA"}, {"type": "x"}, done, delay_s=0.2)
        )
        asking = asyncio.create_task(house.post({**ASK, "stream_format": "sse"}, path=PATH))
        posts = sum(request.method == "POST" for request in upstream.requests)
        await until(lambda: sum(request.method == "POST" for request in upstream.requests) > posts)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: settled(house, 5))
        lines = (await house.get("/v1/usage")).json()["usage"]
        assert [line["status"] for line in lines] == [
            "settled",
            "partial",
            "released",
            "released",
            "released",
        ]
        await assert_books_balance(house)
        assert (await house.wallet())["balance_nanos"] == 1_000_000_000 - 2 * NANOS
