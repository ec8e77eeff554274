"""Ways to have tokens unpaid or to reach what another stored, hidden in members of a body: refused or held for."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing.hold_bounds import Media
from rabbitgw.proxy.dialects import (
    CHAT,
    COMPLETIONS,
    DIALECTS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Dialect,
)
from tests.proxy.asked import assert_refused, given, parsed, said

SEARCH = {"type": "web_search_20260318", "name": "web_search"}
FUNCTION = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"name": "f", "input_schema": {"type": "object"}}
STORED_IMAGE = {"type": "image", "source": {"type": "file", "file_id": "f"}}


@pytest.mark.parametrize(
    ("dialect", "fields", "named"),
    [
        (
            RESPONSES,
            given({"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}),
            "input.tools",
        ),
        (RESPONSES, given({"type": "additional_tools", "role": "developer", "tools": []}), "input.tools"),
        (
            RESPONSES,
            given({"type": "tool_search_output", "tools": [{"type": "code_interpreter"}]}),
            "input.tools",
        ),
        (
            MESSAGES,
            said(
                {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": SEARCH}},
                role="system",
            ),
            "messages.content.tool",
        ),
        (
            MESSAGES,
            said({"type": "tool_addition", "tool": {"type": "tool_reference", "definition": SEARCH}}),
            "messages.content.tool",
        ),
        (MESSAGES, said({"type": "tool_addition", "tool": SEARCH}), "messages.content.tool"),
        (CHAT, said({"type": "tool_addition", "tool": SEARCH}), "messages.content.tool"),
        (
            MESSAGES,
            said(
                {
                    "type": "compaction",
                    "content": "x",
                    "tool_changes": [{"type": "tool_addition", "tool": SEARCH}],
                }
            ),
            "messages.content.tool_changes",
        ),
        (MESSAGES, {"system": [{"type": "tool_addition", "tool": SEARCH}]}, "system.tool"),
        (CHAT, {"messages": [{"role": "system", "tools": [{"type": "web_search"}]}]}, "messages.tools"),
    ],
)
def test_tools_are_declared_in_tools_alone(dialect: Dialect, fields: dict[str, Any], named: str) -> None:
    assert_refused(dialect, fields, named)


@pytest.mark.parametrize("name", ["googleSearch", "GOOGLE_SEARCH", "codeExecution", "code_execution"])
@pytest.mark.parametrize(
    "tool",
    [{}, FUNCTION, {"type": "custom", "name": "f"}, {"type": "function"}, SCHEMA, {"type": "web_search"}],
)
def test_a_tool_of_the_providers_is_none_of_the_callers(tool: dict[str, Any], name: str) -> None:
    for dialect in (CHAT, RESPONSES, MESSAGES):
        assert_refused(dialect, {"tools": [{**tool, name: {}}]}, "tools")


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"type": ""},
        {"type": 0},
        {"type": "function"},
        {"type": "custom"},
        {"type": "function", "name": 7},
        {"name": "f"},
        {"name": "f", "input_schema": None},
        {"type": "bash_20250124", "name": "bash", "urlContext": {}},
        {"type": "computer", "retrieval": {}},
        {"type": "function", "name": "f", "of_my_own": 1},
    ],
)
def test_a_tool_of_unknown_form_is_refused(tool: dict[str, Any]) -> None:
    for dialect in (CHAT, RESPONSES, MESSAGES):
        assert_refused(dialect, {"tools": [tool]}, "tools")


def test_a_tool_without_a_type_is_anthropics_alone() -> None:
    assert parsed(MESSAGES, tools=[SCHEMA, {**SCHEMA, "type": None}]).parts == []
    for dialect in (CHAT, RESPONSES):
        assert_refused(dialect, {"tools": [SCHEMA]}, "tools")


@pytest.mark.parametrize(
    ("dialect", "tools"),
    [
        (CHAT, [FUNCTION, {"type": "function", "function": {"name": "f"}, "cache_control": {}}]),
        (
            CHAT,
            [
                {"type": "computer_20250124", "function": {"name": "c", "parameters": {}}},
                {"type": "computer_use"},
            ],
        ),
        (
            RESPONSES,
            [
                {"type": "function", "name": "f", "parameters": None, "strict": True, "async": True},
                {"type": "custom", "name": "g", "format": {"type": "text"}, "defer_loading": True},
                {
                    "type": "computer_use_preview",
                    "display_height": 1,
                    "display_width": 1,
                    "environment": "mac",
                },
                {"type": "apply_patch", "allowed_callers": ["direct"]},
            ],
        ),
        (
            MESSAGES,
            [
                {**SCHEMA, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True},
                {**SCHEMA, "type": "custom", "input_examples": [{}], "allowed_callers": ["direct"]},
                {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
                {"type": "computer_20251124", "name": "computer", "display_width_px": 9, "enable_zoom": True},
                {"type": "memory_20250818", "name": "memory"},
            ],
        ),
    ],
)
def test_tools_that_the_caller_runs_cost_nothing(dialect: Dialect, tools: list[dict[str, Any]]) -> None:
    call = parsed(dialect, tools=tools)
    assert (call.parts, call.tool_uses) == ([], {})


def test_what_only_begins_like_a_callers_tool_needs_a_price() -> None:
    for kind in ("bash_code_execution_20250825", "computer_of_the_provider", "namespace", "Function"):
        assert parsed(MESSAGES, tools=[{"type": kind, "tools": []}]).parts == [f"tool:{kind}"]


def test_the_older_functions_are_no_way_round() -> None:
    assert parsed(CHAT, functions=[{"name": "f", "description": "d", "parameters": {}}]).parts == []
    for functions in ([{"googleSearch": {}}], [{"name": "f", "codeExecution": {}}], ["f"], {"name": "f"}):
        assert_refused(CHAT, {"functions": functions}, "functions")
    assert_refused(RESPONSES, {"functions": [{"googleSearch": {}}]}, "functions")


@pytest.mark.parametrize("uses", [10_001, 2**62, 0, -1, 1e9, True, "9"])
def test_uses_beyond_what_a_hold_can_cover_are_refused(uses: Any) -> None:
    assert_refused(MESSAGES, {"tools": [{**SEARCH, "max_uses": uses}]}, "tools.max_uses")


def test_uses_are_limited_over_all_tools_of_a_kind() -> None:
    assert parsed(MESSAGES, tools=[{**SEARCH, "max_uses": 10_000}]).tool_uses == {
        "web_search_requests": 10_000
    }
    assert_refused(MESSAGES, {"tools": [{**SEARCH, "max_uses": 10_000}, SEARCH]}, "tools")


@pytest.mark.parametrize(
    ("tool", "named"),
    [
        (
            {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "64g"}},
            "tools.container",
        ),
        ({"type": "shell", "environment": {"memory_limit": "4g"}}, "tools.environment"),
        ({"type": "shell", "environment": {"file_ids": ["file-1"]}}, "tools.environment"),
        ({"type": "shell", "environment": {"skills": [{"skill_id": "s"}]}}, "tools.environment"),
        ({"type": "mcp", "tunnel_id": "t"}, "tools.tunnel_id"),
        ({"type": "local_shell", "environment": {"container_id": "c"}}, "tools.environment"),
    ],
)
def test_containers_of_tools_are_small_and_empty(tool: dict[str, Any], named: str) -> None:
    assert_refused(RESPONSES, {"tools": [tool]}, named)


def test_the_smallest_container_is_sold() -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1g"}}
    assert parsed(RESPONSES, tools=[tool]).parts == ["tool:code_interpreter_sessions"]


@pytest.mark.parametrize(
    ("dialect", "fields", "named"),
    [
        (
            CHAT,
            said({"type": "video_url", "video_url": {"url": "gs://b/x.mp4"}}),
            "messages.content.video_url",
        ),
        (CHAT, said({"type": "image_url", "image_url": {"url": "AAAA"}}), "messages.content.image_url"),
        (CHAT, said({"type": "file", "file": {"id": "file-1"}}), "messages.content.file.id"),
        (
            RESPONSES,
            given({"role": "user", "content": [{"type": "input_file", "file_url": "gs://b/x"}]}),
            "input.content.file",
        ),
        (MESSAGES, {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread"),
        (MESSAGES, {"thread": {"type": "create"}}, "thread"),
        (
            MESSAGES,
            {"diagnostics": {"previous_message_id": "msg_1"}},
            "diagnostics.previous_message_id",
        ),
        (
            MESSAGES,
            said({"type": "mcp_tool_result", "content": [STORED_IMAGE]}),
            "messages.content.source.file_id",
        ),
        (
            CHAT,
            said({"type": "tool_result", "content": [STORED_IMAGE]}),
            "messages.content.source.file_id",
        ),
        (CHAT, said(STORED_IMAGE, role="tool"), "messages.content.source.file_id"),
        (CHAT, {"messages": [{"role": "tool", "content": STORED_IMAGE}]}, "messages.content.source.file_id"),
        (
            MESSAGES,
            said(
                {
                    "type": "code_execution_tool_result",
                    "content": {
                        "type": "code_execution_result",
                        "content": [{"type": "code_execution_output", "file_id": "f"}],
                    },
                }
            ),
            "messages.content.file_id",
        ),
        (RESPONSES, given({"type": "reasoning", "id": "rs_1", "summary": []}), "input.reasoning"),
        (
            RESPONSES,
            given({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "so"}]}),
            "input.reasoning",
        ),
        (
            RESPONSES,
            given({"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}),
            "input.container_id",
        ),
        (
            RESPONSES,
            given({"type": "shell_call", "environment": {"container_id": "cntr_1"}}),
            "input.environment",
        ),
        (
            RESPONSES,
            {"prompt_cache_options": {"comparison_response_id": "resp_1"}},
            "prompt_cache_options.comparison_response_id",
        ),
        (MESSAGES, {"compaction": {"type": "summarize"}}, "compaction"),
        (
            MESSAGES,
            {
                "context_management": {
                    "edits": [{"type": "clear_tool_uses_20250919"}, {"type": "compact_20260112"}]
                }
            },
            "context_management",
        ),
        (CHAT, {"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        (
            RESPONSES,
            {"context_management": [{"type": "compaction", "compact_threshold": 1000}]},
            "context_management",
        ),
        (RESPONSES, {"context_management": {"type": "compaction"}}, "context_management"),
        (RESPONSES, given({"type": "compaction_trigger"}), "input"),
        (CHAT, {"service_tier": "batch"}, "service_tier"),
        (COMPLETIONS, {"service_tier": "Batch"}, "service_tier"),
        (RESPONSES, {"service_tier": "batch_priority"}, "service_tier"),
        (MESSAGES, {"service_tier": "batch"}, "service_tier"),
    ],
)
def test_what_is_stored_or_runs_unheld_is_refused(
    dialect: Dialect, fields: dict[str, Any], named: str
) -> None:
    assert_refused(dialect, fields, named)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    "name",
    [
        *("models", "route", "transforms", "plugins", "provider", "Provider", "model_id", "modelId"),
        *("provider_specific_header", "providerSpecificHeader", "provider_specific_headers"),
        *("cached_content", "cachedContent", "serviceTier", "performanceConfig", "performance_config"),
        *("search_parameters", "searchParameters", "enable_search", "connectors"),
        *("response_modalities", "responseModalities", "contextManagement"),
    ],
)
def test_names_of_other_apis_that_cost_or_route_are_refused(dialect: Dialect, name: str) -> None:
    assert_refused(dialect, {name: "x"}, name)


@pytest.mark.parametrize("name", ["thread", "diagnostics", "compaction"])
def test_names_of_anthropics_are_refused_elsewhere(name: str) -> None:
    for dialect in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS):
        assert_refused(dialect, {name: {"type": "create"}}, name)


def test_a_name_drawn_out_is_said_in_part() -> None:
    assert_refused(RESPONSES, {"n" + "_" * 1_000_000: 2}, "n" + "_" * 63)


def test_edits_that_only_clear_the_context_pass() -> None:
    edits = [{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015"}]
    for managed in ({"edits": edits}, {"edits": None}, {}, None):
        assert parsed(MESSAGES, context_management=managed).parts == []


def test_a_conversation_of_responses_passes() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {
            "type": "reasoning",
            "id": "rs_2",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "x"}],
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "x"}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "https://example.org"},
        {"type": "shell_call", "call_id": "d", "environment": {"type": "local", "skills": []}},
        {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "t"}]},
        {"type": "tool_search_output", "tools": []},
    ]
    call = parsed(RESPONSES, input=items, prompt_cache_options={"comparison_response_id": None})
    assert (call.media, call.parts) == (Media(), [])


def test_a_conversation_of_messages_passes() -> None:
    """As coding agents have them."""
    call = parsed(
        MESSAGES,
        system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "me"},
        diagnostics={"previous_message_id": None},
        tools=[{**SCHEMA, "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "see https://example.org"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "gs://x", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"url": "gs://x", "file_id": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [
                            {"type": "text", "text": "x"},
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": "A" * 9},
                            },
                        ],
                    },
                    {"type": "tool_result", "tool_use_id": "u", "content": "gs://x"},
                    {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}},
                    {"type": "search_result", "source": "gs://x", "content": [{"type": "text", "text": "x"}]},
                    {"type": "compaction", "content": "x", "tool_changes": None},
                ],
            },
        ],
    )
    assert (call.media, call.media_bytes, call.parts) == (Media(images=1), 9, [])
