"""Opens PostgreSQL and Redis, and turns the errors of asyncpg into ours. Nothing else translates them.

Owns connections, their limits and the step down to the application's role. Knows no table and no key.
A store that cannot be reached, is shutting down, full or too slow is *unavailable*: the same work may be
tried again. An error that says something about the work itself (a constraint, a trigger) is left as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import asyncpg

from rabbitgw import statements
from rabbitgw.errors import PostgresUnavailable, SettingInvalid
from rabbitgw.findings import State, Verdict, failed, ok
from rabbitgw.redis_link import RedisLink

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]
    PoolConnection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # asyncpg's classes are generic in its stubs only
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection
    PoolConnection = asyncpg.pool.PoolConnectionProxy

APP_ROLE = "rabbitgw_app"
CONNECT_TIMEOUT_S = 10.0
ACQUIRE_TIMEOUT_S = 10.0  # a pool that hands out nothing this long is as good as a server that is away
COMMAND_TIMEOUT_S = 60.0  # the client's limit: the server may be unreachable and unable to keep its own

# Limits the server keeps for each connection of a pool. jit costs more than it saves on our short statements.
_SESSION = {
    "application_name": "rabbitgw",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
    "TimeZone": "UTC",
}

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)
# How a server that was let go of keeps us out when we come back: the database takes no connections (a restore, a
# move), is gone, or our credentials are, or the files below it cannot be read. A statement may mean something else by
# the same words, and at the start they say that the DSN is wrong.
_KEPT_OUT = (
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresSystemError,
)
_WRONG_DSN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    ValueError,  # a port that is no number
)


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Translate what asyncpg and the network raise inside.

    Keep it tight around the statements: any OSError inside becomes PostgresUnavailable.
    """
    try:
        yield
    except _UNAVAILABLE as error:
        if isinstance(error, ValueError):  # asyncpg's word for an argument of ours that does not fit
            raise
        raise PostgresUnavailable(f"PostgreSQL: {_one_line(error)}") from error


@contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except asyncpg.TooManyConnectionsError as error:
        raise PostgresUnavailable(f"PostgreSQL: {_one_line(error)}") from error
    except _WRONG_DSN as error:
        raise SettingInvalid(f"DATABASE_URL: {_one_line(error)}") from error
    except (*_UNAVAILABLE, *_KEPT_OUT) as error:
        raise PostgresUnavailable(f"PostgreSQL cannot be reached: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


async def connect_postgres(dsn: str) -> Connection:
    """One connection with the rights of the DSN's own user and no time limits: for migrations.

    Raises: SettingInvalid, PostgresUnavailable.
    """
    with _opening():
        return await asyncpg.connect(
            dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "rabbitgw-migrate"}
        )


async def open_postgres(
    dsn: str, *, min_size: int = 1, max_size: int = 8, role: str | None = APP_ROLE
) -> Pool:
    """A pool whose connections have stepped down to `role` where the server has it and allows it.

    Raises: SettingInvalid, PostgresUnavailable.
    """

    async def step_down(connection: Connection) -> None:
        if role is not None:
            # A member without the right to SET ROLE (PostgreSQL 16) keeps the rights of the DSN's user.
            with suppress(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statements.session.set_role, role)

    with _opening():
        return await asyncpg.create_pool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=_SESSION,
            init=step_down,
        )


@asynccontextmanager
async def _acquired(pool: Pool) -> AsyncIterator[PoolConnection]:
    """A connection of the pool, which may have to be made anew. Inside `postgres_errors`."""
    try:
        acquired = await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
    except _KEPT_OUT as error:
        raise PostgresUnavailable(f"PostgreSQL cannot be reached: {_one_line(error)}") from error
    try:
        yield acquired
    finally:
        await pool.release(acquired)


@asynccontextmanager
async def transaction(
    pool: Pool,
    *,
    isolation: Literal["read_committed", "repeatable_read"] = "read_committed",
    readonly: bool = False,
) -> AsyncIterator[PoolConnection]:
    """A connection inside a transaction: committed at the end, rolled back on any exception.

    Raises: PostgresUnavailable. When it comes from the commit itself the outcome is unknown.
    """
    with postgres_errors():
        async with (
            _acquired(pool) as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            yield connection


@asynccontextmanager
async def connection(
    pool: Pool,
) -> AsyncIterator[PoolConnection]:
    """A connection for single statements, each its own transaction. Raises: PostgresUnavailable."""
    with postgres_errors():
        async with _acquired(pool) as acquired:
            yield acquired


async def open_redis(url: str, *, timeout_s: float = 1.0) -> RedisLink:
    """Raises: SettingInvalid (a URL that cannot work), RedisUnavailable."""
    return await RedisLink.connect(url, timeout_s=timeout_s)


async def redis_warnings(link: RedisLink) -> list[str]:
    """What is dangerous about a Redis that others set up; empty when nothing is. Raises: RedisUnavailable."""
    facts = await redis_facts(link, "memory", "persistence")
    verdicts = (eviction(facts), persistence(facts))
    return [f"{one.found}; {one.mend}" for one in verdicts if one.state is not State.OK]


async def redis_facts(link: RedisLink, *sections: str) -> dict[str, str]:
    """What INFO says. INFO is asked and not CONFIG, which managed servers refuse. Raises: RedisUnavailable."""
    facts: dict[str, str] = {}
    for section in sections:
        facts |= _info(await link.call("INFO", section))
    return facts


def eviction(facts: Mapping[str, str]) -> Verdict:
    """May Redis throw keys away? From the section `memory`."""
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ok("maxmemory-policy noeviction")
    return failed(
        f"maxmemory-policy is {policy}: Redis may evict balances", "set maxmemory-policy noeviction"
    )


def persistence(facts: Mapping[str, str]) -> Verdict:
    """Does Redis keep what it was told? From the section `persistence`."""
    if facts.get("aof_enabled", "1") == "0":
        return failed("Redis keeps no append-only file: a restart loses calls", "set appendonly yes")
    if facts.get("aof_last_write_status", "ok") != "ok":
        return failed("the last write of the append-only file failed", "look at Redis' disk and log")
    return ok("appendonly yes")


def _info(reply: Any) -> dict[str, str]:
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}
