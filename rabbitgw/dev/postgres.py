"""An embedded PostgreSQL: made on first start, found again later, never run as root, gone when we are.

Owns the cluster's life. Knows no table of ours. Callers get a DSN over TCP on loopback with a password that
only this data directory knows; the unix socket is inside the cluster's own closed folder.
"Ready" is read from postmaster.pid, as pg_ctl does: a connection would wait for crash recovery.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from rabbitgw import clock
from rabbitgw.dev import child, pgbinaries, pghome, ports
from rabbitgw.dev.child import Child
from rabbitgw.dev.files import FolderLock, kept_secret, make_data_dir
from rabbitgw.dev.pgbinaries import Binaries
from rabbitgw.dev.pghome import Home
from rabbitgw.errors import PostgresUnavailable

USER = "rabbitgw"
DATABASE = "rabbitgw"
LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"
INITDB_TIMEOUT_S = 120.0
READY_TIMEOUT_S = 120.0  # recovery after a crash under load replays up to 1 GB of log
START_TRIES = 3  # a port may be lost between choosing it and listening on it
SOCKET_PATH_BYTES_MAX = 103  # macOS; Linux allows 107
SOCKET_NAME_BYTES = len("/.s.PGSQL.12345")
PROGRAMS = frozenset({"postgres"})


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `stop()` ends it cleanly; a SIGKILL of our process ends it cleanly too, on Linux."""

    child: Child
    lock: FolderLock
    port: int
    password: str
    cluster: Path
    major: int

    @property
    def pid(self) -> int:
        return self.child.pid

    def dsn(self, dbname: str = DATABASE) -> str:
        """A URL for the superuser over TCP."""
        return f"postgresql://{USER}:{quote(self.password)}@{ports.LOOPBACK}:{self.port}/{dbname}"

    async def stop(self) -> None:
        """Fast shutdown: connections are closed, a checkpoint is written. SIGQUIT, SIGKILL if that hangs."""
        await self.child.stop(signal.SIGINT, signal.SIGQUIT)
        self.lock.release()

    async def kill(self) -> None:
        """SIGKILL, as a crash would; the next start recovers."""
        await self.child.stop()
        self.lock.release()


async def start_postgres(data_dir: Path, *, port: int | None = None, fsync: bool = True) -> PostgresServer:
    """Start the cluster of a data directory, making it and the database `rabbitgw` on the first start.

    Without `port`, the data directory remembers one. `fsync=False` is for throw-away clusters: it survives
    a kill of the server, not a power cut.
    Raises: SettingInvalid when no binaries are found, or another run has it; PostgresUnavailable with the end
            of the server's log when it does not come up.
    """
    data_dir = make_data_dir(data_dir)
    lock = FolderLock(data_dir, "postgres")
    lock.acquire()
    try:
        home = pghome.find_home(data_dir)
        binaries = _runnable(pgbinaries.find(home.major()), home)
        password = kept_secret(data_dir / "postgres.password")
        log = data_dir / "logs" / "postgres.log"
        if not home.initialised:
            await _make_cluster(home, binaries, password, log)
        await _clear_leftovers(home)
        process, port = await _start(home, binaries, data_dir, log, port=port, fsync=fsync)
        server = PostgresServer(process, lock, port, password, home.cluster, binaries.major)
        try:
            await _ensure_database(server, binaries)
        except BaseException:
            await process.stop(signal.SIGINT)
            raise
        return server
    except BaseException:
        lock.release()
        raise


def _runnable(binaries: Binaries, home: Home) -> Binaries:
    """Binaries that the cluster's owner can run; root's wheel under a private home is copied out of it."""
    if home.owner is None or pghome.can_enter(home.owner, binaries.folder):
        return binaries
    if not binaries.from_wheel:
        raise PostgresUnavailable(f"user {home.owner.name} cannot run the PostgreSQL in {binaries.folder}")
    return pgbinaries.reachable_copy(binaries, pghome.state_root())


