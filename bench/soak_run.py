"""One soak: streams in a row through a gateway of its own, measured at every tenth, and what is left at the end.

Servers, upstream, gateway and bookkeeper are processes of their own. `breaches` of its result should be empty.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench.processes import rss_bytes
from bench.soak_bills import Line, breaches_of
from bench.soak_clients import Crowd
from bench.soak_plan import Plan, plans
from bench.soak_watch import descriptors, slope
from rabbitgw.dev import child
from rabbitgw.dev.child import Child
from rabbitgw.dev.ports import free_port
from tests.flows.house import until
from tests.flows.processes import Deployment, deployment

ROOT = Path(__file__).parent.parent
SITE = Path(__file__).parent / "soak_site"
PARTS = 10  # measured after each; the first is the warm-up
CREDIT_NANOS = 10**16
QUIET_WITHIN_S = 120.0
# What is resident after a collection grew by 70 to 140 bytes a stream in trials, by 38 over thirty thousand: the
# allocator settles in. Anything of a call that stayed, with what it refers to, would be a kilobyte or more.
GROWTH_BYTES_MOST = 256.0
# Short, so that a client or an upstream that keeps silent is waited for a second and not minutes.
SETTINGS = {
    "RABBITGW_UPSTREAM_FIRST_BYTE_TIMEOUT_S": "1",
    "RABBITGW_UPSTREAM_SILENCE_TIMEOUT_S": "1",
    "RABBITGW_CLIENT_STALL_TIMEOUT_S": "1",
}


@dataclass(frozen=True)
class Job:
    streams: int
    clients: int
    seed: int
    gone: str  # RABBITGW_CLIENT_GONE
    growth_counts: bool = True  # a short run says nothing about growth


@dataclass
class Measured:
    """Of the gateway's process. Descriptors leave out PostgreSQL's, whose pool grows and shrinks as it likes."""

    resident_bytes: dict[int, int] = field(default_factory=dict)  # after so many streams
    before: Counter[str] = field(default_factory=Counter)  # descriptors, after the warm-up
    after: Counter[str] = field(default_factory=Counter)

    @property
    def growth(self) -> float:
        """Bytes a stream."""
        return slope(list(self.resident_bytes.items()))

    def breaches(self, *, growth_counts: bool) -> list[str]:
        found = [
            f"{count} {kind} open, {self.before[kind]} after the warm-up"
            for kind, count in self.after.items()
            if count > self.before[kind]
        ]
        if growth_counts and self.growth > GROWTH_BYTES_MOST:
            found.append(f"the gateway grew by {self.growth:.0f} bytes a stream")
        return found


class Soak:
    def __init__(self, job: Job, house: Deployment, ports: dict[str, int]) -> None:
        self._job = job
        self._house = house
        self._ports = ports
        self._collected = house.folder / "collected"

    async def run(self) -> dict[str, Any]:
        """Everything that is told of it."""
        job, house = self._job, self._house
        told = {
            "RABBITGW_CLIENT_GONE": job.gone,
            "PYTHONPATH": str(SITE),
            "SOAK_COLLECTED": str(self._collected),
        }
        gateway, _ = await asyncio.gather(house.gateway(**told), house.worker())
        crowd = Crowd(house.port, house.secret, job.clients)
        began_s = asyncio.get_running_loop().time()
        measured = await self._stream(gateway, crowd)
        seconds = asyncio.get_running_loop().time() - began_s
        await until(house.settled_down, timeout_s=QUIET_WITHIN_S)
        status, audit = await house.audit()
        lines = await self._lines()
        left = await self._left(sum(line.charge_nanos for line in lines))
        breaches = breaches_of(crowd.seen, lines) + measured.breaches(growth_counts=job.growth_counts)
        breaches += [f"{name}: {count}" for name, count in left.items() if count]
        if status or not audit["ok"]:
            broken = [one["detail"] for one in audit["invariants"] if not one["ok"]]
            breaches.append(f"the audit exited {status}: {broken}")
        return {
            "gone": job.gone,
            "streams": len(crowd.seen),
            "rude": sum(seen.plan.rude for seen in crowd.seen),
            "clients": job.clients,
            "seed": job.seed,
            "seconds": round(seconds, 1),
            "saw": dict(sorted(crowd.outcomes.items())),
            "bill_lines": dict(sorted(Counter(line.status for line in lines).items())),
            "charged_nanos": sum(line.charge_nanos for line in lines),
            "left": left,
            "descriptors_before": dict(sorted(measured.before.items())),
            "descriptors_after": dict(sorted(measured.after.items())),
            "resident_bytes": measured.resident_bytes,
            "growth_bytes_per_stream": round(measured.growth, 1),
            "growth_bytes_most": GROWTH_BYTES_MOST,
            "audit_exit": status,
            "worst_overspend_nanos": audit["worst_overspend_nanos"],
            "conduct": _conduct(crowd),
            "breaches": breaches,
            "log": self._log_of(gateway, breaches),
        }

    async def _stream(self, gateway: Child, crowd: Crowd) -> Measured:
        """All streams, part by part; between two parts nothing runs."""
        job = self._job
        drawn = plans(random.Random(job.seed), job.streams)
        measured = Measured()
        for part in range(PARTS):
            await crowd.carry_out(_part(drawn, job.streams, part))
            await self._quiet(gateway)
            await self._collect(gateway)
            measured.resident_bytes[len(crowd.seen)] = rss_bytes([gateway.pid])
            if not part:
                measured.before = await self._idle(gateway)  # the pools of both stores are open by now
        measured.after = await self._idle(gateway)
        return measured

    async def _quiet(self, gateway: Child) -> None:
        """Wait until every stream has ended on the gateway's side too."""

        async def ended() -> bool:
            return not await self._house.holds() and not descriptors(gateway.pid, self._ports)["client"]

        await until(ended, timeout_s=QUIET_WITHIN_S)

    async def _collect(self, gateway: Child) -> None:
        """Have the gateway collect its garbage."""
        before = self._collections()
        gateway.process.send_signal(signal.SIGUSR1)
        await until(lambda: self._collections() > before, timeout_s=QUIET_WITHIN_S)

    def _collections(self) -> int:
        return self._collected.stat().st_size if self._collected.exists() else 0

    async def _idle(self, gateway: Child) -> Counter[str]:
        """Its descriptors, once connections to upstream that nobody uses are closed."""
        await until(lambda: not descriptors(gateway.pid, self._ports)["upstream"], timeout_s=QUIET_WITHIN_S)
        found = descriptors(gateway.pid, self._ports)
        del found["PostgreSQL"]
        return found

    async def _lines(self) -> list[Line]:
        rows = await self._house.stores.pg.fetch(
            "SELECT caller_request_id, status, usage_source, charge_nanos FROM usage WHERE account_id = $1",
            self._house.account.id,
        )
        return [Line(*row) for row in rows]

    async def _left(self, charged_nanos: int) -> dict[str, int]:
        """What should be 0: in Redis, by the caller's own view, at upstream's end, and in the ledger."""
        house = self._house
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{house.base_url}/v1/wallets", headers=house.headers) as answer:
                (wallet,) = (await answer.json())["wallets"]
            async with http.get(f"http://127.0.0.1:{self._ports['upstream']}/open") as answer:
                open_at_upstream = int(await answer.text())
        return {
            "holds": await house.holds(),
            "held nanos": wallet["held_nanos"],
            "connections at upstream": open_at_upstream,
            "settles in the spool": len(house.spooled()),
            "nanos between ledger and bills": CREDIT_NANOS - charged_nanos - await house.balance_nanos(),
        }

    @staticmethod
    def _log_of(gateway: Child, breaches: list[str]) -> list[str]:
        """What the gateway logged of the streams that a breach names."""
        names = {f'"{breach.split()[0]}"' for breach in breaches if breach.startswith("soak-")}
        rows = gateway.log.read_text(errors="replace").splitlines() if names else []
        return [row for row in rows if any(name in row for name in names)]


