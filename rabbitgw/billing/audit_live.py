"""Compares one partition of Redis with the books, exactly, while both move.

The order of reading makes it exact. First one moment of Redis: accounts, holds, and S, the last id of the stream.
Then the stream up to S. Then one moment of PostgreSQL, with the cursor C. The stream is trimmed only behind a
committed cursor, so what is missing from it at the second step is booked at the third. Then, for a balance:

    Redis = ledger - charges in the stream from C to S + charges booked from positions after S - credits after s

where s is the number of the last credit that Redis has applied. Window counters go by the same rule, plus the open
holds that name them. No race is left, so nothing is ever compared twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from uuid import UUID

from rabbitgw import statements
from rabbitgw.billing.usage_rows import EXPIRED, LATE, StreamId, parse_windows, window_moves
from rabbitgw.stores import transaction

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.billing.audit_report import Findings
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.replies import PackedHold, SnapshotReply
    from rabbitgw.scripts import Scripts
    from rabbitgw.stores import Pool, PoolConnection

EVENTS_AT_ONCE: Final = 1_000
Wallet = tuple[int, str]  # account id, currency
Span = tuple[int, str]  # window id, span name
_Key = TypeVar("_Key")


class EpochChanged(Exception):
    """Redis is in another epoch than the one the audit began with: the one race it cannot see through."""


class SetAside(NamedTuple):
    """What Redis keeps from calls for a take (takes.py)."""

    account_id: int
    currency: str
    take_id: UUID
    amount_nanos: int


class _Event(NamedTuple):
    at: StreamId
    hold_id: str
    status: str
    wallet: Wallet
    charge_nanos: int
    window_moves: tuple[tuple[Span, int], ...]


@dataclass(slots=True)
class _Books:
    """One moment of PostgreSQL, as far as it concerns one snapshot."""

    cursor: StreamId
    wallets: dict[Wallet, asyncpg.Record]
    moved_after: dict[Wallet, int] = field(default_factory=dict)
    spans_moved_after: dict[Span, int] = field(default_factory=dict)
    spans: dict[Span, int] = field(default_factory=dict)
    ended: list[asyncpg.Record] = field(default_factory=list)
    takes: dict[UUID, asyncpg.Record] = field(default_factory=dict)


class LivePartition:
    """The comparison of one partition. Feed it its accounts in groups; the stream is read once over all groups.

    `set_aside`: what was found set aside for takes, in all of them.
    """

    def __init__(
        self, pool: Pool, link: RedisLink, scripts: Scripts, partition: int, findings: Findings
    ) -> None:
        self._pool = pool
        self._link = link
        self._scripts = scripts
        self._partition = partition
        self._findings = findings
        self._events: list[_Event] = []
        self._read_to = StreamId(0, 0)
        self.worst_nanos = 0
        self.set_aside: list[SetAside] = []

    async def check(self, account_ids: Sequence[int]) -> frozenset[int]:
        """Compare these accounts (at most 100), and the partition's holds and stream.

        Returns: the accounts that have holds here, in the list or not.
        Raises:  EpochChanged, RedisUnavailable, PostgresUnavailable.
        """
        snapshot = await self._scripts.snapshot(self._partition, account_ids)
        if snapshot.word != "OK":
            raise EpochChanged
        last = StreamId.parse(snapshot.last_stream_id)
        await self._read_stream(last)
        loaded = {
            account_id: fields
            for account_id, fields in zip(account_ids, snapshot.accounts, strict=True)
            if fields
        }
        set_aside = [one for account_id, fields in loaded.items() for one in _set_aside(account_id, fields)]
        self.set_aside += set_aside
        async with transaction(self._pool, isolation="repeatable_read", readonly=True) as pg:
            books = await self._read_books(pg, last, loaded, snapshot)
            if set_aside:
                rows = await pg.fetch(statements.audit.takes, [one.take_id for one in set_aside])
                books.takes = {row["take_id"]: row for row in rows}
        self._check_holds(snapshot, loaded, account_ids, set_aside)
        self._check_takes(loaded, books, set_aside)
        self._check_ends(snapshot, books)
        unbooked = [event for event in self._events if books.cursor < event.at <= last]
        self._check_balances(loaded, books, unbooked)
        self._check_windows(loaded, books, unbooked, snapshot.holds.values())
        return frozenset(hold.account_id for hold in snapshot.holds.values())

    # -- reading --

    async def _read_stream(self, last: StreamId) -> None:
        key = self._scripts.names.partition[self._partition].events
        while self._read_to < last:
            page = await self._link.call(
                "XRANGE", key, f"({self._read_to}", str(last), "COUNT", EVENTS_AT_ONCE
            )
            for raw_id, flat in page:
                self._take(StreamId.parse(raw_id), flat)
            self._read_to = StreamId.parse(page[-1][0]) if len(page) == EVENTS_AT_ONCE else last

    def _take(self, at: StreamId, flat: Sequence[bytes]) -> None:
        values = dict(zip(flat[::2], flat[1::2], strict=False))
        try:
            self._events.append(
                _Event(
                    at,
                    values[b"id"].decode(),
                    values[b"s"].decode(),
                    (int(values[b"a"]), values[b"c"].decode()),
                    int(values[b"n"]),
                    tuple(window_moves(values[b"w"].decode(), int(values[b"n"]))),
                )
            )
        except (KeyError, ValueError) as error:
            self._findings[3].breach(f"partition {self._partition}, event {at}: cannot be read ({error})")

    async def _read_books(
        self,
        pg: PoolConnection,
        last: StreamId,
        loaded: Mapping[int, Mapping[str, str]],
        snapshot: SnapshotReply,
    ) -> _Books:
        epoch = self._scripts.names.epoch
        cursor = await pg.fetchrow(statements.audit.cursor, epoch, self._partition)
        wallets = [
            (account_id, name[2:], int(fields.get(f"s:{name[2:]}", "0")))
            for account_id, fields in loaded.items()
            for name in fields
            if name.startswith("b:")
        ]
        spans = [span for fields in loaded.values() for span in _counters(fields)]
        found = await pg.fetch(statements.audit.wallets, *_columns(wallets, 3))
        books = _Books(
            StreamId(*cursor) if cursor else StreamId(0, 0),
            {(row["account_id"], row["currency"]): row for row in found},
        )
        for row in await pg.fetch(statements.audit.moved_after, epoch, self._partition, last.position):
            _add(books.moved_after, (row["account_id"], row["currency"]), row["moved_nanos"])
            for span, nanos in window_moves(row["windows"], row["moved_nanos"]):
                _add(books.spans_moved_after, span, nanos)
        for row in await pg.fetch(statements.audit.spans, *_columns(spans, 2)):
            books.spans[row["window_id"], row["span"]] = row["used_nanos"]
        if snapshot.holds:
            books.ended = await pg.fetch(statements.audit.ended, list(snapshot.holds), last.position)
        return books

    # -- comparing --

    def _check_holds(
        self,
        snapshot: SnapshotReply,
        loaded: Mapping[int, Mapping[str, str]],
        account_ids: Sequence[int],
        set_aside: Sequence[SetAside],
    ) -> None:
        """Invariant 1: what is held in a wallet is what its open holds say, and what is set aside for takes."""
        tally = self._findings[1]
        held: dict[Wallet, int] = {}
        for one in set_aside:
            _add(held, (one.account_id, one.currency), one.amount_nanos)
        for hold_id, hold in snapshot.holds.items():
            _add(held, (hold.account_id, hold.currency), hold.wallet_nanos)
            if hold.account_id in account_ids and hold.account_id not in loaded:
                tally.breach(f"hold {hold_id}: its account {hold.account_id} is not in Redis")
        for account_id, fields in loaded.items():
            currencies = {name[2:] for name in fields if name[:2] in ("b:", "h:")}
            currencies |= {currency for owner, currency in held if owner == account_id}
            for currency in sorted(currencies):
                tally.compare(
                    f"account {account_id}: held in {currency}, against its holds and takes",
                    held.get((account_id, currency), 0),
                    int(fields.get(f"h:{currency}", "0")),
                )

    def _check_takes(
        self,
        loaded: Mapping[int, Mapping[str, str]],
        books: _Books,
        set_aside: Sequence[SetAside],
    ) -> None:
        """Invariant 1: what is set aside is not taken from the balance yet. Whether the take itself is still wanted is
        known to those who take."""
        tally = self._findings[1]
        for one in set_aside:
            tally.checked += 1
            row = books.takes.get(one.take_id)
            if row is None:
                continue
            take = f"account {one.account_id}: take {one.take_id}, {one.amount_nanos} nanos of {one.currency}"
            booked = SetAside(row["account_id"], row["currency"], one.take_id, -row["amount_nanos"])
            if one != booked:
                tally.breach(f"{take}: set aside otherwise than booked, credit {row['seq']}")
            elif row["seq"] <= int(loaded[one.account_id].get(f"s:{one.currency}", "0")):
                tally.breach(f"{take}: set aside although its credit {row['seq']} is applied")

    def _check_ends(self, snapshot: SnapshotReply, books: _Books) -> None:
        """Invariant 2: an open hold has no end, and an ended one has one, or an expiry and a late settle."""
        tally = self._findings[2]
        tally.checked += len(snapshot.holds)
        for row in books.ended:
            tally.breach(
                f"hold {row['id']} of account {row['account_id']}: open in Redis, {row['status']} in the books"
            )
        ends: dict[str, str] = {}
        for event in self._events:
            before = ends.get(event.hold_id)
            if before is not None and not (before == EXPIRED and event.status == LATE):
                tally.breach(f"hold {event.hold_id}: ended twice in the stream, {before} and {event.status}")
            if event.hold_id in snapshot.holds:
                tally.breach(f"hold {event.hold_id}: open in Redis, {event.status} in the stream")
            ends[event.hold_id] = event.status

    def _check_balances(
        self, loaded: Mapping[int, Mapping[str, str]], books: _Books, unbooked: Sequence[_Event]
    ) -> None:
        """Invariant 5; and the worst balance that Redis has kept, for invariant 7."""
        tally = self._findings[5]
        waiting: dict[Wallet, int] = {}
        for event in unbooked:
            _add(waiting, event.wallet, event.charge_nanos)
        for account_id, fields in loaded.items():
            for name, value in fields.items():
                if name.startswith("o:"):
                    self.worst_nanos = min(self.worst_nanos, int(value))
                if not name.startswith("b:"):
                    continue
                wallet = (account_id, name[2:])
                book = books.wallets.get(wallet)
                expected = -waiting.get(wallet, 0) + books.moved_after.get(wallet, 0)
                if book is not None:
                    expected += book["balance_nanos"] - book["unapplied_nanos"]
                tally.compare(f"account {account_id}: Redis balance in {wallet[1]}", expected, int(value))
                applied = int(fields.get(f"s:{wallet[1]}", "0"))
                if book is not None and applied > book["credit_seq"]:
                    tally.breach(
                        f"account {account_id}: Redis has applied credit {applied} in {wallet[1]},"
                        f" booked are {book['credit_seq']}"
                    )

    def _check_windows(
        self,
        loaded: Mapping[int, Mapping[str, str]],
        books: _Books,
        unbooked: Sequence[_Event],
        holds: Iterable[PackedHold],
    ) -> None:
        """Invariant 6, of every counter that Redis has; spans long over have none."""
        tally = self._findings[6]
        waiting: dict[Span, int] = {}
        for event in unbooked:
            for span, nanos in event.window_moves:
                _add(waiting, span, nanos)
        for hold in holds:
            for part in hold.parts:
                for span in parse_windows(",".join(part.windows)):
                    _add(waiting, span, part.amount_nanos)
        for account_id, fields in loaded.items():
            for span, found in _counters(fields).items():
                expected = (
                    books.spans.get(span, 0) + waiting.get(span, 0) - books.spans_moved_after.get(span, 0)
                )
                tally.compare(f"account {account_id}: window {span[0]}, span {span[1]}", expected, found)
            for name, span_name in fields.items():
                if name.startswith("ws:") and f"w:{name[3:]}:{span_name}" not in fields:
                    tally.breach(f"account {account_id}: window {name[3:]} has no counter of {span_name}")


def _set_aside(account_id: int, fields: Mapping[str, str]) -> list[SetAside]:
    found = []
    for name, value in fields.items():
        if name.startswith("a:"):
            _, currency, take_id = name.split(":")
            found.append(SetAside(account_id, currency, UUID(take_id), int(value)))
    return found


def _counters(fields: Mapping[str, str]) -> dict[Span, int]:
    counters = {}
    for name, value in fields.items():
        if name.startswith("w:"):
            _, window_id, span = name.split(":", 2)
            counters[int(window_id), span] = int(value)
    return counters


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[column] for row in rows] for column in range(width)]


def _add(sums: dict[_Key, int], key: _Key, amount: int) -> None:
    sums[key] = sums.get(key, 0) + amount
