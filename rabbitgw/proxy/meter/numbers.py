"""Numbers and objects as providers state them, read without trust.

Owns the checks that keep a strange value from becoming a charge: a count is an integer from 0 to COUNT_MAX,
any member may be null, absent or of another type. Also the OpenAI-shaped usage object, which chat,
completions, responses, embeddings, images and audio share under two sets of names.
Source: openai-python types/completion_usage.py, types/responses/response_usage.py, types/images_response.py.
"""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

import orjson

from rabbitgw.billing.usage import Usage

COUNT_MAX: Final = 10**12  # tokens; no call comes near, and the cost still fits 64 bits at any listed price

_INPUT_COUNTS: Final = ("prompt_tokens", "input_tokens")
_OUTPUT_COUNTS: Final = ("completion_tokens", "output_tokens", "total_tokens")
_USAGE_COUNTS: Final = (*_INPUT_COUNTS, *_OUTPUT_COUNTS, "seconds")
# All that the usual usage object holds, under each of its two sets of names.
_CHAT_MEMBERS: Final = frozenset(
    {
        *("prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_tokens_details", "completion_tokens_details"),
    }
)
_RESPONSES_MEMBERS: Final = frozenset(
    {"input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"}
)

Object = dict[str, Any]


def parse(data: bytes | bytearray) -> Any:
    """JSON, or None when it is none.

    orjson refuses lone surrogates and bytes that are no UTF-8, which some upstreams send when they cut a
    character in two; the standard library reads those.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def obj(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def stated(value: Any) -> int | None:
    """A count that the provider stated; None for null, absent and nonsense."""
    if value.__class__ is int:  # nearly always; a bool's class is another
        return value if 0 <= value <= COUNT_MAX else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= COUNT_MAX:
        return None
    return int(value)


def count(*values: Any) -> int:
    """The first stated count; 0 when there is none."""
    for value in values:
        if value is not None and (number := stated(value)) is not None:
            return number
    return 0


def milli(value: Any) -> int:
    """Seconds as whole thousandths, rounded up."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        seconds = Decimal(str(value))
    except InvalidOperation:
        return 0
    if not seconds.is_finite() or not 0 < seconds <= COUNT_MAX:
        return 0
    return int((seconds * 1000).to_integral_value(ROUND_CEILING))


def states_usage(usage: Any) -> bool:
    """Whether a usage object says anything that can be charged: `{}` and one with only a cost do not."""
    if not isinstance(usage, dict):
        return False
    return _states_any(usage, _USAGE_COUNTS)


def states_output(usage: Object | None) -> bool:
    """Whether the output can be told from a usage object: it is counted, or the total beside the input is."""
    return usage is not None and _states_any(usage, _OUTPUT_COUNTS)


def states_input(usage: Object | None) -> bool:
    """Whether the input is counted in a usage object."""
    return usage is not None and _states_any(usage, _INPUT_COUNTS)


def _states_any(usage: Object, names: tuple[str, ...]) -> bool:
    for name in names:  # noqa: SIM110  the first is nearly always there, and a generator costs as much as all of it
        if stated(usage.get(name)) is not None:
            return True
    return False


def openai_usage(
    usage: Object, service_tier: str | None = None, server_tools: dict[str, int] | None = None
) -> Usage:
    """The normal form of an OpenAI-shaped usage object. `server_tools`: where they are not stated in it.

    `prompt_tokens`/`input_tokens` and `completion_tokens`/`output_tokens` are totals; all details are parts
    of them (cached, written, audio, image; reasoning, audio, rejected predictions), and any may be null or
    absent. Numbers that only fit the other reading are read that way: parts larger than their total were
    stated beside it (proxies that pass Anthropic's exclusive count on; providers whose completion leaves
    reasoning out).
    """
    # nearly always two totals, whose details are absent, null or all zeros: that takes a fifth of the time
    members = usage.keys()
    if members <= _CHAT_MEMBERS:
        input_tokens, output_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
        into, out = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    elif members <= _RESPONSES_MEMBERS:
        input_tokens, output_tokens = usage.get("input_tokens"), usage.get("output_tokens")
        into, out = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    else:
        return detailed_usage(usage, service_tier, server_tools)
    if (
        input_tokens.__class__ is not int
        or output_tokens.__class__ is not int
        or not 0 <= input_tokens <= COUNT_MAX
        or not 0 <= output_tokens <= COUNT_MAX
        or (into and (into.__class__ is not dict or any(into.values())))
        or (out and (out.__class__ is not dict or any(out.values())))
    ):
        return detailed_usage(usage, service_tier, server_tools)
    made = Usage(input_tokens, output_tokens)
    made.service_tier = service_tier
    if server_tools:
        made.server_tools = server_tools
    return made