async def _make_cluster(home: Home, binaries: Binaries, password: str, log: Path) -> None:
    """initdb beside the cluster's place, then one rename: a cluster that is there is whole."""
    stage = Path(tempfile.mkdtemp(dir=home.cluster.parent, prefix=".postgres-"))
    try:
        password_file = stage / "password"
        password_file.write_text(password)
        if home.owner is not None:
            os.chown(password_file, home.owner.uid, home.owner.gid)
            os.chown(stage, home.owner.uid, home.owner.gid)
        command: list[str | Path] = [binaries.path("initdb"), "-D", stage / "cluster", "-U", USER]
        command += ["--pwfile", password_file, "--auth=scram-sha-256", "--data-checksums"]
        command += ["-E", "UTF8", f"--locale={LOCALE}"]
        status = await child.run("initdb", command, log=log, timeout_s=INITDB_TIMEOUT_S, owner=home.owner)
        if status != 0:
            raise PostgresUnavailable(
                f"initdb failed (status {status}); its log, {log}, ends:{child.tail(log)}"
            )
        os.rename(stage / "cluster", home.cluster)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


async def _clear_leftovers(home: Home) -> None:
    """Wait for an earlier run's server to end, then remove its postmaster.pid.

    PostgreSQL removes a stale one itself, except where the pid in it has been given to another process.
    """
    if not await child.leftovers_gone(home.cluster.resolve(), PROGRAMS, signal.SIGINT):
        raise PostgresUnavailable(
            f"a PostgreSQL of an earlier run still works in {home.cluster} and won't stop"
        )
    if sys.platform == "linux":  # elsewhere we could not have seen a living one
        (home.cluster / "postmaster.pid").unlink(missing_ok=True)


async def _start(
    home: Home, binaries: Binaries, data_dir: Path, log: Path, *, port: int | None, fsync: bool
) -> tuple[Child, int]:
    for attempt in range(1, START_TRIES + 1):
        chosen = port if port is not None else ports.remembered_port(data_dir, "postgres")
        server = child.start(
            "postgres",
            _command(home, binaries, chosen, fsync=fsync),
            log=log,
            death_signal=signal.SIGINT,
            owner=home.owner,
        )
        try:
            problem = await _ready(server, home)
        except BaseException:
            await server.stop(signal.SIGINT)
            raise
        if problem is None:
            return server, chosen
        lost_port = not server.running and not ports.is_free(chosen)
        await server.stop(signal.SIGQUIT)
        if port is not None or not lost_port or attempt == START_TRIES:
            raise PostgresUnavailable(
                f"PostgreSQL {problem} (port {chosen}); its log, {log}, ends:{server.tail()}"
            )
    raise AssertionError("the last try returns or raises")


def _command(home: Home, binaries: Binaries, port: int, *, fsync: bool) -> list[str | Path]:
    fits = len(os.fsencode(home.cluster)) + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX
    socket_folder = f'"{home.cluster}"' if fits and '"' not in str(home.cluster) else ""
    settings = {
        "listen_addresses": ports.LOOPBACK,
        "port": str(port),
        "unix_socket_directories": socket_folder,
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "fsync": "on" if fsync else "off",
    }
    flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [binaries.path("postgres"), "-D", home.cluster, *flags]


async def _ready(server: Child, home: Home) -> str | None:
    """None once it accepts connections, else what went wrong."""
    note = home.cluster / "postmaster.pid"
    deadline_s = clock.monotonic_s() + READY_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        if (status := await server.ended(child.POLL_S)) is not None:
            return f"ended with status {status} while starting"
        try:
            lines = note.read_text().splitlines()
        except OSError:
            continue
        # Line 1 is the pid, line 8 the state: starting, stopping, ready, standby.
        if len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
            return None
    return f"was not ready after {READY_TIMEOUT_S:.0f} s"


async def _ensure_database(server: PostgresServer, binaries: Binaries) -> None:
    try:
        connection = await asyncpg.connect(server.dsn())
    except asyncpg.InvalidCatalogNameError:
        pass
    except (OSError, asyncpg.PostgresError) as error:
        raise PostgresUnavailable(f"PostgreSQL on port {server.port} refuses us: {error}") from error
    else:
        await connection.close()
        return
    command: list[str | Path] = [
        binaries.path("createdb"),
        "-h",
        ports.LOOPBACK,
        "-p",
        str(server.port),
        "-U",
        USER,
        "-w",
        DATABASE,
    ]
    status = await child.run(
        "createdb",
        command,
        log=server.child.log,
        timeout_s=INITDB_TIMEOUT_S,
        env={"PGPASSWORD": server.password},
    )
    if status != 0:
        raise PostgresUnavailable(f"createdb failed (status {status}):{server.child.tail()}")