def _part(drawn: Iterator[Plan], streams: int, part: int) -> Iterator[Plan]:
    """The plans of one of PARTS equal parts."""
    return itertools.islice(drawn, streams * (part + 1) // PARTS - streams * part // PARTS)


def _conduct(crowd: Crowd) -> dict[str, int]:
    found: Counter[str] = Counter()
    for seen in crowd.seen:
        found[f"client {seen.plan.client}"] += 1
        found[f"upstream {seen.plan.upstream.conduct}"] += 1
    return dict(sorted(found.items()))


@asynccontextmanager
async def soaking(job: Job, dsn: str, redis_url: str, folder: Path) -> AsyncIterator[Soak]:
    """A soak on these stores, its upstream running; what it starts is ended after the block."""
    port = free_port()
    upstream = child.start(
        "soak-upstream",
        [sys.executable, "-m", "bench.soak_upstream", str(port)],
        log=folder / "logs" / "upstream.log",
        death_signal=signal.SIGKILL,
        env={"PYTHONPATH": str(ROOT)},
    )
    try:
        await until(lambda: b"ready" in upstream.log.read_bytes(), timeout_s=QUIET_WITHIN_S)
        url = f"http://127.0.0.1:{port}"
        async with deployment(dsn, redis_url, url, folder, credit_nanos=CREDIT_NANOS, **SETTINGS) as house:
            ports = {
                "client": house.port,
                "upstream": port,
                "PostgreSQL": urlsplit(dsn).port or 5432,
                "Redis": urlsplit(redis_url).port or 6379,
            }
            yield Soak(job, house, ports)
    finally:
        await upstream.stop()
