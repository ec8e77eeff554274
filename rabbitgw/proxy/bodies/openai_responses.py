"""Bodies of responses.

Whatever stands for an object stored at the provider is refused, as all callers share one account there: an earlier
response, a conversation, a stored prompt, an item by its id, a file, a container, a vector store. A background answer
is refused because it is billed when it is polled, after its hold is gone.
Source: openai-python types/responses/{response_create_params,response_input_item_param,tool_param}.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import Found, declared_tools, parts_of, parts_or_one, read_part
from rabbitgw.proxy.bodies.openai_chat import LONG_RETENTIONS, read_tier
from rabbitgw.proxy.bodies.shape import Shape, mark_openai
from rabbitgw.proxy.bodies.tools import is_stored_environment, read_tools
from rabbitgw.proxy.call import Call, no_stored_object, optional, output_limit, stored_object

_PRICED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "max_output_tokens",
        "max_tool_calls",
        "input",
        "instructions",
        "tools",
        "service_tier",
        "user",
        "metadata",
        "store",
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
        "prompt_cache_retention",
        "prompt_cache_options",
        "context_management",
    }
)


# Of an item of what was said, none of which is looked at but its content.
_SAID: Final = (None, "message")
_MESSAGE_MEMBERS: Final = frozenset({"type", "role", "content", "status", "phase"})


def read_responses(call: Call) -> None:
    body = call.body
    call.stream = optional(body, "stream", bool) or False
    if optional(body, "background", bool):
        raise RequestInvalid(
            "background: answers are given while you wait; leave this field out", field="background"
        )
    no_stored_object(body, "previous_response_id", "conversation", "prompt")
    wanted = body.get("input")
    if not isinstance(wanted, str | list) or not wanted:
        raise RequestInvalid("input: a text or a non-empty list is required", field="input")
    call.output_limit = output_limit(call)
    read_tier(call)
    if body.get("tools") is not None:
        read_tools(call)
    if body.get("prompt_cache_retention") not in LONG_RETENTIONS:
        call.long_cache = True
    if isinstance(wanted, list):
        found = Found()
        for item in parts_of(wanted):
            _read_item(item, found)
        found.write(call)


def _read_item(item: dict[str, Any], found: Found) -> None:
    kind = item.get("type")
    if kind in _SAID and item.keys() <= _MESSAGE_MEMBERS:  # nearly always
        for part in parts_or_one(item.get("content")):
            read_part(part, found, "input.content")
        return
    if kind == "item_reference" or (kind is None and "id" in item and "role" not in item):
        raise stored_object("input.item_reference")
    if kind == "image_generation_call":
        if item.get("result") is None:
            raise stored_object("input.image_generation_call")
        found.image(item["result"], "input.image_generation_call", bare=True)
    if kind == "reasoning" and item.get("id") is not None and not _carries_thought(item):
        raise stored_object("input.reasoning")
    if kind == "code_interpreter_call" and item.get("container_id") is not None:
        raise stored_object("input.container_id")
    if is_stored_environment(item.get("environment")):
        raise stored_object("input.environment")
    if kind == "additional_tools" or (item.get("tools") and kind != "mcp_list_tools"):
        raise declared_tools("input.tools")
    if kind == "compaction_trigger":
        raise RequestInvalid("input: a turn that sums up the input is not sold", field="input")
    for holder in (item.get("content"), item.get("output")):
        for part in parts_or_one(holder):
            read_part(part, found, "input.content")


def _carries_thought(item: dict[str, Any]) -> bool:
    """Else the provider looks it up by its id; a summary is not what was thought."""
    return bool(item.get("encrypted_content")) or any(
        part.get("text") for part in parts_of(item.get("content"))
    )


RESPONSES_BODY: Final = Shape(_PRICED, read_responses, mark_openai)
