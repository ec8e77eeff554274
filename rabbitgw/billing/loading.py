"""Brings an account from PostgreSQL into Redis when a script has answered COLD.

Owns the translation from rows to the fields of the account's hash (billing/lua/load.lua). All rows come
from one statement, so they are of one moment; `load` writes them only if the account is absent.
An account stays in Redis for its whole epoch, so when it is loaded no usage event of it is waiting unbooked.
"""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.single_flight import SingleFlight
from rabbitgw.errors import NotFound
from rabbitgw.replies import LoadWord
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool, connection


class AccountLoader:
    """Loads accounts; a thousand requests that find one account cold cause one load."""

    def __init__(self, pg: Pool, scripts: Scripts) -> None:
        self._pg = pg
        self._scripts = scripts
        self._flights: SingleFlight[int, LoadWord] = SingleFlight()

    async def load(self, account_id: int) -> None:
        """As `load_account`. In an epoch that is over nothing is loaded; the script asked next says so."""
        await self._flights.run(account_id, lambda: load_account(self._pg, self._scripts, account_id))


async def load_account(pg: Pool, scripts: Scripts, account_id: int) -> LoadWord:
    """Load one account unless it is there.

    Returns: OK or LOADED; FENCED when the epoch of `scripts` is over.
    Raises:  NotFound, PostgresUnavailable, RedisUnavailable (may be sent again).
    """
    async with connection(pg) as db:
        rows = await db.fetch(statements.accounts.snapshot, account_id)
    if not rows:
        raise NotFound(f"account {account_id} does not exist")
    partition = next(row["value"] for row in rows if row["fact"] == "partition")
    return await scripts.load(partition, account_id, account_fields(rows))


def account_fields(facts: Iterable[asyncpg.Record]) -> dict[str, str | int]:
    """The fields of the account's hash, from rows of sql/accounts/snapshot.sql."""
    fields: dict[str, str | int] = {}
    spans: dict[str, list[str]] = {}
    for row in facts:
        fact, name, value = row["fact"], row["name"], row["value"]
        if fact == "balance":
            fields[f"b:{name}"] = value
            fields[f"h:{name}"] = 0
        elif fact == "credit_seq":
            fields[f"s:{name}"] = value
        elif fact == "worst":
            fields[f"o:{name}"] = value
        elif fact == "below_since_ms":
            fields[f"z:{name}"] = value
        elif fact == "generation":
            fields[f"g:{name}"] = value
        elif fact == "used":
            fields[f"w:{name}:{row['span']}"] = value
            spans.setdefault(name, []).append(row["span"])
    for window_id, names in spans.items():
        names.sort(reverse=True)
        fields.update(zip((f"ws:{window_id}", f"wo:{window_id}"), names, strict=False))
    return fields
