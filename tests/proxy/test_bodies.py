"""What each dialect's body asks for, and which fields of it are refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.names import check_members, check_names
from rabbitgw.proxy.bodies.parsing import SHAPES, parse_call, upstream_body
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.dialects import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    DIALECTS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Dialect,
)
from tests.proxy.asked import ASKED, parsed


def refused(dialect: Dialect, **fields: Any) -> RequestInvalid:
    with pytest.raises(RequestInvalid) as error:
        parsed(dialect, **fields)
    return error.value


def asking(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"Model": "other"}, "Model"),
        ({"model": None}, "model"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"tags": ["x"]}}, "metadata.tags"),
        ({"api_base": "http://elsewhere"}, "api_base"),
        ({"API_KEY": "sk"}, "API_KEY"),
        ({"fallbacks": ["m2"]}, "fallbacks"),
        ({"mock_response": "free"}, "mock_response"),
        ({"litellm_metadata": {}}, "litellm_metadata"),
        ({"guardrails": []}, "guardrails"),
    ],
)
def test_every_dialect_refuses_what_would_choose_a_route(
    dialect: Dialect, fields: dict[str, Any], named: str
) -> None:
    error = refused(dialect, **fields)
    assert error.field == named
    assert named in error.message


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_dialect_refuses_a_number_past_64_bits_and_a_body_that_is_no_object(dialect: Dialect) -> None:
    raw = orjson.dumps({"model": "m", **ASKED[dialect]})[:-1] + b',"seed":18446744073709551616}'
    for body in (raw, b"[]", b"", b"{", b"[" * 5000, b'{"a":' * 5000):
        with pytest.raises(RequestInvalid):
            parse_call(dialect, body)


@pytest.mark.parametrize(
    ("dialect", "fields", "named"),
    [
        (COMPLETIONS, {"prompt": None}, "prompt"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": [True]}, "prompt"),
        (COMPLETIONS, {"prompt": {"a": 1}}, "prompt"),
        (COMPLETIONS, {"best_of": 0}, "best_of"),
        (COMPLETIONS, {"n": 129}, "n"),
        (COMPLETIONS, {"prompt": ["a"] * 2049}, "prompt"),
        (COMPLETIONS, {"prompt": ["a"] * 20, "n": 128}, "prompt"),
        (COMPLETIONS, {"stream_options": {"include_usage": True}}, "stream_options"),
        (EMBEDDINGS, {"input": None}, "input"),
        (EMBEDDINGS, {"input": []}, "input"),
        (EMBEDDINGS, {"stream": True}, "stream"),
        (RESPONSES, {"input": None}, "input"),
        (RESPONSES, {"input": 7}, "input"),
        (RESPONSES, {"background": True}, "background"),
        (RESPONSES, {"background": "yes"}, "background"),
        (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"conversation": "conv_1"}, "conversation"),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}, "prompt"),
        (RESPONSES, {"max_output_tokens": 0}, "max_output_tokens"),
        (RESPONSES, {"Max_Output_Tokens": 5}, "Max_Output_Tokens"),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.item_reference"),
        (RESPONSES, {"input": [{"id": "msg_1"}]}, "input.item_reference"),
        (
            RESPONSES,
            {"input": asking({"type": "input_file", "file_id": "file-1"})},
            "input.content.file_id",
        ),
        (
            RESPONSES,
            {"input": asking({"type": "input_image", "file_id": "file-1"})},
            "input.content.file_id",
        ),
        (
            RESPONSES,
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
            "tools.vector_store_ids",
        ),
        (RESPONSES, {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools.container"),
        (
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]},
            "tools.container",
        ),
        (
            CHAT,
            {"messages": asking({"type": "file", "file": {"file_id": "file-1"}})},
            "messages.content.file.file_id",
        ),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "messages.audio"),
        (MESSAGES, {"messages": []}, "messages"),
        (MESSAGES, {"max_tokens": "9"}, "max_tokens"),
        (MESSAGES, {"container": "container_1"}, "container"),
        (MESSAGES, {"container": {"id": "container_1"}}, "container"),
        (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": -1}}, "budget_tokens"),
        (
            MESSAGES,
            {"messages": asking({"type": "document", "source": {"type": "file", "file_id": "f"}})},
            "messages.content.source.file_id",
        ),
        (
            COUNT_TOKENS,
            {"messages": asking({"type": "image", "source": {"type": "file", "file_id": "f"}})},
            "messages.content.source.file_id",
        ),
        (
            MESSAGES,
            {"messages": asking({"type": "container_upload", "file_id": "f"})},
            "messages.content.file_id",
        ),
        (COUNT_TOKENS, {"stream": True}, "stream"),
    ],
)
def test_what_a_dialect_cannot_obey_is_named(dialect: Dialect, fields: dict[str, Any], named: str) -> None:
    error = refused(dialect, **fields)
    assert error.field == named
    assert named in error.message


def test_completions_answer_each_prompt_and_bill_what_is_never_shown() -> None:
    assert parsed(COMPLETIONS).choices == 1
    assert parsed(COMPLETIONS, prompt=[1, 2, 3]).choices == 1
    assert parsed(COMPLETIONS, prompt=["a", "b", "c"], n=2).choices == 6
    assert parsed(COMPLETIONS, prompt=[[1], [2]], n=2, best_of=5).choices == 10


@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS])
def test_usage_of_a_stream_is_asked_for_and_shown_only_to_who_asked(dialect: Dialect) -> None:
    call = parsed(dialect, stream=True)
    assert not call.wants_usage
    assert orjson.loads(upstream_body(call, user="7", request_id="r"))["stream_options"] == {
        "include_usage": True
    }
    assert parsed(dialect, stream=True, stream_options={"include_usage": True}).wants_usage


@pytest.mark.parametrize("dialect", [RESPONSES, MESSAGES])
def test_a_dialect_that_shows_its_usage_is_asked_for_nothing_more(dialect: Dialect) -> None:
    call = parsed(dialect, stream=True)
    assert call.wants_usage
    assert "stream_options" not in orjson.loads(upstream_body(call, user="7", request_id="r"))


def test_upstream_counts_for_the_account_whoever_the_caller_says_it_is() -> None:
    for dialect in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS):
        sent = orjson.loads(upstream_body(parsed(dialect, user="me"), user="7", request_id="r1"))
        assert (sent["user"], sent["metadata"]) == ("7", {"rabbitgw_request_id": "r1"})
    call = parsed(MESSAGES, metadata={"user_id": "me"}, user="me too")
    sent = orjson.loads(upstream_body(call, user="7", request_id="r1"))
    assert (sent["user"], sent["metadata"]) == ("7", {"user_id": "7"})
    assert orjson.loads(upstream_body(parsed(MESSAGES), user="7", request_id="r1"))["metadata"] == {
        "user_id": "7"
    }
    counted = orjson.loads(upstream_body(parsed(COUNT_TOKENS), user="7", request_id="r1"))
    assert set(counted) == {"model", "messages"}


def test_media_of_responses_are_counted_wherever_they_stand() -> None:
    call = parsed(
        RESPONSES,
        input=[
            *asking(
                {"type": "input_text", "text": "what is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 1000},
                {"type": "input_image", "image_url": "https://example.org/cat.png"},
                {"type": "input_file", "file_data": "C" * 300},
                {"type": "input_file", "file_url": "https://example.org/a.pdf"},
                {"type": "input_audio", "input_audio": {"data": "B" * 500, "format": "mp3"}},
            ),
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"},
            },
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_image", "image_url": "https://example.org/dog.png"}],
            },
        ],
    )
    media = call.media
    assert (media.images, media.audio_bytes, media.file_bytes, media.linked_files) == (4, 500, 300, 1)
    assert call.media_bytes == 1022 + 26 + 300 + 500


def test_media_of_messages_are_counted_inside_tool_results_too() -> None:
    call = parsed(
        MESSAGES,
        messages=asking(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 1000}},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.png"}},
            {"type": "document", "source": {"type": "base64", "data": "C" * 300}},
            {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
            {"type": "document", "source": {"type": "text", "data": "plain text"}},
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": {"type": "base64", "data": "B" * 10}}],
            },
        ),
    )
    media = call.media
    assert (media.images, media.file_bytes, media.linked_files) == (3, 300, 1)
    assert call.media_bytes == 1000 + 300 + 10


@pytest.mark.parametrize(
    ("dialect", "fields", "parts", "uses"),
    [
        (
            CHAT,
            {
                "tools": [
                    {"type": "function", "function": {"name": "f"}},
                    {"type": "custom", "custom": {"name": "g"}},
                ]
            },
            [],
            {},
        ),
        (CHAT, {"web_search_options": {}}, ["tool:web_search_requests"], {"web_search_requests": 10}),
        (
            RESPONSES,
            {"tools": [{"type": "web_search_preview_2025_03_11"}, {"type": "function", "name": "f"}]},
            ["tool:web_search_requests"],
            {"web_search_requests": 10},
        ),
        (
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
            ["tool:code_interpreter_sessions"],
            {"code_interpreter_sessions": 10},
        ),
        (RESPONSES, {"tools": [{"type": "mcp", "server_url": "https://x"}]}, ["tool:mcp"], {"mcp": 10}),
        (RESPONSES, {"tools": [{"type": "local_shell"}, {"type": "apply_patch"}]}, [], {}),
        (
            MESSAGES,
            {"tools": [{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]},
            [],
            {},
        ),
        (
            MESSAGES,
            {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
            ["tool:web_search_requests"],
            {"web_search_requests": 3},
        ),
        (
            MESSAGES,
            {"tools": [{"type": "code_execution_20250825"}], "mcp_servers": [{"url": "https://x"}]},
            ["tool:code_execution_20250825", "tool:mcp_servers"],
            {"code_execution_20250825": 10, "mcp_servers": 0},
        ),
        (MESSAGES, {"service_tier": "auto"}, ["service_tier:auto"], {}),
        (MESSAGES, {"speed": "fast"}, ["speed:fast"], {}),
        (MESSAGES, {"inference_geo": "us"}, ["inference_geo:us"], {}),
        (RESPONSES, {"service_tier": "flex"}, ["service_tier:flex"], {}),
    ],
)
def test_what_needs_a_price_of_its_own_is_found(
    dialect: Dialect, fields: dict[str, Any], parts: list[str], uses: dict[str, int]
) -> None:
    call = parsed(dialect, **fields)
    assert call.parts == parts
    assert call.tool_uses == uses


def test_fast_mode_is_held_for_at_its_own_price() -> None:
    assert parsed(MESSAGES, speed="fast", service_tier="auto").tier == "fast"
    assert parsed(MESSAGES, speed="standard", service_tier="auto").tier == "auto"


def test_no_limit_of_ours_goes_below_what_thinking_needs() -> None:
    call = parsed(MESSAGES, max_tokens=9000, thinking={"type": "enabled", "budget_tokens": 4096})
    assert (call.output_limit, call.least_output) == (9000, 4096)


def test_a_prediction_and_a_long_cache_are_seen() -> None:
    call = parsed(CHAT, prediction={"type": "content", "content": [{"type": "text", "text": "é" * 10}]})
    assert call.predicted_bytes == 20
    assert parsed(CHAT, prediction={"type": "content", "content": "abc"}).predicted_bytes == 3
    for dialect in (CHAT, RESPONSES):
        assert parsed(dialect, prompt_cache_retention="24h").long_cache
        assert not parsed(dialect, prompt_cache_retention="in_memory").long_cache
        assert parsed(dialect, prompt_cache_retention=["in_memory"]).long_cache  # upstream's to judge
    system = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert parsed(MESSAGES, system=system).long_cache


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_name_that_is_not_looked_at_would_not_be_refused(shape: Shape) -> None:
    for name in shape.unchecked:
        for value in (True, "x", {"edits": [{"type": "other"}], "comparison_response_id": "r"}):
            check_names({name: value}, shape.priced_fields)
            check_members({name: value})


def test_a_chat_without_rare_fields_is_read_as_one_in_which_they_are_null() -> None:
    fields = {
        "max_tokens": 5,
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    usual = parsed(CHAT, **fields)
    rare = parsed(CHAT, **fields, n=None, tools=None, service_tier=None, audio=None)
    assert replace(usual, body={}, body_bytes=0) == replace(rare, body={}, body_bytes=0)
    assert (usual.output_limit, usual.stream, usual.wants_usage) == (9, True, True)


def test_a_tool_reference_of_no_known_type_is_refused() -> None:
    addition = {"type": "tool_addition", "tool": {"type": ["tool_reference"]}}
    assert refused(CHAT, messages=asking(addition)).field == "messages.content.tool"
