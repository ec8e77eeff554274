"""Processes that die between any two steps of a payment, or lose a store or Stripe there, and what goes on after them.

A step is after a request to Stripe, a command to Redis, a statement, a commit, and just before a commit: between two of
them a death makes no difference. Once dead, a process makes no further step: whatever else it has under way dies at its
next one. Where something is away for once instead, before and after a step are two things: it was not done, or it was
and nobody heard. Leases are not waited for: they are moved into the past.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from unittest.mock import patch

import stripe

from rabbitgw import stores
from rabbitgw.billing.credits import Credits
from rabbitgw.errors import PaymentUnavailable, PostgresUnavailable, RedisTimeout, StoreError
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from tests.payments.shop import PaymentShop

ROUNDS_MAX = 20  # of work until all is quiet; each brings everything on by a step at least


_AWAY: dict[str, type[Exception]] = {
    "statement": PostgresUnavailable,
    "commit": PostgresUnavailable,
    "redis": RedisTimeout,
    "stripe": stripe.APIConnectionError,
}


class Death(BaseException):
    """A process ends here; nothing of the product's catches it."""


class Crashes:
    """Counts steps; at the one numbered `at`, from 1, the process dies, or what it uses is `away` once. None: never."""

    def __init__(self, at: int | None = None, *, away: bool = False) -> None:
        self.at = at
        self.away = away
        self.steps = 0
        self.met = ""

    def before(self, what: str) -> None:
        if self.away or what == "commit":
            self._step(f"before {what}", what)

    def after(self, what: str) -> None:
        self._step(f"after {what}", what)

    def _step(self, where: str, what: str) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.met = f"step {self.steps}, {where}"
            if self.away:
                raise _AWAY[what](f"{what} of the test's is away")
        if self.met and not self.away:
            raise Death(self.met)


class DyingLink:
    """A Redis link that dies, or is away, around a command."""

    def __init__(self, link: RedisLink, crashes: Crashes) -> None:
        self._link = link
        self._crashes = crashes

    async def send(self, command: bytes) -> Any:
        return await self._around(lambda: self._link.send(command))

    async def call(self, *args: Any) -> Any:
        return await self._around(lambda: self._link.call(*args))

    async def _around(self, work: Callable[[], Awaitable[Any]]) -> Any:
        self._crashes.before("redis")
        reply = await work()
        self._crashes.after("redis")
        return reply


@asynccontextmanager
async def process_that_dies(shop: PaymentShop, crashes: Crashes) -> AsyncIterator[None]:
    """Inside, what the shop does is done by another process, until that step; what ends it does not leave the block."""
    real_transaction, real_connection = stores.transaction, stores.connection
    real_request = stripe.AIOHTTPClient.request_async

    @asynccontextmanager
    async def transaction(pool: stores.Pool, **how: Any) -> AsyncIterator[stores.PoolConnection]:
        async with real_transaction(pool, **how) as db:
            yield db
            crashes.before("commit")
        crashes.after("commit")

    @asynccontextmanager
    async def connection(pool: stores.Pool) -> AsyncIterator[stores.PoolConnection]:
        crashes.before("statement")
        async with real_connection(pool) as db:
            yield db
        crashes.after("statement")

    async def request(self: Any, *args: Any, **named: Any) -> Any:
        crashes.before("stripe")
        answer = await real_request(self, *args, **named)
        crashes.after("stripe")
        return answer

    stands_for = {"transaction": (real_transaction, transaction), "connection": (real_connection, connection)}
    link: Any = DyingLink(shop.shop.link, crashes)
    before = shop.payments  # whose provider keeps nothing but a connection
    payments = Payments(shop.shop.pg, link, shop.settings, providers=before.providers)
    with ExitStack() as patches:
        patches.enter_context(patch.object(stripe.AIOHTTPClient, "request_async", request))
        for module in [one for name, one in sys.modules.items() if name.startswith("rabbitgw.")]:
            for name, (real, dying) in stands_for.items():
                if module is not stores and module.__dict__.get(name) is real:
                    patches.enter_context(patch.object(module, name, dying))
        shop.payments = payments
        try:
            yield
        except (Death, StoreError, PaymentUnavailable):
            pass
        finally:
            shop.payments = before


async def overdue(pg: stores.Pool) -> int:
    """End every lease and every pause. Returns: how many events and refunds wait for a worker."""
    waiting = 0
    for statement in (
        "UPDATE provider_events SET next_try_at = now() - interval '1 second' WHERE state = 'stored'",
        "UPDATE refunds SET next_try_at = now() - interval '1 second' WHERE state IN ('requested', 'taken')",
    ):
        waiting += int((await pg.execute(statement)).split()[-1])
    return waiting


async def quiesce(shop: PaymentShop) -> None:
    """Stripe tells what it has not told yet, and workers work until nothing waits."""
    for _ in range(ROUNDS_MAX):
        await shop.take_new_webhooks()
        if not await overdue(shop.shop.pg):
            await Credits(shop.shop.pg, shop.shop.link).run_once()
            return
        await shop.payments.run_once()
    raise AssertionError("events or refunds never come to an end")
