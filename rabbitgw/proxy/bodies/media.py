"""The parts of a prompt that are no text: bounded by what they are, not by the bytes they take in the body.

A malformed part is upstream's to judge. An id of a file that is stored at the provider is refused: see call.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from rabbitgw.billing.hold_bounds import Media
from rabbitgw.proxy.call import Call, stored_object

_FILE_HOLDERS: Final = ("file", "source", "image_url", "image_file", "document")


class Found:
    """Adds up the media of one call."""

    __slots__ = ("audio_bytes", "file_bytes", "images", "inline_bytes", "linked_files")

    def __init__(self) -> None:
        self.images = self.audio_bytes = self.file_bytes = self.linked_files = 0
        self.inline_bytes = 0  # of images

    def image(self, source: Any) -> None:
        """`source`: a data URL, another URL, or base64."""
        self.images += 1
        if isinstance(source, str) and not source.startswith(("http://", "https://")):
            self.inline_bytes += len(source)

    def audio(self, data: Any) -> None:
        self.audio_bytes += len(data) if isinstance(data, str) else 0

    def file(self, data: Any) -> None:
        """`data`: base64 or a data URL; None for a file that is only linked."""
        if isinstance(data, str) and data:
            self.file_bytes += len(data)
        else:
            self.linked_files += 1

    def write(self, call: Call) -> None:
        call.media = Media(
            images=self.images,
            audio_bytes=self.audio_bytes,
            file_bytes=self.file_bytes,
            linked_files=self.linked_files,
        )
        call.media_bytes = self.inline_bytes + self.audio_bytes + self.file_bytes


def parts_of(value: Any) -> Iterable[dict[str, Any]]:
    """The objects of a list; none of anything else."""
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else ()


def content_parts(messages: list[Any]) -> Iterator[dict[str, Any]]:
    """The content parts of messages whose content is a list."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))


def member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def refuse_stored_file(part: dict[str, Any], where: str) -> None:
    """Raises: RequestInvalid when a part of a prompt names a file by the provider's id, whatever kind it says it is.

    LiteLLM carries parts of one dialect into another.
    """
    if part.get("file_id") is not None:
        raise stored_object(f"{where}.file_id")
    for name in _FILE_HOLDERS:
        if member(part.get(name), "file_id") is not None:
            raise stored_object(f"{where}.{name}.file_id")


def read_block(block: dict[str, Any], found: Found) -> None:
    """A block of Anthropic's. Raises: RequestInvalid for a stored file."""
    kind = block.get("type")
    refuse_stored_file(block, "messages.content")
    if kind not in ("image", "document"):
        return
    source = block.get("source")
    if kind == "image":
        found.image(member(source, "data") or member(source, "url"))
    elif member(source, "type") == "base64":
        found.file(member(source, "data"))
    elif member(source, "type") == "url":
        found.file(None)
    elif member(source, "type") == "content":
        for inner in parts_of(member(source, "content")):
            read_block(inner, found)
