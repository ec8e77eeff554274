"""Where a part of a prompt comes from: inside the body, on the open web, or the provider's own store.

The store is one for all callers, so that what is named there could be another's: refused, see call.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from unicodedata import normalize
from urllib.parse import urlsplit

from rabbitgw.proxy.call import stored_object

HEAD_CHARS: Final = 64  # a scheme or an id stands at the start; the rest may be megabytes
URL_CHARS: Final = 16_384  # of a URL that are looked at
LINK_DEPTH: Final = 4  # levels of a part of unknown kind that are searched
# As LiteLLM lets a part say what is behind its link, whatever the part's own kind.
FORMATS: Final = ("format", "mime_type", "mimeType", "content_type", "media_type")
_WEB: Final = ("http://", "https://")
_STORED_IDS: Final = ("file-", "file_", "files/")
# Hosts that give a provider its own callers' files.
_STORES: Final = ("generativelanguage.googleapis",)
_AUTHORITY: Final = re.compile(r"[^/?#\\]*")
# By the end of a URL LiteLLM tells the provider what it is, and it is then charged as that.
_NO_IMAGE: Final = frozenset(
    {
        *(
            "pdf",
            "mp4",
            "mov",
            "mpeg",
            "mpg",
            "mpegps",
            "avi",
            "wmv",
            "flv",
            "webm",
            "mkv",
            "3gp",
            "3gpp",
            "m4v",
        ),
        *(
            "mp3",
            "wav",
            "m4a",
            "ogg",
            "opus",
            "flac",
            "aac",
            "aiff",
            "pcm",
            "txt",
            "csv",
            "html",
            "json",
            "md",
        ),
    }
)


def head_of(source: str) -> str:
    return source[:HEAD_CHARS].lstrip().casefold()


def is_web(source: str, where: str) -> bool:
    """A link into the web; False for what is inside the body. Raises: RequestInvalid for a stored object."""
    head = head_of(source)
    if head.startswith(_WEB):
        if _is_store(source):
            raise stored_object(where)
        return True
    if head.startswith("data:"):
        return False
    if "://" in head or head.startswith(_STORED_IDS):
        raise stored_object(where)
    return False


def _is_store(url: str) -> bool:
    """A host may be written in many ways; one with escapes is taken for the worst."""
    named = _AUTHORITY.match(url[:URL_CHARS].lstrip().partition("://")[2])
    host = normalize("NFKC", named[0]).casefold() if named else ""
    return "%" in host or any(store in host for store in _STORES)


def is_image_format(stated: Any) -> bool:
    """What a caller states of a part's format; nothing is stated of most."""
    return not isinstance(stated, str) or not stated or stated.casefold().startswith("image")


def ends_as_file(url: str) -> bool:
    """By its ending, a URL is of a video, a sound or a document."""
    try:
        path = urlsplit(url[:URL_CHARS].strip()).path
    except ValueError:
        return True
    return path.rpartition(".")[2].casefold() in _NO_IMAGE


def links_in(value: Any, depth: int = LINK_DEPTH) -> Iterator[str]:
    """The strings in a part that name something elsewhere."""
    if isinstance(value, str):
        if "://" in value[:HEAD_CHARS]:
            yield value
    elif depth and isinstance(value, dict):
        for inner in value.values():
            yield from links_in(inner, depth - 1)
    elif depth and isinstance(value, list):
        for inner in value:
            yield from links_in(inner, depth - 1)
