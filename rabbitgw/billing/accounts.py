"""Accounts: who pays. Made and listed here; what they own is wallets.py's and keys.py's.

An account gets its partition when it is made, round-robin, and keeps it for life.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from rabbitgw import statements
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.stores import Pool, connection

CURRENCY_DEFAULT = "USD"
NAME_CHARS_MAX = 200
PAGE_MAX = 1000

_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    name: str
    currency: str
    partition: int
    created_at: datetime


async def create_account(pg: Pool, name: str, currency: str = CURRENCY_DEFAULT) -> Account:
    """Make an account with an empty wallet. Raises: RequestInvalid, PostgresUnavailable."""
    name = checked_name(name)
    currency = checked_currency(currency)
    async with connection(pg) as db:
        row = await db.fetchrow(statements.accounts.create, name, currency)
    assert row is not None
    return _account(row)


async def list_accounts(pg: Pool, *, after_id: int = 0, rows_max: int = PAGE_MAX) -> list[Account]:
    """Accounts by id. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.accounts.list, after_id, min(rows_max, PAGE_MAX))
    return [_account(row) for row in rows]


async def get_account(pg: Pool, account_id: int) -> Account:
    """Raises: NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        row = await db.fetchrow(statements.accounts.get, account_id)
    if row is None:
        raise NotFound(f"account {account_id} does not exist", field="account_id")
    return _account(row)


def checked_name(name: str) -> str:
    """A name without blanks around it. Raises: RequestInvalid."""
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise RequestInvalid(f"name: 1 to {NAME_CHARS_MAX} characters", field="name")
    if "\0" in name or not name.isprintable():
        raise RequestInvalid("name: only printable characters", field="name")
    return name


def checked_currency(currency: str) -> str:
    """Raises: RequestInvalid."""
    if not _CURRENCY.fullmatch(currency):
        raise RequestInvalid("currency: three capital letters, like USD", field="currency")
    return currency


def _account(row: asyncpg.Record) -> Account:
    return Account(row["id"], row["name"], row["currency"], row["partition"], row["created_at"])
