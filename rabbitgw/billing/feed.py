"""Follows a table that running gateways go by: prices, plans.

Owns the loop: poll, take in what came since, say once per outage that it is not being followed. While PostgreSQL is
away what was read last stays in force. Which table, and what is made of it, is the feed's own.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from rabbitgw.errors import PostgresUnavailable
from rabbitgw.stores import Pool

POLL_S: Final = 0.5  # half of the second within which a gateway sees a change


class Feed(ABC):
    """`stale`: the table cannot be read at the moment."""

    def __init__(self, pool: Pool, *, poll_s: float = POLL_S) -> None:
        self.stale = False
        self._pool = pool
        self._poll_s = poll_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the table and follow it from then on. Raises: PostgresUnavailable."""
        await self.refresh()
        self._task = asyncio.create_task(self._follow(), name=type(self).__name__)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @abstractmethod
    async def refresh(self) -> bool:
        """Take in what came since the last time; whether anything did. Raises: PostgresUnavailable."""

    @abstractmethod
    def tell_read(self) -> None:
        """Something was taken in, or the table can be read again."""

    @abstractmethod
    def tell_stale(self, reason: str, error: Exception | None) -> None:
        """From now on the table cannot be read. `error`: what nobody expected."""

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                changed = await self.refresh()
            except PostgresUnavailable as error:
                self._fail(error.message, None)
            except Exception as error:  # whatever it is, a gateway that stops looking goes by what is old
                self._fail("unexpected error", error)
            else:
                if changed or self.stale:
                    self.tell_read()
                self.stale = False

    def _fail(self, reason: str, error: Exception | None) -> None:
        if not self.stale:
            self.tell_stale(reason, error)
        self.stale = True
