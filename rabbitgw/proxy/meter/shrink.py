"""A large JSON document made small while it passes, without ever holding it.

Owns the filter only: bytes of any size in, a small JSON document with the same shape out, fit to be parsed by
the same reader as a small one. What carries output (long strings, and the values under `DROPPED_KEYS`) is
left out and only its length is counted; everything else, so also every usage object, stays to the byte. The
document is not checked: broken JSON comes out broken, and parsing it fails then.
"""

from __future__ import annotations

import re
from typing import Final

KEPT_BYTES_MAX: Final = 262_144  # what is left of a document is a few kilobytes; past this it is given up
DEPTH_MAX: Final = 64  # usage stands at depth five at most; what lies deeper than this is left out
STRING_BYTES_MAX: Final = 1024  # longer strings are output, not names or numbers

# Members that hold output, or what the request said, in every dialect that is read here; never usage.
DROPPED_KEYS: Final = frozenset(
    {
        b"annotations",
        b"arguments",
        b"content",
        b"embedding",
        b"encrypted_content",
        b"input",
        b"instructions",
        b"logprobs",
        b"results",
        b"segments",
        b"summary",
        b"tools",
        b"top_logprobs",
        b"words",
    }
)
_KEY_BYTES_MAX: Final = max(map(len, DROPPED_KEYS)) + 1

_STRUCTURE: Final = re.compile(rb'["{}\[\]:,]')
_NESTING: Final = re.compile(rb'["{}\[\]]')
_BLANK: Final = b" \t\r\n"

_OBJECT, _ARRAY = 0x7B, 0x5B
_QUOTE = 0x22


class Shrinker:
    """The filter. `end` gives the small document, or b"" when even that grew too large."""

    __slots__ = (
        "_drop_value",
        "_dropping",
        "_escaped",
        "_expects_key",
        "_in_string",
        "_is_key",
        "_key",
        "_out",
        "_stack",
        "_string",
        "dropped_bytes",
    )

    def __init__(self) -> None:
        self.dropped_bytes = 0  # output bytes left out
        self._out = bytearray()
        self._stack = bytearray()  # the open containers that are kept
        self._dropping = 0  # depth inside a container that is dropped
        self._in_string = False
        self._escaped = False  # the next byte is escaped
        self._is_key = False
        self._expects_key = False  # the next string is a member's name
        self._key = b""  # the last member's name, as far as it matters
        self._drop_value = False  # the value that follows is dropped
        self._string = bytearray()  # the string under way, up to STRING_BYTES_MAX

    def feed(self, data: bytes) -> None:
        pos = 0
        size = len(data)
        while pos < size:
            if self._in_string:
                pos = self._read_string(data, pos)
            elif self._dropping:
                pos = self._skip_container(data, pos)
            else:
                pos = self._read_structure(data, pos)

    def head(self, size: int) -> bytes:
        """The first bytes of what was kept so far."""
        return bytes(self._out[:size])

    def end(self) -> bytes:
        return b"" if len(self._out) > KEPT_BYTES_MAX else bytes(self._out)

    def _emit(self, data: bytes) -> None:
        if len(self._out) <= KEPT_BYTES_MAX:
            self._out += data

    def _read_string(self, data: bytes, pos: int) -> int:
        """Up to the closing quote, or to the end of the data."""
        begin = pos
        if self._escaped:
            self._escaped = False
            pos += 1
        while True:
            quote = data.find(b'"', pos)
            stop = len(data) if quote < 0 else quote
            slashes = stop
            while slashes > pos and data[slashes - 1] == 0x5C:
                slashes -= 1
            odd = (stop - slashes) & 1
            if quote < 0:
                self._escaped = bool(odd)
                self._keep_string(data, begin, stop)
                return stop
            pos = quote + 1
            if not odd:
                break
        self._keep_string(data, begin, quote)
        self._in_string = False
        self._close_string()
        return pos

    def _keep_string(self, data: bytes, begin: int, stop: int) -> None:
        room = STRING_BYTES_MAX + 1 - len(self._string)
        if self._dropping or self._drop_value or stop - begin > room:
            self.dropped_bytes += stop - begin
            room = 0 if self._dropping or self._drop_value else room
        if room > 0:
            self._string += data[begin : min(stop, begin + room)]

    def _close_string(self) -> None:
        string = self._string
        if self._dropping:
            return
        if self._drop_value:
            self._drop_value = False
            self._emit(b'""')
        elif len(string) > STRING_BYTES_MAX:
            self._emit(b'""')
        else:
            self._emit(b'"%b"' % bytes(string))
        if self._is_key:
            self._key = bytes(string) if len(string) < _KEY_BYTES_MAX else b""
            self._is_key = False
        string.clear()

    def _skip_container(self, data: bytes, pos: int) -> int:
        found = _NESTING.search(data, pos)
        if found is None:
            self.dropped_bytes += len(data) - pos
            return len(data)
        at = found.start()
        self.dropped_bytes += at - pos
        mark = data[at]
        if mark == _QUOTE:
            self._in_string = True
        elif mark in (_OBJECT, _ARRAY):
            self._dropping += 1
        else:
            self._dropping -= 1
        return at + 1

    def _read_structure(self, data: bytes, pos: int) -> int:
        found = _STRUCTURE.search(data, pos)
        at = len(data) if found is None else found.start()
        if at > pos:
            self._emit(data[pos:at].strip(_BLANK))
        if found is None:
            return at
        mark = data[at]
        if mark == _QUOTE:
            self._in_string = True
            self._is_key = self._expects_key
            self._expects_key = False
            return at + 1
        if mark in (_OBJECT, _ARRAY) and (self._drop_value or len(self._stack) == DEPTH_MAX):
            self._drop_value = False
            self._dropping = 1
            self._emit(b"null")
            return at + 1
        self._emit(data[at : at + 1])
        if mark in (_OBJECT, _ARRAY):
            self._stack.append(mark)
            self._expects_key = mark == _OBJECT
        elif mark == 0x3A:  # colon
            self._drop_value = self._key in DROPPED_KEYS and len(self._stack) > 0
        else:
            self._drop_value = False
            if mark == 0x2C:  # comma
                self._expects_key = bool(self._stack) and self._stack[-1] == _OBJECT
            elif self._stack:
                self._stack.pop()
        return at + 1
