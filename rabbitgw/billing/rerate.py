"""Re-rating: calls that were charged by a wrong price version are corrected to what the right one makes of them.

Owns the walk over the calls of a span, dry or in earnest, a batch at a time. What a call costs is recosting.py's, how
a correction is booked corrections.py's. A run is known by its idempotency key and keeps how far it has come in the
transaction that books: whoever sends the same request again goes on from there, and a run that has ended moves nothing.
One run at a time, by an advisory lock of the session: a process that dies lets go of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import orjson

from rabbitgw import statements, telemetry
from rabbitgw.billing.corrections import Booked, Told, book_corrections, overdraws
from rabbitgw.billing.recosting import Change, Repricing
from rabbitgw.billing.rerate_report import (
    ACCOUNTS_SHOWN,
    LARGEST_SHOWN,
    Refusals,
    RerateReport,
    Tally,
    accounts_of_rows,
    largest_of_rows,
)
from rabbitgw.billing.rerate_request import Rerate, check_scope, repricing, stored
from rabbitgw.billing.wallets import KEY_CHARS_MAX
from rabbitgw.errors import Conflict, RequestInvalid, StoreError
from rabbitgw.stores import connection, transaction

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.billing.credits import Credits
    from rabbitgw.stores import Pool, PoolConnection

BATCH_CALLS: Final = 1_000  # of a transaction: looked at, and corrected if they are by the wrong price
CALLS_MAX: Final = 10_000_000  # looked at by one run; a longer one is asked for in parts
CALLS_PER_TURN: Final = (
    100  # costing a whole batch at once would stop every stream of this process for its length
)


class _Batch(NamedTuple):
    """The next calls that are by the wrong price; `last_id` is up to where was looked, `ends` that it is the end."""

    rows: list[asyncpg.Record]
    last_id: UUID
    ends: bool


@dataclass(slots=True)
class _Run:
    """A run that was begun, as its row has it."""

    id: int
    last_id: UUID
    left_out: set[int]
    refusals: Refusals
    finished: bool


async def dry_run(pg: Pool, asked: Rerate, *, calls_max: int = CALLS_MAX) -> RerateReport:
    """What a run would change. Writes nothing.

    Raises: RequestInvalid, NotFound, PostgresUnavailable.
    """
    check_scope(asked)
    change = await repricing(pg, asked)
    tally = await _look(pg, asked, change, calls_max)
    left_out = [] if asked.allow_overdraft else await _overdrawn(pg, change.wrong.currency, tally)
    return RerateReport(
        rerate_id=None,
        dry_run=True,
        done=True,
        price_version=change.wrong.version,
        to_version=change.right.version or None,
        currency=change.wrong.currency,
        calls=sum(one.calls for one in tally.sums.values()),
        accounts_count=len(tally.sums),
        old_nanos=sum(one.old_nanos for one in tally.sums.values()),
        new_nanos=sum(one.new_nanos for one in tally.sums.values()),
        accounts=tally.accounts(),
        largest=tally.largest(),
        refused=tally.refusals.shown(),
        left_out=left_out[:ACCOUNTS_SHOWN],
        left_out_count=len(left_out),
    )


async def apply(
    pg: Pool,
    credits: Credits,
    asked: Rerate,
    idempotency_key: str,
    *,
    batches_max: int | None = None,
    calls_max: int = CALLS_MAX,
) -> RerateReport:
    """Correct the calls, once per idempotency key; `batches_max` batches at most, and the same request goes on.

    Raises: RequestInvalid, NotFound, Conflict (another run is under way; the key was used for another request),
            PostgresUnavailable (the same request goes on where it was).
    """
    check_scope(asked)
    if not 1 <= len(idempotency_key) <= KEY_CHARS_MAX or not idempotency_key.isprintable():
        raise RequestInvalid(
            f"idempotency_key: 1 to {KEY_CHARS_MAX} printable characters", field="idempotency_key"
        )
    async with connection(pg) as db:
        if not await db.fetchval(statements.rerates.try_lock):
            raise Conflict("another re-rating is under way: wait for its end, and send this again")
        run, change = await _found_or_begun(pg, db, asked, idempotency_key, calls_max)
        told: set[Told] = set()
        batches = 0
        while not run.finished and (batches_max is None or batches < batches_max):
            async with db.transaction():
                booked = await _book_next(db, run, asked, change)
            told.update(booked.told)
            batches += 1
        report = await _report(db, run, change)
    await _tell_redis(credits, change.wrong.currency, sorted(told))
    return report


async def _found_or_begun(
    pg: Pool, db: PoolConnection, asked: Rerate, key: str, calls_max: int
) -> tuple[_Run, Repricing]:
    row = await db.fetchrow(statements.rerates.find, key)
    if row is None:
        change = await repricing(pg, asked)
        left_out: list[int] = []
        if not asked.allow_overdraft:
            left_out = await _overdrawn(pg, change.wrong.currency, await _look(pg, asked, change, calls_max))
        change = await stored(pg, change)
        versions = (change.wrong.version, change.right.version)
        await db.execute(statements.rerates.begin, key, asked.digest(), *versions, asked.first, left_out)
        row = await db.fetchrow(statements.rerates.find, key)
        assert row is not None
        telemetry.log("rerate_begun", rerate_id=row["id"], price_version=versions[0], to_version=versions[1])
    elif row["request_sha256"] != asked.digest():
        raise Conflict("idempotency_key: it was used for another re-rating", field="idempotency_key")
    else:
        change = await repricing(pg, asked, right_version=row["right_version"])
    refusals = Refusals(orjson.loads(row["refused"]))
    run = _Run(row["id"], row["last_id"], set(row["left_out"]), refusals, row["finished_at"] is not None)
    return run, change


async def _book_next(db: PoolConnection, run: _Run, asked: Rerate, change: Repricing) -> Booked:
    """Book the next batch and how far the run has come with it, in the transaction of the caller."""
    batch = await _next_batch(db, asked, change, run.last_id)
    changes = [
        one for one in await _recosted(batch.rows, change, run.refusals) if one.account_id not in run.left_out
    ]
    booked = await book_corrections(
        db,
        run.id,
        changes,
        versions=(change.wrong.version, change.right.version),
        currency=change.wrong.currency,
        may_overdraw=asked.allow_overdraft,
    )
    run.left_out |= booked.left_out
    run.last_id, run.finished = batch.last_id, batch.ends
    refused = orjson.dumps(run.refusals.by_code).decode()
    await db.execute(
        statements.rerates.advance, run.id, run.last_id, sorted(run.left_out), refused, run.finished
    )
    return booked


async def _tell_redis(credits: Credits, currency: str, told: Sequence[Told]) -> None:
    """At the end, once per wallet: the worker that sends credits tells Redis within a second of each batch anyway."""
    try:
        for account_id, partition in told:
            await credits.apply(account_id, currency, partition)
    except StoreError as error:
        # It is booked: the credits worker brings it to Redis when Redis is back.
        telemetry.warn("correction_not_applied_yet", account_id=account_id, reason=error.message)


async def _look(pg: Pool, asked: Rerate, change: Repricing, calls_max: int) -> Tally:
    """Cost every call of the span anew and write nothing. Raises: RequestInvalid for more than `calls_max`."""
    tally = Tally()
    after, looked_at, ends = asked.first, 0, False
    while not ends:
        if looked_at >= calls_max:
            raise RequestInvalid(
                f"to: more than {calls_max} calls lie between `from` and `to`; take a shorter span, or one account",
                field="to",
            )
        async with transaction(pg, readonly=True) as db:
            rows, after, ends = await _next_batch(db, asked, change, after)
        tally.add(await _recosted(rows, change, tally.refusals))
        looked_at += BATCH_CALLS
    return tally


async def _next_batch(db: PoolConnection, asked: Rerate, change: Repricing, after: UUID) -> _Batch:
    await db.fetchval(statements.session.plan_anew)
    last = await db.fetchval(
        statements.rerates.page_end, asked.account_id, after, asked.last, BATCH_CALLS - 1
    )
    until = last or asked.last
    wrong = change.wrong
    rows = await db.fetch(
        statements.rerates.calls, asked.account_id, after, until, wrong.version, wrong.currency
    )
    if asked.model is not None:
        rows = [row for row in rows if row["model"] is not None and fnmatchcase(row["model"], asked.model)]
    return _Batch(rows, until, last is None)


async def _recosted(rows: Sequence[Any], change: Repricing, refusals: Refusals) -> list[Change]:
    changes = []
    for index, row in enumerate(rows):
        if index % CALLS_PER_TURN == CALLS_PER_TURN - 1:
            await asyncio.sleep(0)
        found = change.recost(row)
        if isinstance(found, str):
            refusals.add(found, row["id"])
        else:
            changes.append(found)
    return changes


async def _overdrawn(pg: Pool, currency: str, tally: Tally) -> list[int]:
    """The accounts whose wallets, as they are booked, would go below zero; by id."""
    paying = [account_id for account_id, one in tally.sums.items() if one.difference_nanos > 0]
    async with connection(pg) as db:
        rows = await db.fetch(statements.rerates.balances, paying, currency)
    balances: dict[int, int] = {row["account_id"]: row["balance_nanos"] for row in rows}
    return sorted(
        account_id
        for account_id in paying
        if overdraws(balances.get(account_id, 0), tally.sums[account_id].difference_nanos)
    )


async def _report(db: PoolConnection, run: _Run, change: Repricing) -> RerateReport:
    """What a run has done so far, from the books."""
    totals = await db.fetchrow(statements.rerates.totals, run.id)
    assert totals is not None  # an aggregate over all rows
    return RerateReport(
        rerate_id=run.id,
        dry_run=False,
        done=run.finished,
        price_version=change.wrong.version,
        to_version=change.right.version,
        currency=change.wrong.currency,
        calls=totals["calls"],
        accounts_count=totals["accounts"],
        old_nanos=int(totals["old_nanos"]),
        new_nanos=int(totals["new_nanos"]),
        accounts=accounts_of_rows(await db.fetch(statements.rerates.per_account, run.id, ACCOUNTS_SHOWN)),
        largest=largest_of_rows(await db.fetch(statements.rerates.largest, run.id, LARGEST_SHOWN)),
        refused=run.refusals.shown(),
        left_out=sorted(run.left_out)[:ACCOUNTS_SHOWN],
        left_out_count=len(run.left_out),
    )
