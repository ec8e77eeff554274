"""Stores: the application's rights, what counts as unavailable, and a Redis set up by others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from rabbitgw import stores
from rabbitgw.dev.redis import start_redis
from rabbitgw.errors import PostgresUnavailable, SettingInvalid

if TYPE_CHECKING:
    from rabbitgw.stores import Pool


async def test_connections_step_down_and_stay_down(pg: Pool) -> None:
    for _ in range(2):  # the pool resets a connection between two uses
        async with stores.connection(pg) as db:
            assert await db.fetchval("SELECT current_user") == "rabbitgw_app"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM wallets",
        "TRUNCATE accounts",
        "UPDATE accounts SET partition = 1",
        "UPDATE deployment SET partitions = 1",
        "UPDATE key_secrets SET key_id = 1",
        "UPDATE wallet_credits SET amount_nanos = 1",
        "DELETE FROM idempotency_keys",
        "INSERT INTO schema_migrations VALUES ('x', 'y')",
        "CREATE TABLE mine (id int)",
        "SELECT app_may('ALL', 'wallets')",
    ],
)
async def test_the_application_may_not(pg: Pool, statement: str) -> None:
    async with stores.connection(pg) as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)


async def test_a_role_that_is_not_there_leaves_the_users_own_rights(dsn: str) -> None:
    pool = await stores.open_postgres(dsn, role="no_such_role")
    async with stores.connection(pool) as db:
        assert await db.fetchval("SELECT current_user = session_user")
    await pool.close()


async def test_what_passes_is_unavailable_and_what_is_wrong_is_not(pg: Pool) -> None:
    async with stores.connection(pg) as db:
        await db.execute("SET statement_timeout = '50ms'")
        with pytest.raises(PostgresUnavailable), stores.postgres_errors():
            await db.execute("SELECT pg_sleep(10)")
    with pytest.raises(asyncpg.UndefinedTableError):
        async with stores.connection(pg) as db:
            await db.execute("SELECT * FROM nowhere")
    with pytest.raises(asyncpg.DataError):
        async with stores.connection(pg) as db:
            await db.fetchval("SELECT $1::int", "text")


async def test_a_server_that_ends_the_session_is_unavailable(pg: Pool, dsn: str) -> None:
    admin = await asyncpg.connect(dsn)

    async def ended_meanwhile() -> None:
        async with stores.transaction(pg) as db:
            own = await db.fetchval("SELECT pg_backend_pid()")
            await admin.execute("SELECT pg_terminate_backend($1)", own)
            await db.fetchval("SELECT 1")

    with pytest.raises(PostgresUnavailable):
        await ended_meanwhile()
    async with stores.connection(pg) as db:
        assert await db.fetchval("SELECT 1") == 1
    await admin.close()


KEPT_OUT = {
    "takes no connections": 'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false',
    "is gone": 'ALTER DATABASE "{database}" RENAME TO elsewhere',
    "does not let us log in": "ALTER ROLE visitor NOLOGIN",
    "has another password": "ALTER ROLE visitor PASSWORD 'changed'",
}


@pytest.mark.parametrize("why", KEPT_OUT)
async def test_a_database_that_does_not_take_us_back_is_unavailable(dsn: str, why: str) -> None:
    server, _, database = dsn.rpartition("/")
    address = server.rpartition("@")[2]
    admin = await asyncpg.connect(f"{server}/postgres")
    await admin.execute("CREATE ROLE visitor LOGIN PASSWORD 'known'")
    pool = await stores.open_postgres(
        f"postgresql://visitor:known@{address}/{database}", min_size=0, role=None
    )
    try:
        async with stores.connection(pool) as db:
            assert await db.fetchval("SELECT 1") == 1
        await admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'visitor'"
        )
        await admin.execute(KEPT_OUT[why].format(database=database))
        with pytest.raises(PostgresUnavailable):
            async with stores.connection(pool):
                pass
        with pytest.raises(PostgresUnavailable):
            async with stores.transaction(pool):
                pass
    finally:
        await pool.close()
        if why == "is gone":
            await admin.execute(f'ALTER DATABASE elsewhere RENAME TO "{database}"')
        await admin.execute("DROP ROLE visitor")
        await admin.close()


async def test_what_a_statement_says_in_the_same_words_is_left_as_it_is(pg: Pool) -> None:
    async with stores.connection(pg) as db:
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError), stores.postgres_errors():
            await db.execute("SELECT lastval()")


async def test_a_transaction_is_whole_or_not_at_all(pg: Pool) -> None:
    async def given_up() -> None:
        async with stores.transaction(pg) as db:
            await db.execute("INSERT INTO accounts (name, partition) VALUES ('x', 1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await given_up()
    async with stores.connection(pg) as db:
        assert await db.fetchval("SELECT count(*) FROM accounts") == 0


@pytest.mark.parametrize("wrong", ["mysql://x", "postgresql://h:port/db", "nonsense"])
async def test_a_wrong_dsn_is_a_wrong_setting(wrong: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^DATABASE_URL: "):
        await stores.open_postgres(wrong)


async def test_a_wrong_password_or_database_is_a_wrong_setting(dsn: str) -> None:
    server, _, _ = dsn.rpartition("/")
    user_and_password = server.partition("//")[2].rpartition("@")[0]
    for wrong in (f"{server}/no_such_database", dsn.replace(user_and_password, "rabbitgw:wrong")):
        with pytest.raises(SettingInvalid, match=r"^DATABASE_URL: ") as refused:
            await stores.open_postgres(wrong)
        assert "\n" not in str(refused.value)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(PostgresUnavailable):
        await stores.open_postgres("postgresql://u@127.0.0.1:1/db")


async def test_a_redis_that_may_forget_is_warned_about(server_folder: Path) -> None:
    server = await start_redis(server_folder)
    link = await stores.open_redis(server.url)
    try:
        assert await stores.redis_warnings(link) == []
        await link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        (warning,) = await stores.redis_warnings(link)
        assert "allkeys-lru" in warning
        await link.call("CONFIG", "SET", "appendonly", "no")
        assert len(await stores.redis_warnings(link)) == 2
    finally:
        await link.close()
        await server.stop()
