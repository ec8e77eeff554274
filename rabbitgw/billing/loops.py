"""Runs a worker's `run_once` for ever: at once again while there is work, else after a pause; longer in an outage.

Owns when a worker runs next. Knows nothing of what it does. A store that is away is waited for, with one line in
the log when it goes and one when it is back. Any other exception ends the loop: it is a bug, or false books.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rabbitgw import telemetry
from rabbitgw.clock import monotonic_s
from rabbitgw.errors import StoreError

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0  # how long after a store is back its workers may still sleep


async def run_worker(
    name: str,
    run_once: Callable[[], Awaitable[int]],
    stop: asyncio.Event,
    *,
    pause_s: float,
    wake: asyncio.Event | None = None,
) -> None:
    """Call `run_once` until `stop` is set. It returns how much it did: 0 means wait for `pause_s` or for `wake`.

    Raises: whatever `run_once` raises that is no StoreError.
    """
    outage_began_s: float | None = None
    backoff_s = BACKOFF_FIRST_S
    while not stop.is_set():
        if wake is not None:
            wake.clear()
        try:
            done = await run_once()
        except StoreError as error:
            if outage_began_s is None:
                outage_began_s = monotonic_s()
                telemetry.warn("worker_waits_for_store", worker=name, error=error.message)
            await first_of(stop, timeout_s=backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
            continue
        if outage_began_s is not None:
            telemetry.log(
                "worker_resumed", worker=name, outage_ms=round(1000 * (monotonic_s() - outage_began_s))
            )
            outage_began_s = None
            backoff_s = BACKOFF_FIRST_S
        if not done:
            await first_of(stop, *([wake] if wake is not None else []), timeout_s=pause_s)


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, at most `timeout_s`."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
