"""Looks at PostgreSQL: is it ours, does it keep what it acknowledges, and may we do with it no more than we must?"""

from __future__ import annotations

from typing import Final

from rabbitgw import statements
from rabbitgw.billing import migrations
from rabbitgw.billing.doctor.clocks import compared
from rabbitgw.billing.partitions import MONTHS_AHEAD
from rabbitgw.errors import MigrationRefused
from rabbitgw.findings import Checkup, Finding, State, Verdict, failed, ok, warning
from rabbitgw.stores import APP_ROLE, Pool, connection

NAMES_SHOWN_MAX: Final = 5
LOOK: Final = "look at PostgreSQL's log"


async def look_at_postgres(
    checkup: Checkup, pg: Pool, *, connections_wanted: int
) -> tuple[list[Finding], bool]:
    """The findings, and whether the schema is ours, so that what is in it can be looked at."""
    found = await checkup.make_all(
        [
            ("postgres.version", _version(pg)),
            ("postgres.migrations", _migrations(pg)),
            ("postgres.durability", _durability(pg)),
            ("postgres.clock", _clock(pg)),
            ("postgres.connections", _connections(pg, connections_wanted)),
        ],
        mend=LOOK,
    )
    ours = found[1].state is State.OK
    if ours:
        found += await checkup.make_all(
            [("postgres.role", _role(pg)), ("postgres.partitions", _partitions(pg))], mend=LOOK
        )
    return found, ours


async def _version(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        version = db.get_server_version()
    text = f"PostgreSQL {version.major}.{version.minor}"
    if version.major < migrations.POSTGRES_MAJOR_MIN:
        return failed(text, f"upgrade it to {migrations.POSTGRES_MAJOR_MIN} or newer")
    return ok(text)


async def _migrations(pg: Pool) -> Verdict:
    try:
        async with connection(pg) as db:
            await migrations.check(db)
    except MigrationRefused as error:
        return failed(error.message, "let database and program be of one version")
    files = migrations.read_migrations()
    return ok(f"all {len(files)} migrations are applied, up to {files[-1].name}")


async def _durability(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.durability)
    assert row is not None
    if row["standby"] or row["read_only"]:
        what = "a standby" if row["standby"] else "read-only"
        return failed(f"the server is {what}: nothing can be booked", "let DATABASE_URL name the primary")
    unsafe = [name for name in ("fsync", "full_page_writes") if row[name] != "on"]
    if unsafe:
        return failed(f"{unsafe[0]} is off: a crash can destroy the books", f"set {unsafe[0]} = on")
    if row["synchronous_commit"] == "off":
        return warning(
            "synchronous_commit is off: a crash loses credits that were acknowledged",
            "set synchronous_commit = on",
        )
    return ok(f"takes writes, fsync on, synchronous_commit {row['synchronous_commit']}")


async def _clock(pg: Pool) -> Verdict:
    async with connection(pg) as db:

        async def read_ms() -> int:
            return int(await db.fetchval(statements.doctor.clock))

        await read_ms()  # the first statement of a connection takes longer
        return await compared("PostgreSQL's", read_ms)


async def _connections(pg: Pool, wanted: int) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.connections)
    assert row is not None
    allowed, others = row["allowed"], row["others"]
    found = f"room for {allowed} connections, {others} taken by others; one `serve` and one `work` may open {wanted}"
    mend = "raise max_connections, or lower RABBITGW_POSTGRES_POOL_MAX or RABBITGW_WORKERS"
    if wanted > allowed:
        return failed(found, mend)
    return warning(found, mend) if wanted > allowed - others else ok(found)


async def _role(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        row = await db.fetchrow(statements.doctor.role, APP_ROLE)
    assert row is not None
    role, login = row["role"], row["login"]
    if row["unreadable"]:
        names = ", ".join(row["unreadable"][:NAMES_SHOWN_MAX])
        return failed(
            f"{role} may not read {len(row['unreadable'])} tables: {names}",
            f"give the rights of a restored database back: its dump must be restored with its grants to {APP_ROLE}",
        )
    if role != APP_ROLE:
        power = "a superuser's" if row["superuser"] else "all its own"
        return warning(
            f"connections keep {power} rights ({login}): only triggers guard the ledger",
            f"let {login} be a member of {APP_ROLE} who may take that role"
            if row["app_role_exists"]
            else f"make the role {APP_ROLE} with the grants of sql/schema.sql, and {login} a member of it",
        )
    if row["may_change_ledger"]:
        return warning(f"{role} may change ledger entries", f"REVOKE UPDATE, DELETE on them from {role}")
    return ok(f"connections work as {role}, which may only add to the ledger (logged in as {login})")


async def _partitions(pg: Pool) -> Verdict:
    async with connection(pg) as db:
        missing = await db.fetch(statements.doctor.partitions, MONTHS_AHEAD)
    if not missing:
        return ok(f"tables of this month and the next {MONTHS_AHEAD} are there")
    names = ", ".join(row["partition_name"] for row in missing[:NAMES_SHOWN_MAX])
    more = f" and {len(missing) - NAMES_SHOWN_MAX} more" if len(missing) > NAMES_SHOWN_MAX else ""
    return warning(
        f"missing: {names}{more}; rows of such a month go to the default table",
        "run `rabbitgw work`: its loop `partitions` makes them",
    )
