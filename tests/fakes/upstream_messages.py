"""The fake upstream's /v1/messages and count_tokens: Anthropic's form.

`message_start` states the input, `message_delta` the output so far; input_tokens leave out what a cache gave or took.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.upstream_scripts import (
    BROKE,
    REFUSED,
    Answer,
    Frame,
    Request,
    Route,
    Step,
    ToolCall,
    detail,
    opened,
)

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def anthropic_refusal(status: int) -> dict[str, Any]:
    error = {"type": ERROR_TYPES.get(status, "api_error"), "message": REFUSED}
    return {"type": "error", "error": error, "request_id": "req_fake"}


def messages_usage(stated: Mapping[str, Any], output_tokens: int) -> dict[str, Any]:
    """A chat usage object as Anthropic states it, with so many output tokens."""
    read = detail(stated, "prompt", "cached_tokens")
    written = detail(stated, "prompt", "cache_write_tokens")
    return {
        "input_tokens": stated["prompt_tokens"] - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def stated(script: Answer, output_tokens: int | None = None) -> dict[str, Any]:
    if script.usage is None:
        return {}
    tokens = script.usage["completion_tokens"] if output_tokens is None else output_tokens
    return {"usage": messages_usage(script.usage, tokens)}


def stop_reason(script: Answer) -> str:
    return "refusal" if script.refusal is not None else STOP_REASONS.get(script.finish, script.finish)


def base(request: Request) -> dict[str, Any]:
    return {"id": "msg_fake", "type": "message", "role": "assistant", "model": request.get("model")}


def tool_use(call: ToolCall, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def message(script: Answer, request: Request) -> Mapping[str, Any]:
    texts = says(script)
    content: list[dict[str, Any]] = [{"type": "text", "text": "".join(texts)}] if texts else []
    content += [tool_use(call, json.loads(call.json)) for call in script.tools]
    ended = {"stop_reason": stop_reason(script), "stop_sequence": None}
    return {**base(request), "content": content, **ended, **stated(script)}


def says(script: Answer) -> list[str]:
    return [script.refusal] if script.refusal is not None else list(script.texts)


def event(kind: str, **members: Any) -> Frame:
    return Frame({"type": kind, **members}, event=kind)


def steps(script: Answer, request: Request) -> Iterator[Step]:
    begun = {**base(request), "content": [], "stop_reason": None, "stop_sequence": None, **stated(script, 1)}
    opening = [event("message_start", message=begun)]
    texts = says(script)
    if texts:
        opening.append(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
        opening.append(event("ping"))
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    yield from opened(opening, [[event("content_block_delta", index=0, delta=delta)] for delta in deltas])
    if texts:
        yield [event("content_block_stop", index=0)]
    for index, call in enumerate(script.tools, 1 if texts else 0):
        given = {"type": "input_json_delta", "partial_json": call.json}
        yield [
            event("content_block_start", index=index, content_block=tool_use(call, {})),
            event("content_block_delta", index=index, delta=given),
            event("content_block_stop", index=index),
        ]
    so_far = {} if script.usage is None else {"usage": {"output_tokens": script.usage["completion_tokens"]}}
    yield [
        event("message_delta", delta={"stop_reason": stop_reason(script), "stop_sequence": None}, **so_far)
    ]
    if script.done:
        yield [event("message_stop")]


def token_count(script: Answer, request: Request) -> Mapping[str, Any]:
    return {"input_tokens": 0 if script.usage is None else script.usage["prompt_tokens"]}


FAILURE = [event("error", error={"type": "overloaded_error", "message": BROKE}, request_id="req_fake")]
MESSAGES = Route(message, steps, anthropic_refusal, FAILURE)
COUNT_TOKENS = Route(token_count, None, anthropic_refusal)
