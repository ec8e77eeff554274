"""An event that is like an earlier one of its stream but for its text, and for its number where events have one.

Nearly all events of a stream are: what surrounds the text repeats to the byte. To see that takes one comparison and one
match, a third of the time of the searches that tell of an event on its own that it says nothing but text. Knows no
dialect, but that of the members behind the text none says anything that is null, except those which are looked for
wherever they stand; that `obfuscation` is padding; and `sequence_number` and `logprobs` of responses.
"""

from __future__ import annotations

import re
import sys
from typing import Final

_STRING: Final = rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+"'  # the rest of one, behind its quote
_MEMBER: Final = (
    rb'(?!error"|audio"|response"|item")[a-z_]++":null|obfuscation":"'
    + _STRING
    + rb'|sequence_number":[0-9]++|logprobs":\[\]'
)
_REST: Final = _STRING + rb'[\]}]*+(?:,"(?:' + _MEMBER + rb")[\]}]*+)*+\n\n"
_TEXT: Final = re.compile(rb':"(?=' + _REST + rb"\Z)")
_NUMBER: Final = re.compile(rb'(?<=[{,]"sequence_number":)[0-9]++')
rest_of: Final = re.compile(_REST).match
_digits_of: Final = re.compile(rb"[0-9]++").match
_NOWHERE: Final = sys.maxsize  # past the end of any piece: nothing goes on from there
_LEARNT_MAX: Final = 16  # of one stream; where no two events are alike it would be lost labour
_LEARNT_BYTES_MAX: Final = 2048  # of one made to be searched slowly


class Alike:
    """Remembers how the last event began that was learnt.

    unlike: what sets an event apart, even if it stands in its text.
    start, size: of the event learnt, where it has no number and nothing sets it apart: a piece that starts so, and goes
    on to its end as `rest_of` has it, is one event like it. Shown so that StreamReader need not call for each chunk.
    """

    __slots__ = ("_left", "_middle", "_size", "_start", "_unlike", "size", "start")

    def __init__(self, unlike: bytes = b"") -> None:
        self._unlike = unlike
        self._start = b"\0"  # of an event, up to its text or its number; none begins so
        self._size = 0
        self._middle = b""  # behind its number, up to its text
        self._left = _LEARNT_MAX
        self.start = b"\0"
        self.size = _NOWHERE

    def events(self, piece: bytes) -> int:
        """How many events like that one `piece` is; 0 if it is anything else."""
        if self._unlike and self._unlike in piece:
            return 0
        events = at = 0
        while piece.startswith(self._start, at):
            at += self._size
            if self._middle:
                number = _digits_of(piece, at)
                if number is None or not piece.startswith(self._middle, number.end()):
                    return 0
                at = number.end() + len(self._middle)
            rest = rest_of(piece, at)
            if rest is None:
                return 0
            events += 1
            at = rest.end()
            if at == len(piece):
                return events
        return 0

    def learn(self, piece: bytes) -> None:
        """From a piece that is one event, of which it was seen otherwise that it says nothing but text."""
        if not self._left or len(piece) > _LEARNT_BYTES_MAX or b'"audio"' in piece:
            return
        self._left -= 1
        text = _TEXT.search(piece)
        if text is None:
            return
        number = _NUMBER.search(piece, 0, text.end())
        self._start = piece[: text.end() if number is None else number.start()]
        self._middle = b"" if number is None else piece[number.end() : text.end()]
        self._size = len(self._start)
        plain = number is None and not self._unlike
        self.start, self.size = (self._start, self._size) if plain else (b"\0", _NOWHERE)
