"""Gemini generateContent and streamGenerateContent, as met behind pass-through routes.

`usageMetadata` is cumulative on every chunk: the last one counts. Thoughts are not in `candidatesTokenCount`,
cached content is in `promptTokenCount`, tool use prompts are in neither. `trafficType` is the tier served.
With `alt=sse` CRLF events and no [DONE]; without it the body is an array of the same chunks.
Source: Google's generateContent reference, UsageMetadata.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import Object, count, items, obj, service_tier, stated, text
from rabbitgw.proxy.meter.reading import Kind, Reader


class Gemini(Reader):
    dialect: ClassVar[str] = "gemini"

    _stated: Object | None = None

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        del name
        return large or b'"finishReason"' in data or data.startswith(b"[DONE]")

    def take_event(self, name: bytes, document: Object) -> Kind:
        del name
        self.model = text(document.get("modelVersion")) or self.model
        self.take_error(document.get("error"))
        usage = obj(document.get("usageMetadata"))
        if (
            stated(usage.get("promptTokenCount")) is not None
            or stated(usage.get("totalTokenCount")) is not None
        ):
            self._stated = usage
            self.output_stated = True
        self.tier = (
            service_tier(usage.get("trafficType")) or service_tier(usage.get("serviceTier")) or self.tier
        )
        candidates = [obj(candidate) for candidate in items(document.get("candidates"))]
        if any(items(obj(candidate.get("content")).get("parts")) for candidate in candidates):
            self.delivered_any = True
        if any(candidate.get("finishReason") for candidate in candidates):
            self.finish_seen = True
            return Kind.CLOSING
        return Kind.OUTPUT if candidates else Kind.ASIDE

    def take_body(self, document: Any) -> None:
        for chunk in document if isinstance(document, list) else [document]:
            self.take_event(b"", obj(chunk))
        self.finish_seen = True

    def usage(self) -> Usage | None:
        usage = self._stated
        if usage is None:
            return None
        thoughts = count(usage.get("thoughtsTokenCount"))
        output = count(usage.get("candidatesTokenCount")) + thoughts
        prompt = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
        into, out = usage.get("promptTokensDetails"), usage.get("candidatesTokensDetails")
        return Usage(
            input_tokens=prompt,
            output_tokens=output,
            cached_input_tokens=min(count(usage.get("cachedContentTokenCount")), prompt),
            reasoning_tokens=thoughts,
            audio_input_tokens=min(_of_modality(into, "AUDIO"), prompt),
            audio_output_tokens=min(_of_modality(out, "AUDIO"), output),
            image_input_tokens=min(_of_modality(into, "IMAGE"), prompt),
            image_output_tokens=min(_of_modality(out, "IMAGE"), output),
            service_tier=self.tier,
        )

    def output_text(self, document: Any) -> str:
        return "".join(
            text(obj(part).get("text"))
            for chunk in (document if isinstance(document, list) else [document])
            for candidate in items(obj(chunk).get("candidates"))
            for part in items(obj(obj(candidate).get("content")).get("parts"))
        )


def _of_modality(details: Any, modality: str) -> int:
    return sum(count(obj(d).get("tokenCount")) for d in items(details) if obj(d).get("modality") == modality)
