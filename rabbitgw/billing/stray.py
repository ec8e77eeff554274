"""Books a settle whose hold Redis no longer knows, straight into PostgreSQL, once by its id.

It happens when a settle could not be sent for longer than the mark of its end lives, or came after the epoch had
changed. What expiry charged may still wait in the stream, so the consumer must have passed it first; until then
the booking is refused and tried again. How far it must have come is read once per call: under load the stream is
always ahead of the books. Redis learns of the charge as a negative credit of the wallet.
"""

from __future__ import annotations

from typing import Final

from rabbitgw import statements, telemetry
from rabbitgw.billing import ledger
from rabbitgw.billing.settling import Ending, NotYet
from rabbitgw.billing.usage_rows import StreamId, as_records, read_event
from rabbitgw.errors import RedisReplyError
from rabbitgw.keynames import KeyNames
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool, transaction

NO_STREAM: Final = StreamId(0, 0)


class StrayBooker:
    def __init__(self, pg: Pool, link: RedisLink, names: KeyNames) -> None:
        self._pg = pg
        self._link = link
        self._names = names
        self._tips: dict[
            str, StreamId
        ] = {}  # of calls that were tried: where the stream stood at the first try

    async def book(self, ending: Ending) -> None:
        """Book the charge unless it is booked; of a call that expired, the difference.

        Raises: PostgresUnavailable, RedisUnavailable, NotYet: try again.
        """
        tip = self._tips.get(ending.hold_id)
        if tip is None:
            tip = self._tips[ending.hold_id] = await stream_tip(
                self._link, self._names.partition[ending.partition].events
            )
        row, problem = read_event(
            ending.partition,
            NO_STREAM,
            {
                b"id": ending.hold_id.encode(),
                b"a": str(ending.account_id).encode(),
                b"c": ending.currency.encode(),
                b"n": str(ending.cost_nanos - ending.borne_nanos).encode(),
                b"i": str(ending.borne_nanos).encode(),
                b"s": ending.status.encode(),
                b"w": b"",
                b"p": ending.payload,
            },
        )
        row.position = None
        async with transaction(self._pg) as db:
            # the lock keeps the consumer from booking this partition between the look and the commit
            cursor = await db.fetchrow(statements.books.lock_cursor, self._names.epoch, ending.partition)
            if cursor is None or StreamId(cursor["stream_ms"], cursor["stream_seq"]) < tip:
                raise NotYet(f"the events of partition {ending.partition} before {tip} are not booked yet")
            (transaction_id,) = await ledger.take_ids(db, 1)
            row.ledger_transaction_id = transaction_id if row.charge_nanos else None
            booked = await db.fetch(statements.usage.book, self._names.epoch, as_records([row]))
            moved_nanos = booked[0]["moved_nanos"] if booked else 0
            if moved_nanos:
                await ledger.append(db, [stray_transaction(transaction_id, ending, moved_nanos)])
                await db.fetchrow(
                    statements.wallets.credit,
                    ending.account_id,
                    ending.currency,
                    -moved_nanos,
                    transaction_id,
                    None,
                )
        del self._tips[ending.hold_id]
        telemetry.warn(
            "stray_booked",
            hold_id=ending.hold_id,
            moved_nanos=moved_nanos,
            booked=bool(booked),
            problem=problem,
        )


async def stream_tip(link: RedisLink, stream: str) -> StreamId:
    """The last id that a partition's stream of events ever gave. Raises: RedisUnavailable."""
    try:
        reply = await link.call("XINFO", "STREAM", stream)
    except RedisReplyError as error:
        if error.kind == "ERR":  # no such key: nothing was ever written in this epoch
            return NO_STREAM
        raise
    fields = dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply
    return StreamId.parse(fields[b"last-generated-id"])


def stray_transaction(transaction_id: int, ending: Ending, moved_nanos: int) -> ledger.Transaction:
    lines = (
        ledger.wallet_line(ending.account_id, ending.currency, -moved_nanos),
        ledger.house_line(ledger.REVENUE, ending.currency, moved_nanos),
    )
    return ledger.Transaction(transaction_id, ledger.USAGE, lines, ending.account_id, ending.hold_id)
