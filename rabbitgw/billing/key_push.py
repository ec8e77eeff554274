"""Tells Redis what has become of a key: its generation, and the compiled records of its secrets.

Owns the column redis_generation, which says up to where Redis has acknowledged; whatever is ahead of it is
sent again by `push_keys_once`, so nothing is lost when Redis was away or a process died after its commit.
A push may come twice or late: Redis keeps the greater generation.
"""

from __future__ import annotations

from rabbitgw import statements
from rabbitgw.billing.entities import Entity
from rabbitgw.billing.key_record import KeyRecord, record_json, record_of_row
from rabbitgw.billing.loading import load_account
from rabbitgw.errors import RedisUnavailable
from rabbitgw.replies import KeyPutWord
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool, connection

KEYS_PER_TURN = 500


async def push_key(pg: Pool, scripts: Scripts, key_id: int) -> bool:
    """Make the present state of a key take effect in Redis.

    Returns: False when Redis did not take it now (away, or another epoch has begun); push_keys_once will.
    Raises:  PostgresUnavailable.
    """
    async with connection(pg) as db:
        rows = await db.fetch(statements.keys.to_push, key_id)
    if not rows:
        return True
    record = record_of_row(rows[0])
    try:
        if not await _put_generation(pg, scripts, record):
            return False
        for row in rows:
            await scripts.key_record_put(
                row["secret_sha256"].hex(),
                generation=record.generation,
                record=record_json(record_of_row(row)),
            )
    except RedisUnavailable:
        return False
    async with connection(pg) as db:
        await db.execute(statements.keys.pushed, key_id, record.generation)
    return True


async def push_keys_once(pg: Pool, scripts: Scripts, *, keys_max: int = KEYS_PER_TURN) -> int:
    """Push keys that Redis has not acknowledged.

    Returns: how many it has taken now.
    Raises:  PostgresUnavailable.
    """
    async with connection(pg) as db:
        rows = await db.fetch(statements.keys.unpushed, 0, keys_max)
    pushed = 0
    for row in rows:
        if not await push_key(pg, scripts, row["id"]):
            break  # Redis is away or its epoch is over: the others would meet the same
        pushed += 1
    return pushed


async def push_keys_below(pg: Pool, scripts: Scripts, entity: Entity) -> bool:
    """Make the present state of the keys below an account, team or user, or of a key, take effect in Redis.

    Returns: False when Redis did not take all of them now, or there are more than KEYS_PER_TURN; push_keys_once will.
    Raises:  PostgresUnavailable.
    """
    async with connection(pg) as db:
        rows = await db.fetch(statements.keys.unpushed_below, *entity.columns, KEYS_PER_TURN)
    for row in rows:
        if not await push_key(pg, scripts, row["id"]):
            return False
    return len(rows) < KEYS_PER_TURN


async def _put_generation(pg: Pool, scripts: Scripts, record: KeyRecord) -> bool:
    """An account that is not loaded is loaded here. Leaving it cold would lose a revocation to a load whose
    snapshot was taken before the revocation was committed and which has not arrived yet."""

    async def put() -> KeyPutWord:
        return await scripts.key_put(
            record.partition, record.account_id, key_id=record.key_id, generation=record.generation
        )

    word = await put()
    if word == "COLD":
        await load_account(pg, scripts, record.account_id)
        word = await put()
    return word in ("OK", "DONE")
