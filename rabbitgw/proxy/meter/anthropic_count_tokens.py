"""Anthropic's count_tokens: an answer that costs nothing, whatever it says.

Source: anthropic-python types/message_tokens_count.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rabbitgw.proxy.meter.reading import Reader


class AnthropicCountTokens(Reader):
    dialect: ClassVar[str] = "anthropic-count-tokens"
    body_bytes_per_token: ClassVar[int] = 0

    def take_body(self, document: Any) -> None:
        super().take_body(document)
        self.delivered_any = False  # so that nothing is owed
        self.finish_seen = True
