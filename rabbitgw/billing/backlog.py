"""How far the books are behind: the usage events that wait in Redis, and how old the oldest is. For the metrics only.

All partitions are counted, leased or not, so every consumer says the same. Booked events that are not trimmed yet are
counted too; they are gone a moment later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rabbitgw import metrics

if TYPE_CHECKING:
    from rabbitgw.billing.consumer import Consumer
    from rabbitgw.redis_link import RedisLink


async def look_at_backlog(link: RedisLink, consumer: Consumer) -> int:
    """Set the gauges. Returns 0, as a worker does that is to pause. Raises: RedisUnavailable."""
    metrics.PARTITIONS.set(len(consumer.partitions))
    names = consumer.names
    if not names.epoch:  # it has not been told yet
        return 0
    streams = [keys.events for keys in names.partition]
    waiting = await asyncio.gather(*(link.call("XLEN", stream) for stream in streams))
    filled = [stream for stream, events in zip(streams, waiting, strict=True) if events]
    now, *oldest = await asyncio.gather(
        link.call("TIME"), *(link.call("XRANGE", stream, "-", "+", "COUNT", 1) for stream in filled)
    )
    now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
    began_ms = [
        int(found[0][0].partition(b"-")[0]) for found in oldest if found
    ]  # an id begins with its moment
    metrics.EVENTS_WAITING.set(sum(waiting))
    metrics.EVENTS_LAG.set(max(0, now_ms - min(began_ms, default=now_ms)) / 1000)
    return 0
