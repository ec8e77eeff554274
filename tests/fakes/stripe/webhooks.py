"""Webhooks: what is sent to which endpoint, signed as Stripe signs, in the order and as often as a test asks.

An event waits in the queue until its endpoint answers 2xx. Nothing is sent before `deliver`, unless the endpoint was
added with auto=True. Signatures carry the machine's own time, also when the account's clock was moved ahead: each
attempt is signed anew, as on Stripe.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.fakes.stripe.account import Account
from tests.fakes.stripe.objects import Obj

ANSWER_WITHIN_S = 30
AUTO_ATTEMPTS_MAX = 8
AUTO_PAUSE_S = 0.05  # doubled from attempt to attempt
AUTO_PAUSE_MAX_S = 1.0
ORDERS = ("created", "reversed", "shuffled")


@dataclass(eq=False)
class Endpoint:
    url: str
    secrets: tuple[str, ...]
    events: tuple[str, ...]
    auto: bool

    def wants(self, type: str) -> bool:
        return "*" in self.events or type in self.events


@dataclass
class Delivery:
    """One attempt: `status` is None when no answer came, and `error` then says why."""

    event_id: str
    type: str
    url: str
    status: int | None
    error: str | None
    body: bytes
    headers: dict[str, str]
    answer: str = ""

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(eq=False)
class Pending:
    event: Obj
    endpoint: Endpoint
    attempts: int = 0


@dataclass
class Webhooks:
    account: Account
    endpoints: list[Endpoint] = field(default_factory=list)
    queue: list[Pending] = field(default_factory=list)
    dropped: list[Pending] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None

    def enqueue(self, event: Obj) -> None:
        for endpoint in self.endpoints:
            if endpoint.wants(event["type"]):
                pending = Pending(event, endpoint)
                event["pending_webhooks"] += 1
                self.queue.append(pending)
                if endpoint.auto:
                    task = asyncio.get_running_loop().create_task(self._insist(pending))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _insist(self, pending: Pending) -> None:
        pause = AUTO_PAUSE_S
        for _ in range(AUTO_ATTEMPTS_MAX):
            if pending not in self.queue or (await self._send(pending)).ok:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, AUTO_PAUSE_MAX_S)

    async def idle(self) -> None:
        """Until the automatic deliveries under way have ended, well or not."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def deliver(self, order: str, seed: int, twice: bool, parallel: int) -> list[Delivery]:
        """One attempt for each pending event (two with `twice`), at most `parallel` at a time."""
        if order not in ORDERS or parallel < 1:
            raise ValueError(f"order is one of {ORDERS}, parallel at least 1")
        batch = [pending for pending in self.queue for _ in range(2 if twice else 1)]
        if order == "reversed":
            batch.reverse()
        elif order == "shuffled":
            random.Random(seed).shuffle(batch)
        slots = asyncio.Semaphore(parallel)

        async def send(pending: Pending) -> Delivery:
            async with slots:
                return await self._send(pending)

        return list(await asyncio.gather(*map(send, batch)))

    async def redeliver(self, event_id: str) -> list[Delivery]:
        """Once more to every endpoint that wants it, delivered before or not."""
        event = next(event for event in self.account.events if event["id"] == event_id)
        waiting = {
            id(pending.endpoint): pending
            for pending in (*self.queue, *self.dropped)
            if pending.event is event
        }
        return [
            await self._send(waiting.get(id(endpoint), Pending(event, endpoint)))
            for endpoint in self.endpoints
            if endpoint.wants(event["type"])
        ]

    def drop(self, event_ids: Iterable[str]) -> None:
        """They never come: Stripe gave up. They stay undelivered in /v1/events."""
        ids = set(event_ids)
        gone = [pending for pending in self.queue if pending.event["id"] in ids]
        self.queue = [pending for pending in self.queue if pending not in gone]
        self.dropped += gone

    async def _send(self, pending: Pending) -> Delivery:
        pending.attempts += 1
        endpoint, event = pending.endpoint, pending.event
        body = event_bytes(event)
        headers = signed(body, endpoint.secrets)
        status, error, answer = None, None, ""
        try:
            async with self._client().post(
                endpoint.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = (await response.read())[:2000].decode(errors="replace")
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            error = type(failure).__name__
        made = Delivery(event["id"], event["type"], endpoint.url, status, error, body, headers, answer)
        self.deliveries.append(made)
        if made.ok:
            self._delivered(pending)
        return made

    def _delivered(self, pending: Pending) -> None:
        for waiting in (self.queue, self.dropped):
            for number, one in enumerate(waiting):
                if one is pending:
                    del waiting[number]
                    pending.event["pending_webhooks"] -= 1
                    return

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=100))
        return self._session

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def event_bytes(event: Obj) -> bytes:
    """The body of a delivery, printed over several lines as Stripe prints it."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def signed(payload: bytes, secrets: str | Sequence[str], at: int | None = None) -> dict[str, str]:
    """Headers of a delivery of these bytes, with one v1 for each secret."""
    secrets = [secrets] if isinstance(secrets, str) else secrets
    stamp = int(time.time()) if at is None else at
    message = f"{stamp}.".encode() + payload
    digests = [hmac.new(secret.encode(), message, hashlib.sha256).hexdigest() for secret in secrets]
    return {
        "Stripe-Signature": ",".join([f"t={stamp}", *(f"v1={digest}" for digest in digests)]),
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
