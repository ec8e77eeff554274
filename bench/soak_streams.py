"""`make soak`: ten thousand streams in a row, a third of them rude, and what they leave behind: it should be nothing.

    python -m bench.soak_streams [--streams N] [--clients N] [--seed N] [--gone cancel drain] [--out DIRECTORY]

Once per way to treat a client that left (RABBITGW_CLIENT_GONE), on servers of its own. Exit status 1 when anything is
left, unbilled or billed wrongly; the breaches are printed, with what the gateway logged of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rabbitgw
from bench.soak_report import as_markdown, as_text
from bench.soak_run import SETTINGS, Job, soaking
from rabbitgw.billing.migrations import migrate
from rabbitgw.dev.files import throw_away_dir
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import start_redis

RESULTS = Path(__file__).parent / "results"
FILES = 4096  # descriptors


async def soak(job: Job) -> dict[str, Any]:
    """One run on servers of its own."""
    with throw_away_dir() as folder:
        postgres = await start_postgres(folder / "stores")
        try:
            redis = await start_redis(folder / "stores")
            try:
                await migrate(postgres.dsn())
                async with soaking(job, postgres.dsn(), redis.url, folder) as run:
                    return await run.run()
            finally:
                await redis.stop()
        finally:
            await postgres.stop()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak_streams", description="rude streams in a row")
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50, help="how many streams run at a time")
    parser.add_argument("--seed", type=int, help="of another run, to have its streams again")
    parser.add_argument("--gone", nargs="+", choices=("cancel", "drain"), default=["cancel", "drain"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> int:
    chosen = options()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))
    seed = secrets.randbelow(2**32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": rabbitgw.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "settings": SETTINGS,
        "runs": [],
    }
    for gone in chosen.gone:
        run = asyncio.run(soak(Job(chosen.streams, chosen.clients, seed, gone)))
        results["runs"].append(run)
        print(as_text(run), flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "soak_streams.json").write_text(json.dumps(results, indent=1) + "\n")
    (chosen.out / "soak_streams.md").write_text(as_markdown(results))
    return 1 if any(run["breaches"] for run in results["runs"]) else 0


if __name__ == "__main__":
    sys.exit(main())
