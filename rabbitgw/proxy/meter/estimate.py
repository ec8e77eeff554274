"""Tokens that nobody stated, estimated; and what to charge when part of the usage is missing.

Owns the estimate by bytes (a quarter token per byte of text, which fits English prose and code, and UTF-8 of
most other scripts within a factor of two) and the optional exact count by a tokenizer. Decides no price. The
counts are pure and may be slow: a long text is to be counted in a thread, never on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from rabbitgw.billing.usage import ESTIMATED, PARTIAL, PROVIDER, Usage
from rabbitgw.money import ceil_div
from rabbitgw.proxy.meter.dialects import reader_of
from rabbitgw.proxy.meter.numbers import items, parse
from rabbitgw.proxy.sse import Framer

TEXT_BYTES_PER_TOKEN: Final = 4
MEDIA_BYTES_PER_TOKEN: Final = 1000  # base64 of audio (PCM 3200, mp3 about 1000) or of an image
MESSAGE_TOKENS: Final = 4  # role and separators, per message
MEDIA_PART_TOKENS: Final = 1000  # an image, audio or file part whose size in tokens nobody stated
DEPTH_MAX: Final = 200

Count = Callable[[str], int]

# Members of a request body that the model reads.
_READ: Final = (
    "system",
    "instructions",
    "messages",
    "input",
    "prompt",
    "suffix",
    "tools",
    "functions",
    "response_format",
    "contents",
    "systemInstruction",
)
_MEDIA_TYPES: Final = frozenset(
    {
        *("audio", "document", "file", "image", "image_url", "input_audio", "input_file", "input_image"),
        *("computer_screenshot", "image_generation_call"),
    }
)
_FILE_TYPES: Final = frozenset({"document", "file", "input_file"})
_FILE_BYTES_PER_TOKEN: Final = 40  # base64 of a PDF with text and pictures


class OutputSample(NamedTuple):
    """A bounded part of the delivered output, and the size of all of it."""

    dialect: str
    stream: bytes = b""  # whole events, some of those that carried text
    sampled_bytes: int = 0  # what they took in the stream
    sampled_events: int = 0
    total_bytes: int = 0  # of all events that carried text
    total_events: int = 0
    media_bytes: int = 0
    body: bytes = b""  # instead of events: a body that was not streamed
    unread_bytes: int = 0  # of output in a body that was too large to keep, or is no JSON


class Metered(Protocol):
    """What a StreamReader and a PlainReader have in common."""

    @property
    def input_stated(self) -> bool: ...

    @property
    def output_stated(self) -> bool: ...

    @property
    def delivered_any(self) -> bool: ...

    @property
    def images(self) -> int: ...


def charged_usage(
    meter: Metered, stated: Usage | None, *, input_tokens: int, output_tokens: int, whole: bool
) -> Usage | None:
    """What to charge: stated numbers stay, missing ones are estimated, None when nothing is owed.

    `stated`: the meter's usage. `input_tokens` and `output_tokens` are the estimates. `whole`: the answer came to
    its end; one that ended early is PARTIAL even where its numbers are exact.
    """
    source = ESTIMATED if whole else PARTIAL
    if stated is None:
        if not meter.delivered_any:
            return None
        if meter.images:  # a model that states no tokens is sold by the image, and those are counted
            return Usage(server_tools={"images": meter.images}, source=PROVIDER if whole else PARTIAL)
        return Usage(input_tokens=input_tokens, output_tokens=output_tokens, source=source)
    if not (whole or meter.delivered_any or stated.input_tokens or stated.output_tokens):
        return None  # LiteLLM opens Messages of an OpenAI model with zeros, before it knows anything
    if not meter.delivered_any or (meter.input_stated and meter.output_stated):
        return stated if whole else replace(stated, source=PARTIAL)
    if not meter.input_stated:
        stated = replace(stated, input_tokens=max(stated.input_tokens, input_tokens))
    if not meter.output_stated:
        stated = replace(stated, output_tokens=max(stated.output_tokens, output_tokens))
    return replace(stated, source=source)


def by_bytes(text: str) -> int:
    """The estimate that needs no vocabulary."""
    return ceil_div(_size(text), TEXT_BYTES_PER_TOKEN)


def load_tokenizer() -> Count | None:
    """An exact counter (o200k) where the optional tokenizer is installed. Loading takes about 0.1 s, once."""
    try:
        from rs_bpe import openai  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    tokenizer = openai.o200k_base()
    # The tokenizer takes no lone surrogates, which JSON can carry.
    return lambda text: int(tokenizer.count(text.encode("utf-8", "replace").decode()))


def estimate_output_tokens(sample: OutputSample, count: Count = by_bytes) -> int:
    """Tokens of the delivered output: the sampled text is counted, the rest follows in proportion to its bytes."""
    reader = reader_of(sample.dialect)
    if sample.body or sample.unread_bytes:
        document = parse(sample.body)
        if document is not None:
            return count(reader.output_text(document))
        unread = len(sample.body) + sample.unread_bytes
        return ceil_div(unread, reader.body_bytes_per_token) if reader.body_bytes_per_token else 0
    tokens = sample.media_bytes // MEDIA_BYTES_PER_TOKEN
    events = Framer().feed(sample.stream)
    text = "".join(reader.output_text(parse(event.data)) for event in events)
    counted = count(text)
    text_bytes = _size(text)
    rest_bytes = sample.total_bytes - sample.sampled_bytes
    if sample.sampled_events:
        frame_bytes = (sample.sampled_bytes - text_bytes) // sample.sampled_events
        rest_bytes -= (sample.total_events - sample.sampled_events) * frame_bytes
    rest_bytes = max(rest_bytes, 0)
    if not text_bytes:
        return tokens + ceil_div(rest_bytes, TEXT_BYTES_PER_TOKEN)
    return tokens + counted + ceil_div(rest_bytes * counted, text_bytes)


def estimate_input_tokens(
    body: bytes | dict[str, Any], count: Count = by_bytes, *, media_part_tokens: int = MEDIA_PART_TOKENS
) -> int:
    """Tokens of a request: its text by `count`, its images, audio and files by a constant each.

    A body that is no JSON object is estimated by its bytes alone.
    """
    document = parse(body) if isinstance(body, bytes) else body
    if not isinstance(document, dict):
        return ceil_div(len(body), TEXT_BYTES_PER_TOKEN)
    found = _Found()
    for name in _READ:
        found.collect(document.get(name))
    messages = len(items(document.get("messages")))
    text_tokens = count("\n".join(found.texts)) if found.texts else 0
    return text_tokens + found.token_ids + found.media * media_part_tokens + messages * MESSAGE_TOKENS


@dataclass(slots=True)
class _Found:
    """What a request holds for the model to read."""

    texts: list[str] = field(default_factory=list)
    token_ids: int = 0  # a prompt may be a list of token ids; and what files count by their size
    media: int = 0

    def collect(self, value: Any, depth: int = 0) -> None:
        if isinstance(value, str):
            self.texts.append(value)  # whatever it looks like: what decides is the part that it stands in
        elif isinstance(value, list) and depth < DEPTH_MAX:
            for inner in value:
                self.collect(inner, depth + 1)
        elif isinstance(value, dict) and depth < DEPTH_MAX:
            if value.get("type") in _MEDIA_TYPES:
                self._collect_media(value, depth)
                return
            for name, inner in value.items():
                self.texts.append(name)
                self.collect(inner, depth + 1)
        elif isinstance(value, int) and not isinstance(value, bool):
            self.token_ids += 1

    def _collect_media(self, part: dict[str, Any], depth: int) -> None:
        """A file counts by its size, an image or a sound by itself; a document may be text after all."""
        kind = part["type"]
        source = part.get("source") or part.get(kind) or part
        if kind == "document" and isinstance(source, dict) and source.get("type") in ("text", "content"):
            self.collect(source.get("data"), depth + 1)
            self.collect(source.get("content"), depth + 1)
            return
        self.media += 1
        if kind in _FILE_TYPES and isinstance(source, dict):
            sizes = [len(value) for value in source.values() if isinstance(value, str)]
            self.token_ids += max(sizes, default=0) // _FILE_BYTES_PER_TOKEN


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
