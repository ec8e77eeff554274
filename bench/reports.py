"""How long reports take on ten million calls, through the routes: `make bench-reports`.

    python -m bench.reports [--rows N] [--asks N] [--out FOLDER] [--note TEXT]

Starts a PostgreSQL and a Redis of its own, fills them (bench/reports_fill.py), asks each report over random accounts,
users and keys, one at a time, and deletes what it made. Writes reports.json (milliseconds, p50, p95, p99), and
reports_plans.txt with the plans of the statement that sums.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from bench.reports_fill import ACCOUNTS, DAYS, KEYS_PER_ACCOUNT, USERS_PER_ACCOUNT, fill
from rabbitgw import statements
from rabbitgw.api.routes import SideDeps, side_routes
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.migrations import migrate
from rabbitgw.billing.report_spans import Days, report_zone, split_thirds
from rabbitgw.config import Settings
from rabbitgw.dev.files import throw_away_dir
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import start_redis
from rabbitgw.payments.till import Payments
from rabbitgw.scripts import Scripts
from rabbitgw.stores import open_postgres, open_redis

ROWS = 10_000_000
ASKS = 200
WARMING = 10
GOAL_MS = 100
ADMIN_KEY = "admin-of-the-bench"
TIME_LIMIT_S = 3600.0

Ask = Callable[[random.Random, date], dict[str, str]]


def _days(draw: random.Random, first: date, days: int) -> dict[str, str]:
    start = first + timedelta(days=draw.randrange(DAYS - days))
    return {"from": str(start), "to": str(start + timedelta(days=days - 1))}


def _of(kind: str, most: int, days: int, **more: str) -> Ask:
    """Of a random one of so many."""
    return lambda draw, first: {kind: str(1 + draw.randrange(most)), **_days(draw, first, days), **more}


REPORTS: dict[str, tuple[str, Ask]] = {
    "daily, account, 30 days": ("daily", _of("account_id", ACCOUNTS, 30)),
    "daily by model, account, 30 days": ("daily", _of("account_id", ACCOUNTS, 30, group_by="model")),
    "daily, account, 359 days": ("daily", _of("account_id", ACCOUNTS, 359)),
    "daily, account, 359 days, Kathmandu": (
        "daily",
        _of("account_id", ACCOUNTS, 359, timezone="Asia/Kathmandu"),
    ),
    "daily, heaviest account, 359 days, Berlin": (
        "daily",
        _of("account_id", 1, 359, timezone="Europe/Berlin"),
    ),
    "daily, key, 30 days": ("daily", _of("key_id", ACCOUNTS * KEYS_PER_ACCOUNT, 30)),
    "daily, user, 30 days": ("daily", _of("user_id", ACCOUNTS * USERS_PER_ACCOUNT, 30)),
    "daily, team, 30 days, New York": ("daily", _of("team_id", ACCOUNTS, 30, timezone="America/New_York")),
    "summary by model, account, 359 days": ("summary", _of("account_id", ACCOUNTS, 359, group_by="model")),
    "summary by key, account, 359 days": ("summary", _of("account_id", ACCOUNTS, 359, group_by="key")),
    "summary by tag, account, 90 days": ("summary", _of("account_id", ACCOUNTS, 90, group_by="tag")),
    "summary by key, heaviest account, 359 days": (
        "summary",
        _of("account_id", 1, 359, group_by="key,model"),
    ),
    "summary by model, all accounts, 30 days": (
        "summary",
        lambda draw, first: {**_days(draw, first, 30), "group_by": "model"},
    ),
    "daily, all accounts, 359 days": ("daily", lambda draw, first: _days(draw, first, 359)),
    "period, account, a month": (
        "period",
        lambda draw, first: {
            "account_id": str(1 + draw.randrange(ACCOUNTS)),
            "day": str(first + timedelta(days=draw.randrange(60, DAYS))),
        },
    ),
    "budget, key": (
        "budget",
        lambda draw, _: {"key_id": str(1 + draw.randrange(ACCOUNTS * KEYS_PER_ACCOUNT))},
    ),
    "overdraft, all accounts": ("overdraft", lambda draw, _: {"limit": "100"}),
}


async def measure(rows: int, asks: int) -> tuple[dict[str, Any], str]:
    with throw_away_dir() as folder:
        postgres = await start_postgres(folder / "data", fsync=False)
        redis = await start_redis(folder / "data")
        try:
            await migrate(postgres.dsn())
            began = time.perf_counter()
            now = datetime.now(UTC)
            first = (now.replace(day=1) + timedelta(days=1)).date()
            db = await asyncpg.connect(postgres.dsn(), command_timeout=TIME_LIMIT_S)
            await fill(
                db, rows, 1000 * int(datetime.combine(first, datetime.min.time(), UTC).timestamp()), print
            )
            facts = await _facts(db)
            facts["filled_in_s"] = round(time.perf_counter() - began)
            async with served(postgres.dsn(), redis.url) as url:
                table = [one async for one in _ask_all(url, first, asks)]
            plans = "\n".join([plan async for plan in _plans(db, first)])
            await db.close()
        finally:
            await redis.stop()
            await postgres.stop()
    return {**facts, "asks": asks, "goal_p95_ms": GOAL_MS, "reports": table}, plans


async def _facts(db: asyncpg.Connection) -> dict[str, Any]:
    return {
        "usage_rows": await db.fetchval("SELECT count(*) FROM usage"),
        "rollup_rows": await db.fetchval("SELECT count(*) FROM usage_rollups"),
        "rollup_bytes": await db.fetchval("SELECT pg_total_relation_size('usage_rollups')"),
        "calls_of_heaviest_account": int(
            await db.fetchval(
                "SELECT sum(calls) FROM usage_rollups WHERE account_id = 1 AND scope = 1 AND grain = 32"
            )
        ),
        "postgres": await db.fetchval("SHOW server_version"),
        "shared_buffers": await db.fetchval("SHOW shared_buffers"),
    }


@asynccontextmanager
async def served(dsn: str, redis_url: str) -> AsyncIterator[str]:
    """The side routes on a port."""
    os.environ["RABBITGW_ADMIN_KEY"] = ADMIN_KEY
    pool = await open_postgres(dsn)
    link = await open_redis(redis_url, timeout_s=10)
    names = await read_names(pool)
    await publish_epoch(link, names)
    scripts = Scripts(link, names)
    app, settings = web.Application(), Settings.load()
    payments = Payments(pool, link, settings)
    app.add_routes(
        side_routes(SideDeps(pool, link, scripts, Keyring(pool, scripts, link), settings, payments))
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/reports"
    finally:
        await runner.cleanup()
        await link.close()
        await pool.close()


async def _ask_all(url: str, first: date, asks: int) -> AsyncIterator[dict[str, Any]]:
    draw = random.Random(7)  # the same questions each time
    async with aiohttp.ClientSession(headers={"x-api-key": ADMIN_KEY}) as session:
        for name, (path, ask) in REPORTS.items():
            took_ms = []
            for number in range(WARMING + asks):
                query = ask(draw, first)
                began = time.perf_counter()
                async with session.get(f"{url}/{path}", params=query) as answer:
                    body = await answer.read()
                    if answer.status != 200:
                        raise SystemExit(f"{name}: {answer.status} {body.decode()}")
                if number >= WARMING:
                    took_ms.append(1000 * (time.perf_counter() - began))
            took_ms.sort()
            row = {"report": name, **{f"p{p}_ms": round(_rank(took_ms, p), 1) for p in (50, 95, 99)}}
            print(f"{name:46} {row['p50_ms']:8} {row['p95_ms']:8} {row['p99_ms']:8}")
            yield row


def _rank(values: list[float], percent: int) -> float:
    return values[min(len(values) - 1, len(values) * percent // 100)]


def _planned(first: date) -> Iterator[tuple[str, list[Any]]]:
    """Cases of sql/reports/sums.sql with their parameters."""
    last = first + timedelta(days=DAYS - 2)
    utc8, berlin = report_zone("+08:00"), report_zone("Europe/Berlin")
    by_day, by_model, by_key = ([place == one for place in range(5)] for one in range(3))
    for name, account, scope, key, days, groups in (
        ("an account's year by day, UTC+8", 500, 1, None, Days(first, last, utc8), by_day),
        ("the heaviest account's year by day, Berlin", 1, 1, None, Days(first, last, berlin), by_day),
        ("an account's year by key", 500, 2, None, Days(first, last, utc8), by_key),
        ("a key's month by day", 500, 2, 4995, Days(first, first + timedelta(days=29), utc8), by_day),
        ("all accounts' month by model", 0, 0, None, Days(first, first + timedelta(days=29), utc8), by_model),
    ):
        bounds = days.bounds() if groups is by_day else days.ends()
        yield name, [account, scope, key, None, None, bounds, split_thirds(bounds), *groups, 10_001]


async def _plans(db: asyncpg.Connection, first: date) -> AsyncIterator[str]:
    for name, values in _planned(first):
        async with db.transaction():
            await db.fetchval(statements.session.plan_anew)
            explained = f"EXPLAIN (ANALYZE, BUFFERS) {statements.reports.sums}"
            lines = [row[0] for row in await db.fetch(explained, *values)]
        yield "\n".join([f"== {name}", *(line[:300] for line in lines), ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--asks", type=int, default=ASKS)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--note", default="", help="kept with the figures: what else the machine did")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    figures, plans = asyncio.run(asyncio.wait_for(measure(given.rows, given.asks), TIME_LIMIT_S))
    figures = {"note": given.note, "cores": os.cpu_count(), "load_at_start": round(load, 1), **figures}
    figures["load_at_end"] = round(os.getloadavg()[0], 1)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "reports.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (given.out / "reports_plans.txt").write_text(plans, "utf-8")


if __name__ == "__main__":
    main()
