"""Runs the load generator against a candidate, as a process of its own, and reads what it says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.candidates import Candidate

ROOT = Path(__file__).parent.parent


class LoadFailed(Exception):
    """Answers were not whole, or the generator ended: figures of such a run would mean nothing."""


async def load(candidate: Candidate, *, failures_count: bool = True, **job: Any) -> dict[str, Any]:
    """Run one job to its end. Raises: LoadFailed when any answer was not whole, unless failures are expected."""
    process = await _start(candidate, job)
    output, _ = await process.communicate()
    said = _read(output, candidate, process.returncode)
    for part, used_ns in said.get("cpu_ns", {}).items():
        if not used_ns:
            raise LoadFailed(
                f"{candidate.name}: its {part} used no CPU; are {candidate.watch} its processes?"
            )
    if said["failures"] and failures_count:
        raise LoadFailed(f"{candidate.name}, {job}: {said['failures']}; one of them: {said['sample']!r}")
    return said


@asynccontextmanager
async def open_streams(candidate: Candidate, count: int, model: str) -> AsyncIterator[None]:
    """That many streams are open, each with its first chunk received, while the block runs."""
    process = await _start(candidate, {"mode": "held", "connections": count, "model": model})
    assert process.stdout is not None
    _read(await process.stdout.readline(), candidate, process.returncode)
    try:
        yield
    finally:
        await process.communicate(b"\n")


async def _start(candidate: Candidate, job: dict[str, Any]) -> asyncio.subprocess.Process:
    told = {"port": candidate.port, "key": candidate.key, "watch": candidate.watch, **job}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        json.dumps(told),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=2**24,
    )


def _read(output: bytes, candidate: Candidate, status: int | None) -> dict[str, Any]:
    lines = output.splitlines()
    if not lines:
        raise LoadFailed(f"{candidate.name}: the load generator ended with status {status}")
    said: dict[str, Any] = json.loads(lines[-1])
    return said
