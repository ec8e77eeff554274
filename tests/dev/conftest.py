"""What the tests of embedded servers share. Tests that need root's powers are collected only as root."""

from __future__ import annotations

import os
from pathlib import Path

collect_ignore = [] if os.geteuid() == 0 else ["test_pghome_as_root.py"]


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
