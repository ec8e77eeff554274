"""The loops that keep the books, run together: what `rabbitgw work` and `rabbitgw dev` start.

Loops of layers above, like that of payments, are handed in.

Each may run in any number of processes; what must be done by one at a time is leased in PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from rabbitgw import telemetry
from rabbitgw.billing.backlog import look_at_backlog
from rabbitgw.billing.consumer import LEASE_S, Consumer
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.key_push import push_keys_once
from rabbitgw.billing.loops import run_worker
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.plan_cycles import PlanCycles
from rabbitgw.billing.rollups import Rollups
from rabbitgw.billing.sweeper import Sweeper
from rabbitgw.errors import RequestInvalid
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool

KEYS_PAUSE_S: Final = 1.0
BACKLOG_PAUSE_S: Final = 2.0
Loop = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
NAMES: Final = ("consumer", "credits", "keys", "sweeper", "partitions", "rollups", "cycles")


class Bookkeepers:
    """`names`: which loops; none named means all. `others`: loops beside these, by name. `lease_s`: how long the
    partitions of a consumer that was killed wait for the next one.

    Raises: RequestInvalid for a name that is not in NAMES.
    """

    def __init__(
        self,
        pg: Pool,
        link: RedisLink,
        scripts: Scripts,
        names: Sequence[str] = (),
        *,
        others: Mapping[str, Loop] | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        others = others or {}
        known = (*NAMES, *others)
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise RequestInvalid(f"unknown worker {unknown[0]!r}: one of {', '.join(known)}", field="name")
        self.names = tuple(names) or known
        self.credits = Credits(pg, link)

        async def keys(stop: asyncio.Event) -> None:
            await run_worker("keys", lambda: push_keys_once(pg, scripts), stop, pause_s=KEYS_PAUSE_S)

        consumer = Consumer(pg, link, lease_s=lease_s)

        async def book_and_watch(stop: asyncio.Event) -> None:
            """The look is a loop of its own: it matters most while booking waits for PostgreSQL."""
            watch = asyncio.create_task(
                run_worker("backlog", lambda: look_at_backlog(link, consumer), stop, pause_s=BACKLOG_PAUSE_S)
            )
            try:
                await consumer.run(stop)
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

        loops: dict[str, Loop] = {
            "consumer": book_and_watch,
            "credits": self.credits.run,
            "keys": keys,
            "sweeper": Sweeper(pg, link).run,
            "partitions": Partitions(pg).run,
            "rollups": Rollups(pg).run,
            "cycles": PlanCycles(pg, link).run,
            **others,
        }
        self._loops = [loops[name] for name in self.names]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`. One loop that fails, which only a bug or false books can make it, ends them all."""
        tasks = [asyncio.create_task(loop(stop)) for loop in self._loops]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done() and task.exception() is not None:
                    telemetry.error("bookkeeping_failed", exc=task.exception())
        finally:
            stop.set()
            await asyncio.gather(*tasks)
