"""OpenAI chat completions and completions.

Usage stands in one `choices: []` chunk before [DONE] (include_usage), on the finish chunk (DeepSeek, Mistral,
Hugging Face, Z.AI, OpenRouter), or cumulatively on every chunk (vLLM): the last statement wins, nothing is
added. Groq states the same numbers again under `x_groq`. Empty `choices` alone mean nothing: Azure's prompt
filter, moderation results and LiteLLM's fallback notice come that way too. An error chunk may carry usage
(OpenRouter). `service_tier` of the answer is the tier served. With `n` > 1 the first finish_reason is not the
end.
Source: openai-python types/chat/chat_completion_chunk.py, types/completion_usage.py; LiteLLM 1.109 as
recorded.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import (
    COUNT_MAX,
    Object,
    items,
    obj,
    openai_usage,
    states_input,
    states_output,
    states_usage,
    text,
)
from rabbitgw.proxy.meter.reading import Kind, Reader, is_null, is_whole

# A chunk that tells the caller more than usage is never cut, even when usage stands on it.
_BESIDES_USAGE = ("error", "litellm_fallback", "moderation", "prompt_filter_results")
# Shorter audio in a chunk counts like text: to look for it in each small chunk would cost more than it is worth.
_AUDIO_BYTES_MIN = 2048
_CHOICES = b'"choices":[{'
_NO_OUTPUT = ("role", "provider_specific_fields")
_NO_TEXT = ("role", "audio", "tool_calls")  # of the last two a part is: `_calls_and_speech`
_DEPTH_MAX = 32  # of nesting that is searched for text
_TOTALS = ("completion_tokens", "prompt_tokens", "output_tokens", "input_tokens", "total_tokens")


class OpenAIChat(Reader):
    dialect: ClassVar[str] = "openai-chat"
    hides_usage: ClassVar[bool] = True
    unlike: ClassVar[bytes | None] = b""

    _stated: Object | None = None
    _stated_groq: Object | None = None
    _fallback_model: str | None = None
    _finished: frozenset[int] = frozenset()  # indices of the answers that have their finish reason

    def passes(self, piece: bytes) -> int:
        # Each event is one line and has choices, so none is [DONE], a notice or a usage chunk.
        events = piece.count(_CHOICES)
        if (
            events
            and piece.startswith(b"data:")
            and piece.count(b"\n") == 2 * events
            and is_whole(piece)
            and _says_nothing(piece)
        ):
            return events
        return 0

    def is_silent(self, name: bytes, data: bytes) -> bool:
        return not name and _CHOICES in data and _says_nothing(data)

    def is_media(self, head: bytes) -> bool:
        return b'"audio"' in head

    def take_event(self, name: bytes, document: Object) -> Kind:
        self._take_shared(document)
        if name == b"error" and not self.error:  # Groq names the event; the body usually says it too
            self.take_error(document)
        choices = items(document.get("choices"))
        delivers = False
        media = False
        for choice in map(obj, choices):
            if choice.get("finish_reason"):
                index = choice.get("index")
                self._finished |= {index if isinstance(index, int) else 0}
            if self._delivers(choice):
                delivers = True
                audio = obj(obj(choice.get("delta")).get("audio"))
                media = media or len(text(audio.get("data"))) > _AUDIO_BYTES_MIN
        if delivers:
            self.delivered_any = True
        if len(self._finished) >= self.choices:
            self.finish_seen = True
        if choices and not delivers:
            if self.finish_seen and _is_usage_only(document):
                return Kind.USAGE_ONLY
            return Kind.BLANK  # counted, it would make every other event seem to carry more than it does
        if choices:
            return Kind.MEDIA if media else Kind.OUTPUT
        return Kind.USAGE_ONLY if _is_usage_only(document) else Kind.ASIDE

    def take_body(self, document: Any) -> None:
        if not isinstance(document, dict):
            return
        self._take_shared(document)
        self.finish_seen = True
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if self._delivers(choice if isinstance(choice, dict) else {}):
                self.delivered_any = True
                break

    def _take_shared(self, document: Object) -> None:
        model, tier, error = document.get("model"), document.get("service_tier"), document.get("error")
        # `take_names`, without a call
        if model and isinstance(model, str):
            self.model = model
        if tier and isinstance(tier, str):
            self.tier = tier
        if error:
            self.take_error(error)
        if "litellm_fallback" in document:
            fallback = text(obj(document["litellm_fallback"]).get("fallback_model"))
            # LiteLLM stamps the requested name on every chunk; after a fallback this notice names who served.
            self._fallback_model = fallback or self._fallback_model
        if self._fallback_model:
            self.model = self._fallback_model
        usage, groq = document.get("usage"), document.get("x_groq")
        if usage is None and groq is None:  # each chunk but one
            return
        if isinstance(usage, dict):
            made, asked = usage.get("completion_tokens"), usage.get("prompt_tokens")
            if made.__class__ is asked.__class__ is int and 0 < made <= COUNT_MAX and 0 < asked <= COUNT_MAX:
                self._stated = usage  # nearly always; what is below comes to the same
                self.output_stated = self.input_stated = True
                return
        self._stated = _later(self._stated, usage)
        self._stated_groq = _later(self._stated_groq, obj(groq).get("usage"))
        stated = self._stated or self._stated_groq
        self.output_stated = states_output(stated)
        self.input_stated = stated is None or states_input(stated)

    def _delivers(self, choice: Object) -> bool:
        """Any text in the delta: content, tool calls, reasoning, audio … but the role and LiteLLM's notes."""
        delta = choice.get("delta")
        if not delta or not isinstance(delta, dict):
            delta = choice.get("message")
            if not isinstance(delta, dict):
                return False
        content = delta.get("content")
        if content and isinstance(content, str):  # nearly always
            return True
        return any(text_of(value) for name, value in delta.items() if name not in _NO_OUTPUT)

    def usage(self) -> Usage | None:
        stated = self._stated or self._stated_groq
        return openai_usage(stated, self.tier) if stated else None

    def output_text(self, document: Any) -> str:
        texts: list[str] = []
        others: list[str] = []
        for choice in items(obj(document).get("choices")):
            delta = obj(obj(choice).get("delta")) or obj(obj(choice).get("message"))
            for name, value in delta.items():
                if name not in _NO_TEXT:
                    texts.append(value if isinstance(value, str) else text_of(value))
            if "tool_calls" in delta or "audio" in delta:
                others += _calls_and_speech(delta)
        return "".join(texts + others)


