"""The runner: each file once, in order, and a history that is never rewritten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from rabbitgw import stores
from rabbitgw.billing.migrations import check, migrate, pending, read_migrations
from rabbitgw.errors import MigrationRefused

if TYPE_CHECKING:
    from tests.conftest import PostgresForTests

BASE = "0001_accounts.sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that begins as the product's does: the history table is made by the first migration."""
    first = next(migration for migration in read_migrations() if migration.name == BASE)
    (tmp_path / BASE).write_text(first.text)
    return tmp_path


@pytest.fixture
def empty_dsn(postgres_server: PostgresForTests) -> Iterator[str]:
    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(postgres_server.dsn("postgres"))
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute("CREATE DATABASE empty_one"))
    yield postgres_server.dsn("empty_one")
    asyncio.run(execute("DROP DATABASE empty_one WITH (FORCE)"))


async def value_of(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_migrate_applies_all_once_and_fixes_the_deployment(empty_dsn: str, folder: Path) -> None:
    (folder / "0002_more.sql").write_text("CREATE TABLE more (id int); CREATE TABLE most (id int);")
    assert await migrate(empty_dsn, folder=folder, partitions=16) == [BASE, "0002_more.sql"]
    assert await migrate(empty_dsn, folder=folder, partitions=32) == []
    assert await value_of(empty_dsn, "SELECT partitions FROM deployment") == 16
    assert await value_of(empty_dsn, "SELECT epoch FROM deployment") == 1


async def test_users_come_to_a_database_that_has_keys_and_calls(empty_dsn: str, tmp_path: Path) -> None:
    for migration in read_migrations()[:3]:
        (tmp_path / migration.name).write_text(migration.text)
    await migrate(empty_dsn, folder=tmp_path)
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("SELECT books_partitions_ahead(1)")
    await connection.execute("INSERT INTO accounts (name, partition) VALUES ('a', 1)")
    await connection.execute("INSERT INTO api_keys (account_id, name) VALUES (1, 'k')")
    await connection.execute("INSERT INTO key_secrets VALUES (sha256('s'), 1, 'rk-', 1)")
    await connection.execute(
        "INSERT INTO usage SELECT uuid7_floor(now() + n * interval '40 days'), 1, 'USD', 'released', false, 0, 0, 0,"
        " NULL, NULL, 1, 1, 1, '', 1, NULL, 'gpt', NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 1, NULL, NULL, NULL,"
        " now(), NULL, NULL, NULL, NULL, NULL, false, 0, 0 FROM generate_series(0, 2) AS n"
    )
    await connection.close()
    assert "0004_users.sql" in await migrate(empty_dsn)
    assert await value_of(empty_dsn, "SELECT user_id IS NULL AND NOT user_disabled FROM key_records") is True
    assert (
        await value_of(empty_dsn, "SELECT count(*) FROM usage WHERE user_id IS NULL AND excess_nanos = 0")
        == 3
    )


async def test_processes_that_start_together_apply_each_file_once(empty_dsn: str) -> None:
    names = [migration.name for migration in read_migrations()]
    results = await asyncio.gather(*(migrate(empty_dsn) for _ in range(4)))
    assert sorted(results, key=len) == [[], [], [], names]


async def test_two_databases_of_one_server_are_migrated_at_the_same_time(
    postgres_server: PostgresForTests, empty_dsn: str
) -> None:
    # The role belongs to the server: the one that comes second finds it made, or being made.
    admin = await asyncpg.connect(postgres_server.dsn("postgres"))
    await admin.execute("CREATE DATABASE empty_two")
    try:
        first, second = await asyncio.gather(migrate(empty_dsn), migrate(postgres_server.dsn("empty_two")))
        assert first == second != []
    finally:
        await admin.execute("DROP DATABASE empty_two WITH (FORCE)")
        await admin.close()


async def test_a_failing_file_leaves_nothing_of_itself(empty_dsn: str, folder: Path) -> None:
    (folder / "0002_broken.sql").write_text("CREATE TABLE half (id int); SELECT nonsense;")
    with pytest.raises(MigrationRefused, match=r"^0002_broken\.sql failed: .*nonsense"):
        await migrate(empty_dsn, folder=folder)
    assert await value_of(empty_dsn, "SELECT to_regclass('half')") is None
    (folder / "0002_broken.sql").write_text("CREATE TABLE whole (id int);")
    assert await migrate(empty_dsn, folder=folder) == ["0002_broken.sql"]


async def test_a_no_transaction_file_runs_outside_one_while_others_wait(empty_dsn: str, folder: Path) -> None:
    (folder / "0002_index.sql").write_text(
        "-- rabbitgw: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS by_name ON accounts (name)"
    )
    results = await asyncio.gather(*(migrate(empty_dsn, folder=folder) for _ in range(3)))
    assert sorted(results, key=len) == [[], [], [BASE, "0002_index.sql"]]
    assert await value_of(empty_dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_name'::regclass")


async def test_a_no_transaction_file_is_one_statement(empty_dsn: str, folder: Path) -> None:
    (folder / "0002_two.sql").write_text(
        "-- rabbitgw: no-transaction\nSELECT 1; CREATE INDEX CONCURRENTLY by_name ON accounts (name)"
    )
    with pytest.raises(MigrationRefused, match=r"^0002_two\.sql failed: .*transaction block"):
        await migrate(empty_dsn, folder=folder)


async def test_changed_missing_and_late_files_are_refused(empty_dsn: str, folder: Path) -> None:
    second = folder / "0003_second.sql"
    second.write_text("CREATE TABLE second (id int);")
    await migrate(empty_dsn, folder=folder)

    (folder / "0002_late.sql").write_text("CREATE TABLE late (id int);")
    with pytest.raises(MigrationRefused, match=r"^0002_late\.sql would run after 0003_second\.sql"):
        await migrate(empty_dsn, folder=folder)
    (folder / "0002_late.sql").unlink()

    second.write_text("CREATE TABLE second (id bigint);")
    with pytest.raises(MigrationRefused, match=r"^0003_second\.sql was changed after it was applied"):
        await migrate(empty_dsn, folder=folder)

    second.unlink()
    with pytest.raises(MigrationRefused, match=r"^0003_second\.sql was applied .* does not have it"):
        await migrate(empty_dsn, folder=folder)


def test_file_names_are_checked(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0001_b.sql").write_text("SELECT 1")
    with pytest.raises(MigrationRefused, match=r"0001_b\.sql: the number is taken by 0001_a\.sql"):
        read_migrations(tmp_path)
    (tmp_path / "0001_b.sql").rename(tmp_path / "second.sql")
    with pytest.raises(MigrationRefused, match=r"second\.sql: a migration is named like"):
        read_migrations(tmp_path)


def test_pending_of_an_unmigrated_database_is_all() -> None:
    files = read_migrations()
    assert pending(files, []) == files


async def test_a_program_refuses_a_database_that_lacks_a_migration(empty_dsn: str, dsn: str) -> None:
    for database, problem in ((empty_dsn, "the database lacks 0001_accounts.sql"), (dsn, None)):
        pool = await stores.open_postgres(database)
        async with stores.connection(pool) as connection:
            if problem is None:
                await check(connection)
            else:
                with pytest.raises(MigrationRefused, match=problem):
                    await check(connection)
        await pool.close()
