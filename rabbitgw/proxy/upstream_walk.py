"""Walks every byte of the responses on one connection with llhttp: bytes in, facts out, no I/O.

Owns where a head, a piece of body and the end are; knows no socket, no sink and no meaning of a field.

Rules that would surprise:
- The callbacks only record, because httptools swallows what a callback raises.
- llhttp goes straight from the end of a message into the next one in the same bytes. That beginning is stopped
  by an exception, so bytes beyond the end never become a body. (Bare line ends there are skipped, as RFC 9112
  section 2.2 lets a recipient do: they cannot be taken for a response.)
- llhttp is left strict. A length beside chunks, a repeated length, a bare CR or LF and a folded field are faults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools

from rabbitgw.proxy.upstream_head import HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Headers

FRAMING_BYTES_MAX = 32 * 1024  # chunk extensions and trailers without any payload between them

PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class _Ear:
    """What httptools looks for. Plain attributes, so that `on_body` can be list.append itself: no frame a chunk."""

    on_message_begin: Callable[[], None]
    on_header: Callable[[bytes, bytes], None]
    on_headers_complete: Callable[[], None]
    on_body: Callable[[bytes], None]
    on_message_complete: Callable[[], None]


class ResponseWalk:
    """`feed`, then look: `status` (0 until the head is whole), `head`, `pieces`, `complete`, `fault`.

    The reader takes what it has seen out of `pieces` (always the same list). `ended` is `complete` or a
    `fault`; both can be true, when only what lies beyond the end is at fault. `restart` is for the next response.
    """

    __slots__ = (
        "_fields",
        "_head_bytes",
        "_parser",
        "complete",
        "ended",
        "fault",
        "feed_data",
        "framing_bytes",
        "head",
        "keep_alive",
        "pieces",
        "status",
    )

    def __init__(self) -> None:
        self.head: Headers = []
        self.pieces: list[bytes] = []
        self._fields: Headers = []
        fields = self._fields
        ear = _Ear()
        ear.on_message_begin = self._on_message_begin
        ear.on_header = lambda name, value: fields.append((name.lower(), value))
        ear.on_headers_complete = self._on_headers_complete
        ear.on_body = self.pieces.append
        ear.on_message_complete = self._on_message_complete
        self._parser: Any = httptools.HttpResponseParser(ear)
        self.feed_data: Callable[[bytes | memoryview], None] = self._parser.feed_data
        self.restart()

    def restart(self) -> None:
        """The state between two responses. Only after a clean end is the next one readable."""
        self.head = []
        self._fields.clear()
        self.pieces.clear()
        self.status = 0
        self.fault = ""
        self.keep_alive = self.complete = self.ended = False
        self._head_bytes = self.framing_bytes = 0

    def feed(self, data: bytes | memoryview) -> None:
        in_head = not self.status
        try:
            self.feed_data(data)
        except PARSER_ERRORS as error:
            self.break_off(error)
            return
        if in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._bound_head()
        else:
            self.bound(len(data))

    def break_off(self, error: Exception) -> None:
        """The parser has raised this."""
        self.ended = True
        self.fault = self.fault or f"not proper HTTP/1.1 ({error})"

    def bound(self, nbytes: int) -> None:
        """After so many bytes of body: what brought no payload is counted."""
        if self.pieces:
            self.framing_bytes = 0
        elif not self.ended:
            self._bound_framing(nbytes)

    def take(self) -> bytes:
        """All payload seen since the last take."""
        payload = b"".join(self.pieces)
        self.pieces.clear()
        return payload

    def http_version(self) -> str:
        return str(self._parser.get_http_version())

    def stop(self) -> None:
        """Let go of the parser, which holds our bound methods: the cycle would wait for the collector."""
        self._parser = None
        self.feed_data = _gone

    def _bound_head(self) -> None:
        """The reads that held the head could be too much: the fields are added up."""
        if not self.status or sum(len(name) + len(value) + 4 for name, value in self.head) > HEAD_BYTES_MAX:
            self.status = 0
            self._refuse(f"a head over {HEAD_BYTES_MAX} bytes")

    def _bound_framing(self, nbytes: int) -> None:
        self._fields.clear()  # trailers, which are not passed on
        self.framing_bytes += nbytes
        if self.framing_bytes > FRAMING_BYTES_MAX:
            self._refuse(f"over {FRAMING_BYTES_MAX} bytes of chunk framing without payload")

    def _refuse(self, fault: str) -> None:
        self.ended = True
        self.fault = fault

    def _stop_parser(self, fault: str) -> None:
        self._refuse(fault)
        raise httptools.HttpParserError(fault)

    # -- llhttp's callbacks --

    def _on_message_begin(self) -> None:
        if self.complete:
            self._stop_parser("bytes beyond the end")

    def _on_headers_complete(self) -> None:
        fields = self._fields
        status = self._parser.get_status_code()
        if len(fields) > HEAD_FIELDS_MAX:
            self._stop_parser(f"a head over {HEAD_FIELDS_MAX} fields")
        if status >= 200:
            self.status = status
            self.head = fields.copy()  # what else llhttp calls a field will be a trailer
            self.keep_alive = self._parser.should_keep_alive()
        elif status < 100 or status == 101:
            self._stop_parser(f"status {status}, which nobody asked for")
        fields.clear()  # also those of an interim head: the real one follows

    def _on_message_complete(self) -> None:
        if self.status:
            self.complete = self.ended = True


def _gone(data: bytes | memoryview) -> None:
    raise httptools.HttpParserError("the connection is closed")
