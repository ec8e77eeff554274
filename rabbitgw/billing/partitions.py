"""Makes the monthly partitions of ledger and usage before their month begins.

Owns when; the database owns how (books_partitions_ahead, with rights that the application does not have).
Rows of a month without a partition land in the default one and stay there: nothing is refused, but that month
can then have no partition of its own. So this runs at the start of every process that books, then hourly.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rabbitgw import statements, telemetry
from rabbitgw.billing.loops import run_worker
from rabbitgw.stores import connection

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

MONTHS_AHEAD: Final = 3  # as long as this loop may be broken before anyone has to notice
PAUSE_S: Final = 3600.0


class Partitions:
    def __init__(self, pool: Pool, *, months_ahead: int = MONTHS_AHEAD) -> None:
        self._pool = pool
        self._months_ahead = months_ahead
        self._told: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        async def then_pause() -> int:
            await self.run_once()
            return 0

        await run_worker("partitions", then_pause, stop, pause_s=PAUSE_S)

    async def run_once(self) -> int:
        """Make what is missing.

        Returns: how many partitions were made.
        Raises:  PostgresUnavailable, also when a long reader is in the way: the next call tries again.
        """
        async with connection(self._pool) as pg:
            missing = await pg.fetch(statements.books.partitions_ahead, self._months_ahead)
        made = [name for name, problem in missing if problem is None]
        if made:
            telemetry.log("partitions_made", names=made)
        for name, problem in missing:
            if problem is not None and name not in self._told:
                self._told.add(name)
                telemetry.warn("partition_not_made", name=name, problem=problem)
        return len(made)
