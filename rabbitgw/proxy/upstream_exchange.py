"""One request and its response, as the exchange core sees them: a sink that is called, a handle that is held.

The sink is called from the event loop's read callback, in this order: `on_head`, any `on_body`, then exactly
one of `on_end` and `on_fail`, or `on_fail` alone. After `Exchange.abort()` nothing is called any more.
Knows no socket; a handle that outlives its response does nothing, for the connection may serve another by then.
"""

from __future__ import annotations

from typing import Protocol

from rabbitgw.errors import UpstreamError
from rabbitgw.proxy.upstream_head import Headers


class ResponseSink(Protocol):
    """Where a response goes. No method may raise or wait; each may pause or abort its exchange."""

    def on_head(self, status: int, headers: Headers) -> None:
        """The final head, never an interim one. Names are lower-case, hop-by-hop fields are gone.

        Of a body that is inflated on the way, Content-Length and Content-Encoding are gone too.
        """

    def on_body(self, piece: bytes) -> None:
        """Payload as it came, without chunk framing: at most 64 KiB. After a pause the rest of a read still comes."""

    def on_end(self) -> None:
        """The body is whole. May follow the last piece at once, even if that piece made the sink pause."""

    def on_fail(self, error: UpstreamError) -> None:
        """The response will never be whole. `error.sent` and `error.bytes_seen` say how far it got."""


class Line(Protocol):
    """What an exchange needs of the connection that serves it."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self) -> None: ...


class _Nobody:
    """Whom a response goes to that is over: a handle that outlives it keeps nothing of its sink alive."""

    def on_head(self, status: int, headers: Headers) -> None: ...
    def on_body(self, piece: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_fail(self, error: UpstreamError) -> None: ...


NOBODY: ResponseSink = _Nobody()


class Exchange:
    """The handle of one request. `over` once its sink has had the last call, or it was aborted."""

    attempts = 0  # times that the request was sent
    connection: Line | None = None
    paused = False
    over = False

    def __init__(self, sink: ResponseSink, head: bytes, body: bytes, head_only: bool = False) -> None:
        self.sink = sink
        self.head = head
        self.body = body
        self.head_only = head_only

    def pause(self) -> None:
        """Stop reading upstream: what it sends waits in the kernel, and its silence is not counted."""
        if not self.paused:
            self.paused = True
            if self.connection is not None:
                self.connection.pause()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            if self.connection is not None:
                self.connection.resume()

    def abort(self) -> None:
        """The caller left: close the connection, call the sink no more. Does nothing once over."""
        if not self.over:
            self.over = True
            self.sink = NOBODY
            self.head = self.body = b""
            if self.connection is not None:
                self.connection.abort()

    def end(self) -> None:
        """For the wire only: the response is whole."""
        self.over = True
        sink, self.sink = self.sink, NOBODY
        sink.on_end()

    def fail(self, error: UpstreamError) -> None:
        """For the wire and the pool only: the response will never be whole."""
        self.over = True
        self.head = self.body = b""
        sink, self.sink = self.sink, NOBODY
        sink.on_fail(error)
