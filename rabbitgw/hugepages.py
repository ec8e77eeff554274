"""Huge pages behind what a process has in memory, where Linux is willing.

A call touches objects all over the heap, and each page that it meets must be looked up: with pages of 4 KiB the CPU's
own list of them is too short, and in a virtual machine a look-up is dearer still. Takes about a tenth off the CPU of a
streamed chunk. Owns asking, once, for what is there when a process begins to serve; if it is not granted, so be it.
Source: madvise(2); Documentation/admin-guide/mm/transhuge.rst of Linux.
"""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

HUGE_BYTES: Final = 2 * 1024 * 1024
MADV_HUGEPAGE: Final = 14
MADV_COLLAPSE: Final = 25  # now, and not when the kernel comes by; from Linux 6.1 on
MAPS: Final = Path("/proc/self/maps")
# Begin and end, what may be done there, inode, name: of memory that can be written and is no file's.
_ANONYMOUS: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\]|\[anon[^]]*\])?$")


def use_huge_pages() -> int:
    """Returns how many bytes stand in huge pages by that; 0 where none do."""
    with suppress(OSError, AttributeError):  # no Linux, or a C library without madvise
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        return sum(_collapse(madvise, begin, end) for begin, end in _anonymous())
    return 0


def _anonymous() -> list[tuple[int, int]]:
    """Stretches of memory of whole huge pages."""
    found = []
    for line in MAPS.read_text("ascii", "replace").splitlines():
        match = _ANONYMOUS.match(line)
        if match is not None:
            begin = -(-int(match[1], 16) // HUGE_BYTES) * HUGE_BYTES
            end = int(match[2], 16) // HUGE_BYTES * HUGE_BYTES
            if end > begin:
                found.append((begin, end))
    return found


def _collapse(madvise: ctypes._NamedFuncPointer, begin: int, end: int) -> int:
    madvise(begin, end - begin, MADV_HUGEPAGE)
    return end - begin if madvise(begin, end - begin, MADV_COLLAPSE) == 0 else 0
