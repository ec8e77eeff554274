"""Ends connections whose clients take nothing of an answer that is over.

While an answer runs, its sink watches a slow client. What is left of it in the transport afterwards nobody would: the
server waits for the next request, and closing waits for the client to take the rest. Knows no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rabbitgw import clock


class Sweep:
    """Once a second over all open connections: a look at a number for each, and a note for the few that are behind."""

    def __init__(self, stall_timeout_s: float) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._behind: dict[asyncio.Transport, tuple[int, float]] = {}  # bytes unsent, and since when no fewer

    def look(self, transports: Iterable[asyncio.Transport | None]) -> None:
        now_s = clock.monotonic_s()
        behind: dict[asyncio.Transport, tuple[int, float]] = {}
        for transport in transports:
            if transport is None or not (unsent_bytes := transport.get_write_buffer_size()):
                continue
            seen_bytes, since_s = self._behind.get(transport, (-1, now_s))
            if seen_bytes != unsent_bytes:
                since_s = now_s
            if now_s - since_s > self._stall_timeout_s:
                transport.abort()
            else:
                behind[transport] = unsent_bytes, since_s
        self._behind = behind
