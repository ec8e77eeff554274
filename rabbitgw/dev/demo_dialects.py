"""What the demo upstream tells, in the form of each API: bodies, events in their order, usage in its place.

Owns forms only: the words are demo_words.py's, requests and the pace are demo_upstream.py's. Each step of a stream is
one piece on the wire, about a word long.
Source: openai-python types/{chat,completion,responses,create_embedding_response}; anthropic-python types/message and
types/raw_message_stream_event.
"""

from __future__ import annotations

import base64
import itertools
import struct
from collections.abc import Iterator
from typing import Any

import orjson

from rabbitgw.dev.demo_words import Told, tokens_of, vector_of

CREATED = 1_763_600_000  # a fixed time keeps answers equal
DIMENSIONS = 8

Json = dict[str, Any]


class Refused(Exception):
    def __init__(self, message: str, field: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


def event(document: Json, name: str | None = None) -> bytes:
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + orjson.dumps(document) + b"\n\n"


# Chat completions and completions: choices in chunks, and the usage in a last one if it is asked for.


def chat(told: Told) -> Json:
    message = {"role": "assistant", "content": told.text, "refusal": None}
    return completion(told, "chat.completion", {"message": message})


def text_completion(told: Told) -> Json:
    return completion(told, "text_completion", {"text": told.text})


def completion(told: Told, kind: str, content: Json) -> Json:
    choices = [choice(told, index, content, ended=True) for index in range(told.choices)]
    return frame(told, kind, choices) | {"usage": completion_usage(told)}


def chat_steps(told: Told) -> Iterator[bytes]:
    deltas: list[Json] = [{"content": piece} for piece in told.pieces]
    deltas[0]["role"] = "assistant"
    return chunks(told, "chat.completion.chunk", [{"delta": delta} for delta in (*deltas, {})])


def text_steps(told: Told) -> Iterator[bytes]:
    return chunks(told, "text_completion", [{"text": piece} for piece in (*told.pieces, "")])


def chunks(told: Told, kind: str, contents: list[Json]) -> Iterator[bytes]:
    options = told.body.get("stream_options")
    states_usage = isinstance(options, dict) and options.get("include_usage") is True
    null = {"usage": None} if states_usage else {}
    for place, content in enumerate(contents, 1):
        said = [choice(told, index, content, ended=place == len(contents)) for index in range(told.choices)]
        yield b"".join(event(frame(told, kind, [one]) | null) for one in said)
    last = event(frame(told, kind, []) | {"usage": completion_usage(told)}) if states_usage else b""
    yield last + b"data: [DONE]\n\n"


def frame(told: Told, kind: str, choices: list[Json]) -> Json:
    own = {"id": f"{'chatcmpl' if kind.startswith('chat') else 'cmpl'}-{told.id}", "object": kind}
    return {**own, "created": CREATED, "model": told.body["model"], "choices": choices}


def choice(told: Told, index: int, content: Json, *, ended: bool) -> Json:
    reason = "length" if told.cut else "stop"
    return {"index": index, **content, "logprobs": None, "finish_reason": reason if ended else None}


def completion_usage(told: Told) -> Json:
    read, written = told.input_tokens, len(told.pieces) * told.choices
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


# Responses: an object with the usage in it, and the events that build it up.


def response(told: Told) -> Json:
    read, written = told.input_tokens, len(told.pieces)
    usage: Json = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    usage["input_tokens_details"] = {"cached_tokens": 0, "cache_write_tokens": 0}
    usage["output_tokens_details"] = {"reasoning_tokens": 0}
    status = "incomplete" if told.cut else "completed"
    reason = {"reason": "max_output_tokens"} if told.cut else None
    output = [item(told, status, [part(told.text)])]
    return begun(told) | {"status": status, "incomplete_details": reason, "output": output, "usage": usage}


def response_steps(told: Told) -> Iterator[bytes]:
    numbers = itertools.count()

    def step(kind: str, **members: Any) -> bytes:
        name = f"response.{kind}"
        return event({"type": name, "sequence_number": next(numbers), **members}, name)

    place = {"item_id": f"msg_{told.id}", "output_index": 0, "content_index": 0}
    whole = response(told)
    yield step("created", response=begun(told)) + step("in_progress", response=begun(told))
    yield step("output_item.added", output_index=0, item=item(told, "in_progress", []))
    yield step("content_part.added", **place, part=part(""))
    for piece in told.pieces:
        yield step("output_text.delta", **place, delta=piece, logprobs=[])
    yield step("output_text.done", **place, text=told.text, logprobs=[])
    yield step("content_part.done", **place, part=part(told.text))
    yield step("output_item.done", output_index=0, item=whole["output"][0])
    yield step(whole["status"], response=whole)


def begun(told: Told) -> Json:
    """The object before anything is said: what was asked comes back in it."""
    unasked: Json = {"instructions": None, "max_output_tokens": None, "metadata": {}, "tools": []}
    unasked |= {"parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "top_p": 1.0}
    asked = {name: told.body[name] for name in unasked if told.body.get(name) is not None}
    own = {"id": f"resp_{told.id}", "object": "response", "created_at": CREATED, "status": "in_progress"}
    empty: Json = {"error": None, "incomplete_details": None, "output": [], "usage": None}
    return {**own, "model": told.body["model"], **unasked, **asked, **empty}


def item(told: Told, status: str, content: list[Json]) -> Json:
    own = {"id": f"msg_{told.id}", "type": "message", "role": "assistant"}
    return {**own, "status": status, "content": content}


def part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


# Messages: the first event states the input, the last but one both; and what counts tokens only.


def message(told: Told) -> Json:
    content = [{"type": "text", "text": told.text}]
    return opened(told) | {"content": content, "usage": message_usage(told, len(told.pieces))} | stop(told)


def message_steps(told: Told) -> Iterator[bytes]:
    def step(kind: str, **members: Any) -> bytes:
        return event({"type": kind, **members}, kind)

    yield step("message_start", message=opened(told))
    yield step("content_block_start", index=0, content_block={"type": "text", "text": ""}) + step("ping")
    for piece in told.pieces:
        yield step("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield step("content_block_stop", index=0)
    yield step("message_delta", delta=stop(told), usage=message_usage(told, len(told.pieces)))
    yield step("message_stop")


def opened(told: Told) -> Json:
    own = {"id": f"msg_{told.id}", "type": "message", "role": "assistant", "model": told.body["model"]}
    empty: Json = {"content": [], "stop_reason": None, "stop_sequence": None}
    return {**own, **empty, "usage": message_usage(told, 1)}


def stop(told: Told) -> Json:
    return {"stop_reason": "max_tokens" if told.cut else "end_turn", "stop_sequence": None}


def message_usage(told: Told, output_tokens: int) -> Json:
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": told.input_tokens, **cache, "output_tokens": output_tokens}


def token_count(told: Told) -> Json:
    return {"input_tokens": told.input_tokens}


# Embeddings: numbers, or their bytes where base64 is asked for, as the official client does.


def embeddings(told: Told) -> Json:
    prompts = [orjson.dumps(one) for one in texts_of(told.body["input"])]
    vectors: list[Any] = [vector_of(prompt, DIMENSIONS) for prompt in prompts]
    if told.body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *one)).decode() for one in vectors]
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
    tokens = sum(map(tokens_of, prompts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": told.body["model"], "usage": usage}


def texts_of(given: Any) -> list[Any]:
    """A text, a list of texts, a list of token ids or a list of such lists, as a list of texts or lists."""
    return given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]


# Models and errors.


def models(names: tuple[str, ...], *, anthropic: bool) -> Json:
    if anthropic:
        own: Json = {"type": "model", "created_at": "2025-11-20T00:53:20Z", "lifecycle": "active"}
        data = [{"id": name, "display_name": name, **own} for name in names]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
    own = {"object": "model", "created": CREATED, "owned_by": "rabbitgw"}
    return {"object": "list", "data": [{"id": name, **own} for name in names]}


def refusal(status: int, message: str, field: str | None, *, anthropic: bool) -> Json:
    if anthropic:
        kind = "not_found_error" if status == 404 else "invalid_request_error"
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_demo"}
    code = "model_not_found" if status == 404 else None
    return {"error": {"message": message, "type": "invalid_request_error", "param": field, "code": code}}
