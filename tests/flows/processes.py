"""`rabbitgw` as a deployment runs it: gateway, worker and audit are processes of their own, told by the environment.

A test kills them by pid, and starts them again on the same port, stores and data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from rabbitgw.app import Stores, open_stores
from rabbitgw.billing import accounts, keys, wallets
from rabbitgw.billing.audit import audit
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.spool import read_records
from rabbitgw.dev import child
from rabbitgw.dev.child import Child
from rabbitgw.dev.ports import free_port
from rabbitgw.errors import StoreError
from tests.books import breaches
from tests.flows.callers import COSTS, PRICES_OF_KINDS, Seen
from tests.flows.house import PRICES, house_settings, until

STARTS_WITHIN_S = 90.0  # generous: many tests may share the machine
ENDS_WITHIN_S = 60.0
# The limit of windows that never bind, and whose counters move with everything else.
ENDLESS_NANOS = 10**17


@dataclass
class Deployment:
    """One account with a key and credit on given stores, and the processes that serve it. It is its own `stores`."""

    stores: Stores
    account: accounts.Account
    secret: str
    folder: Path
    env: dict[str, str]
    port: int
    running: list[Child] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}

    def start(self, *arguments: str, **env: str) -> Child:
        """Start a command; its output goes to a log of its own."""
        name = f"{arguments[0]}-{next(self._numbers)}"
        started = child.start(
            name,
            [sys.executable, "-m", "rabbitgw", *arguments],
            log=self.folder / "logs" / f"{name}.log",
            death_signal=signal.SIGKILL,
            env={**self.env, **env},
        )
        self.running.append(started)
        return started

    async def gateway(self, **env: str) -> Child:
        """Start a gateway and wait until it serves."""
        started = self.start("serve", **env)
        await self.serves(started)
        return started

    async def serves(self, gateway: Child) -> None:
        async def ready() -> bool:
            assert gateway.running, f"the gateway ended with {gateway.process.returncode}:{gateway.tail()}"
            return b"rabbitgw ready on" in gateway.log.read_bytes()

        await until(ready, timeout_s=STARTS_WITHIN_S)

    async def worker(self, **env: str) -> Child:
        """Start a worker and wait until it works."""
        started = self.start("work", **env)

        async def working() -> bool:
            assert started.running, f"the worker ended with {started.process.returncode}:{started.tail()}"
            return b'"working"' in started.log.read_bytes()

        await until(working, timeout_s=STARTS_WITHIN_S)
        return started

    async def audit(self) -> tuple[int, dict[str, Any]]:
        """`rabbitgw audit --json`: its exit status and what it says."""
        run = self.start("audit", "--json")
        status = await run.ended(STARTS_WITHIN_S)
        assert status is not None, "the audit did not end"
        said = run.log.read_text()
        start = said.find("{\n")  # after log lines, if there are any
        assert start >= 0, f"the audit exited {status}:{run.tail()}"
        report: dict[str, Any] = json.loads(said[start:])
        return status, report

    async def assert_audit_passes(self) -> dict[str, Any]:
        status, report = await self.audit()
        broken = {one["id"]: one["detail"] for one in report["invariants"] if not one["ok"]}
        assert (status, report["ok"], broken) == (0, True, {}), report
        return report

    async def assert_audit_passes_here(self) -> None:
        """What `rabbitgw audit` does, without starting a process: a second less."""
        report = await audit(self.stores.pg, self.stores.link)
        assert report.ok, breaches(report)
        assert all(one.checked for one in report.invariants), report

    async def terminate(self, process: Child) -> int:
        """SIGTERM. Returns the exit status."""
        process.process.send_signal(signal.SIGTERM)
        status = await process.ended(ENDS_WITHIN_S)
        assert status is not None, f"{process.name} did not end:{process.tail()}"
        return status

    async def kill(self, process: Child) -> None:
        """SIGKILL, by its pid."""
        await process.stop()

    async def close(self) -> None:
        for process in self.running:
            await process.stop()

    async def bill(self, http: aiohttp.ClientSession, request_id: str) -> dict[str, Any]:
        """The bill line of a request, once it is booked."""
        found: dict[str, Any] = {}

        async def booked() -> bool:
            async with http.get(f"{self.base_url}/v1/usage/{request_id}", headers=self.headers) as answer:
                found.clear()
                found.update(await answer.json() if answer.status == 200 else {"status": "open"})
            return found["status"] != "open"

        await until(booked, timeout_s=STARTS_WITHIN_S)
        return found

    async def holds(self) -> int:
        """How many holds are open, over all partitions."""
        keys_of = self.stores.scripts.names.partition
        return sum(await asyncio.gather(*(self.stores.link.call("HLEN", one.holds) for one in keys_of)))

    async def settled_down(self) -> bool:
        """No hold is open, every event is booked, every credit is in Redis, and no settle waits on disk."""
        with contextlib.suppress(StoreError):  # one that was away is still coming back
            keys_of = self.stores.scripts.names.partition
            waiting = await asyncio.gather(*(self.stores.link.call("XLEN", one.events) for one in keys_of))
            unapplied = await self.stores.pg.fetchval(
                "SELECT count(*) FROM wallet_credits WHERE applied_at IS NULL"
            )
            return not (await self.holds() or any(waiting) or unapplied or self.spooled())
        return False

    def spooled(self) -> dict[str, bytes]:
        """The settles on disk that are not through yet, by hold."""
        records: dict[str, bytes] = {}
        for path in (self.folder / "data" / "spool").glob("*.spool"):
            with contextlib.suppress(FileNotFoundError):  # it was worked off just now
                records.update(read_records(path.read_bytes()))
        return records

    async def balance_nanos(self) -> int:
        """As the ledger has it."""
        found = await self.stores.pg.fetchval(
            "SELECT balance_nanos FROM wallets WHERE account_id = $1 AND currency = 'USD'", self.account.id
        )
        return int(found)


@asynccontextmanager
async def deployment(
    dsn: str, redis_url: str, upstream_url: str, folder: Path, *, credit_nanos: int, **env: str
) -> AsyncIterator[Deployment]:
    """An account with credit on these stores; nothing runs yet. What was started is ended."""
    settings = house_settings(dsn, redis_url, upstream_url, folder)
    port = free_port()
    environment = {
        "HOME": str(folder),
        "RABBITGW_PORT": str(port),
        "RABBITGW_DATA_DIR": str(folder / "data"),
        "DATABASE_URL": dsn,
        "REDIS_URL": redis_url,
        "LITELLM_BASE_URL": upstream_url,
        "LITELLM_MASTER_KEY": "sk-upstream",
        **env,
    }
    async with open_stores(settings) as stores:
        await Partitions(stores.pg).run_once()
        account = await accounts.create_account(stores.pg, "test")
        await append_prices(
            stores.pg, [price_from_text(model, rates) for model, rates in (PRICES | PRICES_OF_KINDS).items()]
        )
        created = await keys.create_key(
            stores.pg,
            keys.NewKey(
                account_id=account.id,
                name="test",
                lifetime_limit_nanos=ENDLESS_NANOS,
                daily_limit_nanos=ENDLESS_NANOS,
            ),
        )
        await wallets.credit(
            stores.pg, account, currency="USD", amount_nanos=credit_nanos, idempotency_key="first"
        )
        deployed = Deployment(stores, account, created.secret, folder, environment, port)
        try:
            yield deployed
        finally:
            await deployed.close()


async def check_bills(house: Deployment, seen: Seen, credit_nanos: int) -> None:
    """Each answer seen whole has its line at its exact price; no line has more; the wallet fell by their sum."""
    rows = await house.stores.pg.fetch(
        "SELECT id::text AS id, status, model, charge_nanos FROM usage WHERE account_id = $1",
        house.account.id,
    )
    lines = {row["id"]: row for row in rows}
    for request_id, kind in seen.whole.items():
        line = lines.get(request_id)
        assert line is not None, f"{request_id} ({kind.model}) was seen whole and is not billed"
        assert (line["status"], line["charge_nanos"]) == ("settled", kind.cost_nanos), (
            request_id,
            dict(line),
        )
    for row in rows:
        assert 0 <= row["charge_nanos"] <= COSTS[row["model"]], dict(row)
    charged_nanos = sum(row["charge_nanos"] for row in rows)
    assert await house.balance_nanos() == credit_nanos - charged_nanos
    unseen = len(rows) - len(seen.whole)
    print(
        f"{len(rows)} bill lines, {len(seen.whole)} seen whole, {unseen} others, {charged_nanos} nanos charged"
    )
