"""`make bench`: every figure, beside the peers, in one run.

    python -m bench.run [--quick] [--only cpu latency memory money] [--out DIRECTORY] [--profile]

Progress goes to standard error, the table to standard output, and bench.json, bench.md and bench.svg to --out.
Exit status 1: money was lost, held or spent beyond its bound. Speed decides nothing here; the table says it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import resource
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import cpu, latency, memory, money
from bench.candidates import FILES, NAMES, Field, running
from bench.figures import Figure
from bench.profiling import KINDS, profile
from bench.report import as_markdown, as_text
from rabbitgw import telemetry
from rabbitgw.dev.files import throw_away_dir
from rabbitgw.dev.redis import find_redis

PARTS = ("memory", "cpu", "latency", "money")
RESULTS = Path(__file__).parent / "results"
OPEN_STREAMS = 1000
ZERO_IN_MONEY = (
    "holds_left",
    "unbilled_answers",
    "lost_nanos",
    "overcharged_nanos",
    "ledger_gap_nanos",
    "audits_failed",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def more_files() -> None:
    """Raise this process' limit of open files, and so its children's."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="the gateway beside its peers")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: at most five minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts")
    parser.add_argument("--candidates", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--out", type=Path, help=f"where to write; {RESULTS} for a whole run, else nowhere")
    parser.add_argument("--profile", nargs="?", const="samples", choices=KINDS, help="where CPU goes, only")
    parser.add_argument(
        "--gateway-env",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="settings that are not the defaults",
    )
    chosen = parser.parse_args(arguments)
    if chosen.out is None and {*chosen.only} == {*PARTS} and {*chosen.candidates} == {*NAMES}:
        chosen.out = RESULTS
    return chosen


async def measure(chosen: argparse.Namespace, env: dict[str, str]) -> dict[str, Any]:
    """All parts, as bench.json has them. Memory comes first: a process grows only once."""
    results: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": chosen.quick,
        "machine": machine(),
        "gateway_env": env,
        "open_streams": OPEN_STREAMS,
        "candidates": {},
        "not_run": {},
        "money": None,
    }
    with throw_away_dir() as folder:
        if {*chosen.only} - {"money"}:
            async with running(folder, chosen.candidates, env) as found:
                for name, reason in found.not_run.items():
                    say(f"{name}: {reason}")
                figures = await _figures(found, chosen)
                results["not_run"] = found.not_run
                results["candidates"] = described(found, figures)
        if "money" in chosen.only:
            done = await money.measure(folder / "money", quick=chosen.quick, say=say)
            results["money"] = done.to_json()
    results["versions"] = versions(results)
    return results


async def _figures(found: Field, chosen: argparse.Namespace) -> dict[str, dict[str, Figure]]:
    figures: dict[str, dict[str, Figure]] = {}
    parts = []
    if "memory" in chosen.only:
        parts.append(await memory.measure(found, OPEN_STREAMS, say))
    if "cpu" in chosen.only:
        parts.append(await cpu.measure(found, cpu.Plan.of(quick=chosen.quick), say))
    if "latency" in chosen.only:
        parts.append(await latency.measure(found, latency.Plan.of(quick=chosen.quick), say))
    for part in parts:
        for candidate, row in part.items():
            figures.setdefault(candidate, {}).update(row)
    return figures


def described(found: Field, figures: dict[str, dict[str, Figure]]) -> dict[str, Any]:
    return {
        one.name: {
            "title": one.title,
            "version": one.version,
            "figures": {name: value.to_json() for name, value in figures.get(one.name, {}).items()},
        }
        for one in [found.stub, *found.candidates]
    }


def machine() -> dict[str, Any]:
    rows = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), "unknown")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(results: dict[str, Any]) -> dict[str, str]:
    _, redis = find_redis()
    found = {
        name: one["version"]
        for name, one in results["candidates"].items()
        if one["version"] and name != "nginx-lua"
    }
    return {
        **found,
        "Python": platform.python_version(),
        "uvloop": version("uvloop"),
        "Redis": ".".join(map(str, redis)),
    }


def write(results: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (out / "bench.md").write_text(as_markdown(results), "utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        say("bench.svg: not drawn, matplotlib is not here: pip install 'rabbitgw[bench]'")
        return
    from bench.plot import draw

    draw(results, out / "bench.svg")
    say(f"written to {out}")


def breaches(results: dict[str, Any]) -> list[str]:
    """What the money bench found that must not be."""
    found = results["money"]
    if found is None:
        return []
    said = [f"{name} is {found[name]}" for name in ZERO_IN_MONEY if found[name]]
    if found["worst_overspend_nanos"] > found["overspend_bound_nanos"]:
        said.append("a wallet was overspent beyond the bound")
    return said


def main() -> int:
    chosen = options()
    env = dict(pair.split("=", 1) for pair in chosen.gateway_env)
    more_files()
    telemetry.configure("ERROR")  # a link of ours that loses a killed Redis is no news
    if chosen.profile:
        asyncio.run(profile(chosen.profile, env))
        return 0
    results = asyncio.run(measure(chosen, env))
    if chosen.out is not None:
        write(results, chosen.out)
    print(as_text(results), end="")
    found = breaches(results)
    for breach in found:
        say(f"money: {breach}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
