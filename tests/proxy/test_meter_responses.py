"""How the responses dialect states usage, hosted tools and errors; and the dialects met behind pass-through."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.proxy.meter import DIALECTS, StreamReader
from tests.proxy.streams import Seen, cuts, run

DELTA = b'data: {"type":"response.output_text.delta","delta":"Hi"}\n\n'


def read(stream: bytes, dialect: str = "openai-responses") -> Seen:
    whole = run(dialect, [stream])
    for pieces in cuts(stream):
        assert run(dialect, pieces) == whole
    assert whole.client + whole.withheld == stream
    return whole


def completed(kind: str = "response.completed", **members: Any) -> bytes:
    return (
        b"data: " + orjson.dumps({"type": kind, "response": {"id": "r", "model": "m", **members}}) + b"\n\n"
    )


def test_zero_usage_after_text_is_missing_and_flagged() -> None:
    zero = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    seen = read(DELTA + completed("response.incomplete", usage=zero))
    assert (seen.usage, seen.zero_usage, seen.terminal) == (None, True, True)


def test_tools_are_counted_from_items_unless_stated() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    output = [
        {"type": "web_search_call", "id": "a", "action": {"type": "search"}},
        {"type": "web_search_call", "id": "b", "action": {"type": "open_page"}},
        {"type": "file_search_call", "id": "c"},
        {"type": "code_interpreter_call", "id": "d", "container_id": "k"},
        {"type": "code_interpreter_call", "id": "e", "container_id": "k"},
    ]
    seen = read(DELTA + completed(usage=usage, output=output))
    assert seen.usage is not None
    assert seen.usage.server_tools == {
        "web_search_requests": 1,
        "file_search_requests": 1,
        "code_interpreter_sessions": 1,
    }
    tool_usage = {"web_search": {"num_requests": 3}, "image_gen": {"input_tokens": 5, "output_tokens": 90}}
    seen = read(DELTA + completed(usage=usage, output=output[:1], tool_usage=tool_usage))
    assert seen.usage is not None
    assert seen.usage.server_tools == {
        "web_search_requests": 3,
        "image_gen_input_tokens": 5,
        "image_gen_output_tokens": 90,
    }


def test_an_item_seen_twice_counts_once() -> None:
    item = {"type": "file_search_call", "id": "c"}
    done = b"data: " + orjson.dumps({"type": "response.output_item.done", "item": item}) + b"\n\n"
    seen = read(done + completed(usage={"input_tokens": 1, "output_tokens": 1}, output=[item]))
    assert seen.usage is not None
    assert seen.usage.server_tools == {"file_search_requests": 1}


def test_the_whole_text_again_is_not_delivered_twice() -> None:
    again = b'data: {"type":"response.output_text.done","text":"' + b"word " * 200 + b'"}\n\n'
    assert read(DELTA * 10 + again).tokens == 10


def test_an_error_event_may_be_flat_or_nested() -> None:
    flat = read(b'event: error\ndata: {"type":"error","code":"rate_limit","message":"slow"}\n\n')
    assert flat.error == {"type": None, "message": "slow", "code": "rate_limit"}
    nested = read(b'event: error\ndata: {"type":"error","error":{"type":"t","code":"c","message":"m"}}\n\n')
    assert nested.error == {"type": "t", "message": "m", "code": "c"}
    assert not nested.terminal


def test_openrouter_done_after_completed_changes_nothing() -> None:
    stream = DELTA + completed(usage={"input_tokens": 1, "output_tokens": 1})
    assert read(stream + b"data: [DONE]\n\n").usage == read(stream).usage


def test_large_media_events_under_way_are_no_text() -> None:
    reader = StreamReader("openai-responses", hide_usage=False)
    reader.feed(b'data: {"type":"response.image_generation_call.partial_image","partial_image_b64":"')
    for _ in range(20):
        reader.feed(b"A" * 65_536)
    assert reader.delivered_tokens < 5_000


def test_cohere_bills_billed_units() -> None:
    stream = (
        b'event: content-delta\ndata: {"type":"content-delta","delta":{"message":{"content":{"text":"Hi"}}}}\n\n'
        b'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":'
        b'{"input_tokens":4,"output_tokens":2},"tokens":{"input_tokens":70,"output_tokens":3}}}}\n\n'
    )
    seen = read(stream, "cohere-chat")
    assert seen.usage is not None
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (4, 2)
    assert seen.terminal
    assert seen.estimate == 1


def test_gemini_adds_thoughts_and_tool_prompts() -> None:
    usage = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 3,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 4},
            {"modality": "AUDIO", "tokenCount": 6},
        ],
        "trafficType": "PROVISIONED_THROUGHPUT",
    }
    part = {
        "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
    seen = read(b"data: " + orjson.dumps(part) + b"\r\n\r\n", "gemini")
    assert seen.usage is not None
    assert (seen.usage.input_tokens, seen.usage.output_tokens, seen.usage.reasoning_tokens) == (15, 10, 3)
    assert seen.usage.audio_input_tokens == 6
    assert seen.usage.service_tier == "PROVISIONED_THROUGHPUT"


def test_speech_by_events_is_audio_output() -> None:
    usage = b'{"type":"speech.audio.done","usage":{"input_tokens":4,"output_tokens":9,"total_tokens":13}}'
    seen = read(
        b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\ndata: ' + usage + b"\n\n", "openai-speech"
    )
    assert seen.usage is not None
    assert (seen.usage.input_tokens, seen.usage.audio_output_tokens) == (4, 9)


def test_transcribed_seconds_are_kept_in_thousandths() -> None:
    done = (
        b'data: {"type":"transcript.text.done","text":"Hi","usage":{"type":"duration","seconds":8.4701}}\n\n'
    )
    seen = read(done, "openai-transcriptions")
    assert seen.usage is not None
    assert seen.usage.seconds_milli == 8471


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize(
    "junk", [b"data: [1]\n\n", b'data: {"usage":7,"type":3}\n\n', b"data: \xff\n\n", b"data:\n\n"]
)
def test_junk_is_passed_and_says_nothing(dialect: str, junk: bytes) -> None:
    nested = b'data: {"choices":[7],"response":[],"message":3,"delta":"x","candidates":{},"error":null}\n\n'
    seen = read(junk + nested, dialect)
    assert seen.usage is None


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="no meter for the dialect 'smoke-signals'"):
        StreamReader("smoke-signals", hide_usage=False)


@pytest.mark.parametrize(
    "echoed",
    [
        {"instructions": "be helpful.delta"},
        {"metadata": {"type": "response.output_text.delta"}},
        {"metadata": {"x.delta": "y"}},
        {"tools": [{"type": "function", "name": "a.delta"}]},
    ],
)
def test_what_the_caller_wrote_cannot_pass_the_last_event_off_as_text(echoed: dict[str, Any]) -> None:
    last = completed(usage={"input_tokens": 7, "output_tokens": 900}, **echoed)
    for event in (last, b"event: response.completed\n" + last):
        pieces = [DELTA, DELTA, DELTA, DELTA, event]
        seen = run("openai-responses", pieces)
        assert seen.usage is not None
        assert (seen.usage.input_tokens, seen.usage.output_tokens) == (7, 900)
        assert seen.terminal
