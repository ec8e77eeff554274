"""How a money test ends: everything is booked, and the audit finds nothing. And a shop to make money move in.

`assert_books_balance` drains the streams first, whether a consumer of the test runs or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from rabbitgw.billing import accounts, wallets
from rabbitgw.billing.audit import AuditReport, audit
from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.events import payload, ticket
from rabbitgw.billing.loading import load_account
from rabbitgw.billing.usage import Usage
from rabbitgw.clock import new_id, now_ms
from rabbitgw.prepared import WindowCheck
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts, WindowLimit
from rabbitgw.stores import Pool
from tests.scripted import Offer, reserve

WAIT_S = 60.0  # generous: a loaded machine must not fail a test


class Stores(Protocol):
    @property
    def pg(self) -> Pool: ...
    @property
    def link(self) -> RedisLink: ...


class HasStores(Protocol):
    @property
    def stores(self) -> Any: ...


async def drain(pg: Pool, link: RedisLink) -> None:
    """Return when every event is booked and trimmed, by a consumer made here or by one that runs."""
    consumer = Consumer(pg, link)
    keys = (await read_names(pg)).partition
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                if await consumer.run_once():
                    continue
                lengths = await asyncio.gather(*(link.call("XLEN", one.events) for one in keys))
                if not any(lengths):
                    return
                await asyncio.sleep(0.05)
    finally:
        await consumer.release()


async def assert_books_balance(
    house: HasStores, *, overspend_bounds: Mapping[str, int] | None = None
) -> AuditReport:
    """Book what is waiting, then audit: every invariant holds. A house with settings is judged by its bounds too."""
    pg, link = house.stores.pg, house.stores.link
    await drain(pg, link)
    await Credits(pg, link).run_once()
    settings = getattr(house, "settings", None) if overspend_bounds is None else None
    report = await audit(pg, link, settings=settings, overspend_bounds=overspend_bounds)
    assert report.ok, breaches(report)
    return report


def breaches(report: AuditReport) -> dict[int, str]:
    """What an audit found, by the number of the invariant."""
    return {one.id: one.detail for one in report.invariants if not one.ok}


@dataclass
class Shop:
    """Accounts that hold and settle by the scripts, without a gateway. It is its own `stores`."""

    pg: Pool
    link: RedisLink
    scripts: Scripts
    worker_id: str = "worker-1"

    @classmethod
    async def open(cls, pg: Pool, link: RedisLink) -> Shop:
        names = await read_names(pg)
        await publish_epoch(link, names)
        return cls(pg, link, Scripts(link, names, timeout_s=10.0))

    @property
    def stores(self) -> Shop:
        return self

    async def customer(
        self, credit_nanos: int, *, windows: int = 0, currency: str = "USD", load: bool = True
    ) -> Customer:
        """An account with credit, a key of generation 1 and lifetime windows, loaded into Redis."""
        account = await accounts.create_account(self.pg, "customer", currency)
        customer = Customer(self, account)
        for _ in range(windows):
            window_id = await self.pg.fetchval(
                "INSERT INTO windows (account_id, kind, limit_nanos) VALUES ($1, 'lifetime', $2) RETURNING id",
                account.id,
                9 * 10**18,
            )
            customer.windows.append(window_id)
        if credit_nanos:
            await customer.credit(credit_nanos)
        if load:
            await customer.load()
        return customer


@dataclass
class Customer:
    shop: Shop
    account: accounts.Account
    windows: list[int] = field(default_factory=list)

    @property
    def id(self) -> int:
        return self.account.id

    @property
    def partition(self) -> int:
        return self.account.partition

    @property
    def currency(self) -> str:
        return self.account.currency

    @property
    def key(self) -> str:
        """The account's name in Redis."""
        return self.shop.scripts.names.partition[self.partition].account(self.id)

    @property
    def events(self) -> str:
        return self.shop.scripts.names.partition[self.partition].events

    async def load(self) -> None:
        await load_account(self.shop.pg, self.shop.scripts, self.id)
        await self.shop.scripts.key_put(self.partition, self.id, key_id=7, generation=1)

    async def credit(self, amount_nanos: int) -> None:
        """Book a credit; Redis is not told."""
        await wallets.credit(
            self.shop.pg, self.account, currency=self.currency, amount_nanos=amount_nanos,
            idempotency_key=new_id(),
        )  # fmt: skip

    async def hold(
        self, amount_nanos: int, *, hold_id: str | None = None, max_age_ms: int = 3_600_000
    ) -> str:
        hold_id = hold_id or new_id()
        facts = ticket(
            key_id=7, caller_request_id="caller-1", model="gpt", dialect="openai-chat", price_version=3,
            admitted_ms=now_ms(),
        )  # fmt: skip
        reply = await reserve(
            self.shop.scripts, self.partition, self.id, hold_id=hold_id, worker_id=self.shop.worker_id,
            currency=self.currency,
            key_id=7, generation=1, max_age_ms=max_age_ms, backlog_max=10**9,
            windows=[WindowCheck(window, "life", 0, 0, 9 * 10**18) for window in self.windows],
            offers=[Offer(amount_nanos, amount_nanos, 0, "1" * len(self.windows))], ticket=orjson.dumps(facts),
        )  # fmt: skip
        assert reply.word == "OK", reply
        return hold_id

    async def deliver(self, hold_id: str, delivered_nanos: int) -> None:
        reply = await self.shop.scripts.extend(
            self.partition, self.id, hold_id=hold_id, new_total_nanos=0, least_total_nanos=0,
            delivered_nanos=delivered_nanos,
            windows=[WindowLimit(window, 9 * 10**18) for window in self.windows],
        )  # fmt: skip
        assert reply.word == "OK", reply

    async def settle(self, hold_id: str, cost_nanos: int, **facts: Any) -> str:
        reply = await self.shop.scripts.settle(
            self.partition, self.id, hold_id=hold_id, currency=self.currency, cost_nanos=cost_nanos,
            status="settled", payload=end_of_call(**facts),
        )  # fmt: skip
        return reply.word

    async def release(self, hold_id: str) -> str:
        reply = await self.shop.scripts.release(
            self.partition, self.id, hold_id=hold_id, currency=self.currency, payload=end_of_call()
        )
        return reply.word

    async def expire(self, hold_id: str) -> str:
        return (await self.shop.scripts.expire(self.partition, self.id, hold_id=hold_id)).word

    async def call(self, cost_nanos: int) -> str:
        """A call from hold to settle. Returns its id."""
        hold_id = await self.hold(2 * cost_nanos)
        assert await self.settle(hold_id, cost_nanos) == "OK"
        return hold_id

    async def emit(self, **fields: str | bytes) -> None:
        """An event that no script made."""
        flat = [item for pair in fields.items() for item in pair]
        await self.shop.link.call("XADD", self.events, "*", *flat)

    async def redis_nanos(self) -> int:
        return int(await self.shop.link.call("HGET", self.key, f"b:{self.currency}"))

    async def ledger_nanos(self) -> int:
        return int(
            await self.shop.pg.fetchval(
                "SELECT balance_nanos FROM wallets WHERE account_id = $1 AND currency = $2",
                self.id,
                self.currency,
            )
        )

    async def bill(self, hold_id: str) -> dict[str, Any]:
        row = await self.shop.pg.fetchrow("SELECT * FROM usage WHERE id = $1", hold_id)
        assert row is not None, hold_id
        return dict(row)


def end_of_call(**usage: Any) -> bytes:
    now = now_ms()
    facts = ticket(
        key_id=7, caller_request_id="caller-1", model="gpt", dialect="openai-chat", price_version=3, admitted_ms=now
    )  # fmt: skip
    counts = {"input_tokens": 100, "output_tokens": 20, **usage}
    return payload(facts, Usage(**counts), attempts=1, first_byte_ms=now, finished_ms=now)
