"""Huge pages behind a process' memory: asked for where Linux has them, and no harm where it has not."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rabbitgw import hugepages

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ASK = """
from rabbitgw.hugepages import use_huge_pages
kept = [bytes(64 * 1024) for _ in range(1024)] + [{number: str(number)} for number in range(200_000)]
print(use_huge_pages())
print(open("/proc/self/smaps_rollup").read())
assert kept[-1] == {199_999: "199999"}
"""


def willing() -> bool:
    """Whether this kernel gives huge pages on the spot."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if release is None or sys.platform != "linux" or not ENABLED.exists():
        return False
    return (int(release[1]), int(release[2])) >= (6, 1) and "[never]" not in ENABLED.read_text("ascii")


def test_memory_that_is_there_stands_in_huge_pages_where_linux_is_willing() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True, timeout=60)
    count, _, said = done.stdout.partition("\n")
    found = re.search(r"AnonHugePages: +(\d+) kB", said)
    assert found is not None
    assert int(found[1]) * 1024 >= int(count) >= (hugepages.HUGE_BYTES if willing() else 0)


def test_where_there_is_no_linux_nothing_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hugepages, "MAPS", tmp_path / "maps")
    assert hugepages.use_huge_pages() == 0


def test_only_memory_of_no_file_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "00400000-00a00000 r-xp 00000000 08:01 131 /usr/bin/python3.11\n"
        "00c00000-00e00000 rw-p 00800000 08:01 131 /usr/bin/python3.11\n"
        "01000000-01f00000 rw-p 00000000 00:00 0                          [heap]\n"
        "7f0000100000-7f0000700000 rw-p 00000000 00:00 0 \n"
        "7f0000800000-7f0000900000 rw-p 00000000 00:00 0 \n"
        "7f0001000000-7f0001400000 ---p 00000000 00:00 0 \n"
        "7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                  [stack]\n"
    )
    monkeypatch.setattr(hugepages, "MAPS", maps)
    assert hugepages._anonymous() == [(0x01000000, 0x01E00000), (0x7F0000200000, 0x7F0000600000)]
