"""SIGKILL of gateway, bookkeeper and Redis under load, round by round; then the books are reckoned.

Callers go on through all of it and keep what they saw whole. Redis' append-only file is written before a reply leaves
and synced every second, so a killed process loses nothing unless its disk was slower than that; a power cut would.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.reckoning import Reckoning, of_account
from rabbitgw.dev.redis import RedisServer, start_redis
from rabbitgw.errors import StoreError
from tests.flows.callers import COSTS, Callers
from tests.flows.house import until
from tests.flows.processes import Deployment

CALLERS = 24
LOAD_S = 2.0  # of a round; each is killed at a moment of its own within it
BOOKED_WITHIN_S = 180.0


class RedisOfRun:
    """A Redis that can be killed and started again at the same address."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self._folder = folder

    @classmethod
    async def start(cls, folder: Path) -> RedisOfRun:
        return cls(await start_redis(folder), folder)

    @property
    def url(self) -> str:
        return self._server.url

    async def kill_and_restart(self) -> None:
        await self._server.kill()
        self._server = await start_redis(self._folder, port=self._server.port)

    async def stop(self) -> None:
        await self._server.stop()


@dataclass(frozen=True)
class Kills:
    """What is left after all rounds."""

    seed: int
    rounds: int
    gateways: int
    workers: int
    redis: int
    answers: dict[str, int]
    holds_left: int
    audits: int
    audits_failed: int
    reckoning: Reckoning

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def kills(
    house: Deployment,
    redis: RedisOfRun,
    paid_nanos: int,
    *,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
) -> Kills:
    """Kill all three once a round; every second round Redis comes last, so that it dies with the others gone too."""
    rng = random.Random(seed)
    failed = 0
    async with Callers(house.base_url, house.secret, rng, count=CALLERS) as callers:
        for number in range(1, rounds + 1):
            before = callers.seen.served
            await _round(house, redis, rng)
            status, report = await house.audit()
            failed += status != 0
            broken = [one["detail"] for one in report["invariants"] if not one["ok"]]
            say(
                f"money: kills, round {number} of {rounds}: {callers.seen.served - before} answers seen whole,"
                f" audit exit {status}{': ' + '; '.join(broken) if broken else ''}"
            )
    gateway, worker = await asyncio.gather(house.gateway(), house.worker())
    await _settle_down(house)
    holds = await house.holds()
    status, _ = await house.audit()
    whole = {request_id: kind.model for request_id, kind in callers.seen.whole.items()}
    reckoning = await of_account(house.stores.pg, house.account.id, whole, COSTS, paid_nanos)
    await house.terminate(gateway)
    await house.terminate(worker)
    return Kills(
        seed, rounds, gateways=rounds, workers=rounds, redis=rounds, answers=dict(callers.seen.outcomes),
        holds_left=holds, audits=rounds + 1, audits_failed=failed + (status != 0), reckoning=reckoning,
    )  # fmt: skip


async def _round(house: Deployment, redis: RedisOfRun, rng: random.Random) -> None:
    gateway, worker = await asyncio.gather(house.gateway(), house.worker())
    victims: list[Callable[[], Any]] = [
        lambda: house.kill(gateway),
        lambda: house.kill(worker),
        redis.kill_and_restart,
    ]

    async def kill_at(moment_s: float, kill: Callable[[], Any]) -> None:
        await asyncio.sleep(moment_s)
        await kill()

    await asyncio.gather(*(kill_at(rng.uniform(0, LOAD_S), kill) for kill in victims))
    await until(lambda: _is_back(house))


async def _is_back(house: Deployment) -> bool:
    """Our own link has found Redis again."""
    try:
        await house.holds()
    except StoreError:
        return False
    return True


async def _settle_down(house: Deployment) -> None:
    """Wait for the books as long as is fair; what is not settled then is told as held or unbilled."""
    try:
        await until(house.settled_down, timeout_s=BOOKED_WITHIN_S)
    except TimeoutError:
        return
