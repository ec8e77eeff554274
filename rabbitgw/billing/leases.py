"""A worker process says that it lives: one lease per partition, so that the sweeper leaves its holds alone.

Owns taking, renewing and giving up. Knows no hold. Only partitions that the worker has used are leased.
Leases run by Redis' clock. A process that stops for longer than a lease finds its holds expired when it comes back;
its settles then are late, and charge the difference.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rabbitgw import telemetry
from rabbitgw.billing.loops import run_worker
from rabbitgw.clock import RedisClock, monotonic_s
from rabbitgw.errors import RedisUnavailable

if TYPE_CHECKING:
    from rabbitgw.scripts import Scripts

RENEWALS_PER_LEASE: Final = 3  # two may fail before anything is lost


class Leases:
    """The leases of one worker."""

    def __init__(self, scripts: Scripts, worker_id: str, redis_clock: RedisClock, lease_s: float) -> None:
        self.worker_id = worker_id
        self._scripts = scripts
        self._clock = redis_clock
        self._lease_s = lease_s
        # partition -> until when its lease surely runs, by our monotonic clock
        self._ends_s: dict[int, float] = {}

    def held(self, partition: int) -> bool:
        """Whether the lease of a partition surely runs, as it nearly always does."""
        return monotonic_s() < self._ends_s.get(partition, 0.0)

    async def ensure(self, partition: int) -> None:
        """Hold the lease of a partition before a hold is put there. Waits only at the first use, or when renewing
        has failed for so long that the lease may have run out.

        Raises: RedisUnavailable, also when another epoch has begun.
        """
        if not self.held(partition):
            await self._set(partition, self._lease_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Renew what is held until `stop`. Giving up is another call, for when the worker's holds have ended."""

        async def renew() -> int:
            await self.run_once()
            return 0

        await run_worker("leases", renew, stop, pause_s=self._lease_s / RENEWALS_PER_LEASE)

    async def run_once(self) -> int:
        """Renew the leases held. Returns how many. Raises: RedisUnavailable."""
        held = list(self._ends_s)
        await asyncio.gather(*(self._set(partition, self._lease_s) for partition in held))
        return len(held)

    async def give_up(self) -> None:
        """Say that this worker is gone. Redis being away is no error here: the leases end by themselves."""
        held, self._ends_s = list(self._ends_s), {}
        try:
            await asyncio.gather(*(self._set(partition, 0) for partition in held))
        except RedisUnavailable as error:
            telemetry.warn("leases_left_to_end", worker=self.worker_id, error=error.message)

    async def _set(self, partition: int, lease_s: float) -> None:
        asked_s = monotonic_s()
        reply = await self._scripts.lease(partition, worker_id=self.worker_id, ttl_ms=round(lease_s * 1000))
        if reply.word != "OK":
            raise RedisUnavailable(f"partition {partition}: another epoch has begun")
        self._clock.observe(reply.now_ms)
        if lease_s:
            self._ends_s[partition] = asked_s + lease_s
