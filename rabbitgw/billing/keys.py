"""Keys: made, listed, revoked, rotated, in PostgreSQL. A secret leaves here once, when it is made.

Every change raises the key's generation in the same transaction. Redis is told afterwards, by key_push.py;
until it has been, `redis_generation` stays behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

import asyncpg
import orjson

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX, checked_name, get_account
from rabbitgw.billing.entities import Entity
from rabbitgw.billing.key_fields import (
    checked_expiry,
    checked_metadata,
    checked_models,
    checked_models_denied,
    checked_networks,
    checked_scopes,
    checked_tags,
)
from rabbitgw.billing.key_secret import new_secret, secret_sha256, visible_prefix
from rabbitgw.billing.rate_limits import Limits, add_rate
from rabbitgw.billing.scopes import check_grant
from rabbitgw.billing.spend_windows import check_windows_above
from rabbitgw.billing.users import find_user
from rabbitgw.billing.windows import DAY, LIFETIME
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX
from rabbitgw.stores import Pool, connection, transaction

GRACE_S_MAX: Final = 30 * 86_400  # of a rotation: who has not taken the new secret by then will not


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key may do. `models` None allows all, `models_denied` None denies none; a limit of None is none."""

    account_id: int
    name: str
    models: Sequence[str] | None = None
    lifetime_limit_nanos: int | None = None
    daily_limit_nanos: int | None = None
    expires_at: datetime | None = None
    user_id: int | None = None  # whose key it is; a user of the same account
    models_denied: Sequence[str] | None = None
    scopes: Sequence[str] | None = None  # of billing/scopes.py; None: all that a caller may
    ip_allowlist: Sequence[str] | None = None  # networks (CIDR)
    metadata: Mapping[str, str] | None = None
    tags: Sequence[str] | None = None
    rpm: int | None = None  # these three are one rate of the key, of all models
    tpm: int | None = None
    parallel: int | None = None


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """The only time that `secret` is known to anyone but its holder."""

    id: int
    secret: str
    prefix: str
    previous_ends_at: datetime | None = None  # after a rotation: when the secret before is no good any more


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is listed."""

    id: int
    account_id: int
    name: str
    prefix: str
    models: tuple[str, ...] | None
    lifetime_limit_nanos: int | None
    daily_limit_nanos: int | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    user_id: int | None
    user_disabled: bool
    models_denied: tuple[str, ...] | None
    scopes: tuple[str, ...] | None
    ip_allowlist: tuple[str, ...] | None
    metadata: dict[str, str]
    tags: tuple[str, ...]
    generation: int  # its version: raised by every change
    last_used_at: datetime | None  # when its newest booked call was admitted
    rpm: int | None
    tpm: int | None
    parallel: int | None


async def create_key(pg: Pool, new: NewKey, *, by_admin_key: bool = True) -> CreatedKey:
    """Make a key, its windows and its rate. The daily one is the calendar day in UTC+8. `by_admin_key`: not by another
    key.

    Raises: RequestInvalid, ScopeMissing, NotFound (no such account, or in it no such user), Conflict (a disabled user;
    too many windows above it), PostgresUnavailable.
    """
    name = checked_name(new.name)
    models = checked_models(new.models)
    models_denied = checked_models_denied(new.models_denied)
    scopes = checked_scopes(new.scopes)
    ip_allowlist = checked_networks(new.ip_allowlist)
    metadata = orjson.dumps(checked_metadata(new.metadata)).decode()
    tags = checked_tags(new.tags)
    check_grant(scopes, by_admin_key=by_admin_key)
    limits = [
        (kind, _checked_limit(limit, field))
        for kind, limit, field in (
            (LIFETIME, new.lifetime_limit_nanos, "lifetime_limit_nanos"),
            (DAY, new.daily_limit_nanos, "daily_limit_nanos"),
        )
        if limit is not None
    ]
    rate = Limits(new.rpm, new.tpm, new.parallel)
    rate.check()
    expires_at = checked_expiry(new.expires_at)
    secret = new_secret()
    async with transaction(pg) as db:
        key_id = await db.fetchval(
            statements.keys.create,
            new.account_id,
            name,
            models,
            expires_at,
            secret_sha256(secret),
            visible_prefix(secret),
            [kind for kind, _ in limits],
            [limit for _, limit in limits],
            new.user_id,
            models_denied,
            scopes,
            ip_allowlist,
            metadata,
            tags,
        )
        if key_id is not None and rate:
            await add_rate(db, Entity("key", key_id, new.account_id), rate)
        if key_id is not None and limits:
            await check_windows_above(db, Entity("key", key_id, new.account_id))
    if key_id is None:
        await _refuse_owner(pg, new)
    return CreatedKey(key_id, secret, visible_prefix(secret))


async def list_keys(
    pg: Pool, account_id: int | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[Key]:
    """Keys by id, of one account or of all; revoked ones too. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.keys.list, account_id, after_id, min(rows_max, PAGE_MAX))
    return [_key(row) for row in rows]


