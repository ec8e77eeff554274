"""HTML that cannot be broken by what stands in it: text is escaped unless it is HTML already.

Knows tags and attributes, no page.
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

_CODE: Final = re.compile(r"`([^`]+)`")
NO_END: Final = frozenset({"meta", "link"})


class Html(str):
    """Text that is HTML already. Made by the functions below, from nothing that came from outside unescaped."""

    __slots__ = ()


def tag(tag_name: str, *inside: str, **attributes: str) -> Html:
    """An element. A trailing underscore of an attribute's name is dropped: `class_`."""
    said = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    if tag_name in NO_END:
        return Html(f"<{tag_name}{said}>")
    return Html(f"<{tag_name}{said}>{joined(*inside)}</{tag_name}>")


def joined(*parts: str, by: str = "") -> Html:
    return Html(escaped(by).join(map(escaped, parts)))


def escaped(text: str) -> Html:
    return text if isinstance(text, Html) else Html(escape(text, quote=False))


def prose(text: str) -> Html:
    """A description: `code` is code."""
    return Html(_CODE.sub(r"<code>\1</code>", escaped(text)))
