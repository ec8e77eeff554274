"""Answers that are not streamed: the last byte is withheld, the body is read in any cut and of any size."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest

from rabbitgw.proxy.meter import PlainReader, charged_usage, estimate_output_tokens
from rabbitgw.proxy.meter.plain import WHOLE_BYTES_MAX
from tests.proxy.test_meter_streams import as_sidecar

BODIES: dict[str, dict[str, Any]] = orjson.loads(
    (Path(__file__).parent.parent / "fixtures" / "nonstream_bodies.json").read_bytes()
)


def dialect_of(name: str) -> str:
    for start, dialect in (
        ("openai_chat", "openai-chat"),
        ("openai_responses", "openai-responses"),
        ("openai_embeddings", "openai-embeddings"),
        ("openai_images", "openai-images"),
        ("openai_transcription", "openai-transcriptions"),
        ("anthropic_messages", "anthropic-messages"),
    ):
        if name.startswith(start):
            return dialect
    raise AssertionError(name)


def read(dialect: str, body: bytes, size: int = 0) -> PlainReader:
    reader = PlainReader(dialect)
    size = size or len(body) or 1
    out = [reader.feed(body[i : i + size]) for i in range(0, len(body), size)]
    out.append(reader.end())
    assert b"".join(out) == body[:-1]
    assert reader.withheld == body[-1:]
    assert reader.release() == body[-1:]
    assert reader.withheld == b""
    return reader


@pytest.mark.parametrize("name", sorted(BODIES))
@pytest.mark.parametrize("padded", [False, True])
def test_bodies_read_as_their_sidecars_say(name: str, padded: bool) -> None:
    document = BODIES[name]["body"]
    expected = BODIES[name]["expected_usage"]
    if padded:  # past the size that is parsed whole
        document = {"content_of_no_matter": "x" * WHOLE_BYTES_MAX, **document}
    body = orjson.dumps(document)
    for size in (len(body), len(body) // 2, 7 if not padded else 4099):
        usage = read(dialect_of(name), body, size).usage
        if expected is None:
            assert usage is None
            continue
        assert usage is not None
        if "audio_seconds" in expected:
            assert usage.seconds_milli == expected["audio_seconds"] * 1000
            continue
        known = as_sidecar(usage)
        assert {key: known[key] for key in expected} == expected


def test_images_without_usage_are_sold_by_the_piece() -> None:
    reader = read("openai-images", orjson.dumps(BODIES["openai_images_no_usage"]["body"]))
    assert reader.images == 2
    usage = charged_usage(reader, reader.usage, input_tokens=9, output_tokens=9, whole=True)
    assert usage is not None
    assert (usage.server_tools, usage.input_tokens, usage.source) == ({"images": 2}, 0, "provider")


def test_svg_authoring_is_a_share_of_its_model() -> None:
    body = {
        "data": [{"b64_json": "AA"}],
        "usage": {"input_tokens": 10, "output_tokens": 100, "output_tokens_details": {"image_tokens": 100}},
        "svg_usage": {"model": "gpt-5", "input_tokens": 7, "output_tokens": 30, "reasoning_tokens": 20},
    }
    usage = read("openai-images", orjson.dumps(body)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.image_output_tokens) == (17, 130, 100)
    ((model, share),) = usage.per_model
    assert (model, share.input_tokens, share.output_tokens, share.reasoning_tokens) == ("gpt-5", 7, 30, 20)


def test_a_background_answer_states_and_delivers_nothing() -> None:
    reader = read("openai-responses", orjson.dumps(BODIES["openai_responses_background"]["body"]))
    assert (reader.usage, reader.delivered_any) == (None, False)


def test_gemini_without_sse_is_an_array() -> None:
    body = [
        {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}], "usageMetadata": {"promptTokenCount": 5}},
        {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3}, "modelVersion": "g"},
    ]
    reader = read("gemini", orjson.dumps(body))
    assert reader.model == "g"
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (5, 3)


@pytest.mark.parametrize("body", [b"ID3\x03 binary", b"1\n00:00 --> 00:01\nHello\n", b"{broken", b'"text"'])
def test_what_is_no_json_object_passes_untouched(body: bytes) -> None:
    reader = read("openai-transcriptions", body, 3)
    assert reader.usage is None
    assert reader.delivered_any


def test_an_empty_body_delivers_nothing() -> None:
    reader = read("openai-chat", b"")
    assert (reader.usage, reader.delivered_any, reader.size) == (None, False, 0)


def test_an_error_body_is_read() -> None:
    reader = read("anthropic-messages", b'{"type":"error","error":{"type":"api_error","message":"no"}}')
    assert reader.error == {"type": "api_error", "message": "no", "code": None}
    assert not reader.delivered_any


def test_zero_usage_for_an_answer_is_missing_and_flagged() -> None:
    body = {
        "choices": [{"message": {"content": "Hi"}}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0},
    }
    reader = read("openai-chat", orjson.dumps(body))
    assert (reader.usage, reader.zero_usage) == (None, True)
    assert estimate_output_tokens(reader.output_sample()) == 1


def test_the_output_of_a_body_without_usage_can_be_estimated() -> None:
    calls = [{"function": {"name": "look", "arguments": '{"a":1}'}}]
    body = {"choices": [{"message": {"role": "assistant", "content": "x" * 400, "tool_calls": calls}}]}
    sample = read("openai-chat", orjson.dumps(body)).output_sample()
    assert estimate_output_tokens(sample) == 103
    body["choices"][0]["message"]["content"] = "x" * 400_000
    sample = read("openai-chat", orjson.dumps(body), 65_536).output_sample()
    assert 100_000 <= estimate_output_tokens(sample) < 100_200


def test_a_body_of_any_size_is_read_in_bounded_memory() -> None:
    item = b'{"object":"embedding","index":0,"embedding":[' + b"-0.0123456789," * 1535 + b"0.1]}"
    reader = PlainReader("openai-embeddings")
    reader.feed(b'{"object":"list","data":[' + item)
    tracemalloc.start()
    for _ in range(3000):  # 64 MB
        reader.feed(b"," + item)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    reader.feed(b'],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}')
    reader.end()
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (8, 0)


def test_a_body_that_broke_off_is_estimated_by_what_came() -> None:
    reader = PlainReader("openai-chat")
    reader.feed(b'{"choices":[{"message":{"content":"' + b"x" * 365)
    assert reader.delivered_any
    assert reader.usage is None
    assert estimate_output_tokens(reader.output_sample()) == 100
    reader = PlainReader("openai-images")
    reader.feed(b'{"data":[{"b64_json":"' + b"A" * 3_000_000)
    assert estimate_output_tokens(reader.output_sample()) == 3000
    reader = PlainReader("openai-embeddings")
    reader.feed(b'{"data":[{"embedding":[0.1,')
    assert estimate_output_tokens(reader.output_sample()) == 0
