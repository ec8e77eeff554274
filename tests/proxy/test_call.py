"""Reading a request body: what is refused, with the field named, and what is understood."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.parsing import parse_call, upstream_body
from rabbitgw.proxy.dialects import CHAT

MESSAGES = [{"role": "user", "content": "hi"}]


def parsed(**fields: Any) -> Any:
    return parse_call(CHAT, orjson.dumps({"model": "m", "messages": MESSAGES, **fields}))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"x"', None),
        (b"\xff", None),
        (b"[" * 2000 + b"]" * 2000, None),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', None),
        (b'{"model":"m","messages":[{}],"seed":18446744073709551616}', None),
        (b'{"model":"m","messages":[{}],"seed":-9223372036854775809}', None),
        (b'{"messages":[{}]}', "model"),
        (b'{"model":7,"messages":[{}]}', "model"),
        (b'{"model":"","messages":[{}]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":"hi"}', "messages"),
        (b'{"model":"m","messages":[]}', "messages"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(raw: bytes, field: str | None) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_call(CHAT, raw)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"Max_Tokens": 5}, "Max_Tokens"),
        ({"MODEL": "other"}, "MODEL"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"api_base": "http://elsewhere"}, "api_base"),
        ({"mock_response": "free"}, "mock_response"),
        ({"fallbacks": ["m2"]}, "fallbacks"),
        ({"metadata": {"tags": ["x"]}}, "metadata.tags"),
        ({"metadata": "x"}, "metadata"),
        ({"tags": ["premium"]}, "tags"),
        ({"deployment_id": "d"}, "deployment_id"),
        ({"service_tier": 5}, "service_tier"),
        ({"tools": "all"}, "tools"),
        ({"tools": ["x"]}, "tools"),
        ({"tools": [{"type": ["function"]}]}, "tools"),
        ({"model": "m" * 257}, "model"),
    ],
)
def test_a_field_that_cannot_be_obeyed_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parsed(**fields)
    assert refused.value.field == named
    assert named in refused.value.message


def test_the_larger_of_two_output_limits_is_held() -> None:
    assert parsed(max_tokens=10, max_completion_tokens=30).output_limit == 30
    assert parsed().output_limit is None


def test_a_lowered_limit_goes_into_the_field_that_the_caller_used() -> None:
    call = parsed(max_tokens=100)
    call.limit_output(7)
    assert call.body["max_tokens"] == 7
    assert "max_completion_tokens" not in call.body
    call = parsed()
    call.limit_output(7)
    assert call.body["max_completion_tokens"] == 7


def test_both_limits_are_lowered_when_the_caller_used_both() -> None:
    call = parsed(max_tokens=100, max_completion_tokens=200)
    call.limit_output(7)
    assert call.body["max_tokens"] == 7
    assert call.body["max_completion_tokens"] == 7


def test_a_limit_of_the_callers_own_is_never_raised() -> None:
    call = parsed(max_tokens=10, max_completion_tokens=200)
    call.limit_output(50)
    assert (call.body["max_tokens"], call.body["max_completion_tokens"]) == (10, 50)


@pytest.mark.parametrize("name", [b"ttl", b"\\u0074tl", b"t\\u0074\\u006C"])
def test_a_cache_that_is_kept_longer_is_seen_however_its_name_is_written(name: bytes) -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"hi","cache_control":{"%b":"1h"}}]}' % name
    assert parse_call(CHAT, raw).long_cache
    assert not parsed().long_cache


def test_what_leaves_is_what_was_read() -> None:
    raw = b'{"model":"cheap","model":"dear","messages":[{"role":"user","content":"hi"}],"stream":true,"user":"me"}'
    call = parse_call(CHAT, raw)
    assert call.model == "dear"
    sent = orjson.loads(upstream_body(call, user="41", request_id="r1"))
    assert sent["model"] == "dear"
    assert sent["user"] == "41"
    assert sent["metadata"] == {"rabbitgw_request_id": "r1"}
    assert sent["stream_options"] == {"include_usage": True}


def test_media_are_counted_by_kind_and_their_bytes_set_apart() -> None:
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "input_audio", "input_audio": {"data": "B" * 500, "format": "mp3"}},
        {"type": "file", "file": {"file_data": "C" * 300}},
        {"type": "file", "file": {"filename": "linked elsewhere"}},
        "not a part",
    ]
    call = parse_call(CHAT, orjson.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}))
    assert (call.media.images, call.media.audio_bytes, call.media.file_bytes) == (2, 500, 300)
    assert call.media.linked_files == 1
    assert call.media_bytes == 1022 + 500 + 300
