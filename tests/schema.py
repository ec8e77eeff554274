"""Keeps sql/schema.sql equal to the sum of the migrations. `make schema` runs it.

    python -m tests.schema           write sql/schema.sql anew
    python -m tests.schema --check   print the difference, exit 1 if there is one

The file is for readers: it says in one place what the migrations made, in pg_dump's words. Nothing applies it
but a test, which compares the catalog of a database built from it with one built from the migrations.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from rabbitgw.billing.migrations import migrate, read_migrations
from rabbitgw.dev import pgbinaries
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.statements import SQL_FOLDER

SCHEMA_FILE = SQL_FOLDER / "schema.sql"
# Partitions of a month depend on the day of the migration; they are no part of the schema.
MONTHLY_GLOB = "*_20[0-9][0-9]_[0-9][0-9]"
HEAD = """\
-- The whole schema: the sum of sql/migrations/, written by `make schema`. Do not edit; write a migration.
"""


def role_blocks() -> str:
    """The part of the first migration that makes the role, which a dump of one database does not have."""
    text = read_migrations()[0].text
    return text[text.index("DO $$") : text.index("CREATE FUNCTION")]


def dump(dsn: str) -> str:
    """The schema of a migrated database as text, without what depends on the server that dumped it."""
    url = urlsplit(dsn)
    output = subprocess.run(
        [
            str(pgbinaries.find().path("pg_dump")),
            "--schema-only",
            "--no-owner",
            "--no-tablespaces",
            "--no-toast-compression",
            f"--exclude-table={MONTHLY_GLOB}",
            f"--host={url.hostname}",
            f"--port={url.port}",
            f"--username={url.username}",
            f"--dbname={url.path.lstrip('/')}",
        ],
        env={**os.environ, "PGPASSWORD": url.password or ""},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    noise = re.compile(r"(--|\\|SET |SELECT pg_catalog\.set_config).*")
    lines = [line for line in output.splitlines() if not noise.fullmatch(line)]
    text = "\n".join(lines).replace("public.", "")
    return HEAD + "\n" + role_blocks() + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


async def fresh_schema() -> str:
    """The schema that the migrations make now, from a throw-away server."""
    with tempfile.TemporaryDirectory() as folder:
        server = await start_postgres(Path(folder), fsync=False)
        try:
            await migrate(server.dsn())
            return await asyncio.to_thread(dump, server.dsn())
        finally:
            await server.stop()


def main() -> int:
    new = asyncio.run(fresh_schema())
    old = SCHEMA_FILE.read_text("utf-8") if SCHEMA_FILE.exists() else ""
    difference = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "schema.sql", "migrations", lineterm=""
    )
    print(*difference, sep="\n")
    if "--check" not in sys.argv:
        SCHEMA_FILE.write_text(new, "utf-8")
        return 0
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main())
