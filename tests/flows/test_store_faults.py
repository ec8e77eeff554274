"""Stores that refuse, hang or are away, and processes that end meanwhile: nothing is lost, held or charged twice.

Every test has the server that it ends to itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from rabbitgw.billing.migrations import migrate
from rabbitgw.dev.child import Child
from rabbitgw.dev.postgres import start_postgres
from rabbitgw.dev.redis import RedisServer, start_redis
from rabbitgw.errors import StoreError
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.callers import KINDS, Callers, Kind, lost_connections, script, seeded
from tests.flows.house import Reply, until
from tests.flows.processes import Deployment, check_bills, deployment

pytestmark = pytest.mark.timeout(300)
CREDIT_NANOS = 10_000_000_000_000
PLAIN, QUICK, SLOW, LONG = KINDS
PATIENT = Kind("gpt-4o-patient", False, Answer(delay_s=1.0, usage=usage(19, 10)), 147_500, {"max_tokens": 20})
REPLY_WITHIN_S = 0.4
HANGS_S = (0.2, 0.6, 0.6, 1.0, 1.6)  # shorter than a reply may take, longer, and until the link is given up
Opened = Callable[..., AbstractAsyncContextManager[Deployment]]


class OwnRedis:
    """A Redis of the test's own, that can be stopped, frozen and started again at the same address."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self._folder = folder

    @property
    def url(self) -> str:
        return self._server.url

    async def stop(self) -> None:
        await self._server.stop()

    async def start(self) -> None:
        self._server = await start_redis(self._folder, port=self._server.port)

    def freeze(self) -> None:
        os.kill(self._server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._server.pid, signal.SIGCONT)


@pytest.fixture
async def own_redis(server_folder: Path) -> AsyncIterator[OwnRedis]:
    redis = OwnRedis(await start_redis(server_folder), server_folder)
    yield redis
    redis.thaw()
    await redis.stop()


@pytest.fixture
def house_on(upstream: FakeUpstream, own_redis: OwnRedis, dsn: str, tmp_path: Path) -> Opened:
    """A deployment on the test's own Redis."""

    @asynccontextmanager
    async def opened(**env: str) -> AsyncIterator[Deployment]:
        script(upstream, (*KINDS, PATIENT))
        async with deployment(
            dsn, own_redis.url, upstream.base_url, tmp_path, credit_nanos=CREDIT_NANOS, **env
        ) as house:
            yield house

    return opened


async def post(house: Deployment, kind: Kind) -> Reply:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{house.base_url}/v1/chat/completions", json=kind.body, headers=house.headers) as answer,
    ):
        return await Reply.read(answer)


async def assert_settles_down(house: Deployment) -> None:
    await until(house.settled_down, timeout_s=90)
    await assert_books_balance(house)


async def bill_of(house: Deployment, request_id: str) -> tuple[str, int]:
    async with aiohttp.ClientSession() as http:
        bill = await house.bill(http, request_id)
    return bill["status"], bill["cost_nanos"]


# Redis


