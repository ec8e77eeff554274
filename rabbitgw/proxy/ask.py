"""What a front knows of a request before its body: who asks, in which dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rabbitgw import clock
from rabbitgw.proxy.dialects import Dialect
from rabbitgw.proxy.origin import Origin
from rabbitgw.proxy.relay import Headers


async def no_body() -> bytes:
    return b""


class Ask:
    """`body` is the whole body where it came with the head; else `read` gives it. That is called once, after the key
    was found good, and raises a CallerError.

    request_id: ours, of the hold, the bill line and the export. shown_id: the caller's own, where there is one.
    forwarded: headers of the caller that upstream is to see. origin: where it came from; None where nobody may ask.
    streamed: as the body says, once that is read.
    boundary: of a form; there for dialects that have one.
    rate_lines: header lines that say where the caller stands with their rates; once that is known, where there are any.
    """

    __slots__ = (
        "began_ms",
        "body",
        "boundary",
        "caller_request_id",
        "dialect",
        "forwarded",
        "origin",
        "rate_lines",
        "read",
        "request_id",
        "secret",
        "shown_id",
        "streamed",
    )  # fmt: skip

    boundary: bytes

    def __init__(
        self,
        dialect: Dialect,
        caller_request_id: str | None,
        secret: str = "",
        read: Callable[[], Awaitable[bytes]] = no_body,
        forwarded: Headers | None = None,
        body: bytes | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.dialect = dialect
        self.caller_request_id = caller_request_id
        self.secret = secret
        self.read = read
        self.forwarded = forwarded
        self.body = body
        self.origin = origin
        self.request_id = clock.new_id()
        self.shown_id = caller_request_id or self.request_id
        self.began_ms = clock.now_ms()
        self.streamed = False
        self.rate_lines = b""

    def take_body(self) -> bytes:
        """What came with the head; kept nowhere else from then on, for a stream may live long."""
        body, self.body = self.body, None
        assert body is not None
        return body


def id_lines(ask: Ask) -> bytes:
    """The request ids of an answer, and its rates, as header lines that are ready to be sent: openai reads
    x-request-id, anthropic request-id; the third is always ours."""
    shown = ask.shown_id
    ids = f"x-request-id: {shown}\r\nrequest-id: {shown}\r\nx-rabbitgw-request-id: {ask.request_id}\r\n".encode()
    return ids + ask.rate_lines if ask.rate_lines else ids
