"""The money bench: worst overspend, leaked holds and lost nanos, under bursts and under SIGKILL.

Every figure but one should be 0: overspend may be as high as the bound that the audit prints.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from bench.bursts import Burst, bursts
from bench.candidates import running
from bench.kills import Kills, RedisOfRun, kills
from bench.reckoning import NOTHING, Reckoning
from rabbitgw.billing.migrations import migrate
from rabbitgw.dev.files import make_data_dir
from rabbitgw.dev.postgres import start_postgres
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.callers import script
from tests.flows.processes import Deployment, deployment

PAID_NANOS = 10**13
Say = Callable[[str], None]


@dataclass(frozen=True)
class Money:
    """All of it."""

    bursts: list[Burst]
    bound_nanos: int
    bursts_held: int
    bursts_audit_exit: int
    kills: Kills

    @property
    def reckoning(self) -> Reckoning:
        return reduce(add, (one.reckoning for one in self.bursts), NOTHING) + self.kills.reckoning

    def to_json(self) -> dict[str, Any]:
        total = self.reckoning
        return {
            "worst_overspend_nanos": max(one.overspend_nanos for one in self.bursts),
            "overspend_bound_nanos": self.bound_nanos,
            "holds_left": self.bursts_held + self.kills.holds_left,
            "whole_answers": total.whole,
            "bill_lines": total.lines,
            "unbilled_answers": total.unbilled,
            "lost_nanos": total.lost_nanos,
            "overcharged_nanos": total.overcharged_nanos,
            "estimate_excess_nanos": total.estimate_excess_nanos,
            "ledger_gap_nanos": total.ledger_gap_nanos,
            "audits": self.kills.audits + 1,
            "audits_failed": self.kills.audits_failed + (self.bursts_audit_exit != 0),
            "bursts": [one.to_json() for one in self.bursts],
            "kills": self.kills.to_json(),
        }


async def measure(folder: Path, *, quick: bool, say: Say, seed: int | None = None) -> Money:
    """Both halves, each on stores of its own."""
    done, report, held = await _bursts(folder / "bursts", quick=quick, say=say)
    seed = secrets.randbelow(2**32) if seed is None else seed
    killed = await _kills(folder / "kills", rounds=3 if quick else 12, seed=seed, say=say)
    exit_status, said = report
    return Money(done, said["overspend_bound_nanos"], held, exit_status, killed)


async def _bursts(
    folder: Path, *, quick: bool, say: Say
) -> tuple[list[Burst], tuple[int, dict[str, Any]], int]:
    make_data_dir(folder)
    async with AsyncExitStack() as started:
        stub = (await started.enter_async_context(running(folder, ()))).stub
        house, _ = await _house(started, folder, f"http://127.0.0.1:{stub.port}")
        done = await bursts(house, quick=quick, say=say)
        return done, await house.audit(), await house.holds()


async def _kills(folder: Path, *, rounds: int, seed: int, say: Say) -> Kills:
    make_data_dir(folder)
    async with AsyncExitStack() as started:
        upstream = started.enter_context(FakeUpstream())
        script(upstream)
        # a second's lease: a round is not to wait a quarter of a minute for its dead
        house, redis = await _house(started, folder, upstream.base_url, RABBITGW_LEASE_S="1")
        return await kills(house, redis, PAID_NANOS, rounds=rounds, seed=seed, say=say)


async def _house(
    started: AsyncExitStack, folder: Path, upstream: str, **env: str
) -> tuple[Deployment, RedisOfRun]:
    postgres = await start_postgres(folder / "stores")
    started.push_async_callback(postgres.stop)
    await migrate(postgres.dsn())
    redis = await RedisOfRun.start(folder / "stores")
    started.push_async_callback(redis.stop)
    house = await started.enter_async_context(
        deployment(postgres.dsn(), redis.url, upstream, folder, credit_nanos=PAID_NANOS, **env)
    )
    return house, redis
