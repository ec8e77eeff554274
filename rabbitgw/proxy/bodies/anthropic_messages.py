"""Bodies of Anthropic's messages, and of count_tokens, which has the same fields and costs nothing.

Files and containers stored at the provider are refused, as all callers share one account there.
Source: anthropic-python types/message_create_params.py and types/beta/message_create_params.py.
"""

from __future__ import annotations

from typing import Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import Found, member, parts_of, parts_or_one, read_contents, read_part
from rabbitgw.proxy.bodies.openai_chat import read_tier
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.bodies.tools import add_uses, priced_name, read_tools
from rabbitgw.proxy.call import (
    Call,
    no_stored_object,
    optional,
    optional_count,
    output_limit,
    stored_object,
)

FAST: Final = "fast"
THINKING_TOKENS_MAX: Final = 10_000_000
_PRICED: Final = frozenset(
    {
        "model",
        "stream",
        "max_tokens",
        "messages",
        "system",
        "tools",
        "thinking",
        "service_tier",
        "inference_geo",
        "speed",
        "metadata",
        "container",
        "mcp_servers",
        "user",
        "thread",
        "diagnostics",
        "compaction",
        "context_management",
    }
)


def read_messages(call: Call) -> None:
    body = call.body
    call.stream = optional(body, "stream", bool) or False
    call.output_limit = output_limit(call)
    read_tier(call)
    _read_places(call)
    if body.get("tools") is not None:
        read_tools(call)
    if body.get("mcp_servers"):
        add_uses(call, {"mcp_servers": 0})
    thinking = optional(body, "thinking", dict) or {}
    # a limit below this is an error of its own at the provider
    call.least_output = optional_count(thinking, "budget_tokens", THINKING_TOKENS_MAX) or 0
    _read_prompt(call)


def read_count_tokens(call: Call) -> None:
    if call.body.get("stream"):
        raise RequestInvalid("stream: a count of tokens is not streamed", field="stream")
    _read_prompt(call)


def _read_places(call: Call) -> None:
    """How fast and where it is served: both have prices of their own."""
    speed = priced_name(call.body, "speed")
    if speed is not None:
        call.parts.append(f"speed:{speed}")
        if speed == FAST:
            call.tier = FAST  # sold at its own price, whatever the tier of capacity
    place = priced_name(call.body, "inference_geo")
    if place is not None:
        call.parts.append(f"inference_geo:{place}")


def _read_prompt(call: Call) -> None:
    body = call.body
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestInvalid("messages: a non-empty list is required", field="messages")
    container = body.get("container")
    own_skills = [one for one in parts_of(member(container, "skills")) if one.get("type") != "anthropic"]
    if isinstance(container, str) or member(container, "id") is not None or own_skills:
        raise stored_object("container")
    no_stored_object(body, "thread")  # a conversation that the provider keeps
    if member(body.get("diagnostics"), "previous_message_id") is not None:
        raise stored_object("diagnostics.previous_message_id")
    found = Found()
    read_contents(messages, found)
    for block in parts_or_one(body.get("system")):
        read_part(block, found, "system")
    found.write(call)


def mark_messages(call: Call, user: str, request_id: str) -> None:
    """`metadata.user_id` is who upstream counts for. Anthropic's API takes no further field: our id is in a header."""
    del request_id
    call.body["metadata"] = {**(call.body.get("metadata") or {}), "user_id": user}
    if "user" in call.body:  # LiteLLM would believe this one first
        call.body["user"] = user


def mark_count_tokens(call: Call, user: str, request_id: str) -> None:
    """Nothing: the API takes the prompt and no more."""


MESSAGES_BODY: Final = Shape(_PRICED, read_messages, mark_messages)
COUNT_TOKENS_BODY: Final = Shape(_PRICED, read_count_tokens, mark_count_tokens)
