"""Which reader reads which dialect. The names are the ones that routes and usage events carry."""

from __future__ import annotations

from typing import Final

from rabbitgw.proxy.meter.anthropic_count_tokens import AnthropicCountTokens
from rabbitgw.proxy.meter.anthropic_messages import AnthropicMessages
from rabbitgw.proxy.meter.cohere import Cohere
from rabbitgw.proxy.meter.gemini import Gemini
from rabbitgw.proxy.meter.openai_chat import OpenAIChat, OpenAICompletions
from rabbitgw.proxy.meter.openai_embeddings import OpenAIEmbeddings
from rabbitgw.proxy.meter.openai_media import (
    OpenAIImageEdits,
    OpenAIImages,
    OpenAISpeech,
    OpenAITranscriptions,
    OpenAITranslations,
)
from rabbitgw.proxy.meter.openai_responses import OpenAIResponses
from rabbitgw.proxy.meter.reading import Reader

_READERS: Final[dict[str, type[Reader]]] = {
    reader.dialect: reader
    for reader in (
        OpenAIChat,
        OpenAICompletions,
        OpenAIResponses,
        AnthropicMessages,
        AnthropicCountTokens,
        OpenAIEmbeddings,
        OpenAIImages,
        OpenAIImageEdits,
        OpenAITranscriptions,
        OpenAITranslations,
        OpenAISpeech,
        Gemini,
        Cohere,
        Reader,
    )
}
DIALECTS: Final = frozenset(_READERS)


def reader_of(dialect: str, choices: int = 1) -> Reader:
    """A fresh reader for one call.

    Raises: ValueError for a name that is not in DIALECTS.
    """
    kind = _READERS.get(dialect)
    if kind is None:
        raise ValueError(f"no meter for the dialect {dialect!r}; known: {', '.join(sorted(DIALECTS))}")
    reader = kind()
    if choices != 1:
        reader.choices = choices
    return reader
