"""Transcriptions and translations by the official SDK: forms that go upstream as they were priced, and their cost."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Drop, FakeUpstream, Raw, Refuse
from tests.flows.house import House, Reply, until
from tests.flows.media import charged, received, sdk_of, settled

PATH = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
MP3 = b"\xff\xfb\x90\x00" + bytes(range(256)) * 6  # 1 540 bytes: at most 2 054 ms
LIKE_A_FORM = MP3 + b"\r\n--b\r\n"
TOKENS = {
    "type": "tokens",
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
    "output_tokens": 45,
    "total_tokens": 59,
}


def said(**members: Any) -> Raw:
    return Raw(
        [json.dumps({"text": "Hello", **members}).encode()], content_type="application/json", framing="length"
    )


async def post(
    house: House, parts: list[bytes], *, path: str = PATH, boundary: str = "b", **headers: str
) -> Reply:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    kind = f"multipart/form-data; boundary={boundary}"
    return await house.post(body, path=path, **{"content-type": kind, **headers})


def text(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def sound(data: bytes = b"ID3", name: str = "file", filename: str = "a.mp3") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: audio/mpeg\r\n\r\n'
    return head.encode() + data


def pcm(seconds: int) -> bytes:
    """8 kHz, 16 bit, one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8_000)
        out.writeframes(bytes(16_000 * seconds))
    return file.getvalue()


async def test_what_is_stated_is_charged_and_what_was_read_goes_upstream(
    house: House, upstream: FakeUpstream
) -> None:
    costs = []
    async with sdk_of(house) as sdk:
        for model, answer, bill_says in (
            # 9 s at 7 000 000 nanos a minute
            (
                "whisper-1",
                said(usage={"type": "duration", "seconds": 9}),
                {"audio_ms": 9_000, "cost_nanos": 1_050_000},
            ),
            ("whisper-1", said(duration=8.47, segments=[]), {"audio_ms": 8_470, "cost_nanos": 988_167}),
            ("whisper-1", said(duration="8.47"), {"audio_ms": 8_470, "cost_nanos": 988_167}),
            # 4 x 2 500 + 10 x 6 000 + 45 x 10 000
            ("gpt-4o-transcribe", said(usage=TOKENS), {"audio_input_tokens": 10, "cost_nanos": 520_000}),
        ):
            upstream.script(PATH, answer)
            raw = await sdk.audio.transcriptions.with_raw_response.create(
                model=model, file=("ä\"b.mp3", LIKE_A_FORM, "audio/mpeg"), timestamp_granularities=["word", "segment"],
                response_format="verbose_json", prompt="Grüße",
            )  # fmt: skip
            assert raw.parse().text == "Hello"
            bill = await house.bill(raw.headers["x-rabbitgw-request-id"])
            assert bill_says.items() <= bill.items()
            assert (bill["status"], bill["usage_source"]) == ("settled", "provider")
            costs.append(bill["cost_nanos"])
        fields, (file,) = received(upstream.requests[-1])
        assert fields == {
            "model": "gpt-4o-transcribe",
            "prompt": "Grüße",
            "response_format": "verbose_json",
            "timestamp_granularities[]": ["word", "segment"],
        }
        assert (file.name, file.filename, file.content_type) == ("file", "ä%22b.mp3", b"audio/mpeg")
        assert file.data == LIKE_A_FORM
        assert upstream.requests[-1].header("x-litellm-call-id") == bill["id"]
        upstream.script(TRANSLATIONS, said(duration=6))
        translated = await post(house, [text("model", "whisper-1"), sound()], path=TRANSLATIONS)
        bill = await house.bill(translated.request_id)
        assert (bill["dialect"], bill["cost_nanos"]) == ("openai-translations", 700_000)
    await charged(house, sum(costs) + 700_000)


async def test_what_is_not_stated_is_charged_by_what_the_file_bounds(
    house: House, upstream: FakeUpstream
) -> None:
    costs = 0
    for answer, form, milli, nanos, source in (
        # 1 540 bytes at 750 a second
        (Raw([b"Hello there"], content_type="text/plain"), MP3, 2_054, 239_634, "estimated"),
        # words that look like a statement are words
        (Raw([b'{"usage":{"type":"duration","seconds":1}}'], content_type="text/plain"), MP3, 2_054, 239_634,
         "estimated"),
        # 3 s of PCM at 16 000 bytes a second, and its head
        (said(), pcm(3), 3_003, 350_350, "estimated"),
        (said(usage=TOKENS), pcm(3), 3_003, 350_350, "estimated"),  # by tokens, and the price is by the minute
    ):  # fmt: skip
        upstream.script(PATH, answer)
        reply = await post(house, [text("model", "whisper-1"), sound(form)])
        bill = await house.bill(reply.request_id)
        assert (bill["audio_ms"], bill["cost_nanos"], bill["usage_source"]) == (milli, nanos, source)
        costs += nanos
    await charged(house, costs)


