"""Servers and databases that every test may ask for: one PostgreSQL and one Redis a run.

The modules of the stores are imported by the fixtures that use them: a unit test loads neither.
The servers are plain child processes, started outside any event loop, so a test's own loop can end without
them. A test gets a database of its own (a copy of one that was migrated once) and an empty Redis.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import hypothesis
import pytest
import redis

from rabbitgw.dev.files import throw_away_dir
from rabbitgw.dev.ports import free_port
from rabbitgw.dev.postgres import PostgresServer, start_postgres
from rabbitgw.dev.redis import RedisServer, start_redis
from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.localstripe_process import LocalStripe, open_localstripe
from tests.fakes.openai_upstream import FakeUpstream

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink

pytest_plugins = ("tests.ordering",)

TEMPLATE = "rabbit_template"
# Where files are memory. A copy of the template takes a third of the time there, and there are nine hundred.
MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES_LEAST = 4 * 2**30  # containers often have 64 MB, which a cluster would fill
CHROMIUM = Path("/usr/bin/chromium")  # Debian's

# Hypothesis measures time in two places; a loaded machine must not fail a test.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("untimed")

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-must-run", action="store_true", help="a test that was not run fails the run")


def pytest_report_header() -> list[str]:
    unmet = {
        "needs root: tests/dev/test_pghome_as_root.py": os.geteuid() != 0,
        f"needs {CHROMIUM}: tests/browser": not CHROMIUM.exists(),
    }
    return [f"not run here, {what}" for what, missing in unmet.items() if missing]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    not_run = reporter is not None and any(reporter.stats.get(kind) for kind in ("skipped", "deselected"))
    if exitstatus == 0 and not_run and session.config.getoption("--all-must-run"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop of its own, whether or not this thread's loop is running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class PostgresForTests:
    """The run's PostgreSQL: `new_database()` is a migrated one, `drop()` ends what is connected to it.

    The next database is made, and the last one dropped, in a thread of its own while tests run: together that takes
    a tenth of a second, eight hundred times.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        # without it PostgreSQL writes every page of a copy into its log, too
        self._how = " STRATEGY FILE_COPY" if server.major >= 15 else ""
        self._numbers = itertools.count(1)
        run_apart(self._make_template())
        self._thread = ThreadPoolExecutor(1)
        self._next = self._thread.submit(self._make)
        self._dropped: list[Future[None]] = []

    def dsn(self, dbname: str) -> str:
        return self.server.dsn(dbname)

    def new_database(self) -> str:
        """The DSN of a new database with every migration applied."""
        made, self._next = self._next, self._thread.submit(self._make)
        return made.result()

    def drop(self, dsn: str) -> None:
        """Soon. What went wrong with the last one is raised."""
        while self._dropped:
            self._dropped.pop().result()
        self._dropped.append(self._thread.submit(self._drop, dsn))

    def end(self) -> None:
        self._thread.shutdown()
        while self._dropped:
            self._dropped.pop().result()

    def _make(self) -> str:
        name = f"test_{next(self._numbers)}"
        asyncio.run(self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}{self._how}"))
        return self.dsn(name)

    def _drop(self, dsn: str) -> None:
        asyncio.run(self._execute(f"DROP DATABASE {dsn.rpartition('/')[2]} WITH (FORCE)"))

    async def _make_template(self) -> None:
        from rabbitgw.billing.migrations import migrate

        await self._execute(f"CREATE DATABASE {TEMPLATE}")
        await migrate(self.dsn(TEMPLATE))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's unprivileged user can enter, which pytest's own, as root, is not."""
    with throw_away_dir() as folder:
        yield folder


@pytest.fixture(scope="session")
def session_folder(servers_folder: Path) -> Iterator[Path]:
    """Of the run's own PostgreSQL and Redis: in memory, where there is enough of it."""
    roomy = (
        MEMORY.is_dir()
        and os.access(MEMORY, os.W_OK)
        and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_BYTES_LEAST
    )
    if not roomy:
        yield servers_folder / "session"
        return
    with throw_away_dir(MEMORY) as folder:
        yield folder / "session"


@pytest.fixture
def server_folder(servers_folder: Path) -> Path:
    """An empty data directory for a test that starts servers of its own."""
    folder = Path(tempfile.mkdtemp(dir=servers_folder))
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
def postgres_server(session_folder: Path) -> Iterator[PostgresForTests]:
    server = asyncio.run(start_postgres(session_folder, fsync=False))
    try:
        tests = PostgresForTests(server)
        try:
            yield tests
        finally:
            tests.end()
    finally:
        asyncio.run(server.stop())


@pytest.fixture(scope="session")
def redis_server(session_folder: Path) -> Iterator[RedisServer]:
    server = asyncio.run(start_redis(session_folder))
    try:
        yield server
    finally:
        asyncio.run(server.stop())


@pytest.fixture
def dsn(postgres_server: PostgresForTests) -> Iterator[str]:
    """A migrated database of this test's own."""
    dsn = postgres_server.new_database()
    yield dsn
    postgres_server.drop(dsn)


@pytest.fixture
async def pg(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the test's database with the application's rights."""
    from rabbitgw.stores import open_postgres

    pool = await open_postgres(dsn, min_size=1, max_size=8)
    yield pool
    await pool.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The run's Redis, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    from rabbitgw.stores import open_redis

    link = await open_redis(redis_url)
    yield link
    await link.close()


@pytest.fixture(scope="session")
def upstream_server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def upstream(upstream_server: FakeUpstream) -> FakeUpstream:
    """The scripted upstream, with no scripts and nothing received; also what stands behind LiteLLM."""
    upstream_server.reset()
    return upstream_server


@pytest.fixture(scope="session")
def litellm_proxy(upstream_server: FakeUpstream, servers_folder: Path) -> Iterator[LiteLLMProxy]:
    """A real LiteLLM proxy in front of the fake upstream; ask for `upstream` too, to script it."""
    folder = servers_folder / "litellm"
    folder.mkdir()
    proxy = LiteLLMProxy(upstream_server.base_url, folder, free_port())
    try:
        proxy.start()
        proxy.wait_ready()
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture(scope="session")
def localstripe(servers_folder: Path) -> Iterator[LocalStripe]:
    """An independent Stripe. Its objects have random ids, so tests need not clear it."""
    folder = servers_folder / "localstripe"
    folder.mkdir()
    with open_localstripe(folder) as opened:
        yield opened


# Where tests find what they need; everything else that is set is a developer's own.
FOR_TESTS = frozenset(
    {"RABBITGW_LITELLM_VENV", "RABBITGW_LOCALSTRIPE_VENV", "RABBITGW_SDKS", "RABBITGW_STRIPE_FIXTURES"}
)


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own RABBITGW_*, DATABASE_URL… must not decide what a test sees."""
    for name in list(os.environ):
        ours = name.startswith(("RABBITGW_", "LITELLM_", "STRIPE_", "LAGO_"))
        if ours and name not in FOR_TESTS:
            monkeypatch.delenv(name)
    for name in ("DATABASE_URL", "REDIS_URL", "POSTGRES_PASSWORD", "DEV_API_KEY", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
