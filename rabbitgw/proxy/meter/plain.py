"""One answer that is not streamed: its bytes pass at once, all but the last, and its JSON is read at the end.

Owns the withheld last byte (the answer is whole only after the settle) and bounded memory: a body beyond
`WHOLE_BYTES_MAX` is made small while it passes (shrink.py), so that one of any size is read without keeping
or parsing it in one go. A body that is no JSON (speech, subtitles) states nothing and passes untouched.
"""

from __future__ import annotations

from typing import Final

import orjson

from rabbitgw.proxy.meter.dialects import reader_of
from rabbitgw.proxy.meter.estimate import OutputSample
from rabbitgw.proxy.meter.numbers import parse
from rabbitgw.proxy.meter.shrink import Shrinker
from rabbitgw.proxy.meter.stated import Stated

WHOLE_BYTES_MAX: Final = 262_144  # parsed in one go: under a millisecond

_BLANK: Final = b" \t\r\n"


class PlainReader(Stated):
    """`feed` each piece and pass on what it returns; `end`; then settle, then `release` the last byte.

    is_json: False for a body that is said to be something else, whatever it looks like.

    Raises: ValueError for a dialect that is not in DIALECTS.
    """

    __slots__ = ("_body", "_ended", "_is_json", "_last", "_shrinker", "size")

    def __init__(self, dialect: str, *, choices: int = 1, is_json: bool = True) -> None:
        self._reader = reader_of(dialect, choices)
        self.size = 0  # bytes of the body so far
        self._last = b""
        self._body: bytes | bytearray = b""
        self._shrinker: Shrinker | None = None
        # None until the first byte that is not blank
        self._is_json: bool | None = None if is_json else False
        self._ended = False

    def feed(self, piece: bytes) -> bytes:
        """Take a piece; the bytes that may go to the client now."""
        if not piece:
            return b""
        if self.size == 0 and self._is_json is None and piece[0] in b"{[" and len(piece) <= WHOLE_BYTES_MAX:
            self._is_json = True
            self._body = piece  # nearly always the whole of it: never copied
            self.size = len(piece)
            self._last = piece[-1:]
            return piece[:-1]
        self._keep(piece)
        self.size += len(piece)
        out = self._last + piece[:-1]
        self._last = piece[-1:]
        return out

    def end(self) -> bytes:
        """The body is whole: read it. Nothing more goes out before `release`."""
        self._ended = True
        document = None
        if self._shrinker is not None:
            document = parse(self._shrinker.end())
        elif self._is_json:
            try:
                document = orjson.loads(self._body)  # nearly always
            except orjson.JSONDecodeError:
                document = parse(self._body)
        if document is not None:
            self._reader.take_body(document)
        if self._shrinker is not None or (document is None and self.size > 0):
            self._reader.delivered_any = self._reader.error is None
        return b""

    def release(self) -> bytes:
        """The last byte, once the call is settled."""
        last, self._last = self._last, b""
        return last

    @property
    def withheld(self) -> bytes:
        return self._last

    @property
    def terminal_seen(self) -> bool:
        """Only the end of the body ends it, and the transport knows that."""
        return False

    @property
    def delivered_any(self) -> bool:
        """Some of the answer came; of a body that broke off, any byte."""
        return self._reader.delivered_any if self._ended else self.size > 1

    def output_sample(self) -> OutputSample:
        """What `estimate_output_tokens` needs, when usage is missing."""
        unread = self.size if self._is_json is False else 0
        if self._shrinker is not None:
            unread = self._shrinker.dropped_bytes
        return OutputSample(dialect=self._reader.dialect, body=bytes(self._body), unread_bytes=unread)

    def _keep(self, piece: bytes) -> None:
        if self._is_json is None:
            head = piece.lstrip(_BLANK)
            if head:
                self._is_json = head[0] in b"{["
        if self._shrinker is not None:
            self._shrinker.feed(piece)
        elif self._is_json is not False:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += piece
            if len(self._body) > WHOLE_BYTES_MAX:
                self._shrinker = Shrinker()
                self._shrinker.feed(bytes(self._body))
                self._body = b""
