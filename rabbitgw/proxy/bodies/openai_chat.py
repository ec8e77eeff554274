"""Bodies of chat completions.

Source: openai-python types/chat/completion_create_params.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import Found, member, parts_or_one, read_part, refuse_message_tools
from rabbitgw.proxy.bodies.shape import Shape, mark_openai
from rabbitgw.proxy.bodies.tools import USES_MAX, add_uses, priced_name, read_functions, read_tools
from rabbitgw.proxy.call import Call, optional, optional_count, output_limit, stored_object

CHOICES_MAX: Final = 128
LONG_RETENTIONS: Final = (None, "in_memory", "in-memory")  # a tuple: the value may be of any type
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
# What `_read_rare` reads.
_RARE: Final = frozenset(
    {
        *(
            "n",
            "service_tier",
            "tools",
            "functions",
            "modalities",
            "audio",
            "web_search_options",
            "prediction",
        ),
        "prompt_cache_retention",
    }
)


def read_chat(call: Call) -> None:
    body = call.body
    if "stream" in body or "stream_options" in body:
        read_stream(call)
    else:
        call.wants_usage = False
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestInvalid("messages: a non-empty list is required", field="messages")
    if _RARE.isdisjoint(body):
        if "max_tokens" in body or "max_completion_tokens" in body:
            call.output_limit = output_limit(call)
    else:
        _read_rare(call)
    for message in messages:
        if (
            message.__class__ is not dict
            or len(message) != 2
            or "role" not in message
            or message.get("content").__class__ is not str
        ):  # nearly always none
            _read_messages(call, messages)
            break


def _read_rare(call: Call) -> None:
    """What few calls have and may cost more; and the output limit, as what is refused is found in this order."""
    body = call.body
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


def read_stream(call: Call) -> None:
    """`stream`, and whether the usage chunk is the caller's own wish."""
    body = call.body
    if "stream" in body:
        call.stream = optional(body, "stream", bool) or False
    options: dict[str, Any] = {}
    if "stream_options" in body:
        options = optional(body, "stream_options", dict) or options
    if options and not call.stream:
        raise RequestInvalid("stream_options: only allowed when stream is true", field="stream_options")
    call.wants_usage = bool(options.get("include_usage"))


def read_tier(call: Call) -> None:
    call.tier = priced_name(call.body, "service_tier")
    if call.tier is not None:
        if call.tier.strip().casefold().startswith("batch"):
            raise RequestInvalid("service_tier: answers are given while you wait", field="service_tier")
        call.parts.append(f"service_tier:{call.tier}")


def _read_messages(call: Call, messages: list[Any]) -> None:
    """The media in them, and what in them is not sold."""
    found = None
    spoken = False  # an earlier spoken answer may be named by its id
    for message in messages:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, str) and len(message) == 2 and "role" in message:
            continue  # nearly always
        refuse_message_tools(message)
        spoken = spoken or message.get("audio") is not None
        for part in parts_or_one(content):
            if part.get("type") != "text":
                found = found or Found()
                # LiteLLM takes Anthropic's documents here too
                read_part(part, found, "messages.content")
    if found is not None:
        found.write(call)
    if spoken:
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
