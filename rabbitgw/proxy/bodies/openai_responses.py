"""Bodies of responses.

Whatever stands for an object stored at the provider is refused, as all callers share one account there: an earlier
response, a conversation, a stored prompt, an item by its id, a file, a container, a vector store. A background answer
is refused because it is billed when it is polled, after its hold is gone.
Source: openai-python types/responses/{response_create_params,response_input_item_param,tool_param}.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import Found, member, parts_of, refuse_stored_file
from rabbitgw.proxy.bodies.openai_chat import LONG_RETENTIONS, read_tier
from rabbitgw.proxy.bodies.shape import Shape, mark_openai
from rabbitgw.proxy.bodies.tools import read_tools
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
    }
)


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
    if kind == "item_reference" or (kind is None and "id" in item and "role" not in item):
        raise stored_object("input.item_reference")
    if kind == "image_generation_call":
        if item.get("result") is None:
            raise stored_object("input.image_generation_call")
        found.image(item["result"])
    for holder in (item.get("content"), item.get("output")):
        for part in [holder] if isinstance(holder, dict) else parts_of(holder):
            _read_part(part, found)


def _read_part(part: dict[str, Any], found: Found) -> None:
    kind = part.get("type")
    refuse_stored_file(part, "input.content")
    if kind in ("input_image", "computer_screenshot"):
        found.image(part.get("image_url"))
    elif kind == "input_file":
        found.file(part.get("file_data"))
    elif kind == "input_audio":
        found.audio(member(part.get("input_audio"), "data"))


RESPONSES_BODY: Final = Shape(_PRICED, read_responses, mark_openai)
