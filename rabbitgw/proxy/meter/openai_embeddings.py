"""OpenAI embeddings: `usage {prompt_tokens, total_tokens}` in the body, no output tokens, never streamed.

Source: openai-python types/create_embedding_response.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import Object, obj, openai_usage, states_usage
from rabbitgw.proxy.meter.reading import Reader


class OpenAIEmbeddings(Reader):
    dialect: ClassVar[str] = "openai-embeddings"
    body_bytes_per_token: ClassVar[int] = 0

    _stated: Object | None = None

    def take_body(self, document: Any) -> None:
        super().take_body(document)
        self.finish_seen = True
        usage = obj(document).get("usage")
        self.delivered_any = bool(obj(document).get("data"))
        if states_usage(usage):
            self._stated = usage
            self.output_stated = True

    def usage(self) -> Usage | None:
        if self._stated is None:
            return None
        # `total_tokens` without an output count would read as output: an embedding has none.
        return replace(openai_usage(self._stated), output_tokens=0, service_tier=self.tier)
