"""Bodies of chat completions.

Source: openai-python types/chat/completion_create_params.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import Found, content_parts, member, read_part
from rabbitgw.proxy.bodies.shape import Shape, mark_openai
from rabbitgw.proxy.bodies.tools import USES_MAX, add_uses, priced_name, read_functions, read_tools
from rabbitgw.proxy.call import Call, optional, optional_count, output_limit, stored_object

CHOICES_MAX: Final = 128
LONG_RETENTIONS: Final = frozenset({None, "in_memory", "in-memory"})
_PRICED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "messages",
        "tools",
        "service_tier",
        "modalities",
        "web_search_options",
        "user",
        "metadata",
        "store",
        "audio",
        "prediction",
        "prompt_cache_retention",
        "prompt_cache_options",
        "functions",
        "context_management",
    }
)


def read_chat(call: Call) -> None:
    body = call.body
    read_stream(call)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestInvalid("messages: a non-empty list is required", field="messages")
    call.choices = optional_count(body, "n", CHOICES_MAX) or 1
    call.output_limit = output_limit(call)
    read_tier(call)
    if body.get("tools") is not None:
        read_tools(call)
    read_functions(call)
    modalities: Any = body.get("modalities")
    if body.get("audio") or (isinstance(modalities, list) and "audio" in modalities):
        call.parts.append("audio_output")
    if body.get("web_search_options") is not None:
        add_uses(call, {"web_search_requests": USES_MAX})
    if body.get("prediction") is not None:
        call.predicted_bytes = text_bytes(member(body["prediction"], "content"))
    if body.get("prompt_cache_retention") not in LONG_RETENTIONS:
        call.long_cache = True
    read_media(call, messages)


def read_stream(call: Call) -> None:
    """`stream`, and whether the usage chunk is the caller's own wish."""
    call.stream = optional(call.body, "stream", bool) or False
    options: dict[str, Any] = optional(call.body, "stream_options", dict) or {}
    if options and not call.stream:
        raise RequestInvalid("stream_options: only allowed when stream is true", field="stream_options")
    call.wants_usage = bool(options.get("include_usage"))


def read_tier(call: Call) -> None:
    call.tier = priced_name(call.body, "service_tier")
    if call.tier is not None:
        if call.tier.strip().casefold().startswith("batch"):
            raise RequestInvalid("service_tier: answers are given while you wait", field="service_tier")
        call.parts.append(f"service_tier:{call.tier}")


def read_media(call: Call, messages: list[Any]) -> None:
    found = None
    for part in content_parts(messages):
        if part.get("type") == "text":
            continue
        found = found or Found()
        read_part(part, found, "messages.content")  # LiteLLM takes Anthropic's documents here too
    if found is not None:
        found.write(call)
    for message in messages:  # an earlier spoken answer may be named by its id
        if isinstance(message, dict) and message.get("audio") is not None:
            raise stored_object("messages.audio")


def text_bytes(content: Any) -> int:
    """Of text that is a string or a list of text parts."""
    if isinstance(content, str):
        return len(content.encode("utf-8", "surrogatepass"))
    if not isinstance(content, list):
        return 0
    return sum(text_bytes(text) for part in content if isinstance(text := member(part, "text"), str))


def mark_chat(call: Call, user: str, request_id: str) -> None:
    """The usage of a stream is asked for in any case: the books need it."""
    if call.stream:
        call.body["stream_options"] = {**(call.body.get("stream_options") or {}), "include_usage": True}
    mark_openai(call, user, request_id)


CHAT_BODY: Final = Shape(_PRICED, read_chat, mark_chat)
