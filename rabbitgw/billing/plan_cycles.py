"""Begins and closes the billing cycles of usage plans: grants credit, and charges what was short of the commitment.

Owns the two transactions that do so. Each writes or closes the cycle's row with the ledger entries, and holds the lock
of the assignment or of the cycle meanwhile: any number of workers may run, and one that dies has done all or nothing.
Redis learns of the movements as of any credit.
A cycle is closed when all that it cost is booked: CLOSE_AFTER after its end, when no hold that was made before its end
is open in the account's partition, and the partition is booked up to where its stream then stood. What is corrected
after that changes the cycle no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rabbitgw import statements, telemetry
from rabbitgw.billing import ledger
from rabbitgw.billing.cycle_calendar import Calendar, part_of
from rabbitgw.billing.epoch import read_names
from rabbitgw.billing.key_record import ms_of
from rabbitgw.billing.loops import run_worker
from rabbitgw.billing.moves import lock_wallet, move
from rabbitgw.billing.report_spans import QUARTER_MS, split_thirds
from rabbitgw.billing.report_sums import SCOPE_ACCOUNT, SCOPE_PARTS
from rabbitgw.billing.stray import stream_tip
from rabbitgw.billing.usage_rows import StreamId
from rabbitgw.billing.windows import ZONE_DEFAULT, zone_of
from rabbitgw.clock import now_ms
from rabbitgw.money import AMOUNT_NANOS_MAX
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    from rabbitgw.keynames import KeyNames
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool, PoolConnection

PAUSE_S: Final = 10.0
ROWS_MAX: Final = 200  # of one look for work
HOLDS_AT_ONCE: Final = 500
CLOSE_AFTER: Final = timedelta(days=1)  # as long as the oldest hold may get: late ends have come by then


@dataclass(frozen=True, slots=True)
class _Settled:
    """A partition's state at one moment: the oldest hold that was open, and then the end of its stream."""

    oldest_ms: int | None
    tip: StreamId


