"""Ends the holds that nobody looks after: their worker's lease ran out, or they are past their own maximum age.

Owns the search, in bounded steps. The script that ends a hold checks both conditions itself, so a list that is old
by the time it is worked off does no harm, and any number of sweepers may run. Lapsed leases themselves are swept
out by the script that renews leases.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from rabbitgw import metrics, telemetry
from rabbitgw.billing.epoch import read_names
from rabbitgw.billing.loops import run_worker
from rabbitgw.replies import PackedHold, unpack_hold
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

PAUSE_S: Final = 2.0
HOLDS_AT_ONCE: Final = 500  # asked of one HSCAN, and ended side by side


class Sweeper:
    def __init__(self, pool: Pool, link: RedisLink, *, prologue: str | None = None) -> None:
        self._pool = pool
        self._link = link
        self._prologue = prologue
        self._scripts: Scripts | None = None

    async def run(self, stop: asyncio.Event) -> None:
        async def then_pause() -> int:
            await self.run_once()
            return 0

        await run_worker("sweeper", then_pause, stop, pause_s=PAUSE_S)

    async def run_once(self) -> int:
        """Look at every open hold of every partition once.

        Returns: how many were ended.
        Raises:  RedisUnavailable; PostgresUnavailable only before the epoch is known, or after it has changed.
        """
        if self._scripts is None:
            self._scripts = Scripts(self._link, await read_names(self._pool), prologue=self._prologue)
        keys = self._scripts.names.partition
        counts = await asyncio.gather(*(self._link.call("HLEN", partition.holds) for partition in keys))
        ended = 0
        for partition, count in enumerate(counts):
            if count and (found := await self._sweep(self._scripts, partition)) is not None:
                ended += found
            elif count:
                self._scripts = None  # the epoch has changed: the next round learns it anew
                break
        return ended

    async def _sweep(self, scripts: Scripts, partition: int) -> int | None:
        """Returns how many holds of a partition were ended; None when the epoch has changed."""
        keys = scripts.names.partition[partition]
        flat, clock = await asyncio.gather(self._link.call("HGETALL", keys.leases), self._link.call("TIME"))
        now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        alive = {
            worker.decode()
            for worker, until in zip(flat[::2], flat[1::2], strict=True)
            if int(until) > now_ms
        }
        ended = 0
        cursor: Any = b"0"
        while True:
            cursor, page = await self._link.call("HSCAN", keys.holds, cursor, "COUNT", HOLDS_AT_ONCE)
            holds = {
                hold_id.decode(): unpack_hold(packed)
                for hold_id, packed in zip(page[::2], page[1::2], strict=True)
            }
            due = {
                hold_id: hold
                for hold_id, hold in holds.items()
                if hold.worker_id not in alive or hold.max_at_ms <= now_ms
            }
            found = await self._expire(scripts, partition, due)
            if found is None:
                return None
            ended += found
            if cursor == b"0":
                return ended

    async def _expire(self, scripts: Scripts, partition: int, due: dict[str, PackedHold]) -> int | None:
        replies = await asyncio.gather(
            *(scripts.expire(partition, hold.account_id, hold_id=hold_id) for hold_id, hold in due.items())
        )
        ended = 0
        for (hold_id, hold), reply in zip(due.items(), replies, strict=True):
            if reply.word == "OK":
                ended += 1
                metrics.HOLDS_EXPIRED.add()
                telemetry.warn(
                    "hold_expired", hold_id=hold_id, account_id=hold.account_id, worker_id=hold.worker_id,
                    held_nanos=hold.amount_nanos, charged_nanos=reply.charged_nanos,
                )  # fmt: skip
            elif reply.word == "FENCED":
                return None
            elif reply.word == "COLD":
                telemetry.error("hold_of_unloaded_account", hold_id=hold_id,
                                account_id=hold.account_id)  # fmt: skip
        return ended
