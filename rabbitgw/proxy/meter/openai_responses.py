"""OpenAI responses.

Usage stands only in the terminal event (`response.completed`, `.incomplete`, `.failed`); `.created` and
`.in_progress` say null, and a background answer says null until it is polled. OpenAI sends no [DONE]; LiteLLM
and OpenRouter do, and LiteLLM leaves the `event:` lines out, Bedrock puts them behind the data: the type
inside the data counts, the event's name only where that is missing. `error` events are flat in the SDK's
types and nested on the wire; `response.failed` follows. Hosted tools are billed apart: `tool_usage` where
stated, else output items.
Source: openai-python types/responses/{response,response_usage,response_error_event}.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import (
    Object,
    count,
    items,
    obj,
    openai_usage,
    stated,
    states_input,
    states_output,
    states_usage,
    text,
)
from rabbitgw.proxy.meter.reading import Kind, Reader, is_whole

_TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_TERMINAL_BYTES = tuple(name.encode() for name in _TERMINAL)
# Output items that are billed by the piece, and the name that their price has.
_CALLS = {
    "web_search_call": "web_search_requests",
    "file_search_call": "file_search_requests",
    "code_interpreter_call": "code_interpreter_sessions",
}


class OpenAIResponses(Reader):
    dialect: ClassVar[str] = "openai-responses"
    unlike: ClassVar[bytes | None] = b"audio"

    _stated: Object | None = None

    def __init__(self) -> None:
        self._tool_usage: Object = {}
        self._calls: dict[str, str] = {}  # item id -> what it is billed as

    def passes(self, piece: bytes) -> int:
        # Every event is a delta, so none is a lifecycle event, an error or [DONE]. What the caller wrote comes back in
        # those, and may look like a delta.
        events = piece.count(b'.delta"')
        lines = 3 if piece.startswith(b"event:") else 2
        if piece.count(b"\n") != lines * events or b"audio" in piece or not is_whole(piece):
            return 0
        return 0 if _says_more(piece) else events

    def is_silent(self, name: bytes, data: bytes) -> bool:
        del name
        return b'.delta"' in data and b"audio" not in data and not _says_more(data)

    def is_media(self, head: bytes) -> bool:
        return b"audio.delta" in head

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        return (
            large
            or name in _TERMINAL_BYTES
            or data.startswith(b"[DONE]")
            or any(terminal in data for terminal in _TERMINAL_BYTES)
        )

    def pending_kind(self, name: bytes, head: bytes) -> Kind:
        if not (name.endswith(b".delta") or b'.delta"' in head):
            return Kind.ASIDE
        return Kind.MEDIA if self.is_media(head) else Kind.OUTPUT

    def take_event(self, name: bytes, document: Object) -> Kind:
        kind = text(document.get("type")) or name.decode("ascii", "replace")
        if kind == "error" or document.get("error"):
            self.take_error(obj(document.get("error")) or {**document, "type": None})
            return Kind.ASIDE
        response = document.get("response")
        if isinstance(response, dict):
            self._take_response(response)
            return Kind.TERMINAL if kind in _TERMINAL else Kind.ASIDE
        if kind in _TERMINAL:
            return Kind.TERMINAL
        if kind == "response.output_item.done":
            self.delivered_any = True
            self._take_items([document.get("item")])
        if kind.endswith(".partial_image"):
            self.delivered_any = True
            return Kind.MEDIA
        if not kind.endswith(".delta"):
            return Kind.ASIDE
        if document.get("delta"):
            self.delivered_any = True
        return Kind.MEDIA if kind.endswith("audio.delta") else Kind.OUTPUT

    def take_body(self, document: Any) -> None:
        if not isinstance(document, dict):
            return
        self._take_response(document)
        self.finish_seen = True
        self.delivered_any = bool(items(document.get("output")))

    def _take_response(self, response: Object) -> None:
        self.take_names(response)
        self.take_error(response.get("error"))
        self._take_items(items(response.get("output")))
        tool_usage = response.get("tool_usage")
        if isinstance(tool_usage, dict):
            self._tool_usage = tool_usage
        usage = response.get("usage")
        if states_usage(usage):
            self._stated = usage
            self.output_stated = states_output(usage)
            self.input_stated = states_input(usage)

    def _take_items(self, output: list[Any]) -> None:
        for item in map(obj, output):
            billed = _CALLS.get(text(item.get("type")))
            if billed is None or text(obj(item.get("action")).get("type")) in (
                "open_page",
                "find_in_page",
                "find",
            ):
                continue
            # A container is one session however many calls run in it.
            place = text(item.get("container_id")) or text(item.get("id")) or str(len(self._calls))
            self._calls[place] = billed

    def usage(self) -> Usage | None:
        if self._stated is None:
            return None
        return openai_usage(self._stated, service_tier=self.tier, server_tools=self._tools())

    def _tools(self) -> dict[str, int]:
        tools: dict[str, int] = {}
        for billed in self._calls.values():
            tools[billed] = tools.get(billed, 0) + 1
        searches = stated(obj(self._tool_usage.get("web_search")).get("num_requests"))
        if searches is not None:
            tools["web_search_requests"] = searches
        drawn = obj(self._tool_usage.get("image_gen"))
        for name in ("input_tokens", "output_tokens"):
            if count(drawn.get(name)):
                tools[f"image_gen_{name}"] = count(drawn.get(name))
        return tools

    def output_text(self, document: Any) -> str:
        delta = obj(document).get("delta")
        if isinstance(delta, str):
            return delta
        found = []
        for item in map(obj, items(obj(document).get("output"))):
            parts = items(item.get("content")) + items(item.get("summary"))
            found += [text(obj(part).get("text")) + text(obj(part).get("refusal")) for part in parts]
            found += [text(item.get("name")), text(item.get("arguments"))]
        return "".join(found)


def _says_more(data: bytes) -> bool:
    """Whether there is a member that no delta has. In a text its quotes would be escaped."""
    return b'"response"' in data or b'"item"' in data or b'"error"' in data
