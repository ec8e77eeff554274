"""schema.sql says what the migrations make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from tests.billing.catalog import catalog
from tests.schema import SCHEMA_FILE

if TYPE_CHECKING:
    from tests.conftest import PostgresForTests


async def test_schema_sql_equals_the_sum_of_the_migrations(
    postgres_server: PostgresForTests, dsn: str
) -> None:
    # The session's template was migrated, so the role is there; an empty database takes schema.sql.
    migrated = await asyncpg.connect(dsn)
    await migrated.execute("CREATE DATABASE from_schema_sql TEMPLATE template0")
    try:
        written = await asyncpg.connect(postgres_server.dsn("from_schema_sql"))
        await written.execute(SCHEMA_FILE.read_text("utf-8"))
        expected, found = await catalog(migrated), await catalog(written)
        await written.close()
    finally:
        await migrated.execute("DROP DATABASE from_schema_sql WITH (FORCE)")
        await migrated.close()
    assert len(expected) > 100
    assert found == expected, "run `make schema`"
