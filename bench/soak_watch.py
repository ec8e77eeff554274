"""What a process has open and how large it is, from /proc; and how fast it grows. Linux only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"


def descriptors(pid: int, ports: Mapping[str, int]) -> Counter[str]:
    """Open descriptors by what they are: TCP connections by the name of the port at either end, the rest by kind.

    `ports`: name → port. A listening socket counts as "listening".
    """
    sockets = _tcp_sockets(pid, {port: name for name, port in ports.items()})
    found: Counter[str] = Counter()
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue  # closed between two looks
        kind, _, inode = target.partition(":[")
        found[sockets.get(inode.rstrip("]"), "other socket") if kind == "socket" else "file"] += 1
    return found


def _tcp_sockets(pid: int, names: Mapping[int, str]) -> dict[str, str]:
    """inode → name of the port."""
    found = {}
    for table in ("tcp", "tcp6"):
        path = PROC / str(pid) / "net" / table
        if not path.exists():
            continue
        for row in path.read_text().splitlines()[1:]:
            fields = row.split()
            local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            listening = fields[3] == LISTENING
            name = "listening" if listening else names.get(local) or names.get(remote) or "other connection"
            found[fields[9]] = name
    return found


def slope(points: Sequence[tuple[int, int]]) -> float:
    """Of the line through (x, y) with the least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
