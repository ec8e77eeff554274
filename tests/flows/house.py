"""The whole house in the test's own loop: gateway, bookkeepers, one account, a key and prices; real stores."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from rabbitgw.app import Gateway, Stores, bookkeepers_of, open_payments, open_stores
from rabbitgw.billing import accounts, keys, wallets
from rabbitgw.billing.bookkeepers import Bookkeepers
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.config import Settings
from rabbitgw.payments.till import Payments

UNIT = 1_000_000_000
ADMIN_KEY = "admin-of-the-tests"
PRICES = {
    "gpt-4o": {"input": "2.50", "output": "10", "cached_input": "1.25"},
    "fake-gpt": {"input": "2.50", "output": "10", "cached_input": "1.25"},
    "free": {"input": "0", "output": "0"},
    "words": {"input": "1", "output": "1000"},
}
# Images and sound: rates by token, and prices by the piece.
MEDIA: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "dall-e-3": (
        {},
        {
            "images:1024x1024:standard": "0.04",
            "images:1024x1024:hd": "0.08",
            "images:1024x1792:standard": "0.08",
        },
    ),
    "gpt-image-1": ({"input": "5", "image_input": "10", "output": "40"}, {}),
    "fake-image": ({}, {"images": "0.02"}),
    "tts-1": ({}, {"characters": "0.000015"}),
    "gpt-4o-mini-tts": ({"input": "0.60", "output": "12"}, {}),
    "fake-speech": ({}, {"characters": "0.000015"}),
    "whisper-1": ({}, {"minutes": "0.007"}),
    "gpt-4o-transcribe": ({"input": "2.50", "audio_input": "6", "output": "10"}, {}),
    "fake-ears": ({}, {"seconds": "0.0001"}),
}


@dataclass
class House:
    gateway: Gateway
    stores: Stores
    settings: Settings
    http: aiohttp.ClientSession
    account: accounts.Account
    secret: str
    books: Bookkeepers
    stop_books: asyncio.Event
    payments: Payments
    _numbers: Any = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    async def post(self, body: Any, *, path: str = "/v1/chat/completions", **headers: str) -> Reply:
        """POST with the house's key; `body` is sent as JSON, or as it is when it is bytes."""
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        sent = {"authorization": f"Bearer {self.secret}", "content-type": "application/json", **headers}
        async with self.http.post(self.base_url + path, headers=sent, **data) as answer:
            return await Reply.read(answer)

    async def get(self, path: str, **headers: str) -> Reply:
        sent = {"authorization": f"Bearer {self.secret}", **headers}
        async with self.http.get(self.base_url + path, headers=sent) as answer:
            return await Reply.read(answer)

    async def bill(self, request_id: str) -> dict[str, Any]:
        """The bill line of a request, once it is booked."""
        found: dict[str, Any] = {}

        async def booked() -> bool:
            reply = await self.get(f"/v1/usage/{request_id}")
            found.update(reply.json() if reply.status == 200 else {})
            return reply.status == 200 and found.get("status") != "open"

        await until(booked)
        return found

    async def wallet(self) -> dict[str, Any]:
        (wallet,) = (await self.get("/v1/wallets")).json()["wallets"]
        return dict(wallet)

    async def credit(self, amount_nanos: int) -> None:
        await wallets.credit(
            self.stores.pg,
            self.account,
            currency="USD",
            amount_nanos=amount_nanos,
            idempotency_key=f"test-{next(self._numbers)}",
        )
        self.books.credits.wake()

    async def new_key(self, **limits: Any) -> str:
        created = await keys.create_key(
            self.stores.pg, keys.NewKey(account_id=self.account.id, name="test", **limits)
        )
        return created.secret


@dataclass
class Reply:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @classmethod
    async def read(cls, answer: aiohttp.ClientResponse) -> Reply:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return cls(answer.status, headers, await answer.read())

    def json(self) -> Any:
        import orjson

        return orjson.loads(self.body)

    @property
    def request_id(self) -> str:
        return self.headers["x-rabbitgw-request-id"]


async def until(condition: Callable[[], Any], *, timeout_s: float = 30.0) -> None:
    """Poll a condition (plain or async) until it holds."""
    async with asyncio.timeout(timeout_s):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            await asyncio.sleep(0.02)


def house_settings(dsn: str, redis_url: str, upstream_url: str, data_dir: Path, **changes: Any) -> Settings:
    return Settings.load(
        **{
            "port": 0,
            "data_dir": data_dir,
            "admin_key": SecretStr(ADMIN_KEY),
            "database_url": SecretStr(dsn),
            "redis_url": SecretStr(redis_url),
            "litellm_base_url": upstream_url,
            "litellm_master_key": SecretStr("sk-upstream"),
            "hold_wait_s": 0.2,
            "drain_timeout_s": 5.0,
            **changes,
        }
    )


@contextlib.asynccontextmanager
async def open_house(settings: Settings, *, credit_nanos: int = 10 * UNIT) -> AsyncIterator[House]:
    async with (
        open_stores(settings) as stores,
        aiohttp.ClientSession() as http,
        contextlib.AsyncExitStack() as stack,
    ):
        await Partitions(stores.pg).run_once()
        account = await accounts.create_account(stores.pg, "test")
        prices = [price_from_text(model, rates) for model, rates in PRICES.items()]
        prices += [price_from_text(model, rates, units=pieces) for model, (rates, pieces) in MEDIA.items()]
        await append_prices(stores.pg, prices)
        created = await keys.create_key(stores.pg, keys.NewKey(account_id=account.id, name="test"))
        payments = await stack.enter_async_context(open_payments(settings, stores))
        books = bookkeepers_of(settings, stores, payments)
        stop_books = asyncio.Event()
        gateway = Gateway(settings, stores, payments=payments)
        house = House(gateway, stores, settings, http, account, created.secret, books, stop_books, payments)
        if credit_nanos:
            await house.credit(credit_nanos)
        await gateway.start()
        work = asyncio.create_task(books.run(stop_books))
        try:
            yield house
        finally:
            await gateway.stop()
            stop_books.set()
            await work
