"""Moves usage events from the Redis streams of the partitions into the books, one consumer at a time per partition.

Owns leases, reading, trimming, and what happens to an event that cannot be booked. What a booking is stands in
booking.py. No consumer group, no acknowledgement: the cursor is committed with what it books, and the stream is
trimmed up to it afterwards. Killed anywhere, the next consumer reads on from the cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rabbitgw import metrics, statements, telemetry
from rabbitgw.billing.booking import UNBOOKABLE, CursorMove, Lease, LeaseLost, Wallet, book
from rabbitgw.billing.event_streams import Batch, Entry, fold_entries, read_batch, trim
from rabbitgw.billing.loops import run_worker
from rabbitgw.billing.usage_rows import DeadEvent, StreamId, shown
from rabbitgw.clock import monotonic_s, new_id
from rabbitgw.errors import PostgresUnavailable
from rabbitgw.keynames import KeyNames
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

EVENTS_MAX: Final = 2_000  # in one booking: about 2 MB, and some 50 ms of PostgreSQL's time
LEASE_S: Final = 15.0  # how long a partition waits for the next consumer after one was killed
LOOK_FOR_FREE_S: Final = 1.0  # between looks for partitions whose consumer has gone
PAUSE_S: Final = 0.1  # between looks at streams that were empty: a bill line is due within a second
PARTITIONS_MAX: Final = 1_024


class Consumer:
    """One consumer; several may run, on one machine or many, and share the partitions by their leases.

    `partitions_max` is how many one consumer takes at most: the others are left for its peers.
    """

    def __init__(
        self,
        pool: Pool,
        link: RedisLink,
        *,
        owner: str | None = None,
        events_max: int = EVENTS_MAX,
        lease_s: float = LEASE_S,
        partitions_max: int = PARTITIONS_MAX,
    ) -> None:
        self._pool = pool
        self._link = link
        self._lease = Lease(owner or f"consumer-{new_id()}", 0, timedelta(seconds=lease_s))
        self._events_max = events_max
        self._partitions_max = partitions_max
        self._claim_again_s = 0.0
        self._names = KeyNames(1, 0)
        self._cursors: dict[int, StreamId] = {}
        self._ahead: Batch | None = None  # read while the one before it was booked
        self.events = 0  # taken from streams so far

    @property
    def owner(self) -> str:
        return self._lease.owner

    @property
    def names(self) -> KeyNames:
        """Those of the epoch that was found last; epoch 0 before any was."""
        return self._names

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions this consumer holds a lease on."""
        return frozenset(self._cursors)

    async def run(self, stop: asyncio.Event) -> None:
        """Book until `stop`, then give up the leases so that the next consumer need not wait."""
        try:
            await run_worker("consumer", self.run_once, stop, pause_s=PAUSE_S)
        finally:
            await self.release()

    async def run_once(self) -> int:
        """Book what the streams hold, up to one batch over all partitions of ours.

        Returns: how many events were taken.
        Raises:  RedisUnavailable, PostgresUnavailable; either way the next call goes on where the books stand.
        """
        try:
            if monotonic_s() >= self._claim_again_s:
                await self._claim()
            batch, self._ahead = self._ahead or await self._read(self._cursors), None
            if not batch.moves:
                return 0
            await self._book_and_read_ahead(batch)
            await trim(self._link, self._names, {move.partition: move.end for move in batch.moves})
        except LeaseLost as error:
            telemetry.warn("consumer_lost_lease", consumer=self.owner, error=str(error))
            self._forget()
            return 0
        except BaseException:
            self._forget()  # the outcome may be unknown: the cursors are read again before anything else
            raise
        return sum(move.events for move in batch.moves)

    async def release(self) -> None:
        """Give up all leases. PostgreSQL being away is no error here: they end by themselves."""
        self._forget()
        try:
            async with connection(self._pool) as pg:
                await pg.execute(statements.books.release_cursors, self.owner)
        except PostgresUnavailable as error:
            telemetry.warn("leases_left_to_end", consumer=self.owner, error=error.message)

    # -- leases --

    def _forget(self) -> None:
        self._cursors = {}
        self._ahead = None
        self._claim_again_s = 0.0

    async def _claim(self) -> None:
        """Renew our leases, take free ones, and learn epoch and cursors from PostgreSQL."""
        began_s = monotonic_s()
        async with transaction(self._pool) as pg:
            await pg.execute(statements.books.open_cursors)
            deployment = await pg.fetchrow(statements.deployment.read)
            claimed = await pg.fetch(
                statements.books.claim_cursors, self.owner, self._lease.length, self._partitions_max
            )
        if deployment is None:
            return
        if (self._names.partitions, self._names.epoch) != (deployment["partitions"], deployment["epoch"]):
            self._names = KeyNames(deployment["partitions"], deployment["epoch"])
            self._lease = replace(self._lease, epoch=deployment["epoch"])
            self._cursors = {}
        known = set(self._cursors)
        self._ahead = None
        self._cursors = {
            record["partition"]: StreamId(record["stream_ms"], record["stream_seq"])
            for record in claimed
            if record["epoch"] == self._names.epoch
        }
        wanted = min(self._partitions_max, self._names.partitions)
        pause_s = self._lease.length.total_seconds() / 3
        self._claim_again_s = began_s + (pause_s if len(claimed) == wanted else min(pause_s, LOOK_FOR_FREE_S))
        # A consumer that was killed between commit and trim leaves booked events behind.
        new = {partition: at for partition, at in self._cursors.items() if partition not in known}
        await trim(self._link, self._names, new)

    async def _read(self, cursors: Mapping[int, StreamId]) -> Batch:
        return await read_batch(self._link, self._names, cursors, self._events_max)

    # -- booking --

    async def _book_and_read_ahead(self, batch: Batch) -> None:
        """Book a batch; if it was a full one, read the next while PostgreSQL works."""
        ends = {**self._cursors, **{move.partition: move.end for move in batch.moves}}
        reading = None
        if len(batch.entries) >= self._events_max // 2:
            reading = asyncio.create_task(self._read(ends))
        try:
            await self._book(batch)
            self._cursors = ends
            self.events += len(batch.entries)
            metrics.EVENTS_BOOKED.add(len(batch.entries))
            self._ahead = await reading if reading is not None else None
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _book(self, batch: Batch) -> None:
        rows = list(batch.fold.rows.values())
        try:
            await book(self._pool, self._lease, batch.moves, rows, batch.fold.dead, batch.worst_nanos)
        except UNBOOKABLE as error:
            telemetry.error("batch_not_bookable", consumer=self.owner, error=str(error))
            for move in batch.moves:
                entries = [entry for entry in batch.entries if entry[0] == move.partition]
                await self._book_apart(move.start, entries, batch.worst_nanos)
        else:
            self._report(batch.fold.dead)

    async def _book_apart(
        self,
        start: StreamId,
        entries: Sequence[Entry],
        worst_nanos: Mapping[Wallet, int],
    ) -> None:
        """Book one partition's events in halves, down to the single event that PostgreSQL refuses; bury that one."""
        partition, end, flat = entries[-1]
        move = CursorMove(partition, start, end, len(entries))
        fold = fold_entries(entries)
        try:
            await book(self._pool, self._lease, [move], list(fold.rows.values()), fold.dead, worst_nanos)
        except UNBOOKABLE as error:
            if len(entries) == 1:
                buried = DeadEvent(partition, end, f"{type(error).__name__}: {error}", False, shown(flat))
                await book(self._pool, self._lease, [move], [], [buried], {})
                self._report([buried])
                return
            half = len(entries) // 2
            await self._book_apart(start, entries[:half], worst_nanos)
            await self._book_apart(entries[half - 1][1], entries[half:], worst_nanos)
        else:
            self._report(fold.dead)

    def _report(self, dead: Sequence[DeadEvent]) -> None:
        for event in dead:
            telemetry.error(
                "usage_event_unreadable",
                partition=event.partition,
                stream_id=str(event.stream_id),
                charged=event.charged,
                reason=event.reason,
            )
