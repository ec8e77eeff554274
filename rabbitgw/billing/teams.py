"""Teams: users of an account that limits and reports take together. Made and listed; a user is in one or in none.

A team stays in its account for life and is never deleted: what its users' calls have used is in the books under it.
Who is in it is said of the user (users.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX, checked_name
from rabbitgw.errors import NotFound
from rabbitgw.stores import Pool, connection


@dataclass(frozen=True, slots=True)
class Team:
    id: int
    account_id: int
    name: str
    created_at: datetime


async def create_team(pg: Pool, account_id: int, name: str) -> Team:
    """Raises: RequestInvalid, NotFound (no such account), PostgresUnavailable."""
    async with connection(pg) as db:
        row = await db.fetchrow(statements.teams.create, account_id, checked_name(name))
    if row is None:
        raise NotFound(f"account {account_id} does not exist", field="account_id")
    return _team(row)


async def list_teams(
    pg: Pool, account_id: int | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[Team]:
    """Teams by id, of one account or of all. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.teams.list, account_id, after_id, min(rows_max, PAGE_MAX))
    return [_team(row) for row in rows]


def _team(row: asyncpg.Record) -> Team:
    return Team(row["id"], row["account_id"], row["name"], row["created_at"])
