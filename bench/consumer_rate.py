"""How many usage events a second one consumer books, on one PostgreSQL and one Redis.

    python -m bench.consumer_rate [events] [wallets]

Starts servers of its own (fsync on, AOF on), fills the streams of 64 partitions, then books them all.
Prints one JSON line: events, wallets, seconds, events per second, CPU microseconds of this process per event.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.migrations import migrate
from rabbitgw.clock import new_id, now_ms
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import start_redis
from rabbitgw.keynames import KeyNames
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import open_postgres, open_redis

PARTITIONS = 64
PAYLOAD = {
    "k": 7, "r": "req_0123456789", "m": "gpt-4o-mini", "d": "openai-chat", "v": 3, "us": "provider",
    "in": 1200, "ci": 400, "cw": 0, "cw1h": 0, "out": 350, "rt": 0, "ai": 0, "ao": 0, "at": 1,
}  # fmt: skip


async def fill(link: RedisLink, names: KeyNames, events: int, wallets: int) -> None:
    now = now_ms()
    payload = json.dumps({**PAYLOAD, "t0": now, "t1": now + 200, "t2": now + 900})
    for start in range(0, events, 1000):
        await asyncio.gather(
            *(
                link.call(
                    "XADD", names.partition[n % wallets % PARTITIONS].events, "*", "id", new_id(),
                    "s", "settled", "n", "1234567", "x", "0", "a", 1 + n % wallets, "c", "USD",
                    "w", f"{1 + n % wallets}:life", "p", payload,
                )
                for n in range(start, min(start + 1000, events))
            )
        )  # fmt: skip


async def measure(events: int, wallets: int) -> dict[str, float]:
    folder = Path(tempfile.mkdtemp(prefix="rabbitgw-consumer-rate-"))
    folder.chmod(0o711)
    postgres = await start_postgres(folder / "data")
    redis = await start_redis(folder / "data")
    try:
        await migrate(postgres.dsn())
        pool = await open_postgres(postgres.dsn())
        link = await open_redis(redis.url, timeout_s=10)
        await pool.execute("SELECT books_partitions_ahead(1)")
        await pool.execute(
            "INSERT INTO accounts (id, name, partition) SELECT n, 'bench', (n - 1) % 64"
            " FROM generate_series(1, $1::bigint) AS n",
            wallets,
        )
        names = KeyNames(PARTITIONS, 1)
        await fill(link, names, events, wallets)
        consumer = Consumer(pool, link)
        began, cpu = time.perf_counter(), time.process_time()
        while await consumer.run_once():
            pass
        took, used = time.perf_counter() - began, time.process_time() - cpu
        await link.close()
        await pool.close()
    finally:
        await redis.stop()
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "events": consumer.events,
        "wallets": wallets,
        "seconds": round(took, 3),
        "events_per_s": round(consumer.events / took),
        "cpu_us_per_event": round(1e6 * used / consumer.events, 1),
    }


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    wallets = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    print(json.dumps(asyncio.run(measure(events, wallets))))


if __name__ == "__main__":
    main()