async def get_key(pg: Pool, key_id: int) -> Key:
    """Raises: NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        row = await db.fetchrow(statements.keys.get, key_id)
    if row is None:
        raise NotFound(f"key {key_id} does not exist")
    return _key(row)


async def revoke_key(pg: Pool, key_id: int) -> Key:
    """End a key for good; revoking it again changes nothing. Raises: NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        await db.fetchval(statements.keys.advance, key_id, True)
    return await get_key(pg, key_id)


async def rotate_key(pg: Pool, key_id: int, grace_s: int = 0, *, by_admin_key: bool = True) -> CreatedKey:
    """Give a key a new secret; its limits and what they have counted stay. The secret before is good for `grace_s`
    seconds more, and ends by itself; one that still had such a time ends now.

    Raises: RequestInvalid, NotFound, Conflict (a revoked key), ScopeMissing (one with the scope admin, for another
    key), PostgresUnavailable.
    """
    if not 0 <= grace_s <= GRACE_S_MAX:
        raise RequestInvalid(f"grace_s: 0 to {GRACE_S_MAX} seconds", field="grace_s")
    secret = new_secret()
    prefix = visible_prefix(secret)
    async with transaction(pg) as db:
        row = await db.fetchrow(statements.keys.advance, key_id, False)
        if row is not None:
            check_grant(row["scopes"], by_admin_key=by_admin_key)
            generation = row["generation"]
            ended = await db.fetch(statements.keys.retire_secret, key_id, generation, grace_s)
            ends_at = max(one["revoked_at"] for one in ended)
            await db.execute(statements.keys.add_secret, secret_sha256(secret), key_id, prefix, generation)
    if row is None:
        await get_key(pg, key_id)
        raise Conflict(f"key {key_id} is revoked; make a new one")
    return CreatedKey(key_id, secret, prefix, ends_at)


async def _refuse_owner(pg: Pool, new: NewKey) -> NoReturn:
    """Say why the books took no key for this account and user."""
    await get_account(pg, new.account_id)
    user = None if new.user_id is None else await find_user(pg, new.user_id)
    if user is not None and user.account_id == new.account_id:
        raise Conflict(f"user {user.id} is disabled; enable it first", field="user_id")
    raise NotFound(f"user {new.user_id} is not in account {new.account_id}", field="user_id")


def _checked_limit(limit_nanos: int, field: str) -> int:
    if not 0 <= limit_nanos <= AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"{field}: 0 to {AMOUNT_NANOS_MAX} nanos", field=field)
    return limit_nanos


def _texts(listed: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if listed is None else tuple(listed)


def _key(row: asyncpg.Record) -> Key:
    limits: dict[str, int] = {}
    for window in orjson.loads(row["windows"]):
        if window["key_id"] == row["key_id"]:  # of two of a kind the tighter one
            limits[window["kind"]] = min(window["limit_nanos"], limits.get(window["kind"], AMOUNT_NANOS_MAX))
    rates = [
        rate
        for rate in orjson.loads(row["rates"])
        if rate["key_id"] == row["key_id"] and rate["model_pattern"] is None
    ]
    return Key(
        id=row["key_id"],
        account_id=row["account_id"],
        name=row["name"],
        prefix=row["prefix"],
        models=_texts(row["models"]),
        lifetime_limit_nanos=limits.get(LIFETIME),
        daily_limit_nanos=limits.get(DAY),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        created_at=row["created_at"],
        user_id=row["user_id"],
        user_disabled=row["user_disabled"],
        models_denied=_texts(row["models_denied"]),
        scopes=_texts(row["scopes"]),
        ip_allowlist=_texts(row["ip_allowlist"]),
        metadata=orjson.loads(row["metadata"]),
        tags=tuple(row["tags"]),
        generation=row["generation"],
        last_used_at=row["last_used_at"],
        rpm=_tightest(rates, "rpm"),
        tpm=_tightest(rates, "tpm"),
        parallel=_tightest(rates, "parallel"),
    )


def _tightest(rates: list[dict[str, Any]], kind: str) -> int | None:
    return min((rate[kind] for rate in rates if rate[kind] is not None), default=None)
