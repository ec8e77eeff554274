"""How a customer reads what an SDK returned, per kind of call: into a dictionary, as far as it came.

Each reader serves the sync and the async client: `done` waits for what is awaitable, `each` iterates either way.
What was read before an exception stays in `seen`. Depends on no SDK: only on the shape of its objects.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Seen = dict[str, Any]


async def done(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


@contextlib.asynccontextmanager
async def opened(manager: Any) -> AsyncIterator[Any]:
    """`with` or `async with`, as the client wants it."""
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside


def counts(usage: Any, *names: str) -> list[int] | None:
    return None if usage is None else [getattr(usage, name) for name in names]


# chat completions


def note_chat(completion: Any, seen: Seen) -> None:
    message = completion.choices[0].message
    seen["text"] = message.content
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
    if calls:
        seen["tools"] = calls
    if getattr(message, "parsed", None) is not None:
        seen["parsed"] = [type(message.parsed).__name__, message.parsed.model_dump()]
    seen["usage"] = counts(completion.usage, "prompt_tokens", "completion_tokens")


async def chat(result: Any, seen: Seen) -> None:
    note_chat(await done(result), seen)


async def chat_stream(result: Any, seen: Seen) -> None:
    stream = await done(result)
    seen["text"], seen["usage"] = "", None
    tools: dict[int, list[str]] = {}
    async for chunk in each(stream):
        if chunk.usage is not None:
            seen["usage"] = counts(chunk.usage, "prompt_tokens", "completion_tokens")
        for choice in chunk.choices:
            seen["text"] += choice.delta.content or ""
            seen["finish"] = choice.finish_reason or seen.get("finish")
            for call in choice.delta.tool_calls or ():
                known = tools.setdefault(call.index, ["", ""])
                known[0] += call.function.name or ""
                known[1] += call.function.arguments or ""
    if tools:
        seen["tools"] = [(name, json.loads(text)) for name, text in tools.values()]


async def chat_stream_helper(result: Any, seen: Seen) -> None:
    async with opened(result) as stream:
        async for _ in each(stream):
            pass
        note_chat(await done(stream.get_final_completion()), seen)


async def completion(result: Any, seen: Seen) -> None:
    answer = await done(result)
    seen["text"] = answer.choices[0].text
    seen["usage"] = counts(answer.usage, "prompt_tokens", "completion_tokens")


async def completion_stream(result: Any, seen: Seen) -> None:
    stream = await done(result)
    seen["text"], seen["usage"] = "", None
    async for chunk in each(stream):
        if chunk.usage is not None:
            seen["usage"] = counts(chunk.usage, "prompt_tokens", "completion_tokens")
        for choice in chunk.choices:
            seen["text"] += choice.text
            seen["finish"] = choice.finish_reason or seen.get("finish")


# responses


def note_response(response: Any, seen: Seen) -> None:
    seen["text"] = response.output_text
    calls = [
        (item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"
    ]
    if calls:
        seen["tools"] = calls
    parsed = getattr(response, "output_parsed", None)
    if parsed is not None:
        seen["parsed"] = [type(parsed).__name__, parsed.model_dump()]
    seen["usage"] = counts(response.usage, "input_tokens", "output_tokens")


async def response(result: Any, seen: Seen) -> None:
    note_response(await done(result), seen)


async def response_stream(result: Any, seen: Seen) -> None:
    stream = await done(result)
    seen["text"] = ""
    async for event in each(stream):
        if event.type == "response.output_text.delta":
            seen["text"] += event.delta
        elif event.type == "error":  # the SDK raises for some shapes of it and hands on others
            seen["error_event"] = event.message
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            seen["finish"] = event.response.status
            deltas = seen["text"]
            note_response(event.response, seen)
            seen["text"] = deltas


async def response_stream_helper(result: Any, seen: Seen) -> None:
    async with opened(result) as stream:
        async for _ in each(stream):
            pass
        note_response(await done(stream.get_final_response()), seen)


# messages


def note_message(message: Any, seen: Seen) -> None:
    seen["text"] = "".join(block.text for block in message.content if block.type == "text")
    calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    if calls:
        seen["tools"] = calls
    parsed = getattr(message, "parsed_output", None)
    if parsed is not None:
        seen["parsed"] = [type(parsed).__name__, parsed.model_dump()]
    seen["usage"] = counts(message.usage, "input_tokens", "output_tokens")


async def message(result: Any, seen: Seen) -> None:
    note_message(await done(result), seen)


async def message_stream(result: Any, seen: Seen) -> None:
    stream = await done(result)
    seen["text"] = ""
    tools: dict[int, list[str]] = {}
    async for event in each(stream):
        if event.type == "message_start":
            seen["usage"] = counts(event.message.usage, "input_tokens", "output_tokens")
        elif event.type == "content_block_start" and event.content_block.type == "tool_use":
            tools[event.index] = [event.content_block.name, ""]
        elif event.type == "content_block_delta":
            if event.delta.type == "text_delta":
                seen["text"] += event.delta.text
            elif event.delta.type == "input_json_delta":
                tools[event.index][1] += event.delta.partial_json
        elif event.type == "message_delta":
            seen["usage"][1] = event.usage.output_tokens
            seen["finish"] = event.delta.stop_reason
        elif event.type == "message_stop":
            seen["stopped"] = True
    if tools:
        seen["tools"] = [(name, json.loads(text)) for name, text in tools.values()]


async def message_stream_helper(result: Any, seen: Seen) -> None:
    async with opened(result) as stream:
        async for _ in each(stream):
            pass
        note_message(await done(stream.get_final_message()), seen)


# the rest


async def token_count(result: Any, seen: Seen) -> None:
    seen["usage"] = [(await done(result)).input_tokens]


async def embeddings(result: Any, seen: Seen) -> None:
    answer = await done(result)
    seen["vector"] = list(answer.data[0].embedding)
    seen["usage"] = counts(answer.usage, "prompt_tokens", "total_tokens")


async def models(result: Any, seen: Seen) -> None:
    seen["models"] = [one.id async for one in each(await done(result))]


async def model(result: Any, seen: Seen) -> None:
    seen["models"] = [(await done(result)).id]


async def headers(result: Any, seen: Seen) -> None:
    """Of `with_raw_response`."""
    raw = await done(result)
    seen["status"] = raw.status_code if hasattr(raw, "status_code") else raw.http_response.status_code
    seen["headers"] = {name.lower(): value for name, value in raw.headers.items()}
    seen["request_id"] = getattr(raw, "request_id", None)
    seen["parsed"] = type(await done(raw.parse())).__name__


async def anything(result: Any, seen: Seen) -> None:
    """Of calls that must be refused."""
    seen["answer"] = type(await done(result)).__name__


READERS: dict[str, Callable[[Any, Seen], Awaitable[None]]] = {
    "anything": anything,
    "chat": chat,
    "chat-stream": chat_stream,
    "chat-stream-helper": chat_stream_helper,
    "completion": completion,
    "completion-stream": completion_stream,
    "embeddings": embeddings,
    "headers": headers,
    "message": message,
    "message-stream": message_stream,
    "message-stream-helper": message_stream_helper,
    "model": model,
    "models": models,
    "response": response,
    "response-stream": response_stream,
    "response-stream-helper": response_stream_helper,
    "token-count": token_count,
}
