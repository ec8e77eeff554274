"""Many keys on many plans, for the soak: plans by the product's own functions, keys and assignments by COPY.

A key of each kind is made both ways first, and what a request reads of them is compared: a table that changed would be
told, and not measured wrongly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from rabbitgw import statements
from rabbitgw.app import Stores
from rabbitgw.billing import accounts, keys, plan_assignments, plan_pricing, plans, wallets
from rabbitgw.billing.key_secret import new_secret, secret_sha256, visible_prefix
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text

KEYS_PER_ACCOUNT = 100
LIMIT_NANOS = 10**13
AT_ONCE = 8
OWN = {
    "secret_sha256",
    "prefix",
    "key_id",
    "account_id",
    "partition",
    "created_at",
    "plans",
    "redis_generation",
}


@dataclass(frozen=True)
class Filled:
    plans: list[tuple[int, int]]  # ids of each and of its daily limit
    secrets: list[str]


async def fill(
    stores: Stores, dsn: str, plan_count: int, key_count: int, credit_nanos: int, say: Callable[[str], None]
) -> Filled:
    """`dsn`: of a superuser, who may COPY."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def plan(number: int) -> tuple[int, int]:
        async with gate:
            made = await plans.create_plan(stores.pg, f"plan {number}", "daily_limit", "USD")
            limit = await plans.add_daily_limit(
                stores.pg, made.id, plans.DailyLimit(LIMIT_NANOS, "+08:00", "00:00")
            )
            rule = plan_pricing.PriceRule("stub-*", "token", "0.25", output_multiplier="2")
            await plan_pricing.add_rule(stores.pg, made.id, rule)
            return made.id, limit.id

    async def account(number: int) -> int:
        async with gate:
            made = await accounts.create_account(stores.pg, f"account {number}")
            await wallets.credit(
                stores.pg, made, currency="USD", amount_nanos=credit_nanos, idempotency_key=f"soak-{made.id}"
            )
            return made.id

    await append_prices(stores.pg, [price_from_text("stub-*", {"input": "0.15", "output": "0.60"})])
    plan_ids = await asyncio.gather(*map(plan, range(plan_count)))
    say(f"made {plan_count} plans")
    account_ids = await asyncio.gather(*map(account, range(-(-key_count // KEYS_PER_ACCOUNT))))
    say(f"made {len(account_ids)} accounts")
    db = await asyncpg.connect(dsn)
    try:
        secrets = await _keys(db, [plan_id for plan_id, _ in plan_ids], account_ids, key_count)
        await _compare(stores, db, secrets[0], account_ids[0], plan_ids[0][0])
    finally:
        await db.close()
    say(f"made {key_count} keys")
    return Filled(list(plan_ids), secrets)


async def _keys(db: asyncpg.Connection, plan_ids: list[int], account_ids: list[int], count: int) -> list[str]:
    secrets = [new_secret() for _ in range(count)]
    now = datetime.now(UTC)
    first = await _reserve_ids(db, "api_keys", count)
    ids = range(first, first + count)
    of = [account_ids[number // KEYS_PER_ACCOUNT] for number in range(count)]
    await _copy(db, "api_keys", "id account_id name generation redis_generation", [
        (key, account, "soak", 2, 2) for key, account in zip(ids, of, strict=True)
    ])  # fmt: skip
    await _copy(db, "key_secrets", "secret_sha256 key_id prefix generation", [
        (secret_sha256(secret), key, visible_prefix(secret), 1) for key, secret in zip(ids, secrets, strict=True)
    ])  # fmt: skip
    at = await _reserve_ids(db, "plan_assignments", count)
    await _copy(db, "plan_assignments", "id plan_id account_id key_id effective_from", [
        (at + number, plan_ids[number % len(plan_ids)], of[number], first + number, now) for number in range(count)
    ])  # fmt: skip
    window = await _reserve_ids(db, "windows", count)
    await _copy(db, "windows", "id account_id key_id kind assignment_id", [
        (window + number, of[number], first + number, "day", at + number) for number in range(count)
    ])  # fmt: skip
    for table in ("api_keys", "key_secrets", "plan_assignments", "windows"):
        await db.execute(f"VACUUM (ANALYZE) {table}")
    return secrets


async def _reserve_ids(db: asyncpg.Connection, table: str, count: int) -> int:
    """The first of so many ids in a row, which nothing else gets."""
    name = f"{table}_id_seq"
    first = int(await db.fetchval("SELECT nextval($1::text::regclass)", name))
    await db.execute("SELECT setval($1::text::regclass, $2)", name, first + count)
    return first


async def _copy(db: asyncpg.Connection, table: str, columns: str, records: list[tuple[Any, ...]]) -> None:
    await db.copy_records_to_table(table, columns=columns.split(), records=records)


async def _compare(
    stores: Stores, db: asyncpg.Connection, copied: str, account_id: int, plan_id: int
) -> None:
    """A key that was copied reads as one that the product made. Raises: AssertionError."""
    made = await keys.create_key(stores.pg, keys.NewKey(account_id, "soak"))
    await plan_assignments.assign(stores.pg, plan_id, "key", made.id)
    rows = [
        await db.fetchrow(statements.keys.find, secret_sha256(secret)) for secret in (copied, made.secret)
    ]
    mine, theirs = ({name: row[name] for name in set(row.keys()) - OWN} for row in rows)
    assert mine == theirs, (mine, theirs)
    on = f'"plan_id": {plan_id}'
    assert all(on in row["plans"] and '"window_id": null' not in row["plans"] for row in rows), rows
