"""The whole house beside a Stripe that keeps state: what customers, operators and Stripe ask of it over HTTP.

Every test that has a till ends with a look at all that was logged meanwhile, at DEBUG and by every library: no secret
is in it, and each line about money says of which order, provider, amount and currency.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from pydantic import SecretStr

from rabbitgw.billing import users
from rabbitgw.telemetry import JsonFormatter
from tests.fakes.stripe import open_fake_stripe, signed
from tests.fakes.stripe.fake import FakeStripe
from tests.fakes.stripe.people import CARD
from tests.flows.house import ADMIN_KEY, House, Reply, until

SECRET_KEY, PUBLISHABLE_KEY = "sk_test_of_the_till", "pk_test_of_the_till"
SECRETS = ("whsec_of_the_till", "whsec_that_is_rolled_in")
DEV_KEY = "dev-secret-of-the-till"
RECEIPT_TO = "ann.of.the.till@example.com"
MONEY_LINES = frozenset(
    ["checkout_created", "payment_status", "payment_applied", "payment_try_failed", "payment_needs_review",
     "payment_dispute", "refund_requested", "refund_forwarded", "refund_refused", "refund_failed", "refund_waits"]
)  # fmt: skip
IN_REQUESTS = frozenset(["checkout_created", "payment_status", "refund_requested", "webhook_stored"])
MONEY_KEYS = frozenset(["order_id", "provider", "amount_cents", "currency"])


@dataclass
class Till:
    """Asks with DEV_API_KEY, unless another credential is given ("" for none)."""

    house: House
    stripe: FakeStripe
    user_id: int

    @property
    def stores(self) -> Any:
        return self.house.stores

    @property
    def settings(self) -> Any:
        return self.house.settings

    async def ask(
        self, path: str, body: Any = None, *, key: str = DEV_KEY, status: int = 200, **headers: str
    ) -> dict[str, Any]:
        """The JSON of an answer of this status. POST, if there is a body; it is sent as it is when it is bytes."""
        reply = await self.reply(path, body, key=key, **headers)
        found: dict[str, Any] = reply.json()
        assert reply.status == status, found
        return found

    async def reply(self, path: str, body: Any = None, *, key: str = DEV_KEY, **headers: str) -> Reply:
        if key:
            headers.setdefault("x-api-key", key)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        data = None if sent is None else io.BytesIO(sent)
        method = "GET" if data is None else "POST"
        async with self.house.http.request(
            method, self.house.base_url + path, data=data, headers=headers
        ) as answer:
            return await Reply.read(answer)

    async def refused(self, path: str, body: Any = None, **how: Any) -> tuple[str, str | None, str]:
        """Code, field and message of a refusal."""
        error = (await self.ask(path, body, **how))["error"]
        return error["code"], error["field"], error["message"]

    async def checkout(self, status: int = 200, **fields: Any) -> dict[str, Any]:
        body = {"user_id": self.user_id, "amount_cents": 1000, "currency": "USD", **fields}
        return await self.ask("/v1/payments/checkout", body, status=status)

    async def status(self, order_id: str) -> str:
        return str((await self.ask(f"/v1/payments/status?order_id={order_id}"))["status"])

    async def balance_nanos(self) -> int:
        """As the next call meets it."""
        return int((await self.house.wallet())["balance_nanos"])

    async def webhook(self, body: bytes, headers: dict[str, str], status: int = 200) -> dict[str, Any]:
        return await self.ask("/v1/webhooks/stripe", body, key="", status=status, **headers)

    async def told(self, event: dict[str, Any], secret: str = SECRETS[0], status: int = 200) -> None:
        body = orjson.dumps(event)
        await self.webhook(body, signed(body, secret), status)

    async def heard(self) -> None:
        """Stripe's webhooks have come and were worked off."""
        assert all(one.ok for one in await self.stripe.deliver())
        await self.worked_off()

    async def worked_off(self) -> None:
        async def none_waits() -> bool:
            return not await self.stores.pg.fetchval(
                "SELECT count(*) FROM provider_events WHERE state = 'stored'"
            )

        await until(none_waits)

    async def event(self, event_id: str) -> dict[str, Any] | None:
        row = await self.stores.pg.fetchrow("SELECT * FROM provider_events WHERE event_id = $1", event_id)
        return None if row is None else dict(row)

    async def events(self) -> int:
        return int(await self.stores.pg.fetchval("SELECT count(*) FROM provider_events"))

    @asynccontextmanager
    async def without_postgresql(self) -> AsyncIterator[None]:
        server, _, database = self.settings.database_url.get_secret_value().rpartition("/")
        admin = await asyncpg.connect(f"{server}/postgres")
        try:
            await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
            await admin.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", database
            )
            yield
        finally:
            await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
            await admin.close()


Opened = Callable[..., AbstractAsyncContextManager[House]]


@asynccontextmanager
async def open_till(house_with: Opened, **changes: Any) -> AsyncIterator[Till]:
    with kept_log() as records:
        async with open_fake_stripe(SECRET_KEY, PUBLISHABLE_KEY) as stripe:
            settings = {
                "stripe_secret_key": SecretStr(SECRET_KEY),
                "stripe_publishable_key": PUBLISHABLE_KEY,
                "stripe_webhook_secret": SecretStr(",".join(SECRETS)),
                "stripe_api_base": stripe.url,
                "dev_api_key": SecretStr(DEV_KEY),
                "bank_details": "Rabbit Ltd, IBAN XX00",
            }
            async with house_with(credit_nanos=0, **{**settings, **changes}) as house:
                user = await users.create_user(house.stores.pg, account_id=house.account.id, name="Ann")
                await stripe.add_endpoint(f"{house.base_url}/v1/webhooks/stripe", secrets=[SECRETS[0]])
                yield Till(house, stripe, user.id)
    secrets = [SECRET_KEY, *SECRETS, DEV_KEY, ADMIN_KEY, RECEIPT_TO.rpartition(".")[0], CARD, house.secret]
    secrets += [made["client_secret"] for made in await stripe.all("payment_intent")]
    check_log(records, secrets)


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)


@contextmanager
def kept_log() -> Iterator[list[logging.LogRecord]]:
    """Everything that is logged meanwhile, whatever level the program would write."""
    root, handler = logging.getLogger(), Records()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.all
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def check_log(records: list[logging.LogRecord], secrets: list[str]) -> None:
    assert {"rabbitgw"} <= {record.name for record in records}
    for record in records:
        line = JsonFormatter().format(record)
        assert not [secret for secret in secrets if secret in line], line
        fields = getattr(record, "fields", {})
        if record.getMessage() in MONEY_LINES:
            assert fields.keys() >= MONEY_KEYS, line
        if record.getMessage() in IN_REQUESTS:
            assert fields.keys() >= {"request_id", "caller_request_id"}, line
