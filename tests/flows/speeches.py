"""Answers of each dialect as bytes, in parts that a rude upstream can leave out, cut, repeat or lie in.

Every stream here states 19 input tokens and 100 output tokens, 1 047 500 nanos at gpt-4o's price; each delta has 40
bytes of text, so that ten tokens are charged for it where nothing was stated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson

from rabbitgw.proxy.dialects import DIALECTS

INPUT_NANOS, OUTPUT_NANOS = 2_500, 10_000  # a token
STATED_NANOS = 1_047_500  # 19 x 2500 + 100 x 10000
DELTA_TOKENS = 10
TEXT = "word " * 8
MESSAGES = [{"role": "user", "content": "Say hello."}]


def sse(data: Any, event: str = "") -> bytes:
    """One event; `data` as JSON, or as it is when it is text."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


@dataclass(frozen=True)
class Speech:
    """A dialect's stream in parts, and its plain answer, as the provider sends them.

    finish: the last event of the answer itself, empty where the terminal frame is that. hidden: what we ask for and a
    caller only sees who asks for it too (`asks_all`). terminal: the frame by which a client sees the answer whole.
    early_nanos: charged for a stream that ended before it stated all, without any output.
    """

    dialect: str
    path: str
    asks: dict[str, Any]
    opening: bytes
    delta: bytes
    finish: bytes
    hidden: bytes
    terminal: bytes
    plain: bytes
    input_tokens: int  # charged for a stream that was cut: as stated by then, else as estimated
    early_nanos: int = 0
    asks_all: dict[str, Any] = field(default_factory=dict)

    def stream(self, deltas: int = 3) -> bytes:
        return self.opening + self.delta * deltas + self.finish + self.hidden + self.terminal

    def shown(self, deltas: int = 3) -> bytes:
        """What the client sees of that stream."""
        return self.opening + self.delta * deltas + self.finish + self.terminal

    def part_nanos(self, deltas: int) -> int:
        """The charge for so many deltas of a stream that did not come to its end."""
        if not deltas:
            return self.early_nanos
        return self.input_tokens * INPUT_NANOS + deltas * DELTA_TOKENS * OUTPUT_NANOS

    def body(self, *, stream: bool = True, **more: Any) -> bytes:
        return orjson.dumps({"model": "gpt-4o", **self.asks, "stream": stream, **more})


def _chat_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse({"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice]})


CHAT_USAGE = {"prompt_tokens": 19, "completion_tokens": 100, "total_tokens": 119}
CHAT = Speech(
    "openai-chat",
    "/v1/chat/completions",
    {"messages": MESSAGES},
    opening=_chat_chunk({"role": "assistant", "content": ""}),
    delta=_chat_chunk({"content": TEXT}),
    finish=_chat_chunk({}, "stop"),
    hidden=sse({"id": "c", "model": "gpt-4o", "choices": [], "usage": CHAT_USAGE}),
    terminal=sse("[DONE]"),
    plain=orjson.dumps(
        {
            "id": "c",
            "model": "gpt-4o",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
            ],
            "usage": CHAT_USAGE,
        }
    ),
    input_tokens=11,  # 28 bytes of words and names, and four for the message
    asks_all={"stream_options": {"include_usage": True}},
)
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "gpt-4o", "content": []}
ANTHROPIC = Speech(
    "anthropic-messages",
    "/v1/messages",
    {"messages": MESSAGES, "max_tokens": 4000},
    opening=sse(
        {"type": "message_start", "message": {**MESSAGE, "usage": {"input_tokens": 19, "output_tokens": 1}}},
        "message_start",
    )
    + sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        "content_block_start",
    ),
    delta=sse(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
        "content_block_delta",
    ),
    finish=sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
    + sse(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}},
        "message_delta",
    ),
    hidden=b"",
    terminal=sse({"type": "message_stop"}, "message_stop"),
    plain=orjson.dumps(
        {
            **MESSAGE,
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 19, "output_tokens": 100},
        }
    ),
    input_tokens=19,
    early_nanos=57_500,  # what message_start stated: 19 x 2500 + 1 x 10000
)
RESPONSE = {"id": "r", "object": "response", "model": "gpt-4o", "output": []}
RESPONSE_USAGE = {"input_tokens": 19, "output_tokens": 100, "total_tokens": 119}
RESPONSE_OUTPUT = [
    {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": TEXT}]}
]
RESPONSES = Speech(
    "openai-responses",
    "/v1/responses",
    {"input": "Say hello.", "store": False},
    opening=sse(
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "usage": None}},
        "response.created",
    ),
    delta=sse(
        {"type": "response.output_text.delta", "item_id": "i", "delta": TEXT}, "response.output_text.delta"
    ),
    finish=b"",
    hidden=b"",
    terminal=sse(
        {
            "type": "response.completed",
            "response": {
                **RESPONSE, "status": "completed", "output": RESPONSE_OUTPUT, "usage": RESPONSE_USAGE,
            },
        },
        "response.completed",
    ),
    plain=orjson.dumps(
        {**RESPONSE, "status": "completed", "output": RESPONSE_OUTPUT, "usage": RESPONSE_USAGE}
    ),
    input_tokens=3,  # ten bytes
)  # fmt: skip
_SERVED = frozenset(dialect.name for dialect in DIALECTS)
SPEECHES = [speech for speech in (CHAT, ANTHROPIC, RESPONSES) if speech.dialect in _SERVED]
