"""Reads usage events from the partitions' streams, and trims what is booked. Plain Redis commands, pipelined.

Owns how a bounded batch is shared out among partitions. Knows no PostgreSQL: cursors are given to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rabbitgw.billing.booking import CursorMove, Wallet
from rabbitgw.billing.usage_rows import Fold, StreamId, UsageRow

if TYPE_CHECKING:
    from rabbitgw.keynames import KeyNames
    from rabbitgw.redis_link import RedisLink

Entry = tuple[int, StreamId, Sequence[bytes]]  # partition, id, field, value, field, value...


@dataclass(slots=True)
class Batch:
    """Events of several partitions, where their cursors go, one row per call, and what Redis knows beside it."""

    entries: list[Entry] = field(default_factory=list)
    moves: list[CursorMove] = field(default_factory=list)
    fold: Fold = field(default_factory=Fold)
    worst_nanos: Mapping[Wallet, int] = field(default_factory=dict)


async def read_batch(
    link: RedisLink, names: KeyNames, cursors: Mapping[int, StreamId], events_max: int
) -> Batch:
    """The next events of each partition after its cursor. Raises: RedisUnavailable."""
    keys = names.partition
    lengths = await asyncio.gather(*(link.call("XLEN", keys[partition].events) for partition in cursors))
    waiting = {partition: length for partition, length in zip(cursors, lengths, strict=True) if length}
    shares = share_out(waiting, events_max)
    replies = await asyncio.gather(
        *(
            link.call("XRANGE", keys[partition].events, f"({cursors[partition]}", "+", "COUNT", share)
            for partition, share in shares.items()
        )
    )
    batch = Batch()
    for partition, reply in zip(shares, replies, strict=True):
        entries = [(partition, StreamId.parse(stream_id), flat) for stream_id, flat in reply]
        if entries:
            batch.entries += entries
            batch.moves.append(CursorMove(partition, cursors[partition], entries[-1][1], len(entries)))
    batch.fold = fold_entries(batch.entries)
    batch.worst_nanos = await _worst(link, names, batch.fold.rows.values())
    return batch


def fold_entries(entries: Sequence[Entry]) -> Fold:
    fold = Fold()
    for partition, stream_id, flat in entries:
        fold.add(partition, stream_id, flat)
    return fold


def share_out(wanted: Mapping[int, int], total: int) -> dict[int, int]:
    """Give each its wish as far as `total` goes: small wishes whole, the rest in equal parts, at least 1 each.

    So a busy partition gets all that the others leave, and cannot starve them.
    """
    shares = {}
    left = total
    by_size = sorted(wanted.items(), key=lambda item: item[1])
    for index, (partition, wish) in enumerate(by_size):
        shares[partition] = min(wish, max(1, left // (len(by_size) - index)))
        left -= shares[partition]
    return shares


async def trim(link: RedisLink, names: KeyNames, cursors: Mapping[int, StreamId]) -> None:
    """Drop from each stream what is not after its cursor. Raises: RedisUnavailable."""
    await asyncio.gather(
        *(
            link.call("XTRIM", names.partition[partition].events, "MINID", cursor.following())
            for partition, cursor in cursors.items()
        )
    )


async def _worst(link: RedisLink, names: KeyNames, rows: Iterable[UsageRow]) -> dict[Wallet, int]:
    """How far below zero Redis has seen the wallets of a batch go; those that never did are left out."""
    homes = {(row.account_id, row.currency): row.partition for row in rows if row.charge_nanos > 0}
    replies = await asyncio.gather(
        *(
            link.call("HGET", names.partition[partition].account(account_id), f"o:{currency}")
            for (account_id, currency), partition in homes.items()
        )
    )
    return {wallet: min(int(reply), 0) for wallet, reply in zip(homes, replies, strict=True) if reply}
