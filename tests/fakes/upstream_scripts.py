"""What the fake upstream can be told to do, and the bodies that it makes of it. No I/O here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CREATED = 1_763_600_000
SSE = "text/event-stream; charset=utf-8"


def usage(prompt_tokens: int, completion_tokens: int, **details: Any) -> dict[str, Any]:
    """A chat usage object; `details` are further members, e.g. prompt_tokens_details={"cached_tokens": 3}."""
    total = prompt_tokens + completion_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": total,
        **details,
    }


@dataclass(frozen=True)
class Answer:
    """A good answer, streamed or not as the request asks, unless a fault is set.

    chunks: the text, one streamed event each. usage: what is stated; None: never stated.
    delay_s: before each streamed event (before the head when plain).
    cut_after: end the connection after this many events (0: right after the head), midway in the body;
        with `reset` by RST, which may take back what the client has not read yet.
    hang_after: send this many events, then nothing until the client leaves.
    fail_after: send this many events, then an error event, then the end.
    done: whether `data: [DONE]` ends the stream.
    """

    chunks: Sequence[str] = ("Hello", " there", "!")
    usage: Mapping[str, Any] | None = field(default_factory=lambda: usage(19, 10))
    delay_s: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    hang_after: int | None = None
    fail_after: int | None = None
    done: bool = True
    finish_reason: str = "stop"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refuse:
    """An error before any output. `body` is JSON when it is a mapping, else sent as it is."""

    status: int = 500
    body: Mapping[str, Any] | bytes = field(
        default_factory=lambda: {
            "error": {"message": "upstream says no", "type": "server_error", "param": None, "code": None}
        }
    )
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Exactly these bytes as the body, in these pieces.

    framing: "chunked" (a chunk a piece), "length", or "close" (the end of the connection is the end).
    cut: end the connection after the last piece, midway in the body.
    """

    pieces: Sequence[bytes]
    content_type: str = SSE
    status: int = 200
    framing: str = "chunked"
    delay_s: float = 0.0
    cut: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def split(cls, body: bytes, *at: int, **options: Any) -> Raw:
        """`body` in pieces that end at these offsets."""
        ends = (0, *sorted(at), len(body))
        return cls([body[a:b] for a, b in itertools.pairwise(ends) if a < b], **options)


@dataclass(frozen=True)
class Hang:
    """Take the request and say nothing, not even a head, until the client leaves."""


@dataclass(frozen=True)
class Drop:
    """Take the request and end the connection without a byte."""


HTML = Raw(
    [b"<html><body><h1>502 Bad Gateway</h1></body></html>"],
    content_type="text/html",
    status=502,
    framing="length",
)
Script = Answer | Refuse | Raw | Hang | Drop


def plain(script: Answer, model: str, chat: bool) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    text = "".join(script.chunks)
    message = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, **message, "finish_reason": script.finish_reason}
    answer = {
        "id": "chatcmpl-fake",
        "object": "chat.completion" if chat else "text_completion",
        "created": CREATED,
        "model": model,
        "choices": [choice],
    }
    return answer | ({} if script.usage is None else {"usage": dict(script.usage)})


def events(script: Answer, body: Mapping[str, Any], chat: bool) -> list[Any]:
    """The data of each event of a streamed answer to this request, in order."""
    options = body.get("stream_options") or {}
    asked = script.usage is not None and options.get("include_usage") is True
    frame = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": CREATED,
        "model": body.get("model"),
    }
    null = {"usage": None} if asked else {}

    def choice(text: str | None, finish_reason: str | None) -> dict[str, Any]:
        delta = ({"delta": {} if text is None else {"content": text}}) if chat else {"text": text or ""}
        return {**frame, "choices": [{"index": 0, **delta, "finish_reason": finish_reason}], **null}

    made: list[Any] = [choice(text, None) for text in script.chunks]
    if chat and made:
        made[0]["choices"][0]["delta"]["role"] = "assistant"
    made.append(choice(None, script.finish_reason))
    if asked:
        made.append({**frame, "choices": [], "usage": dict(script.usage or {})})
    return [*made, "[DONE]"] if script.done else made
