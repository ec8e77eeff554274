"""What an open stream holds in memory: growth of resident memory by a thousand streams at once, per stream.

The kernel's socket buffers are not in it. Measured before anything else, since memory that a process once had and gave
back inside would hide growth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.candidates import Candidate, Field
from bench.driver import load, open_streams
from bench.figures import Figure
from bench.processes import rss_bytes

SILENT = "stub-2-3600000"  # one chunk, then nothing for an hour
SETTLES_S = 1.0
KIB = 1024


async def measure(found: Field, streams: int, say: Callable[[str], None]) -> dict[str, dict[str, Figure]]:
    """KiB by candidate; one round, since a process grows only once."""
    figures = {}
    for candidate in found.candidates:
        before, during = await _grown(candidate, streams)
        per_stream = (during - before) / streams / KIB
        figures[candidate.name] = {
            "rss_mib": Figure((before / KIB / KIB,)),
            "stream_kib": Figure((per_stream,)),
        }
        say(f"memory: {candidate.name} grows by {per_stream:.1f} KiB for each of {streams} open streams")
    return figures


async def _grown(candidate: Candidate, streams: int) -> tuple[int, int]:
    await load(candidate, mode="closed", model="stub-plain", connections=64, requests=640)
    await load(candidate, mode="closed", model="stub-5-1", connections=64, requests=128)
    before = rss_bytes(candidate.pids)
    async with open_streams(candidate, streams, SILENT):
        await asyncio.sleep(SETTLES_S)
        during = rss_bytes(candidate.pids)
    await asyncio.sleep(SETTLES_S)  # for the ends of what was left
    return before, during