async def test_a_stream_of_words_and_a_model_that_has_none(house: House, upstream: FakeUpstream) -> None:
    events = [
        {"type": "transcript.text.delta", "delta": "Hel"},
        {"type": "transcript.text.delta", "delta": "lo"},
    ]
    done = {"type": "transcript.text.done", "text": "Hello", "usage": TOKENS}
    upstream.script(PATH, Raw([f"data: {json.dumps(one)}\n\n".encode() for one in (*events, done)]))
    async with sdk_of(house) as sdk:
        ask: dict[str, Any] = {"file": ("a.mp3", MP3), "stream": True}
        stream = await sdk.audio.transcriptions.create(model="gpt-4o-transcribe", **ask)
        kinds = [event.type async for event in stream]
        assert kinds == ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]
        upstream.script(PATH, said(usage={"type": "duration", "seconds": 9}))
        reply = await post(house, [text("model", "whisper-1"), text("stream", "true"), sound()])
        assert reply.json()["text"] == "Hello"
    await until(lambda: settled(house, 2))
    await charged(house, 520_000 + 1_050_000)


FORMS: list[tuple[list[bytes], int, str, str | None]] = [
    ([text("model", "whisper-1"), text("model", "free"), sound()], 400, "more than once", "model"),
    ([text("model", "whisper-1"), sound(), sound()], 400, "more than once", "file"),
    ([text("model", "whisper-1"), *[text("response_format", "json")] * 2, sound()], 400, "more than once",
     "response_format"),
    ([sound()], 400, "required", "model"),
    ([text("model", "whisper-1")], 400, "required", "file"),
    ([text("model", "whisper-1"), text("file", "x")], 400, "a file with its name", "file"),
    ([text("model", "whisper-1"), sound(b"")], 400, "required", "file"),
    ([sound(b"whisper-1", name="model"), sound()], 400, "required", "model"),
    ([text("model", "whisper-1"), sound(), text("n", "2")], 400, "not a field", "n"),
    ([text("model", "whisper-1"), sound(), text("api_base", "http://x")], 400, "not a field", "api_base"),
    ([text("model", "whisper-1"), sound(), text("metadata[tags]", "x")], 400, "not a field", "metadata[tags]"),
    ([text("model", "whisper-1"), sound(), text("stream", "yes")], 400, "true or false", "stream"),
    ([text("model", "whisper-1"), sound(), text("prompt", "x" * 32_001)], 400, "32000", "prompt"),
    ([text("model", "whisper-1"), b"X: y\r\n\r\nz"], 400, "no name", None),
    ([text("model", "whisper-1"), sound(), b"no header at all"], 400, "not the form", None),
    ([text("model", "whisper-1"), sound(), *[text("include[]", "x")] * 63], 400, "more than 64 parts", None),
    ([b"Content-Transfer-Encoding: base64\r\n" + text("model", "whisper-1"), sound()], 400, "as they are", None),
    ([text("model", "tts-1"), sound()], 403, "minutes", "model"),
    ([text("model", "no-such"), sound()], 404, "does not exist", "model"),
]  # fmt: skip


async def test_forms_that_are_none_and_parts_that_are_not_sold(house: House, upstream: FakeUpstream) -> None:
    for parts, status, words, field in FORMS:
        reply = await post(house, parts)
        error = reply.json()["error"]
        assert (reply.status, error["param"]) == (status, field), error
        assert words in error["message"]
    good = [text("model", "whisper-1"), sound()]
    for kind in (
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "text/plain; boundary=b",
    ):
        reply = await post(house, good, **{"content-type": kind})
        assert (reply.status, reply.json()["error"]["param"]) == (400, "content-type")
    assert (await post(house, good, boundary="c")).status == 400
    whole = b"--b\r\n" + good[0] + b"\r\n--b\r\n" + good[1]
    cut = await house.post(whole, path=PATH, **{"content-type": "multipart/form-data; boundary=b"})
    assert "no end" in cut.json()["error"]["message"]
    assert (await post(house, [*good, text("language", "en")], path=TRANSLATIONS)).status == 400
    assert [request for request in upstream.requests if request.method == "POST"] == []
    assert (await house.wallet())["held_nanos"] == 0


async def test_what_is_too_large_or_too_dear_or_fails(
    house_with: Callable[..., AbstractAsyncContextManager[House]], upstream: FakeUpstream
) -> None:
    async with house_with(credit_nanos=100_000_000, balance_status=402, body_bytes_max=300_000) as house:
        form = [text("model", "whisper-1"), sound(bytes(250_000))]  # at most 333 334 ms: 38 888 967 nanos
        limited = await house.new_key(daily_limit_nanos=38_888_966)
        full = await post(house, form, authorization=f"Bearer {limited}")
        assert (full.status, full.json()["error"]["code"]) == (429, "budget_exceeded")
        dear = [text("model", "gpt-4o-transcribe"), sound(bytes(290_000))]
        short = await post(house, dear)
        assert (short.status, short.json()["error"]["code"]) == (402, "insufficient_quota")
        assert (await post(house, [text("model", "whisper-1"), sound(bytes(310_000))])).status == 413
        assert [request for request in upstream.requests if request.method == "POST"] == []
        for script, status in (
            (Refuse(400), 400),
            (Drop(), 502),
            (Raw([b"x"], content_type="image/png"), 502),
        ):
            upstream.script(PATH, script)
            assert (await post(house, form)).status == status
        upstream.script(PATH, said(duration=1))
        reply = await post(
            house, form, authorization=f"Bearer {await house.new_key(scopes=['transcriptions'])}"
        )
        assert (await house.bill(reply.request_id))["cost_nanos"] == 116_667
        await assert_books_balance(house)
        assert (await house.wallet())["balance_nanos"] == 99_883_333
