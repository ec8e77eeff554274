"""The fake upstream's responses API and its counting route: an object of output items, and the events that build it up.

Usage stands in the object, so a stream states it in its last event only, and no [DONE] follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.fakes.upstream_chat import openai_refusal
from tests.fakes.upstream_scripts import (
    BROKE,
    CREATED,
    Answer,
    Frame,
    Request,
    Route,
    Step,
    ToolCall,
    detail,
    opened,
)

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
RESPONSE_ID = "resp_fake"
MESSAGE_ID = "msg_fake"


def response(script: Answer, request: Request) -> Mapping[str, Any]:
    """The finished object."""
    reason = INCOMPLETE.get(script.finish)
    return {
        **base(request, "completed" if reason is None else "incomplete"),
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": output(script),
        "usage": None if script.usage is None else responses_usage(script.usage),
    }


def responses_usage(stated: Mapping[str, Any]) -> dict[str, Any]:
    """A chat usage object as the responses API states it."""
    return {
        "input_tokens": stated["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": detail(stated, "prompt", "cached_tokens"),
            "cache_write_tokens": detail(stated, "prompt", "cache_write_tokens"),
        },
        "output_tokens": stated["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": detail(stated, "completion", "reasoning_tokens")},
        "total_tokens": stated["total_tokens"],
    }


def base(request: Request, status: str) -> dict[str, Any]:
    return {
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": request.get("metadata") or {},
        "model": request.get("model"),
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "top_p": 1.0,
        "usage": None,
    }


def input_tokens(script: Answer, request: Request) -> Mapping[str, Any]:
    """The counting route beside it, which LiteLLM asks for count_tokens of an OpenAI model."""
    tokens = 0 if script.usage is None else script.usage["prompt_tokens"]
    return {"object": "response.input_tokens", "input_tokens": tokens}


# What is in the output


def text_part(script: Answer, text: str) -> dict[str, Any]:
    if script.refusal is not None:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message(status: str, content: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": MESSAGE_ID,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }


def function_call(call: ToolCall, status: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def says(script: Answer) -> Sequence[str]:
    return (script.refusal,) if script.refusal is not None else script.texts


def output(script: Answer) -> list[dict[str, Any]]:
    items = [function_call(call, "completed", call.json) for call in script.tools]
    if not says(script):
        return items
    return [message("completed", [text_part(script, "".join(says(script)))]), *items]


# Streamed


def steps(script: Answer, request: Request) -> Iterator[Step]:
    counter = itertools.count()
    begun = base(request, "in_progress")

    def event(kind: str, **members: Any) -> Frame:
        name = f"response.{kind}"
        return Frame({"type": name, "sequence_number": next(counter), **members}, event=name)

    opening = [event("created", response=begun), event("in_progress", response=begun)]
    texts = says(script)
    place = {"item_id": MESSAGE_ID, "output_index": 0, "content_index": 0}
    if texts:
        opening.append(event("output_item.added", output_index=0, item=message("in_progress", [])))
        opening.append(event("content_part.added", **place, part=text_part(script, "")))
    kind = "refusal" if script.refusal is not None else "output_text"
    more = {} if script.refusal is not None else {"logprobs": []}
    yield from opened(opening, [[event(f"{kind}.delta", **place, delta=text, **more)] for text in texts])
    if texts:
        whole = "".join(texts)
        said = {"refusal": whole} if script.refusal is not None else {"text": whole, "logprobs": []}
        part = text_part(script, whole)
        yield [
            event(f"{kind}.done", **place, **said),
            event("content_part.done", **place, part=part),
            event("output_item.done", output_index=0, item=message("completed", [part])),
        ]
    for index, call in enumerate(script.tools, 1 if texts else 0):
        yield tool_step(event, call, index)
    ended = response(script, request)
    yield [event(str(ended["status"]), response=ended)]


def tool_step(event: Any, call: ToolCall, index: int) -> Step:
    place = {"item_id": f"fc_{call.id}", "output_index": index}
    return [
        event("output_item.added", output_index=index, item=function_call(call, "in_progress", "")),
        event("function_call_arguments.delta", **place, delta=call.json),
        event("function_call_arguments.done", **place, name=call.name, arguments=call.json),
        event("output_item.done", output_index=index, item=function_call(call, "completed", call.json)),
    ]


_ERROR = {"code": "server_error", "message": BROKE}
FAILURE = [
    Frame(
        {"type": "error", "sequence_number": 98, "error": {"type": "server_error", **_ERROR, "param": None}},
        "error",
    ),
    Frame(
        {
            "type": "response.failed",
            "sequence_number": 99,
            "response": {**base({}, "failed"), "error": _ERROR},
        },
        "response.failed",
    ),
]
RESPONSES = Route(response, steps, openai_refusal, FAILURE)
INPUT_TOKENS = Route(input_tokens, None, openai_refusal)
