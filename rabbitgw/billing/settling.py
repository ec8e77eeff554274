"""How a hold ends for certain: settle or release in Redis now, else kept and tried until it is through.

A settle that Redis does not take in time goes to the spool on disk before the caller sees the last bytes of its
answer. A release is kept in memory only: should this process die, the sweeper frees the hold by its lease.
Repeating either is safe at any time; the scripts charge a hold once. A settle whose hold Redis no longer knows is
booked in PostgreSQL, apart from the others: one store being away holds up only what waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, cast

import orjson

from rabbitgw import clock, metrics, telemetry
from rabbitgw.billing.loops import first_of
from rabbitgw.billing.spool import Spool, SpoolFailed
from rabbitgw.errors import InvariantBroken, PostgresUnavailable, RedisUnavailable, StoreError
from rabbitgw.replies import SettleWord
from rabbitgw.scripts import Scripts

RETRY_FIRST_S: Final = 0.02
RETRY_MAX_S: Final = 0.5
DISK_WAIT_S: Final = 10.0  # a disk that takes longer is as good as one that refuses
KEPT_IN_MEMORY_MAX: Final = 100_000  # not on disk; past it an end is left to its hold's maximum age
BATCH_MAX: Final = 200  # kept endings tried at once


@dataclass(slots=True)
class Ending:
    """One end of one hold, whole enough to be repeated by another process."""

    hold_id: str
    partition: int
    account_id: int
    currency: str
    cost_nanos: int
    status: str  # settled | partial | released
    payload: bytes  # JSON, billing/events.py
    first_try_ms: int  # by Redis' clock
    tokens: int | None = None  # that a call under a token rate used in truth
    borne_nanos: int = 0  # of the cost, what a plan bears

    def record(self) -> bytes:
        """Its form in the spool."""
        return orjson.dumps({**asdict(self), "payload": self.payload.decode()})


def ending_of(record: bytes) -> Ending:
    """Raises: ValueError for what is no record of this version."""
    try:
        fields = orjson.loads(record)
        return Ending(**{**fields, "payload": fields["payload"].encode()})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no ending: {error}") from error


class NotInRedis(StoreError):
    """Redis knows nothing of this hold any more: the charge is to be booked in PostgreSQL by its id."""


class NotYet(PostgresUnavailable):
    """The books have not passed the events that may concern this call."""


class Settler:
    """book: books a settle whose hold Redis no longer knows, once by its id, straight into PostgreSQL. It raises
    NotYet where others may be booked meanwhile."""

    def __init__(
        self,
        scripts: Scripts,
        spool: Spool,
        book: Callable[[Ending], Awaitable[None]],
        *,
        settle_wait_s: float,
    ) -> None:
        self._scripts = scripts
        self._spool = spool
        self._book = book
        self._settle_wait_s = settle_wait_s
        self._kept: dict[str, Ending] = {}  # for Redis
        self._strays: dict[str, Ending] = {}  # for PostgreSQL
        self._wake = asyncio.Event()

    @property
    def kept(self) -> int:
        """Endings that are not through yet."""
        return len(self._kept) + len(self._strays)

    async def settle(self, ending: Ending, command: bytes, sent: Awaitable[Any], began_s: float) -> None:
        """As `end`, of a settle whose first try is `sent` already. `began_s`: when, by the monotonic clock."""
        try:
            reply = await self._scripts.settled(command, sent)
            _check(ending.hold_id, reply.word)
            return
        except (RedisUnavailable, NotInRedis) as error:
            failure = error.with_traceback(None)  # which would hold this frame, and it the error
        await self._end_after(failure, ending, began_s)

    async def end(self, ending: Ending) -> None:
        """End the hold; when it returns, the end is in Redis or kept.

        Raises: StoreError when a settle reached neither Redis nor the disk (it is tried on, while this process
        lives); InvariantBroken.
        """
        began_s = clock.monotonic_s()
        try:
            await self._send(ending)
            return
        except (RedisUnavailable, NotInRedis) as error:
            failure = error.with_traceback(None)
        await self._end_after(failure, ending, began_s)

    async def _end_after(
        self, failure: RedisUnavailable | NotInRedis, ending: Ending, began_s: float
    ) -> None:
        """Go on after a first try that failed, until the time of all tries is over; then keep the ending."""
        deadline_s = began_s + self._settle_wait_s
        retry_s = RETRY_FIRST_S
        while isinstance(failure, RedisUnavailable):
            if clock.monotonic_s() + retry_s > deadline_s:
                telemetry.warn("end_kept", hold_id=ending.hold_id, status=ending.status, reason=str(failure))
                break
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)
            try:
                await self._send(ending)
                return
            except (RedisUnavailable, NotInRedis) as error:
                failure = error.with_traceback(None)
        on_disk = False
        try:
            if ending.status != "released":
                async with asyncio.timeout(DISK_WAIT_S):
                    await self._spool.keep(ending.hold_id, ending.record())
                on_disk = True
                metrics.SETTLES_SPOOLED.add()
        except TimeoutError:
            raise SpoolFailed(f"the disk did not take a record within {DISK_WAIT_S:g} s") from None
        finally:
            self.end_later(ending, on_disk=on_disk)

    def end_later(self, ending: Ending, *, on_disk: bool = False) -> None:
        """Keep an ending that needs no answer now, and try it in the background."""
        if not on_disk and self.kept >= KEPT_IN_MEMORY_MAX:
            telemetry.error("release_dropped", hold_id=ending.hold_id, status=ending.status)
            return
        self._kept[ending.hold_id] = ending
        self._wake.set()

    def adopt(self) -> None:
        """Take over what dead processes left in the spool. Called at start."""
        for record in self._spool.adopt():
            try:
                ending = ending_of(record)
            except ValueError as error:
                # of another version, say: it stays in the spool for people to look at
                telemetry.error("invariant_broken", exc=error)
                continue
            self._kept[ending.hold_id] = ending
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Try what is kept until it is through; at the stop, once more."""
        while not stop.is_set():
            await first_of(stop, self._wake)
            self._wake.clear()
            await self.run_once()
            if self.kept:
                await first_of(stop, timeout_s=RETRY_MAX_S)
                self._wake.set()
        await self.run_once()

    async def run_once(self) -> None:
        """Try every kept ending once: in Redis by batches, in PostgreSQL one by one."""
        kept = list(self._kept.values())
        for at in range(0, len(kept), BATCH_MAX):
            answered = await asyncio.gather(*map(self._try_redis, kept[at : at + BATCH_MAX]))
            if not any(answered):
                break  # Redis is still away; the rest would only wait for it too
        for ending in list(self._strays.values()):
            if not await self._try_postgres(ending):
                break

    async def _try_redis(self, ending: Ending) -> bool:
        """False: Redis could not be asked."""
        try:
            await self._send(ending)
        except NotInRedis:
            self._kept.pop(ending.hold_id, None)
            if ending.status != "released":
                self._strays[ending.hold_id] = ending
            return True
        except RedisUnavailable:
            return False
        except InvariantBroken as error:
            # repeating it changes nothing; a settle stays in the spool, for people to look at
            telemetry.error("invariant_broken", exc=error, hold_id=ending.hold_id)
            self._kept.pop(ending.hold_id, None)
            return True
        self._kept.pop(ending.hold_id, None)
        if ending.status != "released":
            await self._spool.drop(ending.hold_id)
        return True

    async def _try_postgres(self, ending: Ending) -> bool:
        """False: a store could not be asked."""
        try:
            await self._book(ending)
        except NotYet:
            return True
        except StoreError:
            return False
        except Exception as error:
            # the books refuse this one, which must not stop the line; it stays in the spool, for people to look at
            telemetry.error("invariant_broken", exc=error, hold_id=ending.hold_id)
            self._strays.pop(ending.hold_id, None)
            return True
        self._strays.pop(ending.hold_id, None)
        await self._spool.drop(ending.hold_id)
        return True

    async def _send(self, ending: Ending) -> None:
        """Raises: RedisUnavailable (try again), NotInRedis, InvariantBroken."""
        if ending.status == "released":
            released = await self._scripts.release(
                ending.partition,
                ending.account_id,
                hold_id=ending.hold_id,
                currency=ending.currency,
                payload=ending.payload,
            )
            if released.word in ("COLD", "FENCED"):
                raise NotInRedis(f"release of {ending.hold_id}: {released.word}")
            return
        settled = await self._scripts.settle(
            ending.partition,
            ending.account_id,
            hold_id=ending.hold_id,
            currency=ending.currency,
            cost_nanos=ending.cost_nanos,
            status=cast(Literal["settled", "partial"], ending.status),
            payload=ending.payload,
            first_try_ms=ending.first_try_ms,
            tokens=ending.tokens,
        )
        _check(ending.hold_id, settled.word)


def _check(hold_id: str, word: SettleWord) -> None:
    """Raises: NotInRedis, InvariantBroken unless a settle has charged its hold, now or before."""
    if word in ("OK", "LATE", "DONE"):
        return
    if word == "RELEASED":
        raise InvariantBroken(f"hold {hold_id} was released and then settled")
    raise NotInRedis(f"settle of {hold_id}: {word}")
