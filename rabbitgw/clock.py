"""The only reader of time, and the maker of ids that carry it.

Wall time is integer milliseconds since the epoch (`*_ms`); spans are measured by the monotonic clock (`*_s`).
Admission does not use this clock but Redis' own (one clock decides which day it is); `RedisClock`
keeps the offset between the two.
"""

from __future__ import annotations

import time

import uuid_utils


def now_ms() -> int:
    """Wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


# Seconds on a clock that never steps; for spans only. The C function itself: a frame around it costs more than it does.
monotonic_s = time.monotonic


def new_id() -> str:
    """A UUIDv7 as text: unique, sorted by time, ours. Never derived from what a caller sent."""
    return str(uuid_utils.uuid7())


class RedisClock:
    """Redis' clock, estimated: our clock plus the offset seen at the last reply that carried a time."""

    __slots__ = ("_offset_ms",)

    def __init__(self) -> None:
        self._offset_ms = 0

    def observe(self, redis_now_ms: int) -> None:
        self._offset_ms = redis_now_ms - now_ms()

    def now_ms(self) -> int:
        return now_ms() + self._offset_ms