class OpenAICompletions(OpenAIChat):
    """`/v1/completions`: the same usage; output stands in `text`. vLLM-like servers may omit usage."""

    dialect: ClassVar[str] = "openai-completions"

    def _delivers(self, choice: Object) -> bool:
        return bool(choice.get("text"))

    def output_text(self, document: Any) -> str:
        return "".join(text(obj(choice).get("text")) for choice in items(obj(document).get("choices")))


def _calls_and_speech(delta: Object) -> list[str]:
    found = []
    for call in items(delta.get("tool_calls")):
        function = obj(obj(call).get("function"))
        found += [text(function.get("name")), text(function.get("arguments"))]
    found.append(text(obj(delta.get("audio")).get("transcript")))
    return found


def _is_usage_only(document: Object) -> bool:
    """Of a chunk that delivers nothing. LiteLLM 1.106 gives it a choice with an empty delta, after the finish chunk."""
    if any(obj(choice).get("finish_reason") for choice in items(document.get("choices"))):
        return False
    return isinstance(document.get("usage"), dict) and not any(document.get(key) for key in _BESIDES_USAGE)


def _says_nothing(data: bytes) -> bool:
    return (
        b'"error"' not in data
        and (len(data) <= _AUDIO_BYTES_MIN or b'"audio"' not in data)
        and is_null(data, b'"usage"', b'"usage":null')
        and is_null(data, b'"finish_reason"', b'"finish_reason":null')
    )


def _later(known: Object | None, usage: Any) -> Object | None:
    """The later of two statements. One without numbers says nothing, and zeros do not undo numbers."""
    if not states_usage(usage):
        return known
    later: Object = usage
    if known is not None and not any(later.get(name) for name in _TOTALS):
        return known
    return later


def text_of(value: Any, depth: int = 0) -> str:
    """Strings in a delta member, also where a provider nests them (reasoning_details, function_call)."""
    if isinstance(value, str):
        return value
    if depth == _DEPTH_MAX or not isinstance(value, dict | list):
        return ""
    inner = value.values() if isinstance(value, dict) else value
    return "".join(text_of(part, depth + 1) for part in inner)
