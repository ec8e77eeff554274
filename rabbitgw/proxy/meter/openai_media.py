"""OpenAI images, transcriptions, translations and speech.

Images: GPT-image models state text and image tokens apart, other models nothing (then the images are
counted); the streamed event states no output details, all its output being image tokens, and one event comes
per image. SVG authoring is another model's work: a share of it. Transcriptions: tokens (the details object is
spelled `input_token_details`) or seconds, in `transcript.text.done` when streamed; plain text formats state
nothing. Speech: binary, or events of which `speech.audio.done` states tokens, the output being audio. None of
these streams has a [DONE]: the closing event is terminal if nothing follows it.
Source: openai-python types/{images_response,image_gen_completed_event}.py, types/audio/transcription*.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

from rabbitgw.billing.usage import Made, Usage
from rabbitgw.proxy.meter.numbers import Object, count, items, milli, obj, openai_usage, states_usage, text
from rabbitgw.proxy.meter.reading import Kind, Reader

WORD_CHARS_MAX: Final = 32  # of a size or quality; what is longer is none


class OpenAIImages(Reader):
    dialect: ClassVar[str] = "openai-images"
    body_bytes_per_token: ClassVar[int] = 1000

    def __init__(self) -> None:
        self._parts: list[Usage] = []  # one per statement: the body's, or one per image of a stream
        self._shares: list[tuple[str, Usage]] = []

    def is_media(self, head: bytes) -> bool:
        del head
        return True

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        return large or b".completed" in name + data or data.startswith(b"[DONE]")

    def take_event(self, name: bytes, document: Object) -> Kind:
        self.take_names(document)
        self.take_error(document.get("error"))
        kind = text(document.get("type")) or name.decode("ascii", "replace")
        if kind.endswith(".completed"):
            self.images += 1
            self.delivered_any = True
            self._take_usage(document.get("usage"))
            return Kind.CLOSING
        if kind.endswith(".partial_image"):
            self.delivered_any = True
            return Kind.MEDIA
        return Kind.ASIDE

    def take_body(self, document: Any) -> None:
        super().take_body(document)
        self.finish_seen = True
        self.images = len(items(obj(document).get("data")))
        self.delivered_any = self.images > 0
        if self.images:
            said = obj(document)
            size, quality = (text(said.get(name)).lower()[:WORD_CHARS_MAX] for name in ("size", "quality"))
            self.made = Made(self.images, size, quality)
        self._take_usage(obj(document).get("usage"))
        self._take_svg(obj(obj(document).get("svg_usage")))

    def _take_usage(self, usage: Any) -> None:
        if not states_usage(usage):
            return
        made = openai_usage(usage)
        if not obj(usage.get("output_tokens_details")):
            made = replace(made, image_output_tokens=made.output_tokens)
        self._parts.append(made)
        self.output_stated = True

    def _take_svg(self, usage: Object) -> None:
        if states_usage(usage):
            made = openai_usage(usage)
            self._parts.append(made)
            self._shares.append((text(usage.get("model")) or "svg", made))

    def usage(self) -> Usage | None:
        if not self._parts:
            return None
        parts = self._parts
        return Usage(
            input_tokens=sum(part.input_tokens for part in parts),
            output_tokens=sum(part.output_tokens for part in parts),
            cached_input_tokens=sum(part.cached_input_tokens for part in parts),
            reasoning_tokens=sum(part.reasoning_tokens for part in parts),
            image_input_tokens=sum(part.image_input_tokens for part in parts),
            image_output_tokens=sum(part.image_output_tokens for part in parts),
            service_tier=self.tier,
            per_model=tuple(self._shares),
        )


class OpenAIImageEdits(OpenAIImages):
    dialect: ClassVar[str] = "openai-image-edits"


class _Audio(Reader):
    """What transcriptions and speech share: a closing `*.done` event with usage."""

    _stated: Object | None = None

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        return large or b".done" in name + data or data.startswith(b"[DONE]")

    def take_event(self, name: bytes, document: Object) -> Kind:
        self.take_names(document)
        self.take_error(document.get("error"))
        kind = text(document.get("type")) or name.decode("ascii", "replace")
        if kind.endswith(".delta"):
            self.delivered_any = True
            return Kind.MEDIA if kind.startswith("speech") else Kind.OUTPUT
        if not kind.endswith(".done"):
            return Kind.ASIDE
        self.delivered_any = self.delivered_any or bool(document.get("text"))
        self._take_usage(document.get("usage"))
        return Kind.CLOSING

    def take_body(self, document: Any) -> None:
        super().take_body(document)
        self.finish_seen = True
        self._take_usage(obj(document).get("usage"))

    def _take_usage(self, usage: Any) -> None:
        if states_usage(usage):
            self._stated = usage
            self.output_stated = True

    def usage(self) -> Usage | None:
        return openai_usage(self._stated, service_tier=self.tier) if self._stated else None


class OpenAITranscriptions(_Audio):
    dialect: ClassVar[str] = "openai-transcriptions"

    def take_body(self, document: Any) -> None:
        """`duration` beside the words is what models state that know no usage (verbose_json)."""
        super().take_body(document)
        duration = obj(document).get("duration")
        if milli(duration):
            self._stated = {"seconds": duration, **(self._stated or {})}
            self.output_stated = True

    def output_text(self, document: Any) -> str:
        return text(obj(document).get("delta")) or text(obj(document).get("text"))


class OpenAITranslations(OpenAITranscriptions):
    dialect: ClassVar[str] = "openai-translations"


class OpenAISpeech(_Audio):
    dialect: ClassVar[str] = "openai-speech"
    body_bytes_per_token: ClassVar[int] = 1000

    def is_media(self, head: bytes) -> bool:
        del head
        return True

    def usage(self) -> Usage | None:
        made = super().usage()
        if made is None or count(obj(obj(self._stated).get("output_token_details")).get("audio_tokens")):
            return made
        return replace(made, audio_output_tokens=made.output_tokens)
