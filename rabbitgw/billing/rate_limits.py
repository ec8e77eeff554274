"""Rates on accounts, teams, users and keys: made, listed, removed, in PostgreSQL.

A call must pass every rate above its key that binds its model, RATES_MAX at most. A change raises the generation of the
keys below in its own transaction and holds from their next request. Nothing is deleted, and none is changed: a rate
that is to be another is removed and made anew. What is counted is in Redis alone, under the rate's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX
from rabbitgw.billing.entities import (
    Entity,
    advance_keys_below,
    check_number_above,
    find_entity,
    lock_account,
)
from rabbitgw.billing.key_fields import PATTERN_CHARS_MAX
from rabbitgw.billing.rate_rules import RATES_MAX
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.stores import Pool, PoolConnection, connection, transaction

# What is counted is a time in whole microseconds: above these a minute has too few of them to be counted well.
RPM_MAX: Final = 1_000_000
TPM_MAX: Final = 1_000_000_000
PARALLEL_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rate allows; None: no limit of that kind."""

    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None

    def __bool__(self) -> bool:
        return not self.rpm is self.tpm is self.parallel is None

    def check(self) -> None:
        """Raises: RequestInvalid naming the field."""
        for field, value, most in (
            ("rpm", self.rpm, RPM_MAX),
            ("tpm", self.tpm, TPM_MAX),
            ("parallel", self.parallel, PARALLEL_MAX),
        ):
            if value is not None and not 1 <= value <= most:
                raise RequestInvalid(f"{field}: 1 to {most}; leave it out for no limit", field=field)


@dataclass(frozen=True, slots=True)
class Rate:
    id: int
    entity: Entity
    model_pattern: str | None
    rpm: int | None
    tpm: int | None
    parallel: int | None
    created_at: datetime
    removed_at: datetime | None

    @property
    def account_id(self) -> int:
        return self.entity.account_id

    @property
    def entity_type(self) -> str:
        return self.entity.type

    @property
    def entity_id(self) -> int:
        return self.entity.id


async def create_rate(
    pg: Pool, entity_type: str, entity_id: int, limits: Limits, model_pattern: str | None = None
) -> Rate:
    """Raises: RequestInvalid, NotFound (no such entity), Conflict (too many above a key), PostgresUnavailable."""
    limits.check()
    if not limits:
        raise RequestInvalid("rpm: give at least one of rpm, tpm and parallel", field="rpm")
    if model_pattern is not None and not (
        1 <= len(model_pattern) <= PATTERN_CHARS_MAX and model_pattern.isprintable()
    ):
        raise RequestInvalid(
            f"model_pattern: 1 to {PATTERN_CHARS_MAX} printable characters; leave it out for all models",
            field="model_pattern",
        )
    async with transaction(pg) as db:
        entity = await find_entity(db, entity_type, entity_id)
        await lock_account(db, entity.account_id)
        row = await add_rate(db, entity, limits, model_pattern)
        await advance_keys_below(db, entity)
    return _rate(row)


async def add_rate(
    db: PoolConnection, entity: Entity, limits: Limits, model_pattern: str | None = None
) -> asyncpg.Record:
    """A rate, within a transaction that sees to the keys below. Raises: Conflict."""
    row = await db.fetchrow(
        statements.rates.create, *entity.columns, model_pattern, limits.rpm, limits.tpm, limits.parallel
    )
    assert row is not None
    await check_rates_above(db, entity)
    return row


async def list_rates(
    pg: Pool, account_id: int | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[Rate]:
    """Rates in force by id, of one account or of all. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.rates.list, account_id, after_id, min(rows_max, PAGE_MAX))
    return [_rate(row) for row in rows]


async def remove_rate(pg: Pool, rate_id: int) -> Rate:
    """Take it out of force; again changes nothing. Raises: NotFound, PostgresUnavailable."""
    async with transaction(pg) as db:
        row = await db.fetchrow(statements.rates.get, rate_id)
        if row is None:
            raise NotFound(f"rate {rate_id} does not exist")
        await lock_account(db, row["account_id"])
        removed = await db.fetchrow(statements.rates.remove, rate_id)
        if removed is None:
            row = await db.fetchrow(statements.rates.get, rate_id)
        else:
            row = removed
            await advance_keys_below(db, _rate(row).entity)
    assert row is not None, "rates are never deleted"
    return _rate(row)


async def check_rates_above(db: PoolConnection, entity: Entity) -> None:
    """After a change that may have put more rates above keys; the account is locked. Raises: Conflict."""
    await check_number_above(db, entity, "rates", "rates", RATES_MAX)


def _rate(row: asyncpg.Record) -> Rate:
    return Rate(
        id=row["id"],
        entity=Entity.of_columns(row["account_id"], row["team_id"], row["user_id"], row["key_id"]),
        model_pattern=row["model_pattern"],
        rpm=row["rpm"],
        tpm=row["tpm"],
        parallel=row["parallel"],
        created_at=row["created_at"],
        removed_at=row["removed_at"],
    )
