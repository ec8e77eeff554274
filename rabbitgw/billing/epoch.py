"""The deployment's epoch: one row in PostgreSQL, copied into a key of each partition of Redis.

Every script compares it, so a process with an older one can move no money. Raising it is rebuild.py's.
"""

from __future__ import annotations

import asyncio

from rabbitgw import statements
from rabbitgw.errors import MigrationRefused, RedisUnavailable
from rabbitgw.keynames import KeyNames
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool, connection


async def read_names(pool: Pool) -> KeyNames:
    """The key names of the present epoch.

    Raises: MigrationRefused on a database that was never migrated, PostgresUnavailable.
    """
    async with connection(pool) as db:
        row = await db.fetchrow(statements.deployment.read)
    if row is None:
        raise MigrationRefused("the database was never migrated; run `rabbitgw migrate` first")
    return KeyNames(row["partitions"], row["epoch"])


async def publish_epoch(link: RedisLink, names: KeyNames) -> None:
    """Write the epoch into every partition that has none: a Redis that is new, or came back empty.

    Raises: RedisUnavailable when a partition has another epoch.
    """
    epoch = str(names.epoch)
    await asyncio.gather(*(link.call("SET", keys.epoch_key, epoch, "NX") for keys in names.partition))
    found = await asyncio.gather(*(link.call("GET", keys.epoch_key) for keys in names.partition))
    for index, value in enumerate(found):
        if value != epoch.encode():
            raise RedisUnavailable(
                f"partition {index} of Redis is in epoch {value.decode()}, PostgreSQL in {epoch}: run "
                "`rabbitgw rebuild` to the end, or is REDIS_URL another deployment's?"
            )
