"""Looks at what stands between the stores: one epoch, events that wait to be booked, a price book.

Whether the books agree is not looked at here: that is the audit's, which reads all of them.
"""

from __future__ import annotations

import asyncio
from typing import Final

from rabbitgw import statements
from rabbitgw.billing.epoch import read_names
from rabbitgw.billing.price_book import load_book
from rabbitgw.billing.usage_rows import StreamId
from rabbitgw.findings import Checkup, Finding, Verdict, failed, ok, warning
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool, connection

BACKLOG_WARNING: Final = 0.5  # of the backlog at which calls are refused
OLDEST_WARNING_S: Final = 60
WORK: Final = "run `rabbitgw work`; its log says why a loop pauses"


async def look_at_books(checkup: Checkup, pg: Pool) -> list[Finding]:
    """What PostgreSQL alone can say."""
    return await checkup.make_all(
        [
            ("books.worker", _worker(pg)),
            ("books.dead_events", _dead_events(pg)),
            ("books.untold", _untold(pg)),
            ("prices.book", _price_book(pg)),
        ],
        mend="look at PostgreSQL's log",
    )


async def look_at_both(checkup: Checkup, pg: Pool, link: RedisLink, *, backlog_max: int) -> list[Finding]:
    """What takes both stores."""
    return await checkup.make_all(
        [("redis.epoch", _epoch(pg, link)), ("books.backlog", _backlog(pg, link, backlog_max))],
        mend="look at the logs of both stores",
    )


async def _epoch(pg: Pool, link: RedisLink) -> Verdict:
    names = await read_names(pg)
    found = await asyncio.gather(*(link.call("GET", keys.epoch_key) for keys in names.partition))
    ours = str(names.epoch).encode()
    if all(value == ours for value in found):
        return ok(f"both stores are in epoch {names.epoch}, in all {names.partitions} partitions")
    foreign = next((value for value in found if value not in (ours, None)), None)
    if foreign is not None:
        return failed(
            f"Redis is in epoch {foreign.decode(errors='replace')}, PostgreSQL in {names.epoch}",
            "run `rabbitgw rebuild` to the end, or is REDIS_URL another deployment's?",
        )
    return warning(
        f"{found.count(None)} of {names.partitions} partitions of Redis have no epoch: it is new, or lost its data",
        "if it is new, start `rabbitgw serve`; if it lost its data, stop `serve` and run `rabbitgw rebuild`",
    )


async def _backlog(pg: Pool, link: RedisLink, backlog_max: int) -> Verdict:
    names = await read_names(pg)
    lengths = await asyncio.gather(*(link.call("XLEN", keys.events) for keys in names.partition))
    worst = max(lengths)
    if not worst:
        return ok("no usage event waits to be booked")
    first = await asyncio.gather(
        *(
            link.call("XRANGE", keys.events, "-", "+", "COUNT", 1)
            for keys, length in zip(names.partition, lengths, strict=True)
            if length
        )
    )
    seconds, _ = await link.call("TIME")
    oldest_ms = min((StreamId.parse(entries[0][0]).ms for entries in first if entries), default=None)
    oldest_s = 0 if oldest_ms is None else max(int(seconds) - oldest_ms // 1000, 0)
    found = (
        f"usage events that wait: {sum(lengths)}, the oldest for {oldest_s} s; "
        f"of one partition at most {worst}, the limit is {backlog_max}"
    )
    if worst >= backlog_max:
        return failed(f"{found}: calls get 503", WORK)
    if worst >= BACKLOG_WARNING * backlog_max or oldest_s >= OLDEST_WARNING_S:
        return warning(found, WORK)
    return ok(found)


async def _worker(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.consumers)
    assert row is not None
    if not row["leased"]:
        return warning("nobody books usage events", "run `rabbitgw work`")
    found = f"workers: {row['workers']}; they book {row['leased']} of {row['partitions']} partitions"
    return ok(found) if row["leased"] == row["partitions"] else warning(found, WORK)


async def _dead_events(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.waiting)
    assert row is not None
    if not row["dead"]:
        return ok("no usage event was unreadable")
    found = (
        f"usage events that could not be read whole: {row['dead']}, of these not charged: {row['uncharged']}"
    )
    mend = "look into the table dead_events: what Redis took without a charge in the ledger must be booked by hand"
    return failed(found, mend) if row["uncharged"] else warning(found, "look into the table dead_events")


async def _untold(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.waiting)
    assert row is not None
    if row["credits"] or row["keys"]:
        found = f"what Redis was not told of: credits {row['credits']}, changed keys {row['keys']}"
        return warning(found, WORK)
    return ok("Redis knows every credit and key")


async def _price_book(pg: Pool) -> Verdict:
    prices = (await load_book(pg)).prices()
    sold = sum(price.sold for price in prices)
    if not sold:
        return failed("nothing has a price, so nothing can be sold", "run `rabbitgw prices import litellm`")
    return ok(f"{sold} prices, {len(prices) - sold} taken from sale")
