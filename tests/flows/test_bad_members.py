"""Members of a body that no caller may use: they choose upstream's routes, cost unseen, or reach another's objects.

Each is refused by its name, in every dialect, before anything is held.
"""

from __future__ import annotations

from typing import Any

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
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House
from tests.flows.refusing import asking, refusing

MIB = 1024 * 1024

# U+017F and U+212A are an s and a k to whoever folds case as Unicode says.
CASED: dict[Dialect, tuple[str, ...]] = {
    CHAT: ("Max_Completion_Tokens", "max_to\u212aens", "N", "Stream_Options", "me\u017f\u017fages"),
    COMPLETIONS: ("Max_Tokens", "Best_Of", "Prompt"),
    RESPONSES: (
        "Max_Output_Tokens",
        "max_output_to\u212aens",
        "Background",
        "previou\u017f_response_id",
        "Input",
    ),
    MESSAGES: ("Max_Tokens", "max_to\u212aens", "Thinking", "\u017fystem"),
    COUNT_TOKENS: ("Messages", "\u017fystem"),
    EMBEDDINGS: ("Input",),
}


async def test_a_priced_name_in_another_case_is_refused_with_the_right_one(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for name in ("Model", "MODEL", "STREAM", "\u017ftream", "u\u017fer", "Metadata", *CASED[dialect]):
                sent = desk.request(dialect.path, asking(dialect, **{name: "words"}))
                await desk.refused(
                    name, dialect, sent, 400, "invalid_request", field=name, says="did you mean"
                )


ROUTING = [
    *("api_key", "API_KEY", "api_base", "base_url", "api_version", "organization", "custom_llm_provider"),
    *("fallbacks", "context_window_fallbacks", "disable_fallbacks", "num_retries", "max_retries", "timeout"),
    *(
        "model_list",
        "user_config",
        "litellm_metadata",
        "litellm_params",
        "litellm_call_id",
        "proxy_server_request",
    ),
    *(
        "litellm_credential_name",
        "litellm_system_prompt",
        "_litellm_strip_stream_usage",
        "specific_deployment",
    ),
    *("mock_response", "mock_tool_calls", "tags", "guardrails", "no-log", "secret_fields", "extra_body"),
    *(
        "extra_headers",
        "headers",
        "aws_access_key_id",
        "aws_role_name",
        "azure_ad_token",
        "vertex_credentials",
    ),
    *("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "user_api_key_user_id"),
    *(
        "additional_drop_params",
        "allowed_openai_params",
        "drop_params",
        "prompt_id",
        "cache_key",
        "silent_model",
    ),
]


async def test_members_that_would_choose_upstreams_routes_are_refused_by_name(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for name in ROUTING:
                for value in ("x", None):
                    sent = desk.request(dialect.path, asking(dialect, **{name: value}))
                    await desk.refused(
                        name, dialect, sent, 400, "invalid_request", field=name, says="routing"
                    )
            for name in ("tags", "TAGS", "spend_logs_metadata", "model_group", "user_api_key_team_id"):
                sent = desk.request(dialect.path, asking(dialect, metadata={name: "x"}))
                named = f"metadata.{name}"
                await desk.refused(named, dialect, sent, 400, "invalid_request", field=named, says="routing")
            long = desk.request(dialect.path, asking(dialect, **{"mock_" + "x" * MIB: 1}))
            named = ("mock_" + "x" * MIB)[:64]
            await desk.refused("a long name", dialect, long, 400, "invalid_request", field=named)


# Fields of another API: LiteLLM carries them on, so that they would be obeyed and are not priced here.
FOREIGN: dict[Dialect, tuple[str, ...]] = {
    CHAT: (
        "best_of",
        "max_output_tokens",
        "speed",
        "inference_geo",
        "mcp_servers",
        "candidate_count",
        "prompt",
    ),
    COMPLETIONS: ("max_completion_tokens", "tools", "web_search_options", "modalities", "max_new_tokens"),
    RESPONSES: ("n", "max_tokens", "max_completion_tokens", "web_search_options", "generationConfig"),
    MESSAGES: (
        "n",
        "max_completion_tokens",
        "max_output_tokens",
        "web_search_options",
        "max_tokens_to_sample",
    ),
    COUNT_TOKENS: ("n", "web_search_options", "max_completion_tokens"),
    EMBEDDINGS: ("n", "max_tokens", "tools", "service_tier", "web_search_options"),
}
STORED = ("background", "previous_response_id", "conversation", "container", "vector_store_ids")


async def test_costly_members_of_another_api_and_stored_objects_are_refused_by_name(
    house: House, upstream: FakeUpstream
) -> None:
    values: dict[str, Any] = {"background": True}
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for name in (*FOREIGN[dialect], *STORED):
                sent = desk.request(dialect.path, asking(dialect, **{name: values.get(name, "another's")}))
                await desk.refused(name, dialect, sent, 400, "invalid_request", field=name)


def said(part: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]}


def given(item: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "hi"}, item]}


