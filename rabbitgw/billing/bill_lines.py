"""Bill lines: what one call used and cost, found by either of its ids within the caller's account.

A call passes through three places: an open hold in Redis, an event in the stream, a row in PostgreSQL. A line is
read from the first or the last; one that is in between is about to be booked, and is waited for a moment.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from rabbitgw import statements
from rabbitgw.billing.corrections import corrections_of
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.errors import NotFound, RedisUnavailable
from rabbitgw.redis_link import RedisLink
from rabbitgw.replies import unpack_hold
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool, connection

ID_CHARS_MAX = 128  # a longer X-Request-ID is not taken, so none is stored
# Of calls for images and sound, and of such as had images in their prompt.
PIECES_SHOWN = ("images", "image_kind", "audio_ms", "characters", "image_input_tokens", "image_output_tokens")
BOOKING_POLL_S = 0.05
BOOKING_POLLS_MAX = 40  # two seconds: events are booked within one while the consumer runs


async def bill_line(
    pg: Pool, scripts: Scripts, link: RedisLink, *, key: KeyRecord, request_id: str
) -> dict[str, Any]:
    """The bill line of a call of the key's account, as the side route shows it.

    `request_id` is ours, or the one the caller sent; of several with the same the newest is meant.
    Raises: NotFound, PostgresUnavailable.
    """
    if len(request_id) > ID_CHARS_MAX or not request_id.isprintable():
        raise NotFound("no call in this account has such an id")
    ours = _uuid(request_id)
    row = await _booked(pg, key.account_id, ours, request_id)
    if row is None and ours is not None:
        hold = await _open_line(scripts, link, key, str(ours))
        if hold is not None:
            return hold
        row = await _awaited(pg, scripts, link, key, ours)
    if row is None:
        raise NotFound(f"no call {request_id!r} in this account; a call that is not booked yet has no line")
    line = booked_line(row)
    if row["corrected_nanos"] is not None:
        async with connection(pg) as db:
            corrections = await corrections_of(db, row["id"])
        for one in corrections:
            one["corrected_at"] = _text(one["corrected_at"])
        line |= {"corrections": corrections, "corrected_nanos": corrections[-1]["new_nanos"]}
    return line


async def _booked(
    pg: Pool, account_id: int, ours: uuid.UUID | None, request_id: str
) -> asyncpg.Record | None:
    async with connection(pg) as db:
        return await db.fetchrow(statements.usage.bill_line, account_id, ours, request_id)


async def _open_line(
    scripts: Scripts, link: RedisLink, key: KeyRecord, hold_id: str
) -> dict[str, Any] | None:
    """The line of a call that still runs, from its hold."""
    try:
        packed = await link.call("HGET", scripts.names.partition[key.partition].holds, hold_id)
    except RedisUnavailable:
        return None
    if packed is None:
        return None
    hold = unpack_hold(packed)
    if hold.account_id != key.account_id:
        return None
    ticket = orjson.loads(hold.ticket)
    return {
        "id": hold_id,
        "account_id": hold.account_id,
        "key_id": ticket.get("k"),
        "user_id": ticket.get("u"),
        "caller_request_id": ticket.get("r"),
        "model": ticket.get("m"),
        "dialect": ticket.get("d"),
        "status": "open",
        "usage_source": None,
        "currency": hold.currency,
        "cost_nanos": 0,
        "held_nanos": hold.amount_nanos,
        "price_version": ticket.get("v"),
        "admitted_at": _text(datetime.fromtimestamp(hold.admitted_ms / 1000, UTC)),
    }


async def _awaited(
    pg: Pool, scripts: Scripts, link: RedisLink, key: KeyRecord, ours: uuid.UUID
) -> asyncpg.Record | None:
    """Wait for the row of a call whose mark says that it ended; none without a mark."""
    try:
        marked = await link.call("EXISTS", scripts.names.partition[key.partition].mark(str(ours)))
    except RedisUnavailable:
        return None
    for _ in range(BOOKING_POLLS_MAX if marked else 0):
        row = await _booked(pg, key.account_id, ours, "")
        if row is not None:
            return row
        await asyncio.sleep(BOOKING_POLL_S)
    return None


def booked_line(row: asyncpg.Record) -> dict[str, Any]:
    """A row of usage as it is shown; what only some calls have is left out of the others."""
    line = {
        "id": str(row["id"]),
        "account_id": row["account_id"],
        "key_id": row["key_id"],
        "user_id": row["user_id"],
        "caller_request_id": row["caller_request_id"],
        "model": row["model"],
        "dialect": row["dialect"],
        "status": row["status"],
        "usage_source": row["usage_source"],
        "input_tokens": row["input_tokens"],
        "cached_input_tokens": row["cached_input_tokens"],
        "cache_write_tokens": row["cache_write_tokens"],
        "cache_write_1h_tokens": row["cache_write_1h_tokens"],
        "output_tokens": row["output_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
        "audio_input_tokens": row["audio_input_tokens"],
        "audio_output_tokens": row["audio_output_tokens"],
        "currency": row["currency"],
        "cost_nanos": row["charge_nanos"],
        "price_version": row["price_version"],
        "attempts": row["attempts"],
        "admitted_at": _text(row["admitted_at"]),
        "first_byte_at": _text(row["first_byte_at"]),
        "finished_at": _text(row["finished_at"]),
    }
    for name in (
        "upstream_model",
        "service_tier",
        "error_code",
        "corrected_nanos",
        "overflow",
        "model_asked",
    ):
        if row[name] is not None:
            line[name] = row[name]
    for name in ("included_nanos", *PIECES_SHOWN):
        if row[name]:
            line[name] = row[name]
    for name in ("tools", "per_model"):
        if row[name] is not None:
            line[name] = orjson.loads(row[name])
    return line


def _text(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
