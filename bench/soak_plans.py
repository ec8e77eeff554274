"""Part of `make soak`: 100 000 keys on 1 000 plans load, and change, while other callers are served.

    python -m bench.soak_plans [--keys N] [--plans N] [--rounds N] [--seconds N] [--out DIRECTORY]

Two open loops of plain calls run beside each other. `steady` is of keys that the gateway knows. `others` is of such
keys, too, in the quiet half of a round; in its busy half each of its calls is of a key that the gateway has never seen,
and plans are changed through the admin routes at a steady rate: their limits, names and prices. What is added to the
p99 is the difference of the two halves, round by round, and then the median: a slow machine is slow in both. In the
end every key is called once, and the gateway's memory is told. Exit status 1: more than 2 ms were added to `steady`,
or memory grew beyond its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

import rabbitgw
from bench.candidates import Candidate
from bench.driver import ROOT, load
from bench.figures import Figure
from bench.processes import rss_bytes
from bench.run import more_files
from bench.soak_plans_fill import Filled, fill
from rabbitgw.billing.migrations import migrate
from rabbitgw.dev import child
from rabbitgw.dev.files import throw_away_dir
from rabbitgw.dev.ports import free_port
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import start_redis
from tests.flows.house import ADMIN_KEY, until
from tests.flows.processes import Deployment, deployment

RESULTS = Path(__file__).parent / "results"
STEADY_PER_S, OTHERS_PER_S, CHANGES_PER_S = 100.0, 30.0, 10.0
WARM = 2000  # keys that the gateway knows
ADDED_P99_MS_MOST = 2.0
# A known key is a record, a desk and its commands; the gateway keeps 50 000 records and forgets the eldest.
GROWTH_BYTES_MOST = 50_000 * 12_288
CREDIT_NANOS = 10**13


class Soak:
    def __init__(self, house: Deployment, gateway: child.Child, filled: Filled, folder: Path) -> None:
        self._house = house
        self._gateway = gateway
        self._filled = filled
        self._folder = folder
        self._serving = Candidate("rabbitgw", "", "", house.port, watch={"gateway": [gateway.pid]})
        self._warm = filled.secrets[:WARM]
        self._cold = iter(filled.secrets[WARM:])
        self._numbers = itertools.count()
        self._draw = random.Random(4)

    async def run(self, rounds: int, seconds: float) -> dict[str, Any]:
        await self._call_once(self._warm)
        halves: dict[str, dict[str, list[float]]] = {
            f"{who} {half}": {"p50": [], "p99": []}
            for who in ("steady", "others")
            for half in ("quiet", "busy")
        }
        changes = 0
        before_bytes = rss_bytes([self._gateway.pid])
        for number in range(rounds):
            order = ("quiet", "busy") if number % 2 else ("busy", "quiet")
            for half in order:
                changes += await self._half(half, seconds, halves)
            say(
                f"round {number + 1} of {rounds}: p99 of steady {halves['steady quiet']['p99'][-1]:.2f} ms,"
                f" while plans change and keys load {halves['steady busy']['p99'][-1]:.2f}"
            )
        began = asyncio.get_running_loop().time()
        await self._call_once(self._filled.secrets)
        loaded_s = asyncio.get_running_loop().time() - began
        after_bytes = rss_bytes([self._gateway.pid])
        return {
            "rounds": rounds,
            "seconds_a_half": seconds,
            "changes": changes,
            "milliseconds": {
                name: {share: Figure(tuple(values)).to_json() for share, values in figures.items()}
                for name, figures in halves.items()
            },
            "added_ms": {
                f"{who} {share}": added(halves[f"{who} quiet"][share], halves[f"{who} busy"][share])
                for who in ("steady", "others")
                for share in ("p50", "p99")
            },
            "all_keys_called_in_s": round(loaded_s, 1),
            "resident_bytes_before": before_bytes,
            "resident_bytes_after": after_bytes,
        }

    async def _half(self, half: str, seconds: float, halves: dict[str, dict[str, list[float]]]) -> int:
        """Measure one half of a round. Returns how many changes were made meanwhile."""
        busy = half == "busy"
        count = int(OTHERS_PER_S * seconds)
        others = (
            list(itertools.islice(self._cold, count))
            if busy
            else self._draw.sample(self._warm, min(count, WARM))
        )
        assert len(others) == count or not busy, "all keys are known: fewer rounds, or more keys"
        self._draw.shuffle(self._warm)
        over = asyncio.Event()
        changing = asyncio.create_task(self._change(over)) if busy else None
        try:
            said = await asyncio.gather(
                self._open(self._warm, STEADY_PER_S, seconds), self._open(others, OTHERS_PER_S, seconds)
            )
        finally:
            over.set()
        for who, told in zip(("steady", "others"), said, strict=True):
            for share, values in halves[f"{who} {half}"].items():
                values.append(told["answer_us"][share] / 1000)
        return await changing if changing else 0

    async def _change(self, over: asyncio.Event) -> int:
        """Change plans at a steady rate until it is over."""
        loop, made = asyncio.get_running_loop(), 0
        began = loop.time()
        async with aiohttp.ClientSession(headers={"x-api-key": ADMIN_KEY}) as http:
            for path, body in self._changes():
                async with http.post(f"{self._house.base_url}/v1/plans{path}", json=body) as answer:
                    assert answer.status in (200, 201), (path, answer.status, await answer.text())
                made += 1
                wait_s = max(0.0, began + made / CHANGES_PER_S - loop.time())
                try:
                    await asyncio.wait_for(over.wait(), wait_s)
                except TimeoutError:
                    continue
                return made
        return made

    def _changes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        while True:
            number = next(self._numbers)
            plan_id, limit_id = self._draw.choice(self._filled.plans)
            yield f"/daily_limit/{limit_id}", {"daily_limit_cents": 1_000_000 + number}
            yield f"/{plan_id}", {"name": f"changed {number}"}
            yield (
                "/pricing",
                {
                    "plan_id": plan_id,
                    "model_pattern": "stub-*",
                    "unit": "token",
                    "base_price": f"0.{number + 1:06}",
                },
            )

    async def _open(self, secrets: list[str], per_s: float, seconds: float) -> dict[str, Any]:
        return await load(
            self._serving, mode="open", model="stub-plain", connections=32, per_s=per_s, seconds=seconds,
            keys_file=self._file(secrets),
        )  # fmt: skip

    async def _call_once(self, secrets: list[str]) -> None:
        await load(
            self._serving, mode="closed", model="stub-plain", connections=32, requests=len(secrets),
            keys_file=self._file(secrets),
        )  # fmt: skip

    def _file(self, secrets: list[str]) -> str:
        path = self._folder / f"keys-{next(self._numbers)}"
        path.write_text("\n".join(secrets), "ascii")
        return str(path)


def added(quiet: list[float], busy: list[float]) -> dict[str, Any]:
    """What the busy half has more, round by round."""
    return Figure(tuple(more - less for less, more in zip(quiet, busy, strict=True))).to_json()


def breaches(results: dict[str, Any]) -> list[str]:
    found = []
    more_ms = results["added_ms"]["steady p99"]["median"]
    if more_ms >= ADDED_P99_MS_MOST:
        found.append(f"{more_ms:.2f} ms were added to the p99; less than {ADDED_P99_MS_MOST:g} may be")
    growth = results["resident_bytes_after"] - results["resident_bytes_before"]
    if growth > GROWTH_BYTES_MOST:
        found.append(f"the gateway grew by {growth} bytes; at most {GROWTH_BYTES_MOST} may be")
    return found


def as_text(results: dict[str, Any]) -> str:
    lines = [f"{results['keys']} keys on {results['plans']} plans, {results['changes']} changes of plans"]
    for name, figure in results["added_ms"].items():
        lines.append(
            f"  added to {name}: {figure['median']:.2f} ms ({figure['low']:.2f} to {figure['high']:.2f} by round)"
        )
    mib = 2**20
    lines.append(
        f"  every key called once in {results['all_keys_called_in_s']} s; gateway resident"
        f" {results['resident_bytes_before'] / mib:.0f} MiB before, {results['resident_bytes_after'] / mib:.0f} after"
    )
    lines += [f"  BREACH: {one}" for one in results["breaches"]] or ["  within its bounds"]
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def soak(chosen: argparse.Namespace) -> dict[str, Any]:
    """One run on servers of its own."""
    with throw_away_dir() as folder:
        postgres = await start_postgres(folder / "stores")
        redis = await start_redis(folder / "stores")
        port = free_port()
        command = [sys.executable, "-m", "bench.stub", str(port)]
        stub = child.start(
            "stub",
            command,
            log=folder / "stub.log",
            death_signal=signal.SIGKILL,
            env={"PYTHONPATH": str(ROOT)},
        )
        try:
            await migrate(postgres.dsn())
            url = f"http://127.0.0.1:{port}"
            env = {"RABBITGW_ADMIN_KEY": ADMIN_KEY}
            async with deployment(
                postgres.dsn(), redis.url, url, folder, credit_nanos=CREDIT_NANOS, **env
            ) as house:
                filled = await fill(
                    house.stores, postgres.dsn(), chosen.plans, chosen.keys, CREDIT_NANOS, say
                )
                gateway, _ = await asyncio.gather(house.gateway(LOG_LEVEL="WARNING"), house.worker())
                await until(house.settled_down, timeout_s=120.0)
                return await Soak(house, gateway, filled, folder).run(chosen.rounds, chosen.seconds)
        finally:
            await stub.stop()
            await redis.stop()
            await postgres.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak_plans", description="many keys on many plans")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--plans", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each half of a round")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    more_files()
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": rabbitgw.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "keys": chosen.keys,
        "plans": chosen.plans,
        "per_s": {"steady": STEADY_PER_S, "others": OTHERS_PER_S, "changes": CHANGES_PER_S},
        **asyncio.run(soak(chosen)),
    }
    results["breaches"] = breaches(results)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "soak_plans.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(as_text(results))
    return 1 if results["breaches"] else 0


if __name__ == "__main__":
    sys.exit(main())
