"""`python -m bench.run --profile`: the gateway alone under load, and where its CPU goes.

Prints, for plain calls and for streams, what each function took by itself and with all that it called, as a share and
in microseconds per request or chunk.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.candidates import Candidate, running
from bench.cpu import DELAY_MS, STREAMS
from bench.driver import load
from rabbitgw.dev.files import throw_away_dir
from tests.flows.house import until

KINDS = ("samples", "calls", "native")
ROWS = 60
PLAIN = {"model": "stub-plain", "connections": 16, "requests": 24_000}
STREAMED = {"model": f"stub-400-{DELAY_MS}", "connections": STREAMS, "requests": 4 * STREAMS}
TITLES = {
    "files": "file, C functions that it calls included",
    "own": "function, by itself",
    "whole": "function, with all that it calls",
    "lines": "line",
}


async def profile(kind: str, gateway_env: Mapping[str, str]) -> None:
    """Print both tables; `kind` is samples or calls (bench/profiled.py), or native (perf, C functions)."""
    with throw_away_dir() as folder:
        out = folder / "profile"
        command = ("-m", "rabbitgw") if kind == "native" else ("-m", "bench.profiled", kind, str(out))
        async with running(folder, ("rabbitgw",), gateway_env, gateway_command=command) as found:
            (gateway,) = found.candidates
            for job, unit in ((PLAIN, "request"), (STREAMED, "chunk")):
                await load(gateway, mode="closed", **{**job, "requests": 10 * int(job["connections"])})
                watched = _by_perf if kind == "native" else _by_signals
                said = await watched(gateway, out, job)
                cpu_us = said["cpu_ns"]["gateway"] / (said["chunks"] or said["whole"]) / 1000
                print(
                    f"\n== {job['model']}, {job['connections']} connections: {cpu_us:.2f} µs of CPU a {unit}"
                )
                text = out.read_text("utf-8")
                out.unlink()
                print(_table(json.loads(text), cpu_us) if kind == "samples" else text)


async def _by_signals(gateway: Candidate, out: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    pid = gateway.pids[-1]
    os.kill(pid, signal.SIGUSR1)
    said = await load(gateway, mode="closed", **job)
    os.kill(pid, signal.SIGUSR2)
    await until(out.exists)
    return said


async def _by_perf(gateway: Candidate, out: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    perf = shutil.which("perf")
    if perf is None:
        raise SystemExit("--profile native needs perf: apt-get install linux-perf")
    data = out.with_suffix(".data")
    record = [perf, "record", "-q", "-e", "cpu-clock", "-F", "1999", "-p", str(gateway.pids[-1]), "-o", data]
    with subprocess.Popen(record, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        said = await load(gateway, mode="closed", **job)
        process.send_signal(signal.SIGINT)
    tables = []
    for key in ("dso", "dso,symbol"):
        report = [perf, "report", "-q", "--stdio", "--no-children", "-s", key, "-i", data]
        done = subprocess.run(report, capture_output=True, text=True, check=True)
        tables.append("\n".join(done.stdout.strip().splitlines()[:ROWS]))
    out.write_text("\n\n".join(tables), "utf-8")
    return said


def _table(said: dict[str, Any], cpu_us: float) -> str:
    both_s = said["user_s"] + said["system_s"]
    rows = [f"{said['count']} samples; {100 * said['system_s'] / both_s:.0f} % of the CPU in the kernel"]
    for name, title in TITLES.items():
        rows.append(f"\n  {'%':>6} {'µs':>8}  {title}")
        for place, count in said[name][:ROWS]:
            share = count / said["count"]
            if share < 1:
                rows.append(f"  {100 * share:6.1f} {cpu_us * share:8.2f}  {place}")
    return "\n".join(rows)
