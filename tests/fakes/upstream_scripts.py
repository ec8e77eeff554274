"""What the fake upstream can be told to do. A script knows no dialect: the same one serves every route. No I/O here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CREATED = 1_763_600_000
SSE = "text/event-stream; charset=utf-8"
BROKE = "upstream broke"  # what the error of `fail_after` says
REFUSED = "upstream says no"


def usage(prompt_tokens: int, completion_tokens: int, **details: Any) -> dict[str, Any]:
    """A chat usage object; `details` are further members, e.g. prompt_tokens_details={"cached_tokens": 3}.

    Each dialect states it in its own form: Anthropic's input_tokens are the uncached part of prompt_tokens.
    """
    total = prompt_tokens + completion_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": total,
        **details,
    }


def detail(stated: Mapping[str, Any], kind: str, name: str) -> int:
    """A count of `prompt_tokens_details` or `completion_tokens_details`; 0 where it is not stated."""
    return int((stated.get(f"{kind}_tokens_details") or {}).get(name) or 0)


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called. `arguments` are JSON when they are a mapping, else sent as they are."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str = "call_fake_1"

    @property
    def json(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Answer:
    """A good answer, streamed or not as the request asks, unless a fault is set.

    chunks: the text, one streamed event each; JSON text is what structured output is.
    tool_calls: follow the text. The finish reason is then "tool_calls", unless another than "stop" is set.
    refusal: the model declines with these words; the text and the tool calls are left out.
    usage: what is stated, as `usage()` makes it; None: never stated.
    delay_s: before each step of a stream (before the head when plain).
    cut_after: end the connection after this many steps (0: right after the head), midway in the body;
        with `reset` by RST, which may take back what the client has not read yet.
    hang_after: send this many steps, then nothing until the client leaves.
    fail_after: send this many steps, then an error event as the dialect has it, then the end.
    done: whether the stream's last frame (`data: [DONE]`, `message_stop`) is sent.
    finish_reason: in chat's words; each dialect says it in its own.

    A step is one of `chunks` and what the dialect puts before it; then, one step each, what ends the stream. So the
    same counts fit every dialect, as far as the text goes. Without any chunk the first step is what opens the stream.
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
    tool_calls: Sequence[ToolCall] = ()
    refusal: str | None = None

    @property
    def texts(self) -> Sequence[str]:
        return () if self.refusal is not None else self.chunks

    @property
    def tools(self) -> Sequence[ToolCall]:
        return () if self.refusal is not None else self.tool_calls

    @property
    def finish(self) -> str:
        return "tool_calls" if self.tools and self.finish_reason == "stop" else self.finish_reason


@dataclass(frozen=True)
class Refuse:
    """An error before any output. `body`: a mapping is sent as JSON, bytes as they are; None: as the route has it."""

    status: int = 500
    body: Mapping[str, Any] | bytes | None = None
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


@dataclass(frozen=True)
class Frame:
    """One server-sent event. `data` is JSON unless it is text; `event` is the name that Anthropic's must have."""

    data: Any
    event: str | None = None

    @property
    def bytes(self) -> bytes:
        text = self.data if isinstance(self.data, str) else json.dumps(self.data, separators=(",", ":"))
        name = "" if self.event is None else f"event: {self.event}\n"
        return f"{name}data: {text}\n\n".encode()


Request = Mapping[str, Any]  # the parsed body of a request
Step = Sequence[Frame]


@dataclass(frozen=True)
class Route:
    """How one path answers. `steps` None: never streamed. `failure` is what breaks a stream off."""

    plain: Callable[[Answer, Request], Mapping[str, Any]]
    steps: Callable[[Answer, Request], Iterator[Step]] | None
    refusal: Callable[[int], Mapping[str, Any]]
    failure: Step = ()


def opened(opening: Sequence[Frame], texts: Sequence[Step]) -> Iterator[Step]:
    """The first steps of a stream: `opening` goes with the first text, or alone if there is none."""
    if not texts:
        if opening:
            yield opening
        return
    yield [*opening, *texts[0]]
    yield from texts[1:]
