"""Names at the top of a body that are refused: what would choose upstream's routes, and what would cost unseen.

LiteLLM obeys its own fields whoever sends them, and carries those it does not know on to the provider. So a field by
which one API asks for more output, another place or a stored object is refused in each API that does not have it: it
was not priced there, and might be obeyed.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.call import stored_object

SHOWN_CHARS_MAX: Final = 64  # a caller may make up a name as long as the body
# By these LiteLLM lets a request choose credentials, routes or bookkeeping: ours to decide.
ROUTING_FIELDS: Final = frozenset(
    {
        "additional_drop_params",  # with it LiteLLM drops the output limit that was held for
        "allowed_model_region",
        "allowed_openai_params",
        "api_base",
        "api_key",
        "api_version",
        "base_model",
        "base_url",
        "cache_key",
        "client_id",
        "client_secret",
        "content_policy_fallbacks",
        "context_window_fallback_dict",
        "context_window_fallbacks",
        "custom_llm_provider",
        "custom_prompt_dict",
        "deployment_id",
        "disable_fallbacks",
        "drop_params",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "force_timeout",
        "guardrails",
        "headers",
        "max_agentic_loops",
        "max_fallbacks",
        "max_retries",
        "model_alias_map",
        "model_config",
        "model_id",
        "model_info",
        "model_list",
        "models",
        "no-log",
        "num_retries",
        "organization",
        "plugins",
        "preset_cache_key",
        "prompt_id",
        "prompt_label",
        "prompt_variables",
        "prompt_version",
        "provider",
        "provider_specific_header",
        "provider_specific_headers",
        "proxy_server_request",
        "region_name",
        "request_timeout",
        "retry_policy",
        "retry_strategy",
        "route",
        "router_settings_override",
        "routing_strategy",
        "rust",
        "secret_fields",
        "silent_model",
        "specific_deployment",
        "ssl_verify",
        "stream_timeout",
        "tags",
        "tenant_id",
        "text_completion",
        "timeout",  # upstream would give up an answer that the provider goes on to bill
        "transforms",
        "turn_off_message_logging",
        "use_chat_completions_api",
        "use_in_pass_through",
        "use_litellm_proxy",
        "user_config",
    }
)
ROUTING_PREFIXES: Final = (
    "_",
    "aws_",
    "azure_",
    "cache_creation_input_",
    "cache_read_input_",
    "gcs_",
    "input_cost_per_",
    "langfuse_",
    "langsmith_",
    "litellm_",
    "mock_",
    "output_cost_per_",
    "s3_",
    "user_api_key",
    "vertex_",
)
METADATA_ROUTING: Final = frozenset({"tags", "user_id", "spend_logs_metadata", "model_group", "deployment"})
# As the APIs sold here call it, or providers do, in lower case: how much is produced, where, from whose store.
_COSTLY: Final = frozenset(
    {
        *("n", "best_of", "candidate_count", "candidatecount", "num_return_sequences"),
        *(
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "max_tokens_to_sample",
            "max_new_tokens",
        ),
        *("maxtokens", "maxoutputtokens", "num_predict", "n_predict", "max_tool_calls"),
        *("generation_config", "generationconfig", "inferenceconfig", "additionalmodelrequestfields"),
        *("tools", "web_search_options", "mcp_servers", "container", "modalities", "audio", "prediction"),
        *("service_tier", "speed", "inference_geo"),
        *("background", "previous_response_id", "conversation", "prompt", "vector_store_ids"),
        *("thread", "diagnostics", "cached_content", "connectors"),
        *("compaction", "context_management", "functions", "response_modalities", "performance_config"),
        *("search_parameters", "enable_search", "prompt_cache_options"),
    }
)


def squeezed(name: str) -> str:
    """Lower case without what parts the words: one form for the snake and the camel of a name."""
    return name.casefold().replace("_", "").replace("-", "")


# Fields that many calls have, in one API or another, and no rule below refuses: they need no look.
_HARMLESS: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "stop", "stop_sequences", "seed", "presence_penalty"),
        *("frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format", "tool_choice"),
        *("parallel_tool_calls", "reasoning_effort", "reasoning", "verbosity", "text", "instructions"),
        *("include", "truncation", "safety_identifier", "prompt_cache_key", "store", "user", "system"),
        *("thinking", "dimensions", "encoding_format", "echo", "suffix", "function_call"),
    }
)
# Whose members `check_members` looks at.
_WITH_MEMBERS: Final = frozenset({"compaction", "context_management", "prompt_cache_options"})
_ROUTING_SQUEEZED: Final = frozenset(map(squeezed, ROUTING_FIELDS))
_COSTLY_SQUEEZED: Final = frozenset(map(squeezed, _COSTLY))


def unchecked(own: frozenset[str]) -> frozenset[str]:
    """The names of which neither `check_names` nor `check_members` can refuse any, in an API with these of its own."""
    return (own | _HARMLESS) - _WITH_MEMBERS


def check_names(body: dict[str, Any], own: frozenset[str]) -> None:
    """`own`: the names that this API reads or passes knowingly. Raises: RequestInvalid naming the field.

    Some upstreams read names without regard to case, so that a variant could be obeyed there and missed here.
    """
    for name, value in body.items():
        if name in own:
            continue
        folded = name.casefold()
        if folded in own:
            raise RequestInvalid(f"unknown field {name!r}: did you mean {folded!r}?", field=name)
        bare = squeezed(name)
        shown = name[:SHOWN_CHARS_MAX]
        if bare in _ROUTING_SQUEEZED or folded.startswith(ROUTING_PREFIXES):
            raise RequestInvalid(f"{shown}: routing is the gateway's; leave this field out", field=shown)
        if bare in _COSTLY_SQUEEZED and value is not None:
            raise RequestInvalid(f"{shown}: no field of this API; leave it out", field=shown)


def check_members(body: dict[str, Any]) -> None:
    """Members of known fields that cost unseen or name a stored object. Raises: RequestInvalid naming the field.

    To sum up the context is a further turn of the model, which no hold covers; to clear it is none.
    """
    if body.get("compaction") is not None:
        raise RequestInvalid("compaction: a turn that sums up the context is not sold", field="compaction")
    managed = body.get("context_management")
    edits = managed.get("edits") or [] if isinstance(managed, dict) else managed or []
    if (isinstance(managed, dict) and not managed.keys() <= {"edits"}) or not (
        isinstance(edits, list) and all(_clears(edit) for edit in edits)
    ):
        raise RequestInvalid("context_management: only edits that clear are sold", field="context_management")
    options = body.get("prompt_cache_options")
    if isinstance(options, dict) and options.get("comparison_response_id") is not None:
        raise stored_object("prompt_cache_options.comparison_response_id")


def _clears(edit: Any) -> bool:
    return isinstance(edit, dict) and str(edit.get("type")).startswith("clear_")


def check_metadata(metadata: dict[str, Any], *, anthropic: bool) -> None:
    """Raises: RequestInvalid naming the member."""
    for name in metadata:
        folded = name.casefold()
        if folded in METADATA_ROUTING or folded.startswith("user_api_key"):
            if anthropic and name == "user_id":  # there it is replaced
                continue
            field = f"metadata.{name[:SHOWN_CHARS_MAX]}"
            raise RequestInvalid(f"{field}: routing is the gateway's", field=field)
