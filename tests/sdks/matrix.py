"""One run of the matrix: the houses open, every SDK drives its cases in a process of its own, all cells are kept."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.openai_upstream import Answer, FakeUpstream, Received
from tests.sdks.cases import SDKS_VARIABLE, UNPRICED_MODEL, Case, Version, all_cases
from tests.sdks.expected import Said
from tests.sdks.houses import Places, open_houses
from tests.sdks.post_counter import PostCounter, Sent
from tests.sdks.situations import Situation

CLIENT = Path(__file__).with_name("client.py")
SLOWEST = "caller-timeout"  # begun first, it does not last longer than the rest
LISTED = ("listed-a", "listed-b")


@dataclass
class Cell:
    """What became of a case: what the customer's code saw, what was sent, what upstream got, what was billed."""

    case: Case
    seen: dict[str, Any]
    error: dict[str, Any] | None
    sent: list[Sent]
    received: list[Received]
    bills: list[dict[str, Any]]

    @property
    def outcome(self) -> str:
        """As the table has it: the exception, or `answer`, and the number of requests."""
        return f"{self.error['class'] if self.error else 'answer'} ({len(self.sent)})"

    @property
    def said(self) -> Said | None:
        """The gateway's or upstream's error, as the caller's code can read it; None: there was none."""
        error = self.error
        if error is None or error["body"] is None:
            return None
        inner = error["body"].get("error", error["body"])
        return Said(error["status"], inner["type"], inner.get("code"), inner.get("param"))


async def run_matrix(
    dsns: tuple[str, str], redis_url: str, upstream: FakeUpstream, folder: Path
) -> list[Cell]:
    """Every cell. The books of every house balanced at the end."""
    cases = all_cases()
    for case in cases:
        if case.scripts:
            upstream.script(case.model, *case.scripts)
    for model in (*LISTED, UNPRICED_MODEL):
        upstream.script(model, Answer())
    async with (
        PostCounter() as counter,
        open_houses(dsns, redis_url, upstream.base_url, folder, counter) as places,
    ):
        told: dict[Version, list[dict[str, Any]]] = defaultdict(list)
        for case in sorted(cases, key=lambda case: case.row.name != SLOWEST):
            told[case.version].append(await told_to_client(case, places))
        outcomes: dict[str, dict[str, Any]] = {}
        for lines in await asyncio.gather(*(drive(*item) for item in told.items())):
            outcomes |= lines
        await places.close_books()
        bills = await bill_lines(places)
    received = defaultdict(list)
    for request in upstream.requests:
        received[request.model].append(request)
    return [
        Cell(
            case,
            outcomes[case.id]["seen"],
            outcomes[case.id]["error"],
            counter.sent.get(str(case.number), []),
            received[case.model] if case.has_own_model else [],
            bills[case.model] if case.has_own_model else [],
        )
        for case in cases
    ]


async def told_to_client(case: Case, places: Places) -> dict[str, Any]:
    house = case.row.house if isinstance(case.row, Situation) else "main"
    kind = case.row.key
    key = await places.thin_key() if kind == "thin" else places.keys[house, kind]
    return case.told(places.base_url(house), key)


async def drive(version: Version, cases: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Let one SDK make its calls. Returns the outcomes by case."""
    folder = version.folder
    if folder is not None and not folder.is_dir():
        raise RuntimeError(f"{folder} is missing: run `make sdks`, or set {SDKS_VARIABLE}")
    env = {"PATH": os.environ.get("PATH", os.defpath), "NO_PROXY": "*"}
    flags = []
    if folder is not None:
        env["PYTHONPATH"] = str(folder)
        flags = ["-S"]  # nothing of the newest SDK's environment
    process = await asyncio.create_subprocess_exec(
        sys.executable, *flags, str(CLIENT), env=env, limit=2**24,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, errors = await process.communicate(json.dumps({"sdk": version.sdk, "cases": cases}).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{version}:\n{errors.decode()[-4000:]}"
    head, *lines = map(json.loads, out.splitlines())
    assert head["version"] == version.version, head
    return {line["id"]: line for line in lines}


async def bill_lines(places: Places) -> dict[str, list[dict[str, Any]]]:
    """By model, in order."""
    found = defaultdict(list)
    for row in await places.houses["main"].stores.pg.fetch(
        "SELECT id::text, model, dialect, status, charge_nanos, usage_source, error_code FROM usage ORDER BY id"
    ):
        found[row["model"]].append(dict(row))
    return found
