"""The parts of a prompt that are no text: bounded by what they are, not by the bytes they take in the body.

Parts of every dialect are read in each of them, as LiteLLM carries those of one into another. A malformed part is
upstream's to judge. An id of a file that is stored at the provider is refused: see call.py. So are tools that stand in
a prompt instead of in `tools`, where their price is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rabbitgw.billing.hold_bounds import Media
from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.links import FORMATS, ends_as_file, head_of, is_image_format, is_web, links_in
from rabbitgw.proxy.call import Call, stored_object

_FILE_HOLDERS: Final = ("file", "source", "image_url", "image_file", "document")
# Whose words may hold a URL that nobody opens; kinds that end so, too.
_WORDS: Final = frozenset(
    {
        *("text", "refusal", "thinking", "redacted_thinking", "compaction", "fallback", "mcp_tool_listing"),
        *("tool_addition", "tool_removal", "tool_reference", "tool_call", "function_call"),
    }
)
_WORDS_ENDS: Final = ("_text", "_use", "_result", "_error", "_output", "_call")
# A part of text, with no member that is looked at here.
_TEXTS: Final = ("text", "input_text", "output_text")
_TEXT_MEMBERS: Final = frozenset({"type", "text", "cache_control", "citations", "annotations", "logprobs"})
_TOOL_REFERENCES: Final = (
    "tool_reference",
    "mcp_tool_reference",
    "mcp_toolset_reference",
)  # a tuple: a type may be of any type


class Found:
    """Adds up the media of one call."""

    __slots__ = ("audio_bytes", "file_bytes", "images", "inline_bytes", "linked_files")

    def __init__(self) -> None:
        self.images = self.audio_bytes = self.file_bytes = self.linked_files = 0
        self.inline_bytes = 0  # of images

    def image(self, source: Any, where: str, *, stated: Any = None, bare: bool = False) -> None:
        """`source`: a data URL or another; base64 only where `bare`. `stated`: the format that the caller names.

        Raises: RequestInvalid for a stored object.
        """
        if not isinstance(source, str) or not source:
            self.images += 1
        elif is_web(source, where):
            if is_image_format(stated) and not ends_as_file(source):
                self.images += 1
            else:
                self.linked_files += 1
        else:
            is_url = head_of(source).startswith("data:")
            if not is_url and not bare:
                raise stored_object(where)
            if is_image_format(stated) and (not is_url or head_of(source).startswith("data:image/")):
                self.images += 1
                self.inline_bytes += len(source)
            else:
                self.file_bytes += len(source)

    def audio(self, data: Any, where: str) -> None:
        """Raises: RequestInvalid for a stored object."""
        if not isinstance(data, str):
            return
        if is_web(data, where):
            self.linked_files += 1
        else:
            self.audio_bytes += len(data)

    def file(self, data: Any, where: str) -> None:
        """`data`: base64 or a URL; None for a file that is only linked. Raises: RequestInvalid for a stored object."""
        if isinstance(data, str) and data and not is_web(data, where):
            self.file_bytes += len(data)
        else:
            self.linked_files += 1

    def links(self, value: Any, where: str) -> int:
        """How many files are linked anywhere in `value`. Raises: RequestInvalid for a stored object."""
        count = sum(is_web(link, where) for link in links_in(value))
        self.linked_files += count
        return count

    def write(self, call: Call) -> None:
        if not (self.images or self.audio_bytes or self.file_bytes or self.linked_files):
            return  # NO_MEDIA, by which a hold is made in fewer steps
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


def parts_or_one(value: Any) -> Iterable[dict[str, Any]]:
    return [value] if isinstance(value, dict) else parts_of(value)


def refuse_message_tools(message: dict[str, Any]) -> None:
    """Raises: RequestInvalid for a message that brings tools of its own."""
    if message.get("tools"):
        raise declared_tools("messages.tools")


def read_contents(messages: list[Any], found: Found) -> None:
    """The content parts of messages whose content is no plain text. Raises: RequestInvalid naming what is at fault."""
    for message in messages:
        if isinstance(message, dict):
            refuse_message_tools(message)
            content = message.get("content")
            if isinstance(content, str):
                continue
            for part in content if isinstance(content, list) else parts_or_one(content):
                if isinstance(part, dict):
                    read_part(part, found, "messages.content")


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


def declared_tools(where: str) -> RequestInvalid:
    return RequestInvalid(f"{where}: tools are declared in `tools` alone", field=where)


def refuse_declared_tools(part: dict[str, Any], where: str) -> None:
    """Raises: RequestInvalid when a part brings a tool of its own; it may refer to one in `tools`."""
    if part.get("tool_changes"):
        raise declared_tools(f"{where}.tool_changes")
    tool = part.get("tool")
    if part.get("type") == "tool_addition" and (
        member(tool, "type") not in _TOOL_REFERENCES or member(tool, "definition") is not None
    ):
        raise declared_tools(f"{where}.tool")


def read_part(part: dict[str, Any], found: Found, where: str) -> None:
    """A content part of any dialect, and what stands inside it. Raises: RequestInvalid naming the member at fault."""
    kind = part.get("type")
    if part.keys() <= _TEXT_MEMBERS and kind in _TEXTS:
        return  # nearly always
    refuse_stored_file(part, where)
    refuse_declared_tools(part, where)
    if kind in ("image_url", "input_image", "computer_screenshot"):
        data = part.get("image_url")
        stated = next((part_format for part_format in map(_format_of, (data, part)) if part_format), None)
        url = member(data, "url") if isinstance(data, dict) else data
        found.image(url, f"{where}.image_url", stated=stated)
    elif kind == "input_audio":
        found.audio(member(part.get("input_audio"), "data"), f"{where}.input_audio")
    elif kind in ("file", "input_file"):
        _read_file(part, found, where)
    elif kind in ("image", "document"):
        _read_source(part, found, where)
    elif not isinstance(kind, str) or (kind not in _WORDS and not kind.endswith(_WORDS_ENDS)):
        found.links(
            {name: value for name, value in part.items() if name != "content"}, f"{where}.{kind}"[:64]
        )
    for inner in parts_or_one(part.get("content")):
        read_part(inner, found, where)


def _format_of(holder: Any) -> Any:
    return next((stated for name in FORMATS if (stated := member(holder, name))), None)


def _read_file(part: dict[str, Any], found: Found, where: str) -> None:
    held = part.get("file")
    if member(held, "id") is not None:
        raise stored_object(f"{where}.file.id")
    data = member(held, "file_data") or part.get("file_data")
    named = [part.get("file_url"), held if isinstance(held, str) else None]
    named += [value for name, value in held.items() if name != "file_data"] if isinstance(held, dict) else []
    linked = found.links(named, f"{where}.file")
    if data or not linked:
        found.file(data, f"{where}.file_data")


def _read_source(block: dict[str, Any], found: Found, where: str) -> None:
    """An image or document of Anthropic's, as base64, a link, text or further blocks."""
    source = block.get("source")
    if not isinstance(source, dict):
        found.links(block, where)
    kind, data, url = member(source, "type"), member(source, "data"), member(source, "url")
    where += ".source"
    if block.get("type") == "image":
        stated = _format_of(source)
        if data or not url:
            found.image(data, where, stated=stated, bare=True)
        if url:
            found.image(url, where, stated=stated)
        return
    if kind == "base64":
        found.file(data, where)
    if url or kind == "url":
        found.file(url, where)
    for inner in parts_or_one(member(source, "content")):
        read_part(inner, found, where.removesuffix(".source"))
