"""Brings a database to the schema of this program: plain SQL files, each applied once, in order of names.

Owns the history and the lock; knows nothing of what the files say. A file is applied in a transaction of its
own together with its line of history. One whose head carries `-- rabbitgw: no-transaction` is one statement
that cannot run in one (CREATE INDEX CONCURRENTLY); killed before its history line is written it runs again,
so it must say IF NOT EXISTS. History is never rewritten: a file that changed or vanished after it was applied
is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from rabbitgw import statements
from rabbitgw.clock import monotonic_s
from rabbitgw.errors import MigrationRefused, PostgresUnavailable
from rabbitgw.keynames import PARTITIONS_DEFAULT
from rabbitgw.statements import MIGRATIONS_FOLDER
from rabbitgw.stores import connect_postgres, postgres_errors

NO_TRANSACTION = "-- rabbitgw: no-transaction"
POSTGRES_MAJOR_MIN = 14
LOCK_ID = 0x7261_6262_6974  # "rabbit"; advisory locks are per database
LOCK_WAIT_S = 300.0  # several processes of a deployment may start at once; a long index build holds the lock
LOCK_POLL_S = 0.2

Querier = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

_FILE_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    text: str
    sha256: str

    @property
    def transactional(self) -> bool:
        return not any(line.strip() == NO_TRANSACTION for line in self.text.splitlines()[:10])


def read_migrations(folder: Path = MIGRATIONS_FOLDER) -> list[Migration]:
    """The files of `folder` in order.

    Raises: MigrationRefused for a file not named NNNN_name.sql, or a number used twice.
    """
    migrations = []
    numbers: dict[str, str] = {}
    for file in sorted(folder.glob("*.sql")):
        if not _FILE_NAME.fullmatch(file.name):
            raise MigrationRefused(f"{file.name}: a migration is named like 0001_accounts.sql")
        taken = numbers.setdefault(file.name[:4], file.name)
        if taken != file.name:
            raise MigrationRefused(f"{file.name}: the number is taken by {taken}")
        content = file.read_bytes()
        migrations.append(Migration(file.name, content.decode(), hashlib.sha256(content).hexdigest()))
    return migrations


def pending(files: Sequence[Migration], applied: Sequence[tuple[str, str]]) -> list[Migration]:
    """The files still to apply, given the (name, sha256) already applied, both in order of names.

    Raises: MigrationRefused when history is not the beginning of `files`.
    """
    by_name = {file.name: file for file in files}
    for name, sha256 in applied:
        if name not in by_name:
            raise MigrationRefused(f"{name} was applied to this database but this program does not have it")
        if by_name[name].sha256 != sha256:
            raise MigrationRefused(f"{name} was changed after it was applied; write a new migration instead")
    rest = [file for file in files if file.name not in dict(applied)]
    if applied and rest and rest[0].name < applied[-1][0]:
        raise MigrationRefused(f"{rest[0].name} would run after {applied[-1][0]}; give it a higher number")
    return rest


async def migrate(
    dsn: str, *, folder: Path = MIGRATIONS_FOLDER, partitions: int = PARTITIONS_DEFAULT
) -> list[str]:
    """Apply what is missing and return its names; several processes may call it at the same time.

    The first migration of a database fixes `partitions` for its life and begins epoch 1.
    Raises: MigrationRefused, PostgresUnavailable, SettingInvalid (a DSN that cannot work).
    """
    files = read_migrations(folder)
    connection = await connect_postgres(dsn)
    try:
        with postgres_errors():
            await _lock(connection)
            todo = pending(files, await _history(connection))
            for migration in todo:
                await _apply(connection, migration)
            await connection.execute(statements.deployment.fix, partitions)
    finally:
        await connection.close(timeout=5)
    return [migration.name for migration in todo]


async def check(connection: Querier) -> None:
    """Refuse to work on a database that has not had exactly this program's migrations.

    Raises: MigrationRefused, saying what to do.
    """
    with postgres_errors():
        todo = pending(read_migrations(), await _history(connection))
    if todo:
        raise MigrationRefused(f"the database lacks {todo[0].name}; run `rabbitgw migrate` first")


async def _lock(connection: asyncpg.Connection) -> None:
    """Held until the session ends."""
    major = connection.get_server_version().major
    if major < POSTGRES_MAJOR_MIN:
        raise MigrationRefused(f"PostgreSQL {POSTGRES_MAJOR_MIN} or newer is needed; this server is {major}")
    give_up_s = monotonic_s() + LOCK_WAIT_S
    while not await connection.fetchval(statements.history.try_lock, LOCK_ID):
        if monotonic_s() > give_up_s:
            raise PostgresUnavailable(f"another process has been migrating for {LOCK_WAIT_S:.0f} s")
        await asyncio.sleep(LOCK_POLL_S)


async def _history(connection: Querier) -> list[tuple[str, str]]:
    if not await connection.fetchval(statements.history.exists):
        return []
    return [(row["name"], row["sha256"]) for row in await connection.fetch(statements.history.list)]


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    """Raises: MigrationRefused when the file itself is at fault, PostgresUnavailable."""
    around = connection.transaction() if migration.transactional else nullcontext()
    try:
        with postgres_errors():
            async with around:
                await connection.execute(migration.text)
                await connection.execute(statements.history.append, migration.name, migration.sha256)
    except asyncpg.PostgresError as error:
        raise MigrationRefused(f"{migration.name} failed: {error}") from error
