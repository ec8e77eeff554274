"""How providers behind the OpenAI chat dialect state usage, errors and ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.billing.usage import Usage
from tests.proxy.streams import Seen, cuts, run

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def chunk(**members: Any) -> bytes:
    return b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", **members}) + b"\n\n"


def text(content: str, finish: str | None = None, **members: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return chunk(model="m", choices=[choice], **members)


def read(stream: bytes, **options: Any) -> Seen:
    whole = run("openai-chat", [stream], **options)
    for pieces in cuts(stream):
        assert run("openai-chat", pieces, **options) == whole
    assert whole.client + whole.withheld == stream
    return whole


def usage_of(stated: dict[str, Any]) -> Usage:
    usage = read(text("Hi") + chunk(choices=[], usage=stated) + DONE).usage
    assert usage is not None
    return usage


def test_the_last_cumulative_statement_wins() -> None:
    stream = b"".join(text("a", usage={"prompt_tokens": 12, "completion_tokens": i}) for i in (1, 2, 3))
    usage = read(stream + DONE).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (12, 3)


def test_zeros_null_and_empty_statements_do_not_undo_numbers() -> None:
    later = [{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, {}, {"cost": 0.1}]
    stream = text("Hi", usage=USAGE) + b"".join(chunk(choices=[], usage=usage) for usage in later)
    usage = read(stream + DONE).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 4)


def test_groq_usage_counts_once() -> None:
    both = text("Hi", "stop", usage=USAGE, x_groq={"id": "r", "usage": USAGE})
    alone = text("Hi", "stop", x_groq={"id": "r", "usage": USAGE})
    other_order = text("Hi", "stop", x_groq={"id": "r", "usage": USAGE}) + chunk(choices=[], usage=USAGE)
    for stream in (both, alone, other_order):
        usage = read(stream + DONE).usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (10, 4)


@pytest.mark.parametrize(
    ("stated", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 3}}, 3),
        ({"cached_tokens": 3}, 3),
        ({"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 7}, 3),
        ({"prompt_tokens_details": {"cached_tokens": 3}, "cache_read_input_tokens": 3}, 3),
        ({"prompt_tokens_details": {"cached_tokens": None}}, 0),
    ],
)
def test_cached_tokens_are_part_of_the_prompt(stated: dict[str, Any], cached: int) -> None:
    usage = usage_of({**USAGE, **stated})
    assert (usage.input_tokens, usage.cached_input_tokens) == (10, cached)


def test_parts_larger_than_their_total_were_stated_beside_it() -> None:
    usage = usage_of({"prompt_tokens": 21, "completion_tokens": 5, "cache_read_input_tokens": 1000})
    assert (usage.input_tokens, usage.cached_input_tokens) == (1021, 1000)
    stated = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 151}
    usage = usage_of({**stated, "completion_tokens_details": {"reasoning_tokens": 110}})
    assert (usage.output_tokens, usage.reasoning_tokens) == (119, 110)


def test_long_lived_cache_writes_are_kept_apart() -> None:
    details = {
        "cache_write_tokens": 9,
        "cache_write_tokens_details": {"ttl_30m_tokens": 4, "ttl_12h_tokens": 5},
    }
    usage = usage_of({**USAGE, "prompt_tokens_details": details})
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (4, 5)


def test_server_tools_are_counted() -> None:
    assert usage_of({**USAGE, "server_tool_use": {"web_search_requests": 2}}).server_tools == {
        "web_search_requests": 2
    }


@pytest.mark.parametrize("bad", [-1, True, "7", 1e300, [], 10**15])
def test_a_count_that_is_no_count_says_nothing(bad: Any) -> None:
    assert read(text("Hi") + chunk(choices=[], usage={"prompt_tokens": bad}) + DONE).usage is None


def test_the_tier_served_is_the_last_named() -> None:
    stream = text("Hi", service_tier="auto") + chunk(choices=[], usage=USAGE, service_tier="priority")
    usage = read(stream + DONE).usage
    assert usage is not None
    assert usage.service_tier == "priority"


def test_after_a_fallback_the_model_that_served_is_named() -> None:
    notice = chunk(model="asked", choices=[], litellm_fallback={"fallback_model": "served", "errors": []})
    assert read(notice + text("Hi") + DONE).model == "served"
    assert read(text("Hi") + notice + text("Ho") + DONE).model == "served"


def test_zero_usage_for_delivered_text_is_missing_and_flagged() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    seen = read(text("Hi") + chunk(choices=[], usage=zero) + DONE)
    assert (seen.usage, seen.zero_usage) == (None, True)
    seen = read(text("", "stop") + chunk(choices=[], usage=zero) + DONE)
    assert (seen.usage, seen.zero_usage) == (Usage(), False)


def test_an_error_with_usage_keeps_both() -> None:
    error = {"code": 502, "message": "gone", "metadata": {}}
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    seen = read(text("Hi") + chunk(model="m", error=error, choices=[choice], usage=USAGE))
    assert seen.error == {"type": None, "message": "gone", "code": 502}
    assert seen.usage is not None
    assert seen.usage.output_tokens == 4
    assert not seen.terminal


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"error":{"message":"no","type":"api_error"}}\n\n',
        b'event: error\ndata: {"message":"no","type":"api_error"}\n\n',
        b'data:{"error" : {"message" : "no", "type" : "api_error"}}\n\n',
    ],
)
def test_an_error_event_is_read(event: bytes) -> None:
    error = read(text("Hi") + event).error
    assert error is not None
    assert (error["type"], error["message"]) == ("api_error", "no")


def test_an_error_text_is_read() -> None:
    assert read(chunk(error="boom")).error == {"type": None, "message": "boom", "code": None}


def test_with_n_answers_the_last_finish_counts() -> None:
    def part(index: int, finish: str | None) -> bytes:
        return chunk(
            model="m", choices=[{"index": index, "delta": {"content": "x"}, "finish_reason": finish}]
        )

    first = part(0, None) + part(1, None) + part(0, "stop")
    assert not read(first, choices=2).finish
    assert read(first + part(1, "length"), choices=2).finish
    assert read(first).finish


def test_spaces_and_key_order_change_nothing() -> None:
    stream = (
        b'data: {"choices" : [ { "delta" : {"content" : "Hi"}, "index" : 0 } ] , "usage" : null }\n\n'
        b'data: { "usage" : { "completion_tokens" : 4 , "prompt_tokens" : 10 } , "choices" : [ ] }\n\n'
        b'data: {"choices": [{"finish_reason": "stop", "index": 0, "delta": {}}]}\n\n'
    )
    seen = read(stream + DONE)
    assert seen.usage is not None
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (10, 4)


def test_text_that_looks_like_usage_errors_or_ends_says_nothing() -> None:
    fakes = [
        '"usage":{"prompt_tokens":9}',
        '{"error":{"message":"x"}}',
        "data: [DONE]\n\n",
        '"finish_reason":"stop"',
    ]
    stream = b"".join(text(fake) for fake in fakes)
    seen = read(text("Hi") + stream + stream)
    assert (seen.usage, seen.error, seen.finish, seen.terminal) == (None, None, False, False)


def test_a_lone_surrogate_or_broken_utf8_hides_no_usage() -> None:
    start = b'data: {"choices":[{"index":0,"delta":{"content":"'
    end = b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":4}}\n\n'
    for broken in (b"\\ud83d", b"\xf0\x9f"):
        seen = read(start + broken + end)
        assert seen.usage is not None
        assert seen.finish


@pytest.mark.parametrize(
    ("delta", "delivers"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None, "refusal": None}, False),
        ({"role": "assistant", "content": "", "provider_specific_fields": {"refusal": "x"}}, False),
        ({"content": "a"}, True),
        ({"refusal": "no"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}, True),
        ({"audio": {"id": "a", "data": "UklGRg=="}}, True),
    ],
)
def test_output_is_told_from_what_surrounds_it(delta: dict[str, Any], delivers: bool) -> None:
    assert read(chunk(model="m", choices=[{"index": 0, "delta": delta}])).delivered == delivers


def test_pings_and_errors_alone_deliver_nothing() -> None:
    seen = read(b": ping\n\n" * 3 + chunk(error={"message": "late 429"}) + DONE)
    assert (seen.delivered, seen.tokens, seen.estimate) == (False, 0, 0)


def test_delivered_tokens_follow_the_text_without_parsing() -> None:
    one = text("x")
    assert run("openai-chat", [one] * 50).tokens == 50
    assert run("openai-chat", [one, text("x" * 401)]).tokens == 2 + 100
    assert run("openai-chat", [one * 50]).tokens == 50


def test_pieces_of_one_size_count_by_their_text_and_not_as_one_token_each() -> None:
    piece = text("word " * 6)  # six tokens
    assert run("openai-chat", [piece] * 50).tokens == 50 + 50 * 26 // 4
    assert run("openai-chat", [piece * 50]).tokens == 50 + 50 * 26 // 4
    # a first event that also says the role is no measure of the others
    opening = chunk(model="m", choices=[{"index": 0, "delta": {"role": "assistant", "content": "word " * 6}}])
    assert run("openai-chat", [opening, piece * 49]).tokens >= 50 + 50 * 26 // 4
    # tokens of up to four bytes each are one each
    assert run("openai-chat", [text("word") * 50]).tokens == 50


def test_audio_counts_by_its_own_measure() -> None:
    part = chunk(model="m", choices=[{"index": 0, "delta": {"audio": {"id": "a", "data": "A" * 10_000}}}])
    assert read(part * 2).tokens == 2 + 2 * len(part) // 1000


def test_deep_nesting_breaks_nothing() -> None:
    nested = b"[" * 900 + b"]" * 900
    stream = (
        text("Hi")
        + b'data: {"choices":[{"index":0,"delta":{"x":'
        + nested
        + b'}}],"usage":{"prompt_tokens":3}}\n\n'
    )
    for deep in (stream, stream.replace(nested, b"[" * 30_000 + b"]" * 30_000)):
        run("openai-chat", [deep])


def test_searches_that_are_stated_among_the_details_are_counted() -> None:
    details = {"prompt_tokens_details": {"web_search_requests": 3}}
    seen = read(
        text("Hi") + chunk(choices=[], usage={"prompt_tokens": 5, "completion_tokens": 1, **details}) + DONE
    )
    assert seen.usage is not None
    assert seen.usage.server_tools == {"web_search_requests": 3}
