"""Begins a new epoch, with the gateway stopped: Redis is a projection, the ledger is the truth.

Owns the order of the steps. Each is repeatable, and a rebuild killed anywhere is finished by the next one:

    lock      the deployment's row; a second rebuild is refused
    close     every partition's epoch key becomes minus the epoch: every gateway is fenced from here on, while
              the scripts called from here pass
    end       open holds: what is known to be delivered is charged, the rest is given back
    drain     the streams into the books
    raise     the epoch, in PostgreSQL: the commit that makes all state in Redis void
    open      every partition's epoch key becomes the new epoch; accounts load as they are asked for
    delete    the keys of earlier epochs
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from rabbitgw import statements, telemetry
from rabbitgw.billing.consumer import Consumer
from rabbitgw.clock import monotonic_s
from rabbitgw.errors import Conflict, MigrationRefused, StoreError
from rabbitgw.keynames import ALL_KEYS, KeyNames, epoch_of
from rabbitgw.replies import unpack_hold
from rabbitgw.scripts import Scripts
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool, PoolConnection

DRAIN_PATIENCE_S: Final = 60.0  # without progress; a consumer that was killed keeps its partitions for 15 s
POLL_S: Final = 0.2
KEYS_AT_ONCE: Final = 500
HOLDS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class RebuildReport:
    epoch: int
    holds_ended: int
    events_booked: int
    keys_deleted: int


class Rebuild:
    """One rebuild. `wait_s` is how long it waits for the leases of gateways that were killed to run out."""

    def __init__(self, pool: Pool, link: RedisLink, *, wait_s: float = 0.0) -> None:
        self._pool = pool
        self._link = link
        self._wait_s = wait_s
        self._consumer = Consumer(pool, link)
        self._holds_ended = 0

    async def run(self) -> RebuildReport:
        """Raise the epoch by one, with nothing lost and nothing held.

        Raises: Conflict while a gateway lives or another rebuild runs; StoreError when the streams cannot be
                drained or Redis belongs to other books; RedisUnavailable, PostgresUnavailable.
        """
        async with transaction(self._pool) as pg:
            names = await self._lock(pg)
            await self._refuse_live_gateways(names)
            await self._close(names)
            await self._end_holds(names)
            await self._drain(names)
            await pg.execute(statements.rebuild.raise_epoch, names.epoch + 1)
        following = KeyNames(names.partitions, names.epoch + 1)
        await self._open(following)
        deleted = await self._delete_before(following.epoch)
        return RebuildReport(following.epoch, self._holds_ended, self._consumer.events, deleted)

    async def _lock(self, pg: PoolConnection) -> KeyNames:
        await pg.execute(statements.rebuild.patience)
        try:
            row = await pg.fetchrow(statements.rebuild.lock_deployment)
        except asyncpg.LockNotAvailableError:
            raise Conflict("another rebuild is under way, or money is being taken back: try again") from None
        if row is None:
            raise MigrationRefused("the database has no deployment row: run `rabbitgw migrate`")
        return KeyNames(row["partitions"], row["epoch"])

    async def _refuse_live_gateways(self, names: KeyNames) -> None:
        deadline_s = monotonic_s() + self._wait_s
        while alive := await self._alive(names):
            if monotonic_s() >= deadline_s:
                shown = ", ".join(f"{worker} for {left} ms" for worker, left in sorted(alive.items())[:5])
                raise Conflict(f"{len(alive)} workers still hold leases ({shown}): stop the gateway, or wait")
            await asyncio.sleep(POLL_S)

    async def _alive(self, names: KeyNames) -> Mapping[str, int]:
        """Workers whose lease still runs somewhere, and for how many ms."""
        clock, *replies = await asyncio.gather(
            self._link.call("TIME"),
            *(self._link.call("HGETALL", keys.leases) for keys in names.partition),
        )
        now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        alive: dict[str, int] = {}
        for flat in replies:
            for worker, until in zip(flat[::2], flat[1::2], strict=True):
                left = int(until) - now_ms
                if left > 0:
                    alive[worker.decode()] = max(left, alive.get(worker.decode(), 0))
        return alive

    async def _close(self, names: KeyNames) -> None:
        """Fence every gateway. A key of an earlier epoch is what a rebuild left that was killed before `open`."""
        found = await asyncio.gather(*(self._link.call("GET", keys.epoch_key) for keys in names.partition))
        for partition, value in enumerate(found):
            if value is not None and abs(int(value)) > names.epoch:
                raise StoreError(
                    f"partition {partition} of Redis is in epoch {value.decode()}, PostgreSQL in {names.epoch}:"
                    " this Redis belongs to other books"
                )
        await self._set_epoch(names, -names.epoch)

    async def _open(self, names: KeyNames) -> None:
        await self._set_epoch(names, names.epoch)

    async def _set_epoch(self, names: KeyNames, shown: int) -> None:
        await asyncio.gather(
            *(self._link.call("SET", keys.epoch_key, str(shown)) for keys in names.partition)
        )

    async def _end_holds(self, names: KeyNames) -> None:
        """End every open hold by the script that knows how, after making sure that no lease protects it."""
        closing = KeyNames(names.partitions, names.epoch)
        closing.epoch = -names.epoch  # the keys of this epoch, the word of the closed one
        scripts = Scripts(self._link, closing, timeout_s=10.0)
        for partition, keys in enumerate(closing.partition):
            for worker in await self._link.call("HKEYS", keys.leases):
                await scripts.lease(partition, worker_id=worker.decode(), ttl_ms=0)
            cursor: Any = b"0"
            while True:
                cursor, page = await self._link.call("HSCAN", keys.holds, cursor, "COUNT", HOLDS_AT_ONCE)
                for hold_id, packed in zip(page[::2], page[1::2], strict=True):
                    account_id = unpack_hold(packed).account_id
                    reply = await scripts.expire(partition, account_id, hold_id=hold_id.decode())
                    self._holds_ended += reply.word == "OK"
                    if reply.word not in ("OK", "GONE"):
                        telemetry.error(
                            "hold_cannot_be_ended", hold_id=hold_id.decode(), account_id=account_id,
                            reply=reply.word,
                        )  # fmt: skip
                if cursor == b"0":
                    break

    async def _drain(self, names: KeyNames) -> None:
        """Book all that the streams hold; where another consumer has the lease, wait for it to do so."""
        progress_s = monotonic_s()
        try:
            while True:
                if await self._consumer.run_once():
                    progress_s = monotonic_s()
                    continue
                waiting = await self._undrained(names)
                if not waiting:
                    return
                if monotonic_s() - progress_s > DRAIN_PATIENCE_S:
                    raise StoreError(f"partitions {waiting} are not booked: does another consumer hold them?")
                await asyncio.sleep(POLL_S)
        finally:
            await self._consumer.release()

    async def _undrained(self, names: KeyNames) -> list[int]:
        """Partitions with events after their cursor."""
        async with connection(self._pool) as pg:
            rows = await pg.fetch(statements.rebuild.cursors, names.epoch)
        cursors = {row["partition"]: f"({row['stream_ms']}-{row['stream_seq']}" for row in rows}
        heads = await asyncio.gather(
            *(
                self._link.call("XRANGE", keys.events, cursors.get(partition, "-"), "+", "COUNT", 1)
                for partition, keys in enumerate(names.partition)
            )
        )
        return [partition for partition, head in enumerate(heads) if head]

    async def _delete_before(self, epoch: int) -> int:
        """Delete the keys of earlier epochs, in small bites: Redis serves others meanwhile."""
        deleted = 0
        cursor: Any = b"0"
        while True:
            cursor, page = await self._link.call("SCAN", cursor, "MATCH", ALL_KEYS, "COUNT", KEYS_AT_ONCE)
            old = [key for key in page if (epoch_of(key.decode()) or epoch) < epoch]
            if old:
                deleted += await self._link.call("UNLINK", *old)
            if cursor == b"0":
                return deleted


async def rebuild(pool: Pool, link: RedisLink, *, wait_s: float = 0.0) -> RebuildReport:
    """Begin a new epoch with the gateway stopped. Raises: as Rebuild.run."""
    return await Rebuild(pool, link, wait_s=wait_s).run()
