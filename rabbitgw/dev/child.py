"""One server process of ours: started on a leash, watched, stopped by its pid.

Owns how a process starts, logs and ends. Knows nothing of PostgreSQL or Redis.
A child must be started from the main thread: the kernel sends the parent-death signal when the *thread* that
forked ends, so a server started from a worker thread would die with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rabbitgw import clock

LOG_BYTES_MAX = 8 * 1024 * 1024  # past this the log is set aside at the next start; one old one is kept
LOG_TAIL_LINES = 12
POLL_S = 0.01
STOP_TIMEOUT_S = 30.0  # a fast shutdown writes a checkpoint; a slow disk may need this long
LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True, slots=True)
class Owner:
    """The unprivileged user who runs a server when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Child:
    """A running server. `stop()` or `kill()` must be called, else the process outlives its object."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    async def ended(self, timeout_s: float) -> int | None:
        """The exit status, or None when it still runs after `timeout_s`."""
        deadline_s = clock.monotonic_s() + timeout_s
        while (status := self.process.poll()) is None:
            if clock.monotonic_s() >= deadline_s:
                return None
            await asyncio.sleep(POLL_S)
        return status

    async def stop(self, *signals: signal.Signals) -> None:
        """Send the signals one after the other, SIGKILL last, until the process has ended."""
        for number in (*signals, signal.SIGKILL):
            if not self.running:
                return
            self.process.send_signal(number)
            await self.ended(STOP_TIMEOUT_S)

    def tail(self) -> str:
        """The last lines of the log, each after a line break, for the end of an error message."""
        return tail(self.log)


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals,
    owner: Owner | None = None,
    env: Mapping[str, str] | None = None,
) -> Child:
    """Start `command` in a session of its own, so that Ctrl-C in our terminal reaches only us.

    Raises: RuntimeError when called outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{name}: servers are started from the main thread (they would end with this one)")
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".old.log"))
    who = "-" if owner is None else f"{owner.uid}:{owner.gid}"
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death_signal)), who]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*leash, *(str(part) for part in command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})},
            start_new_session=True,
        )
    return Child(name, process, log)


async def run(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    timeout_s: float,
    owner: Owner | None = None,
    env: Mapping[str, str] | None = None,
) -> int | None:
    """Run a program that ends by itself. Returns its status, None when it did not end in time."""
    program = start(name, command, log=log, death_signal=signal.SIGTERM, owner=owner, env=env)
    try:
        return await program.ended(timeout_s)
    finally:
        await program.stop(signal.SIGTERM)


def tail(log: Path) -> str:
    """The last lines of a log file, each after a line break; nothing when there is no file."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "".join(f"\n  | {line}" for line in lines[-LOG_TAIL_LINES:])


async def leftovers_gone(folder: Path, program_names: frozenset[str], stop_signal: signal.Signals) -> bool:
    """Wait for servers of an earlier run that still work in `folder`; ask them to stop if they linger.

    An earlier run that was killed leaves a server that is just shutting down, or, without a parent-death
    signal, one that would run on. The caller holds the folder's lock, so none of them is another run's.
    Returns: False when one is still there after STOP_TIMEOUT_S.
    """
    started_s = clock.monotonic_s()
    asked = False
    while pids := _processes_in(folder, program_names):
        waited_s = clock.monotonic_s() - started_s
        if waited_s > STOP_TIMEOUT_S:
            return False
        if waited_s > 1 and not asked:
            asked = True
            for pid in pids:
                _signal(pid, stop_signal)
        await asyncio.sleep(POLL_S)
    return True


def _processes_in(folder: Path, program_names: frozenset[str]) -> list[int]:
    """Pids of processes with one of these names whose working directory is `folder` (Linux; else none)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() not in program_names:
                continue
            if (entry / "cwd").readlink() == folder and _state(entry) != "Z":
                found.append(int(entry.name))
        except OSError:
            continue  # ended between two looks, or not ours to look at
    return found


def _state(entry: Path) -> str:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