def detailed_usage(usage: Object, service_tier: str | None, server_tools: dict[str, int] | None) -> Usage:
    """`openai_usage` of whatever is stated."""
    into = obj(usage.get("prompt_tokens_details")) or obj(usage.get("input_tokens_details"))
    into = into or obj(usage.get("input_token_details"))
    out = obj(usage.get("completion_tokens_details")) or obj(usage.get("output_tokens_details"))
    out = out or obj(usage.get("output_token_details"))
    total = stated(usage.get("total_tokens"))
    input_tokens = count(usage.get("prompt_tokens"), usage.get("input_tokens"))
    output = stated(usage.get("completion_tokens"))
    output = stated(usage.get("output_tokens")) if output is None else output
    if output is None:
        output = max((total or 0) - input_tokens, 0)

    cached = count(
        into.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),  # LiteLLM, beside the same number in the details
        usage.get("prompt_cache_hit_tokens"),  # DeepSeek
        usage.get("cached_tokens"),  # Hugging Face, Together, Moonshot
    )
    short, long = _cache_writes(usage, into)
    if cached + short + long > input_tokens:
        input_tokens += cached + short + long

    reasoning = count(out.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    beside = reasoning > 0 and total is not None and total == input_tokens + output + reasoning
    if reasoning > output or beside:
        output += reasoning

    return Usage(
        input_tokens=input_tokens,
        output_tokens=output,
        cached_input_tokens=cached,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        reasoning_tokens=reasoning,
        audio_input_tokens=_part(into, "audio_tokens", input_tokens),
        audio_output_tokens=_part(out, "audio_tokens", output),
        image_input_tokens=_part(into, "image_tokens", input_tokens),
        image_output_tokens=_part(out, "image_tokens", output),
        seconds_milli=milli(usage["seconds"]) if "seconds" in usage else 0,
        service_tier=service_tier,
        server_tools=_tools_used(usage, into) if server_tools is None else server_tools,
    )


def _tools_used(usage: Object, into: Object) -> dict[str, int]:
    """Where LiteLLM states them, or, of searches in chat, among the details of the prompt."""
    if "server_tool_use" in usage:
        return tool_counts(usage["server_tool_use"])
    searches = count(into.get("web_search_requests"))
    return {"web_search_requests": searches} if searches else {}


def _part(details: Object, name: str, total: int) -> int:
    """A part of a total: never more than that."""
    value = details.get(name)
    return min(count(value), total) if value else 0


def _cache_writes(usage: Object, into: Object) -> tuple[int, int]:
    """Tokens written to the cache for a short time (5 or 30 minutes) and a long one (1 or 12 hours)."""
    if not into and "cache_creation_input_tokens" not in usage:
        return 0, 0
    written = count(
        into.get("cache_write_tokens"),
        into.get("cache_creation_tokens"),  # LiteLLM
        usage.get("cache_creation_input_tokens"),  # LiteLLM again: one number under three names
    )
    split = obj(into.get("cache_write_tokens_details")) or obj(into.get("cache_creation_token_details"))
    long = count(split.get("ttl_12h_tokens")) + count(split.get("ephemeral_1h_input_tokens"))
    short = count(split.get("ttl_30m_tokens")) + count(split.get("ephemeral_5m_input_tokens"))
    written = written or short + long
    long = min(long, written)
    return written - long, long


def tool_counts(value: Any) -> dict[str, int]:
    """Per-request tools by name, as stated, zeros included."""
    if not isinstance(value, dict):
        return {}
    return {name: number for name, raw in value.items() if (number := stated(raw)) is not None}


def service_tier(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
