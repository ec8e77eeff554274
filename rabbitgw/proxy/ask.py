"""What a request is on its way: asked for, then admitted. Plain records that the steps of the hot path hand on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rabbitgw import clock
from rabbitgw.billing.admission import Hold
from rabbitgw.billing.keyring import KeyRecord
from rabbitgw.billing.prices import Price
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.dialects import Dialect
from rabbitgw.proxy.quote import Quote
from rabbitgw.proxy.relay import Headers


async def no_body() -> bytes:
    return b""


@dataclass(slots=True)  # not frozen: that would cost three times as much to make
class Ask:
    """What a front knows of a request before its body: who asks, in which dialect.

    `body` is the whole body where it came with the head; else `read` gives it. That is called once, after the key was
    found good, and raises a CallerError.
    """

    dialect: Dialect
    caller_request_id: str | None
    secret: str = ""
    read: Callable[[], Awaitable[bytes]] = no_body
    forwarded: Headers = field(default_factory=list)  # headers of the caller that upstream is to see
    request_id: str = field(default_factory=clock.new_id)  # ours: of the hold, the bill line and the export
    began_ms: int = field(default_factory=clock.now_ms)
    streamed: bool = False  # as its body says, once that is read
    body: bytes | None = None

    def take_body(self) -> bytes:
        """What came with the head; kept nowhere else from then on, for a stream may live long."""
        body, self.body = self.body, None
        assert body is not None
        return body

    @property
    def shown_id(self) -> str:
        return self.caller_request_id or self.request_id


@dataclass(slots=True)
class Admitted:
    """A call with a hold: everything that is needed to forward it and to end it. The body as received is gone."""

    ask: Ask
    call: Call
    price: Price
    quote: Quote
    hold: Hold
    facts: dict[str, object]

    @property
    def key(self) -> KeyRecord:
        """The key as it was when the hold was granted."""
        return self.hold.key


def ids(ask: Ask) -> Headers:
    """The request ids of an answer: openai reads x-request-id, anthropic request-id; the third is always ours."""
    shown = ask.shown_id.encode()
    return [
        (b"x-request-id", shown),
        (b"request-id", shown),
        (b"x-rabbitgw-request-id", ask.request_id.encode()),
    ]