async def test_a_redis_that_is_gone_is_503_until_it_is_back(
    house_on: Opened, own_redis: OwnRedis, upstream: FakeUpstream
) -> None:
    async with house_on() as house:
        await house.gateway()
        await house.worker()
        first = await post(house, PLAIN)
        assert first.status == 200, first.body
        await own_redis.stop()
        for kind in (PLAIN, QUICK):
            refused = await post(house, kind)
            assert (refused.status, refused.json()["error"]["code"]) == (503, "service_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
        assert len(upstream.requests) == 1  # nothing is forwarded without a hold
        await own_redis.start()

        async def served() -> bool:
            return (await post(house, QUICK)).status == 200

        await until(served)
        assert await bill_of(house, first.request_id) == ("settled", PLAIN.cost_nanos)
        await assert_settles_down(house)


async def test_a_redis_that_hangs_leaves_no_hold_behind_and_loses_no_settle(
    house_on: Opened, own_redis: OwnRedis
) -> None:
    """Frozen again and again under load, with reserves, extensions and settles in flight."""
    rng = seeded()
    settings = {"RABBITGW_SETTLE_WAIT_S": "0.2", "RABBITGW_REDIS_TIMEOUT_S": str(REPLY_WITHIN_S)}
    async with house_on(**settings) as house:
        gateway = await house.gateway()
        await house.worker()
        async with Callers(house.base_url, house.secret, rng, count=16) as callers:
            for hang_s in rng.sample(HANGS_S, len(HANGS_S)):
                await asyncio.sleep(rng.uniform(0.1, 0.4))
                own_redis.freeze()
                await asyncio.sleep(hang_s)
                own_redis.thaw()
                goal = callers.seen.served + 10
                await until(lambda goal=goal: callers.seen.served > goal)
        spooled = gateway.log.read_text().count('"end_kept"')
        print(f"callers saw {dict(callers.seen.outcomes)}; {spooled} ends were kept for later")
        assert set(callers.seen.outcomes) == {"whole", "refused 503"}
        assert spooled
        await assert_settles_down(house)
        await check_bills(house, callers.seen, CREDIT_NANOS)


# PostgreSQL


async def test_the_data_plane_goes_on_while_postgresql_is_away(
    upstream: FakeUpstream, redis_url: str, server_folder: Path, tmp_path: Path
) -> None:
    script(upstream)
    server = await start_postgres(server_folder, fsync=False)
    try:
        await migrate(server.dsn())
        async with deployment(
            server.dsn(), redis_url, upstream.base_url, tmp_path, credit_nanos=CREDIT_NANOS
        ) as house:
            await house.gateway()
            worker = await house.worker()
            async with Callers(house.base_url, house.secret, random.Random(0), count=8) as callers:
                await until(lambda: callers.seen.served > 50)
                await server.kill()  # in the middle of bookings
                away_from = callers.seen.served
                await until(lambda: callers.seen.served > away_from + 300)
                assert set(callers.seen.outcomes) == {"whole"}, callers.seen.outcomes
                assert worker.running
                server = await start_postgres(server_folder, port=server.port, fsync=False)
            print(f"{callers.seen.served} answers, {callers.seen.served - away_from} without PostgreSQL")
            assert set(callers.seen.outcomes) == {"whole"}, callers.seen.outcomes
            await assert_settles_down(house)
            await check_bills(house, callers.seen, CREDIT_NANOS)
    finally:
        await server.stop()


# The end of a gateway


async def test_sigterm_lets_running_answers_end_and_settles_them(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    unhurried = Kind(
        "gpt-4o-unhurried", True,
        Answer(chunks=("tok ",) * 20, usage=usage(40, 20), delay_s=0.1), 300_000,
    )  # fmt: skip
    upstream.script(unhurried.model, unhurried.answer)
    async with deployment(dsn, redis_url, upstream.base_url, tmp_path, credit_nanos=CREDIT_NANOS) as house:
        gateway = await house.gateway()
        calls = [asyncio.create_task(post(house, unhurried)) for _ in range(20)]
        await until(lambda: len(upstream.of(unhurried.model)) == 20)
        assert await house.terminate(gateway) == 0
        replies = await asyncio.gather(*calls)
        assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(house, unhurried)
        assert await house.holds() == 0  # settled by the gateway itself: no sweeper runs
        await assert_books_balance(house)
        assert await house.balance_nanos() == CREDIT_NANOS - 20 * 300_000


async def test_an_answer_longer_than_the_drain_is_ended_and_charged_as_far_as_it_came(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    endless = Kind("gpt-4o-endless", True, Answer(chunks=("four",) * 5000, delay_s=0.02), 0)
    upstream.script(endless.model, endless.answer)
    async with deployment(
        dsn, redis_url, upstream.base_url, tmp_path, credit_nanos=CREDIT_NANOS, RABBITGW_DRAIN_TIMEOUT_S="0.5"
    ) as house:
        gateway = await house.gateway()
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"{house.base_url}/v1/chat/completions", json=endless.body, headers=house.headers
            ) as answer,
        ):
            await answer.content.readexactly(2000)
            assert await house.terminate(gateway) == 0
            with lost_connections():
                rest = await answer.read()
                assert b"[DONE]" not in rest
        assert await house.holds() == 0
        await assert_books_balance(house)
        row = await house.stores.pg.fetchrow("SELECT status, charge_nanos, output_tokens FROM usage")
        assert row is not None
        assert row["status"] == "partial"
        assert row["output_tokens"] >= 5
        await house.gateway()
        await assert_books_balance(house)


# Settles that Redis did not take


async def spooled_settle(house: Deployment, own_redis: OwnRedis, gateway: Child) -> str:
    """An answer seen whole whose settle is on disk only; its gateway is killed. Returns the request id."""
    call = asyncio.create_task(post(house, PATIENT))

    async def under_way() -> bool:
        return call.done() or await still_held(house)

    await until(under_way)
    assert not call.done(), call.result()
    await own_redis.stop()
    reply = await call
    assert reply.status == 200, reply.body
    assert list(house.spooled()) == [reply.request_id]
    await house.kill(gateway)
    await own_redis.start()
    await until(lambda: still_held(house))
    return reply.request_id


async def still_held(house: Deployment) -> bool:
    try:
        return await house.holds() == 1
    except StoreError:
        return False


@pytest.mark.parametrize("expired_first", [False, True], ids=["adopted while held", "adopted after expiry"])
async def test_a_settle_on_the_disk_of_a_killed_gateway_is_adopted_and_booked_once(
    house_on: Opened, own_redis: OwnRedis, *, expired_first: bool
) -> None:
    async with house_on(RABBITGW_SETTLE_WAIT_S="0.3", RABBITGW_LEASE_S="60") as house:
        request_id = await spooled_settle(house, own_redis, await house.gateway())
        if expired_first:
            await end_leases(house)
            await house.worker()
            await until(lambda: booked(house, request_id, "expired"))
            await house.gateway()
        else:
            await house.gateway()
            await until(lambda: not house.spooled())
            await house.worker()
        await assert_settles_down(house)
        assert await bill_of(house, request_id) == ("settled", PATIENT.cost_nanos)
        assert await house.balance_nanos() == CREDIT_NANOS - PATIENT.cost_nanos
        await house.assert_audit_passes()


@pytest.mark.parametrize("age", ["UNKNOWN", "OLD"])
async def test_a_settle_whose_mark_is_gone_is_booked_once_straight_into_the_books(
    house_on: Opened, own_redis: OwnRedis, age: str
) -> None:
    """As after an outage longer than marks live: the hold has expired, and Redis has forgotten how."""
    async with house_on(RABBITGW_SETTLE_WAIT_S="0.3", RABBITGW_LEASE_S="60") as house:
        request_id = await spooled_settle(house, own_redis, await house.gateway())
        await end_leases(house)
        await house.worker()
        await until(lambda: booked(house, request_id, "expired"))
        (spool,) = (house.folder / "data" / "spool").glob("*.spool")
        left_behind = spool.read_bytes()
        if age == "OLD":
            left_behind = aged(left_behind, by_ms=3_600_000)
            spool.write_bytes(left_behind)
        await forget_mark(house, request_id)

        gateway = await house.gateway()
        await assert_settles_down(house)
        assert '"stray_booked"' in gateway.log.read_text()
        assert await bill_of(house, request_id) == ("settled", PATIENT.cost_nanos)
        assert await house.balance_nanos() == CREDIT_NANOS - PATIENT.cost_nanos

        # the same record once more, as from a gateway that was killed before it could forget it
        await house.kill(gateway)
        spool.write_bytes(left_behind)
        await house.gateway()
        await assert_settles_down(house)
        assert await house.balance_nanos() == CREDIT_NANOS - PATIENT.cost_nanos
        await house.assert_audit_passes()


async def end_leases(house: Deployment) -> None:
    """As if the leases of the killed gateway had run out."""
    for partition in house.stores.scripts.names.partition:
        await house.stores.link.call("DEL", partition.leases)


async def forget_mark(house: Deployment, hold_id: str) -> None:
    """As if the mark of a hold's end had lived its time."""
    mark = house.stores.scripts.names.partition[house.account.partition].mark(hold_id)
    assert await house.stores.link.call("DEL", mark) == 1


async def booked(house: Deployment, request_id: str, status: str) -> bool:
    found = await house.stores.pg.fetchval("SELECT status FROM usage WHERE id = $1", request_id)
    return bool(found == status)


def aged(spool: bytes, *, by_ms: int) -> bytes:
    """The records of a spool, first tried so much earlier."""
    lines = []
    for line in spool.splitlines():
        entry = orjson.loads(line)
        record = orjson.loads(entry["record"])
        record["first_try_ms"] -= by_ms
        lines.append(orjson.dumps({**entry, "record": orjson.dumps(record).decode()}) + b"\n")
    return b"".join(lines)
