"""Books a batch of usage events: usage rows, ledger, wallets, windows and cursors, in one SQL transaction.

Owns what is written and in which order; knows no Redis. What moves money is only what the insert of usage returns:
a row that was booked before is not returned, so a redelivery moves nothing, and a late end moves the difference.
The cursors are moved first and by comparison: who lost a lease in the meantime finds out before writing anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from rabbitgw import statements
from rabbitgw.billing import ledger
from rabbitgw.billing.usage_rows import DeadEvent, StreamId, UsageRow, as_records, window_moves
from rabbitgw.stores import transaction

if TYPE_CHECKING:
    from datetime import timedelta

    from rabbitgw.stores import Pool, PoolConnection

Wallet = tuple[int, str]  # account id, currency
# What a row itself can be refused for. Reading events keeps these out; one that slips through must not stop the line.
UNBOOKABLE: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


class LeaseLost(Exception):
    """Another consumer has taken a partition, or a commit whose outcome was unknown had gone through."""


class CursorMove(NamedTuple):
    partition: int
    start: StreamId  # where the cursor stands
    end: StreamId  # where it stands afterwards: the last event of the batch
    events: int


@dataclass(frozen=True, slots=True)
class Lease:
    """As whom a consumer books, in which epoch, and for how long each booking renews its leases."""

    owner: str
    epoch: int
    length: timedelta


@dataclass(slots=True)
class _Moves:
    """What the booked rows of one wallet add up to; what is given back is kept apart, to be seen in the ledger."""

    charged_nanos: int = 0
    returned_nanos: int = 0


async def book(
    pool: Pool,
    lease: Lease,
    moves: Sequence[CursorMove],
    rows: Sequence[UsageRow],
    dead: Sequence[DeadEvent],
    worst_nanos: Mapping[Wallet, int],
) -> int:
    """Book the rows and move the cursors, all or nothing.

    Units:   worst_nanos is the lowest balance that Redis has seen, <= 0, of the wallets in `rows`.
    Returns: how many rows were booked; the others had been booked before.
    Raises:  LeaseLost (nothing was booked), PostgresUnavailable (from the commit: unknown), UNBOOKABLE.
    """
    wallets = sorted({(row.account_id, row.currency) for row in rows if row.charge_nanos or row.late})
    async with transaction(pool) as connection:
        await _advance(connection, lease, moves)
        ids = await ledger.take_ids(connection, len(wallets)) if wallets else []
        transaction_of = dict(zip(wallets, ids, strict=True))
        for row in rows:
            if row.charge_nanos or row.late:
                row.ledger_transaction_id = transaction_of[row.account_id, row.currency]
        booked: list[asyncpg.Record] = []
        if rows:
            booked = await connection.fetch(statements.usage.book, lease.epoch, as_records(rows))
        await _move_money(connection, booked, transaction_of, worst_nanos)
        if dead:
            await _bury(connection, lease.epoch, dead)
    return len(booked)


async def _advance(connection: PoolConnection, lease: Lease, moves: Sequence[CursorMove]) -> None:
    moved = await connection.fetch(
        statements.books.advance_cursors,
        lease.owner,
        lease.length,
        lease.epoch,
        [move.partition for move in moves],
        [move.start.ms for move in moves],
        [move.start.seq for move in moves],
        [move.end.ms for move in moves],
        [move.end.seq for move in moves],
        [move.events for move in moves],
    )
    if len(moved) != len(moves):
        lost = sorted({move.partition for move in moves} - {record["partition"] for record in moved})
        raise LeaseLost(f"partitions {lost} are no longer where {lease.owner} left them")


async def _move_money(
    connection: PoolConnection,
    booked: Iterable[asyncpg.Record],
    transaction_of: Mapping[Wallet, int],
    worst_nanos: Mapping[Wallet, int],
) -> None:
    wallets: dict[Wallet, _Moves] = {}
    spans: dict[tuple[int, str], int] = {}
    for account_id, currency, moved_nanos, windows in booked:
        for span, nanos in window_moves(windows, moved_nanos) if moved_nanos or "=" in windows else ():
            spans[span] = spans.get(span, 0) + nanos
        if not moved_nanos:
            continue
        sums = wallets.setdefault((account_id, currency), _Moves())
        if moved_nanos > 0:
            sums.charged_nanos += moved_nanos
        else:
            sums.returned_nanos -= moved_nanos
    if spans:
        await connection.execute(
            statements.books.move_spans,
            [window_id for window_id, _ in spans],
            [span for _, span in spans],
            list(spans.values()),
        )
    if not wallets:
        return
    missing = [wallet for wallet in wallets if wallet not in transaction_of]
    ids = dict(transaction_of)
    if missing:  # a free end replaced an expiry that had cost something
        ids.update(zip(missing, await ledger.take_ids(connection, len(missing)), strict=True))
    ordered = sorted(wallets)
    await ledger.append(connection, [_usage_transaction(ids[key], key, wallets[key]) for key in ordered])
    await connection.execute(
        statements.books.move_wallets,
        [account_id for account_id, _ in ordered],
        [currency for _, currency in ordered],
        [wallets[key].returned_nanos - wallets[key].charged_nanos for key in ordered],
        [worst_nanos.get(key, 0) for key in ordered],
    )


def _usage_transaction(transaction_id: int, wallet: Wallet, sums: _Moves) -> ledger.Transaction:
    account_id, currency = wallet
    lines = ledger.charge_lines(
        account_id, currency, charged_nanos=sums.charged_nanos, returned_nanos=sums.returned_nanos
    )
    return ledger.Transaction(transaction_id, ledger.USAGE, lines, account_id)


async def _bury(connection: PoolConnection, epoch: int, dead: Sequence[DeadEvent]) -> None:
    await connection.execute(
        statements.books.bury_events,
        epoch,
        [event.partition for event in dead],
        [event.stream_id.ms for event in dead],
        [event.stream_id.seq for event in dead],
        [event.reason for event in dead],
        [event.charged for event in dead],
        [event.fields for event in dead],
    )