def shown(part: Any) -> dict[str, Any]:
    return given({"role": "user", "content": [part]})


FILE = {"type": "file", "file": {"file_id": "file-1"}}
DOCUMENT = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
IMAGE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
UPLOAD = {"type": "container_upload", "file_id": "file_1"}
SEARCH = {"type": "file_search", "vector_store_ids": ["vs_1"]}
INTERPRETER = {"type": "code_interpreter", "container": "cntr_1"}
SHELL = {"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [DOCUMENT]}
SKILL = {"skills": [{"type": "custom", "skill_id": "skill_1"}]}
# A part of one dialect is refused in another too: LiteLLM carries it there.
OBJECTS: list[tuple[Dialect, dict[str, Any], str]] = [
    (CHAT, said(FILE), "messages.content.file.file_id"),
    (CHAT, said(DOCUMENT), "messages.content.source.file_id"),
    (CHAT, said(IMAGE), "messages.content.source.file_id"),
    (CHAT, said(UPLOAD), "messages.content.file_id"),
    (CHAT, said({"type": "input_file", "file_id": "file-1"}), "messages.content.file_id"),
    (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "messages.audio"),
    (CHAT, {"tools": [SEARCH]}, "tools.vector_store_ids"),
    (CHAT, {"tools": [INTERPRETER]}, "tools.container"),
    (RESPONSES, shown({"type": "input_file", "file_id": "file-1"}), "input.content.file_id"),
    (RESPONSES, shown({"type": "input_image", "file_id": "file-1"}), "input.content.file_id"),
    (RESPONSES, shown(FILE), "input.content.file.file_id"),
    (RESPONSES, shown(DOCUMENT), "input.content.source.file_id"),
    (RESPONSES, given({"type": "item_reference", "id": "msg_1"}), "input.item_reference"),
    (RESPONSES, given({"id": "msg_1"}), "input.item_reference"),
    (RESPONSES, given({"type": "image_generation_call", "id": "ig_1"}), "input.image_generation_call"),
    (RESPONSES, {"prompt": {"id": "pmpt_1"}}, "prompt"),
    (RESPONSES, {"tools": [SEARCH]}, "tools.vector_store_ids"),
    (RESPONSES, {"tools": [INTERPRETER]}, "tools.container"),
    (RESPONSES, {"tools": [SHELL]}, "tools.environment"),
    (MESSAGES, said(DOCUMENT), "messages.content.source.file_id"),
    (MESSAGES, said(RESULT), "messages.content.source.file_id"),
    (MESSAGES, said(UPLOAD), "messages.content.file_id"),
    (MESSAGES, said(FILE), "messages.content.file.file_id"),
    (MESSAGES, {"container": {"id": "container_1"}}, "container"),
    (MESSAGES, {"container": SKILL}, "container"),
    (COUNT_TOKENS, said(IMAGE), "messages.content.source.file_id"),
]


async def test_an_object_stored_at_the_provider_may_be_anothers(house: House, upstream: FakeUpstream) -> None:
    """All callers share one account there."""
    async with refusing(house, upstream) as desk:
        for dialect, members, field in OBJECTS:
            sent = desk.request(dialect.path, asking(dialect, **members))
            await desk.refused(members, dialect, sent, 400, "invalid_request", field=field, says="stored")


async def test_what_is_looked_up_as_a_price_is_short(house: House, upstream: FakeUpstream) -> None:
    """Names of tiers, places and tools are remembered with their price; a caller may make up endless ones."""
    async with refusing(house, upstream) as desk:
        for dialect in (CHAT, COMPLETIONS, RESPONSES, MESSAGES):
            names = {"service_tier": "t" * MIB}
            if dialect is MESSAGES:
                names |= {"speed": "s" * 65, "inference_geo": "g" * 65}
            for name, value in names.items():
                sent = desk.request(dialect.path, asking(dialect, **{name: value}))
                await desk.refused(name, dialect, sent, 400, "invalid_request", field=name, says="64")
            if dialect is not COMPLETIONS:
                for tools in ([{"type": "t" * MIB}], [{"type": f"t{number}"} for number in range(17)]):
                    sent = desk.request(dialect.path, asking(dialect, tools=tools))
                    await desk.refused("tools", dialect, sent, 400, "invalid_request", field="tools")
