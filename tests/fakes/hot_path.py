"""The two sides of a call as the test says: a client that writes down what it got, an upstream that is played by hand.

Between them runs the real thing: till, scripts, Redis and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rabbitgw.errors import UpstreamError
from rabbitgw.proxy.relay import Headers
from rabbitgw.proxy.upstream_exchange import Exchange, ResponseSink

SSE = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]


def event(text: str = "", *, finish: str | None = None) -> bytes:
    """One chunk of a chat stream."""
    delta = b'{"content":"%b"}' % text.encode() if text else b"{}"
    reason = b'"%b"' % finish.encode() if finish else b"null"
    return (
        b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":' + delta + b',"finish_reason":'
        + reason + b'}]}\n\n'
    )  # fmt: skip


def usage_event(prompt_tokens: int, completion_tokens: int) -> bytes:
    return (
        b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n'
        % (prompt_tokens, completion_tokens)
    )


DONE = b"data: [DONE]\n\n"


class FakeClient:
    """Implements Client of relay.py. `leave()` is what a front does when its client is gone."""

    def __init__(self) -> None:
        self.lost = False
        self.started = False
        self.status = 0
        self.headers: Headers = []
        self.length: int | None = None
        self.body = b""
        self.finished = self.was_cut = False
        self.full = False
        self.on_write: Callable[[], None] = lambda: None
        self._on_drained: Callable[[], None] = lambda: None
        self._on_lost: Callable[[], None] = lambda: None

    def bind(self, on_drained: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._on_drained, self._on_lost = on_drained, on_lost
        if self.lost:
            on_lost()

    def start(self, status: int, headers: Headers, *, length: int | None, lines: bytes = b"") -> None:
        assert not self.started
        assert not lines or lines.endswith(b"\r\n")
        for line in lines.split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            headers = [*headers, (name, value)]
        self.started, self.status, self.headers, self.length = True, status, headers, length

    def write(self, data: bytes) -> None:
        if data and not self.lost:
            assert self.started
            assert not self.finished
            self.body += data
            self.on_write()

    def hold_back(self) -> None:
        assert self.started

    def finish(self, last: bytes = b"") -> None:
        self.write(last)
        self.finished = True

    def cut(self) -> None:
        self.was_cut = True

    def drain(self) -> None:
        self.full = False
        self._on_drained()

    def leave(self) -> None:
        self.lost = True
        self._on_lost()


class Line:
    """What an Exchange is connected to; says whether it is being read."""

    def __init__(self) -> None:
        self.paused = self.aborted = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True


class HandUpstream:
    """Stands for Upstream: `send` gives the sink to the test, which plays the answer."""

    def __init__(self) -> None:
        self.sink: ResponseSink | None = None
        self.bodies: list[bytes] = []
        self.line = Line()
        self.error: UpstreamError | None = None
        self.failures: list[UpstreamError] = []  # of the first requests

    def head_start(self, method: bytes, path: bytes, headers: Headers) -> bytes:
        return b""

    def send_now(self, exchange: Exchange) -> bool:
        return False

    async def send(self, exchange: Exchange) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if self.error is not None:
            raise self.error
        self.bodies.append(exchange.body)
        exchange.attempts += 1
        exchange.connection = self.line
        self.sink = exchange.sink

    def answer(self, *pieces: bytes, headers: Any = SSE, status: int = 200) -> None:
        """A head, then these pieces."""
        assert self.sink is not None
        self.sink.on_head(status, headers)
        self.play(*pieces)

    def play(self, *pieces: bytes) -> None:
        assert self.sink is not None
        for piece in pieces:
            if not self.line.aborted:
                self.sink.on_body(piece)

    def end(self) -> None:
        assert self.sink is not None
        if not self.line.aborted:
            self.sink.on_end()

    def fail(self, error: UpstreamError) -> None:
        assert self.sink is not None
        if not self.line.aborted:
            self.sink.on_fail(error)
