"""The only reader of time, and the maker of ids that carry it.

Wall time is integer milliseconds since the epoch (`*_ms`); spans are measured by the monotonic clock (`*_s`).
Admission does not use this clock but Redis' own (one clock decides which day it is); `RedisClock`
keeps the offset between the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import uuid_utils


def now_ms() -> int:
    """Wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


# Seconds on a clock that never steps; for spans only. Asked several times a request: the C function itself.
monotonic_s: Final[Callable[[], float]] = time.monotonic


def new_id() -> str:
    """A UUIDv7 as text: unique, sorted by time, ours. Never derived from what a caller sent."""
    return str(uuid_utils.uuid7())


class RedisClock:
    """Redis' clock, estimated: our clock plus the offset seen at the last reply that carried a time."""

    __slots__ = ("_offset_ms",)

    def __init__(self) -> None:
        self._offset_ms = 0

    def observe(self, redis_now_ms: int) -> None:
        self._offset_ms = redis_now_ms - time.time_ns() // 1_000_000

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._offset_ms
