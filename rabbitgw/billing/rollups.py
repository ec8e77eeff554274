"""Adds up what calls used and cost, for the reports: moves changes of usage into the rollups.

Owns when; what is added to what is the database's (usage_fold). Reports are exact however far this is behind: what is
not added up yet they read one by one. So it may wait, and it gives the consumer's work the right of way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rabbitgw import statements
from rabbitgw.billing.loops import run_worker
from rabbitgw.stores import transaction

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

LOCK_ID: Final = 0x726F_6C6C  # "roll"; advisory locks are per database
ROWS_MAX: Final = 10_000  # some hundred milliseconds of PostgreSQL's time if each is of another account
PAUSE_S: Final = 2.0  # the calls of a busy key within it become one change of a row


class Rollups:
    """Any number may run; one folds at a time."""

    def __init__(self, pool: Pool, *, rows_max: int = ROWS_MAX) -> None:
        self._pool = pool
        self._rows_max = rows_max

    async def run(self, stop: asyncio.Event) -> None:
        async def then_pause_unless_full() -> int:
            return await self.run_once() // self._rows_max

        await run_worker("rollups", then_pause_unless_full, stop, pause_s=PAUSE_S)

    async def run_once(self) -> int:
        """Returns: how many changes were added up; 0 also while another process is at it.

        Raises: PostgresUnavailable.
        """
        async with transaction(self._pool) as db:
            return await db.fetchval(statements.reports.fold, LOCK_ID, self._rows_max) or 0
