"""Anthropic messages.

`input_tokens` is the uncached part only: all input is that plus what was read from and written to the cache.
`message_start` states input and a placeholder for output; each `message_delta` is cumulative, and every
member present in it overrides what was stated before (older streams carry output only; with server tools
input grows). A repeated `message_start` starts over. The 5 minute / 1 hour split of writes may stand in
`message_start` only; what it does not cover counts as 5 minutes. `usage.iterations`, where given, is what is
billed: top-level numbers leave out compaction and other models' turns, and cover only the first turn's input.
A turn of another model (advisor, fallback) is a share of that model. In front of an OpenAI model LiteLLM
starts with zeros.
Source: anthropic-python types/{usage,message_delta_usage,raw_message_stream_event}.py and types/beta/
beta_iterations_usage; Anthropic's documentation of streaming, compaction, the advisor tool and fallbacks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import Object, count, items, obj, service_tier, stated, text, tool_counts
from rabbitgw.proxy.meter.openai_chat import text_of
from rabbitgw.proxy.meter.reading import Kind, Reader, is_whole

_DELTA_LINE: Final = b"event: content_block_delta\ndata:"
# Turns of the model that was asked for; every other kind may have a model of its own.
_OWN_TURNS: Final = ("message", "compaction")
_INPUT_COUNTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_COUNTS: Final = (*_INPUT_COUNTS, "output_tokens")


class AnthropicMessages(Reader):
    dialect: ClassVar[str] = "anthropic-messages"

    def __init__(self) -> None:
        self._stated: Object = {}

    def passes(self, piece: bytes) -> int:
        if not piece.startswith(_DELTA_LINE):
            return 0
        events = piece.count(_DELTA_LINE)
        return events if piece.count(b"\n") == 3 * events and is_whole(piece) else 0

    def is_silent(self, name: bytes, data: bytes) -> bool:
        return name == b"content_block_delta" and b'"usage"' not in data and b'"error"' not in data

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        return large or name == b"message_stop" or b"message_stop" in data or data.startswith(b"[DONE]")

    def pending_kind(self, name: bytes, head: bytes) -> Kind:
        return Kind.OUTPUT if b"content_block_delta" in name + head else Kind.ASIDE

    def take_event(self, name: bytes, document: Object) -> Kind:
        kind = text(document.get("type")) or name.decode("ascii", "replace")
        if kind == "message_stop":
            return Kind.TERMINAL
        if kind == "error" or document.get("error"):
            self.take_error(document.get("error") or document)
        elif kind == "message_start":
            message = obj(document.get("message"))
            self.take_names(message)
            self._stated = {}
            self.output_stated = False
            self._take_usage(message.get("usage"))
        elif kind == "message_delta":
            self._take_usage(document.get("usage"))
            if stated(obj(document.get("usage")).get("output_tokens")) is not None:
                self.output_stated = True
            if obj(document.get("delta")).get("stop_reason"):
                self.finish_seen = True
        elif kind == "content_block_delta":
            delta = obj(document.get("delta"))
            self.delivered_any = self.delivered_any or any(v for k, v in delta.items() if k != "type")
            return Kind.OUTPUT
        elif kind == "content_block_start":
            block = obj(document.get("content_block"))
            # Text and thinking start empty; a tool's block and a search's result come with what they say.
            if (
                text(block.get("type")) not in ("text", "thinking")
                or block.get("text")
                or block.get("thinking")
            ):
                self.delivered_any = True
        return Kind.ASIDE

    def take_body(self, document: Any) -> None:
        if not isinstance(document, dict):
            return
        self.take_names(document)
        self.take_error(document.get("error"))
        self._take_usage(document.get("usage"))
        self.output_stated = stated(self._stated.get("output_tokens")) is not None
        self.finish_seen = True
        self.delivered_any = bool(document.get("content"))

    def _take_usage(self, usage: Any) -> None:
        """Members that are present override; null says nothing."""
        for name, value in obj(usage).items():
            if value is not None:
                self._stated[name] = value
        self.input_stated = any(stated(self._stated.get(name)) is not None for name in _INPUT_COUNTS)
        self.tier = service_tier(obj(usage).get("service_tier")) or self.tier
        if obj(usage).get("speed") == "fast":
            self.tier = "fast"  # fast mode is sold at its own price, whatever the tier of capacity

    def usage(self) -> Usage | None:
        usage = self._stated
        if not any(stated(usage.get(name)) is not None for name in _COUNTS):
            return None
        total = _turn(usage)
        shares: dict[str, Usage] = {}
        turns = [obj(turn) for turn in items(usage.get("iterations"))]
        turns = [turn for turn in turns if any(stated(turn.get(name)) is not None for name in _COUNTS)]
        if any(turn.get("type") == "message" for turn in turns):
            total = Usage()  # the turns are all there
        long_left = count(obj(usage.get("cache_creation")).get("ephemeral_1h_input_tokens"))
        for turn in turns:
            part = _turn(turn, long_left)
            long_left = max(long_left - part.cache_write_1h_tokens, 0)
            total = _sum(total, part)
            model = text(turn.get("model"))
            if turn.get("type") not in _OWN_TURNS and model and model != self.model:
                shares[model] = _sum(shares.get(model, Usage()), part)
        thought = count(obj(usage.get("output_tokens_details")).get("thinking_tokens"))
        return replace(
            total,
            reasoning_tokens=max(total.reasoning_tokens, min(thought, total.output_tokens)),
            service_tier=self.tier,
            server_tools=tool_counts(usage.get("server_tool_use")),
            per_model=tuple(shares.items()),
        )

    def output_text(self, document: Any) -> str:
        document = obj(document)
        if document.get("type") == "content_block_delta":
            return text_of(
                {k: v for k, v in obj(document.get("delta")).items() if k not in ("type", "signature")}
            )
        return "".join(
            text(block.get("text")) + text(block.get("thinking")) + text_of(block.get("input"))
            for block in map(obj, items(document.get("content")))
        )


def _turn(usage: Object, long_left: int = 0) -> Usage:
    """One turn, or the top level, in the normal form. `long_left`: 1 hour writes for a turn without a split."""
    split = obj(usage.get("cache_creation"))
    short = count(split.get("ephemeral_5m_input_tokens"))
    long = count(split.get("ephemeral_1h_input_tokens"))
    written = stated(usage.get("cache_creation_input_tokens"))
    written = short + long if written is None else written
    long = min(long if split else long_left, written)
    read = count(usage.get("cache_read_input_tokens"))
    output = count(usage.get("output_tokens"))
    thought = count(obj(usage.get("output_tokens_details")).get("thinking_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")) + read + written,
        output_tokens=output,
        cached_input_tokens=read,
        cache_write_5m_tokens=written - long,
        cache_write_1h_tokens=long,
        reasoning_tokens=min(thought, output),
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_input_tokens=one.cached_input_tokens + other.cached_input_tokens,
        cache_write_5m_tokens=one.cache_write_5m_tokens + other.cache_write_5m_tokens,
        cache_write_1h_tokens=one.cache_write_1h_tokens + other.cache_write_1h_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )
