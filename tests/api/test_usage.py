"""`GET /v1/usage/{id}`: the bill line of a call, through its whole life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from rabbitgw import clock
from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.events import payload, ticket
from rabbitgw.billing.loading import load_account
from rabbitgw.billing.usage import Usage
from rabbitgw.scripts import Scripts
from tests.api.conftest import Operator
from tests.scripted import Offer, reserve

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

ADMITTED_MS = 1_795_000_000_123


class Caller:
    """A key's holder whose calls are made by the scripts, without a gateway."""

    def __init__(self, client: TestClient[Any, Any], scripts: Scripts, ids: tuple[int, int, str]) -> None:
        self.client = client
        self.scripts = scripts
        self.account_id, self.key_id, self.secret = ids
        self.partition = self.account_id % 64

    async def begin(self, caller_request_id: str | None = None) -> str:
        hold_id = clock.new_id()
        await self.scripts.lease(self.partition, worker_id="w", ttl_ms=60_000)
        reply = await reserve(
            self.scripts,
            self.partition,
            self.account_id,
            hold_id=hold_id,
            worker_id="w",
            currency="USD",
            key_id=self.key_id,
            generation=1,
            max_age_ms=60_000,
            backlog_max=1000,
            windows=[],
            offers=[Offer(5000, 5000, 0, "")],
            ticket=self.facts(caller_request_id),
        )
        assert reply.word == "OK"
        return hold_id

    def facts(self, caller_request_id: str | None) -> bytes:
        return orjson.dumps(
            ticket(
                key_id=self.key_id,
                caller_request_id=caller_request_id,
                model="gpt-4o",
                dialect="openai-chat",
                price_version=3,
                admitted_ms=ADMITTED_MS,
            )
        )

    async def end(self, hold_id: str, caller_request_id: str | None = None) -> None:
        usage = Usage(
            input_tokens=100, cached_input_tokens=40, output_tokens=20, reasoning_tokens=5, source="provider"
        )
        reply = await self.scripts.settle(
            self.partition,
            self.account_id,
            hold_id=hold_id,
            currency="USD",
            cost_nanos=1234,
            status="settled",
            payload=payload(
                orjson.loads(self.facts(caller_request_id)),
                usage,
                attempts=2,
                first_byte_ms=ADMITTED_MS + 500,
                finished_ms=ADMITTED_MS + 1500,
            ),
        )
        assert reply.word == "OK"

    async def line(self, request_id: str, status: int = 200) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.secret}"}
        async with self.client.get(f"/v1/usage/{request_id}", headers=headers) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == status, body
            return body


@pytest.fixture
async def caller(operator: Operator, pg: Pool, scripts: Scripts) -> Caller:
    return await new_caller(operator, pg, scripts, "a")


async def new_caller(operator: Operator, pg: Pool, scripts: Scripts, key: str) -> Caller:
    ids = await operator.account_with_key()
    credit = {"account_id": ids[0], "currency": "USD", "amount_nanos": 10_000, "idempotency_key": key}
    await operator.post("wallets/credit", credit)
    await load_account(pg, scripts, ids[0])
    return Caller(operator.client, scripts, ids)


async def test_a_call_is_open_then_settled_with_its_exact_cost(
    caller: Caller, operator: Operator, pg: Pool, link: RedisLink
) -> None:
    hold_id = await caller.begin("mine")
    opened = await caller.line(hold_id)
    assert (opened["status"], opened["held_nanos"], opened["model"]) == ("open", 5000, "gpt-4o")
    (wallet,) = (await operator.get("wallets", account_id=str(caller.account_id)))["wallets"]
    assert (wallet["balance_nanos"], wallet["held_nanos"], wallet["available_nanos"]) == (10_000, 5000, 5000)

    await caller.end(hold_id, "mine")
    booked, line = await asyncio.gather(Consumer(pg, link).run_once(), caller.line(hold_id))
    assert booked == 1
    assert (
        line.items()
        >= {
            "request_id": hold_id,
            "caller_request_id": "mine",
            "model": "gpt-4o",
            "dialect": "openai-chat",
            "status": "settled",
            "usage_source": "provider",
            "input_tokens": 100,
            "cached_input_tokens": 40,
            "cache_write_tokens": 0,
            "output_tokens": 20,
            "reasoning_tokens": 5,
            "currency": "USD",
            "cost_nanos": 1234,
            "price_version": 3,
            "attempts": 2,
            "admitted_at": "2026-11-18T11:06:40.123Z",
            "first_byte_at": "2026-11-18T11:06:40.623Z",
            "finished_at": "2026-11-18T11:06:41.623Z",
        }.items()
    )
    (wallet,) = (await operator.get("wallets", account_id=str(caller.account_id)))["wallets"]
    assert (wallet["balance_nanos"], wallet["held_nanos"]) == (8766, 0)


async def test_either_id_finds_the_newest_line_of_the_own_account(
    caller: Caller, operator: Operator, pg: Pool, scripts: Scripts, link: RedisLink
) -> None:
    other = await new_caller(operator, pg, scripts, "b")
    first, second, foreign = (
        await caller.begin("same"),
        await caller.begin("same"),
        await other.begin("same"),
    )
    for who, hold_id in ((caller, first), (caller, second), (other, foreign)):
        await who.end(hold_id, "same")
    while await Consumer(pg, link).run_once():
        pass
    assert (await caller.line("same"))["id"] == second
    assert (await caller.line(first))["id"] == first
    assert (await other.line("same"))["id"] == foreign
    await other.line(first, status=404)


async def test_an_open_hold_of_another_account_is_not_shown(
    caller: Caller, operator: Operator, pg: Pool, scripts: Scripts
) -> None:
    other = await new_caller(operator, pg, scripts, "b")
    hold_id = await caller.begin()
    await other.line(hold_id, status=404)


@pytest.mark.parametrize("request_id", ["nothing", "01930000-0000-7000-8000-000000000001", "%00", "x" * 500])
async def test_an_unknown_id_is_not_found(caller: Caller, request_id: str) -> None:
    body = await caller.line(request_id, status=404)
    assert body["error"]["code"] == "not_found"
