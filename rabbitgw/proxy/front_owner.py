"""What a client connection asks of whoever owns it: who serves, how long clients may take, what time it is.

The seam between front_wire.py, which knows sockets, and front.py, which knows routes.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from rabbitgw.proxy.front_body import Body
from rabbitgw.proxy.front_head import Head, HeadRefused
from rabbitgw.proxy.front_sink import Answer


class Limits(NamedTuple):
    """Spans in ticks of the owner."""

    idle_ticks: int  # without a head, or with the same half of one
    stall_ticks: int  # taking nothing, or sending nothing of a body
    silence_ticks: int  # nothing taken or written after the client's end
    linger_ticks: int  # what a client still sends behind the last answer is dropped
    stall_s: float
    body_bytes_max: int


class Owner(Protocol):
    """Whose connections these are: the front."""

    limits: Limits
    ticks: int
    draining: bool

    def opened(self, connection: Any) -> None: ...
    def closed(self, connection: Any) -> None: ...

    def begin(self, head: Head, answer: Answer, body: bytes | Body) -> Any:
        """Serve a request. Returns what to call `begin_again` with for the same head, where that is worth keeping."""

    def begin_again(self, call: Any, answer: Answer, body: bytes | Body) -> None: ...

    def refuse_head(self, refused: HeadRefused, answer: Answer) -> None: ...
