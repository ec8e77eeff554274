"""SIGKILL of gateway and worker under load, at random moments: nothing is lost, nothing is charged twice.

The seed is printed. A failure is told with it, and is a fault of the program, however rare.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.callers import Callers, Seen, script, seeded
from tests.flows.house import until
from tests.flows.processes import Deployment, check_bills, deployment

ROUNDS = 10
CALLERS = 16
KILLED_WITHIN_S = 1.0  # of load, per round
CREDIT_NANOS = 10_000_000_000_000


@pytest.mark.timeout(400)
async def test_what_was_seen_whole_is_billed_once_however_often_the_processes_are_killed(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    rng = seeded()
    script(upstream)
    async with deployment(
        dsn, redis_url, upstream.base_url, tmp_path, credit_nanos=CREDIT_NANOS, RABBITGW_LEASE_S="1"
    ) as house:
        async with Callers(house.base_url, house.secret, rng, count=CALLERS) as callers:
            for number in range(ROUNDS):
                await kill_round(house, rng, number, callers.seen)
        print(f"callers saw {dict(callers.seen.outcomes)}")
        assert callers.seen.served > 10 * ROUNDS, "there was hardly any load"

        await house.gateway()
        await house.worker()
        await until(house.settled_down, timeout_s=120)
        await house.assert_audit_passes()
        await check_bills(house, callers.seen, CREDIT_NANOS)
        await assert_books_balance(house)


async def kill_round(house: Deployment, rng: random.Random, number: int, seen: Seen) -> None:
    """Start both, kill both, each at a moment of its own; then audit what they left behind."""
    gateway, worker = await asyncio.gather(house.gateway(), house.worker())
    before = seen.served
    moments_s = [rng.uniform(0, KILLED_WITHIN_S) for _ in range(2)]

    async def kill_at(moment_s: float, index: int) -> None:
        await asyncio.sleep(moment_s)
        await house.kill((gateway, worker)[index])

    await asyncio.gather(*(kill_at(moment_s, index) for index, moment_s in enumerate(moments_s)))
    await house.assert_audit_passes_here()
    print(
        f"round {number}: gateway killed after {moments_s[0]:.3f} s, worker after {moments_s[1]:.3f} s,"
        f" {seen.served - before} answers seen whole, {await house.holds()} holds left behind"
    )
