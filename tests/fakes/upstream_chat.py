"""The fake upstream's chat completions, plain completions and embeddings: OpenAI's older forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.upstream_scripts import (
    BROKE,
    CREATED,
    REFUSED,
    Answer,
    Frame,
    Request,
    Route,
    Step,
    ToolCall,
    opened,
)


def openai_refusal(status: int) -> dict[str, Any]:
    """OpenAI's body of an error before the stream."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": REFUSED, "type": kind, "param": None, "code": None}}


def stated(script: Answer) -> dict[str, Any]:
    return {} if script.usage is None else {"usage": dict(script.usage)}


# Plain


def chat(script: Answer, request: Request) -> Mapping[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(script.texts)}
    if script.tools:
        message["tool_calls"] = [
            {"id": one.id, "type": "function", "function": function(one)} for one in script.tools
        ]
    if script.refusal is not None:
        message["refusal"] = script.refusal
    if not script.texts:
        message["content"] = None
    choice = {"index": 0, "message": message, "finish_reason": script.finish}
    return {**frame("chat.completion", request), "choices": [choice], **stated(script)}


def completion(script: Answer, request: Request) -> Mapping[str, Any]:
    choice = {
        "index": 0,
        "text": "".join(script.texts),
        "logprobs": None,
        "finish_reason": script.finish_reason,
    }
    return {**frame("text_completion", request), "choices": [choice], **stated(script)}


def embeddings(script: Answer, request: Request) -> Mapping[str, Any]:
    given = request.get("input")
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    vectors = [
        {"object": "embedding", "index": number, "embedding": [0.25, -0.5, 0.125]} for number in range(count)
    ]
    answer = {"object": "list", "data": vectors, "model": request.get("model")}
    if script.usage is None:
        return answer
    tokens = script.usage["prompt_tokens"]
    return {**answer, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def frame(kind: str, request: Request) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": CREATED, "model": request.get("model")}


def function(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": call.json}


# Streamed


def chat_steps(script: Answer, request: Request) -> Iterator[Step]:
    deltas: list[dict[str, Any]] = [{"content": text} for text in script.texts]
    if script.refusal is not None:
        deltas.append({"refusal": script.refusal})
    for index, call in enumerate(script.tools):
        begun = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        middle = len(call.json) // 2
        parts = [
            {"index": index, "function": {"arguments": part}}
            for part in (call.json[:middle], call.json[middle:])
        ]
        deltas += [{"tool_calls": [one]} for one in (begun, *parts)]
    if deltas:
        deltas[0]["role"] = "assistant"
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": script.finish})
    return steps("chat.completion.chunk", script, request, choices)


def completion_steps(script: Answer, request: Request) -> Iterator[Step]:
    choices: list[dict[str, Any]] = [
        {"index": 0, "text": text, "finish_reason": None} for text in script.texts
    ]
    choices.append({"index": 0, "text": "", "finish_reason": script.finish_reason})
    return steps("text_completion", script, request, choices)


def steps(kind: str, script: Answer, request: Request, choices: list[dict[str, Any]]) -> Iterator[Step]:
    """One chunk a choice; the usage chunk only if the request asked for it, as OpenAI's servers do."""
    options = request.get("stream_options") or {}
    asked = script.usage is not None and options.get("include_usage") is True
    base = frame(kind, request)
    null = {"usage": None} if asked else {}
    yield from opened([], [[Frame({**base, "choices": [choice], **null})] for choice in choices])
    if asked:
        yield [Frame({**base, "choices": [], **stated(script)})]
    if script.done:
        yield [Frame("[DONE]")]


FAILURE = [Frame({"error": {"message": BROKE, "type": "server_error", "code": None}})]
CHAT = Route(chat, chat_steps, openai_refusal, FAILURE)
COMPLETIONS = Route(completion, completion_steps, openai_refusal, FAILURE)
EMBEDDINGS = Route(embeddings, None, openai_refusal)
