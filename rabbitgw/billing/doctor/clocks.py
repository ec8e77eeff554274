"""How far a server's clock is from ours. Days, expiries and ids are cut by three clocks: Redis', PostgreSQL's, ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from rabbitgw.clock import now_ms
from rabbitgw.findings import Verdict, failed, ok, warning

WARNING_MS: Final = 1_000  # a lease is a few seconds
FAILED_MS: Final = 30_000
MEND: Final = "let both machines follow a time server"


async def compared(whose: str, read_ms: Callable[[], Awaitable[int]]) -> Verdict:
    """Read a clock between two looks at ours; the difference is known to half the time that took."""
    before_ms = now_ms()
    theirs_ms = await read_ms()
    after_ms = now_ms()
    difference_ms = theirs_ms - (before_ms + after_ms) // 2
    beyond_doubt_ms = max(abs(difference_ms) - (after_ms - before_ms + 1) // 2, 0)
    if beyond_doubt_ms < WARNING_MS:
        return ok(f"{whose} clock is {abs(difference_ms)} ms from ours")
    side = "ahead of" if difference_ms > 0 else "behind"
    found = f"{whose} clock is {abs(difference_ms) / 1000:.1f} s {side} ours"
    return failed(found, MEND) if beyond_doubt_ms >= FAILED_MS else warning(found, MEND)
