"""Many who ask for the same thing at once share one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """While work for a key runs, others who ask for it wait for the same result, or get the same error.

    The work belongs to all who wait: one of them leaving (a caller hung up) does not stop it.
    """

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._fly(key, work))
            flight.add_done_callback(_observed)
            self._flights[key] = flight
        return await asyncio.shield(flight)

    async def run_anew(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Like `run`, by work that began after this call: what runs now may have read something older."""
        running = self._flights.get(key)
        if running is not None:
            await asyncio.wait([running])
        return await self.run(key, work)

    async def _fly(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        try:
            return await work()
        finally:
            del self._flights[key]


def _observed(flight: asyncio.Task[V]) -> None:
    """Everyone who waited may have left before it failed; that is nothing to warn about."""
    if not flight.cancelled():
        flight.exception()
