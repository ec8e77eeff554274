"""Rates on accounts, teams, users and keys: made, listed, changed, removed, in PostgreSQL.

A call must pass every rate above its key that binds its model, RATES_MAX at most. A change raises the generation of the
keys below in its own transaction and holds from their next request. Nothing is deleted; place and pattern of a rate
stay. What is counted is in Redis alone, under the rate's id, as time: of a rate that is changed the same part of a
minute is still used, and a call that runs gives back what it took by the rate that it was admitted under.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.billing.rate_rules import RATES_MAX
from rabbitgw.billing.versions import check_version
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
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
    version: int
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
    if model_pattern is not None:
        checked_pattern(model_pattern, "model_pattern")
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


async def change_rate(
    pg: Pool, rate_id: int, changes: Mapping[str, int | None], *, version: int | None = None
) -> Rate:
    """Change those of rpm, tpm and parallel that are named in `changes`; None takes a limit away.

    version: that the rate must still have; None: whatever it is, and the last change wins.
    Raises: RequestInvalid (none is left), NotFound, Conflict (it was removed), PreconditionFailed, PostgresUnavailable.
    """
    Limits(**changes).check()
    async with transaction(pg) as db:
        rate = await _locked(db, rate_id, version)
        if rate.removed_at is not None:
            raise Conflict(f"rate {rate_id} was removed; make a new one")
        limits = Limits(**{"rpm": rate.rpm, "tpm": rate.tpm, "parallel": rate.parallel, **changes})
        if not limits:
            raise RequestInvalid("rpm: at least one of rpm, tpm and parallel must stay", field="rpm")
        if not changes:
            return rate
        row = await db.fetchrow(
            statements.rates.change, rate_id, list(changes), limits.rpm, limits.tpm, limits.parallel
        )
        await advance_keys_below(db, rate.entity)
    assert row is not None, "its account is locked"
    return _rate(row)


async def remove_rate(pg: Pool, rate_id: int, *, version: int | None = None) -> Rate:
    """Take it out of force; again changes nothing. Raises: NotFound, PreconditionFailed, PostgresUnavailable."""
    async with transaction(pg) as db:
        rate = await _locked(db, rate_id, version)
        removed = await db.fetchrow(statements.rates.remove, rate_id)
        if removed is None:
            return rate
        await advance_keys_below(db, rate.entity)
    return _rate(removed)


async def _locked(db: PoolConnection, rate_id: int, version: int | None) -> Rate:
    """The rate as it is while its account is locked. Raises: NotFound, PreconditionFailed."""
    row = await db.fetchrow(statements.rates.get, rate_id)
    if row is None:
        raise NotFound(f"rate {rate_id} does not exist")
    await lock_account(db, row["account_id"])
    row = await db.fetchrow(statements.rates.get, rate_id)
    assert row is not None, "rates are never deleted"
    check_version(f"rate {rate_id}", row["version"], version)
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
        version=row["version"],
        created_at=row["created_at"],
        removed_at=row["removed_at"],
    )
