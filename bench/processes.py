"""What /proc tells of processes: CPU time to the nanosecond, resident memory, children. Linux only.

schedstat counts what the scheduler gave each thread, user and kernel together, network work in its name included.
A thread that ended meanwhile takes its time with it; the processes measured here start theirs once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """A process and its children, theirs too: nginx has a master and a worker."""
    found = [pid]
    for task in _tasks(pid):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def cpu_ns(pids: Iterable[int]) -> int:
    """Nanoseconds of CPU that all threads of these processes have had. Raises: OSError when one is gone."""
    total = 0
    for pid in pids:
        (PROC / str(pid) / "schedstat").read_text()  # raises for a process that has ended
        for task in _tasks(pid):
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory, summed; pages that a forked child shares with its parent are counted in both."""
    total = 0
    for pid in pids:
        for row in (PROC / str(pid) / "status").read_text().splitlines():
            if row.startswith("VmRSS:"):
                total += int(row.split()[1]) * 1024
    return total


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
