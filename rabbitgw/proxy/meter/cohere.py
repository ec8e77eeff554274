"""Cohere chat v2, as met behind pass-through routes.

`message-end` carries `delta.usage`: `billed_units` are what Cohere bills, `tokens` what the model saw. Billed
searches are a tool. Source: Cohere's API reference, Chat with streaming (v2).
"""

from __future__ import annotations

from typing import Any, ClassVar

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import Object, count, items, obj, stated, text
from rabbitgw.proxy.meter.openai_chat import text_of
from rabbitgw.proxy.meter.reading import Kind, Reader


class Cohere(Reader):
    dialect: ClassVar[str] = "cohere-chat"

    _stated: Object | None = None

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        return large or b"message-end" in name + data or data.startswith(b"[DONE]")

    def take_event(self, name: bytes, document: Object) -> Kind:
        kind = text(document.get("type")) or name.decode("ascii", "replace")
        delta = obj(document.get("delta"))
        self.take_error(document.get("error") or delta.get("error"))
        if kind == "message-end":
            self._take_usage(delta.get("usage"))
            return Kind.CLOSING
        if not kind.endswith("-delta") and kind != "tool-plan-delta":
            return Kind.ASIDE
        self.delivered_any = self.delivered_any or bool(text_of(delta))
        return Kind.OUTPUT

    def take_body(self, document: Any) -> None:
        super().take_body(document)
        self.finish_seen = True
        self._take_usage(obj(document).get("usage"))

    def _take_usage(self, usage: Any) -> None:
        billed = obj(obj(usage).get("billed_units")) or obj(obj(usage).get("tokens"))
        if any(stated(billed.get(name)) is not None for name in ("input_tokens", "output_tokens")):
            self._stated = {**billed, "cached_tokens": obj(usage).get("cached_tokens")}
            self.output_stated = True

    def usage(self) -> Usage | None:
        usage = self._stated
        if usage is None:
            return None
        searches = count(usage.get("search_units"))
        input_tokens = count(usage.get("input_tokens"))
        return Usage(
            input_tokens=input_tokens,
            output_tokens=count(usage.get("output_tokens")),
            cached_input_tokens=min(count(usage.get("cached_tokens")), input_tokens),
            server_tools={"search_units": searches} if searches else {},
        )

    def output_text(self, document: Any) -> str:
        message = obj(obj(document).get("delta")).get("message") or obj(obj(document).get("message"))
        content = obj(message).get("content")
        return text_of([obj(part).get("text") for part in items(content)] or obj(content).get("text"))