class PlanCycles:
    """`now`: the wall clock, which decides what has begun and ended."""

    def __init__(self, pg: Pool, link: RedisLink, *, now: Callable[[], datetime] | None = None) -> None:
        self._pg = pg
        self._link = link
        self._now = now or (lambda: datetime.fromtimestamp(now_ms() / 1000, UTC))

    async def run(self, stop: asyncio.Event) -> None:
        await run_worker("cycles", self.run_once, stop, pause_s=PAUSE_S)

    async def run_once(self) -> int:
        """Begin and close what is due: of each assignment one cycle, so that missed ones come one by one.

        Returns: how many cycles were begun or closed.
        Raises:  PostgresUnavailable, RedisUnavailable; what was booked stays booked, the rest comes next time.
        """
        return await self._begin_due() + await self._close_due()

    async def _begin_due(self) -> int:
        now, begun, after = self._now(), 0, 0
        while True:
            async with connection(self._pg) as db:
                rows = await db.fetch(statements.cycles.to_begin, now, after, ROWS_MAX)
            for row in rows:
                after = row["id"]
                begun += await self._begin(after, now)
            if len(rows) < ROWS_MAX:
                return begun

    async def _begin(self, assignment_id: int, now: datetime) -> bool:
        """Begin the next cycle of an assignment and grant its credit; False where somebody else is at it or was."""
        async with transaction(self._pg) as db:
            assignment = await db.fetchrow(statements.cycles.lock_assignment, assignment_id)
            state = await db.fetchrow(statements.cycles.state, assignment_id)
            if assignment is None or state is None:
                return False
            anchor, ends = assignment["effective_from"], assignment["effective_to"]
            calendar = Calendar(anchor, zone_of(assignment["zone"] or ZONE_DEFAULT), state["billing_cycle"])
            number = state["last_number"]
            if number is None:
                # of a plan that got its terms later, the cycle that they fall into is the first
                number = calendar.number_at(max(anchor, state["terms_at"]))
            starts_at = calendar.start(number)
            if starts_at > now or (ends is not None and ends <= starts_at):
                return False
            account_id, currency = assignment["account_id"], state["currency"]
            grant_nanos, transaction_id = await _move(
                db,
                ledger.GRANT,
                account_id,
                currency,
                state["grant_nanos"],
                f"cycle:{assignment_id}:{number + 1}",
            )
            await db.execute(
                statements.cycles.begin,
                assignment_id,
                number + 1,
                account_id,
                currency,
                starts_at,
                calendar.start(number + 1),
                grant_nanos,
                transaction_id,
                state["commit_nanos"],
            )
        telemetry.log("plan_cycle_begun", account_id=account_id, assignment_id=assignment_id,
                      number=number + 1, granted_nanos=grant_nanos)  # fmt: skip
        return True

    async def _close_due(self) -> int:
        before, closed, after = self._now() - CLOSE_AFTER, 0, (0, 0)
        names: KeyNames | None = None
        settled: dict[int, _Settled] = {}
        while True:
            async with connection(self._pg) as db:
                rows = await db.fetch(statements.cycles.to_close, before, *after, ROWS_MAX)
            for row in rows:
                after, partition = (row["assignment_id"], row["number"]), row["partition"]
                names = names or await read_names(self._pg)
                if partition not in settled:
                    settled[partition] = await self._look(names, partition)
                if await self._booked(names, partition, settled[partition], row["ended_at"]):
                    closed += await self._close(*after, row["ended_at"])
            if len(rows) < ROWS_MAX:
                return closed

    async def _look(self, names: KeyNames, partition: int) -> _Settled:
        """The holds first: one that ends during the look is in the stream before its end is read."""
        oldest_ms: int | None = None
        cursor: Any = b"0"
        while True:
            cursor, page = await self._link.call(
                "HSCAN", names.partition[partition].holds, cursor, "COUNT", HOLDS_AT_ONCE
            )
            for hold_id in page[::2]:
                began_ms = UUID(hold_id.decode()).int >> 80  # ids of calls are UUIDv7
                oldest_ms = began_ms if oldest_ms is None else min(oldest_ms, began_ms)
            if cursor == b"0":
                break
        return _Settled(oldest_ms, await stream_tip(self._link, names.partition[partition].events))

    async def _booked(self, names: KeyNames, partition: int, settled: _Settled, ended_at: datetime) -> bool:
        if settled.oldest_ms is not None and settled.oldest_ms < (ms_of(ended_at) or 0):
            return False
        async with connection(self._pg) as db:
            row = await db.fetchrow(statements.audit.cursor, names.epoch, partition)
        booked = StreamId(0, 0) if row is None else StreamId(row["stream_ms"], row["stream_seq"])
        return booked >= settled.tip

    async def _close(self, assignment_id: int, number: int, ended_at: datetime) -> bool:
        """Close a cycle and charge what it is short; False where somebody else is at it or was."""
        async with transaction(self._pg) as db:
            cycle = await db.fetchrow(statements.cycles.lock, assignment_id, number)
            if cycle is None:
                return False
            zone = zone_of(cycle["zone"] or ZONE_DEFAULT)
            due_nanos = part_of(cycle["commit_nanos"], cycle["starts_at"], cycle["ends_at"], ended_at, zone)
            spent_nanos = await _spent(db, cycle, ended_at)
            short_nanos = max(0, due_nanos - max(0, spent_nanos))
            moved_nanos, transaction_id = await _move(
                db, ledger.COMMITMENT, cycle["account_id"], cycle["currency"], -short_nanos,
                f"cycle:{assignment_id}:{number}",
            )  # fmt: skip
            await db.execute(
                statements.cycles.close, assignment_id, number, ended_at, due_nanos, spent_nanos, -moved_nanos,
                transaction_id,
            )  # fmt: skip
        telemetry.log("plan_cycle_closed", account_id=cycle["account_id"], assignment_id=assignment_id,
                      number=number, charged_nanos=-moved_nanos)  # fmt: skip
        return True


_HOUSE: Final = {ledger.GRANT: ledger.GRANTS, ledger.COMMITMENT: ledger.COMMITMENTS}


async def _move(
    db: PoolConnection, kind: str, account_id: int, currency: str, amount_nanos: int, ref: str
) -> tuple[int, int | None]:
    """Move money into a wallet, or out of it, as far as a wallet can hold or owe at all.

    Returns: what was moved, and by which transaction.
    """
    wallet = await lock_wallet(db, account_id, currency)
    after_nanos = max(-AMOUNT_NANOS_MAX, min(AMOUNT_NANOS_MAX, wallet.balance_nanos + amount_nanos))
    amount_nanos = after_nanos - wallet.balance_nanos
    if not amount_nanos:
        return 0, None
    lines = ledger.credit_lines(account_id, currency, amount_nanos, _HOUSE[kind])
    moved = await move(db, wallet, amount_nanos, lines, kind=kind, ref=ref)
    return amount_nanos, moved.ledger_transaction_id


async def _spent(db: PoolConnection, cycle: Any, ended_at: datetime) -> int:
    """What the calls of a cycle cost, by the quarter hours in UTC that begin and end it: each call is in one cycle."""
    bounds = [(ms_of(moment) or 0) // QUARTER_MS for moment in (cycle["starts_at"], ended_at)]
    if bounds[0] == bounds[1]:
        return 0
    part = (cycle["key_id"], cycle["user_id"], cycle["team_id"])
    scope = SCOPE_ACCOUNT if part == (None, None, None) else SCOPE_PARTS
    await db.fetchval(statements.session.plan_anew)
    rows = await db.fetch(
        statements.reports.sums,
        cycle["account_id"],
        scope,
        *part,
        bounds,
        split_thirds(bounds),
        *[False] * 5,
        100,
    )
    return sum(int(row["charge_nanos"]) for row in rows if row["currency"] == cycle["currency"])
