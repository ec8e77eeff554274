"""`rabbitgw serve --workers 2` as processes: what a worker's end, the parent's, and a signal do to those who call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rabbitgw.dev.child import Child
from rabbitgw.dev.ports import free_port
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.callers import DONE, KINDS, Callers, Kind, lost_connections, script
from tests.flows.house import until
from tests.flows.processes import STARTS_WITHIN_S, Deployment, check_bills, deployment

pytestmark = pytest.mark.timeout(300)

CREDIT_NANOS = 10_000_000_000_000
PLAIN = KINDS[0]
# About three seconds: a stream that is amid its answer while the test acts. 40 tokens in, 20 out at gpt-4o's prices.
LONG = Kind("gpt-4o-slow", True, Answer(chunks=("tok ",) * 60, usage=usage(40, 20), delay_s=0.05), 300_000)


class Pair:
    """A deployment whose gateway is a parent and two workers; and the calls made to it."""

    def __init__(self, house: Deployment, parent: Child, metrics_port: int) -> None:
        self.house = house
        self.parent = parent
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.whole: dict[str, Kind] = {}

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = self.parent.log.read_text().splitlines()
        return [line for line in map(parsed, lines) if line.get("event") == event]

    @property
    def workers(self) -> list[int]:
        """The pids of those that run, oldest first."""
        gone = {line["pid"] for line in self.logged("worker_ended")}
        return [line["pid"] for line in self.logged("worker_started") if line["pid"] not in gone]

    async def call(self, kind: Kind, begun: asyncio.Event | None = None) -> str:
        """One call on a connection of its own. Returns: whole, cut, or refused with its status."""
        body = bytearray()
        url = f"{self.house.base_url}/v1/chat/completions"
        with lost_connections():
            async with (
                aiohttp.ClientSession() as http,
                http.post(url, json=kind.body, headers=self.house.headers) as answer,
            ):
                if answer.status != 200:
                    return f"refused {answer.status}"
                async for piece in answer.content.iter_any():
                    body += piece
                    if begun is not None:
                        begun.set()
                if DONE in body or not kind.stream:
                    self.whole[answer.headers["x-rabbitgw-request-id"]] = kind
                    return "whole"
        return "cut"

    async def streams(self, count: int) -> list[asyncio.Task[str]]:
        """Long streams that have begun."""
        begun = [asyncio.Event() for _ in range(count)]
        tasks = [asyncio.create_task(self.call(LONG, event)) for event in begun]
        async with asyncio.timeout(STARTS_WITHIN_S):
            await asyncio.gather(*(event.wait() for event in begun))
        return tasks

    async def metric(self, line: str) -> float:
        """The value of a line of /metrics, as whichever worker is asked says it."""
        async with aiohttp.ClientSession() as http, http.get(self.metrics_url) as answer:
            assert answer.status == 200
            for one in (await answer.text()).splitlines():
                if one.startswith(f"{line} "):
                    return float(one.rpartition(" ")[2])
        return 0.0

    async def settled_down(self) -> None:
        """What the books came to: every call seen whole is billed at its price, and the audit passes."""
        await self.house.worker(RABBITGW_METRICS_PORT="0")  # a port has one owner
        await until(self.house.settled_down, timeout_s=120)
        await self.house.assert_audit_passes()
        await check_bills(self.house, Whole(self.whole), CREDIT_NANOS)
        await assert_books_balance(self.house)


class Whole:
    def __init__(self, whole: dict[str, Kind]) -> None:
        self.whole = whole


def parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def only(worker: int, workers: list[int]) -> Any:
    """While the block runs, this worker alone can accept."""
    others = [pid for pid in workers if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def alive(pid: int) -> bool:
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    except OSError:
        return False


@pytest.fixture
async def pair(dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Pair]:
    async with open_pair(dsn, redis_url, upstream, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def open_pair(
    dsn: str, redis_url: str, upstream: FakeUpstream, folder: Path, **env: str
) -> AsyncIterator[Pair]:
    script(upstream)
    upstream.script(LONG.model, LONG.answer)
    port = free_port()
    async with deployment(
        dsn,
        redis_url,
        upstream.base_url,
        folder,
        credit_nanos=CREDIT_NANOS,
        RABBITGW_WORKERS="2",
        RABBITGW_METRICS_PORT=str(port),
        RABBITGW_LEASE_S="3",
        **env,
    ) as house:
        opened = Pair(house, await house.gateway(), port)
        try:
            yield opened
        finally:
            for pid in opened.workers:  # of a parent that was killed
                if not opened.parent.running and alive(pid):
                    os.kill(pid, signal.SIGKILL)


async def test_both_workers_serve_and_each_shows_the_figures_of_both(pair: Pair) -> None:
    charged = "rabbitgw_settle_seconds_count"
    for worker in pair.workers:
        with only(worker, pair.workers):
            assert [await pair.call(PLAIN) for _ in range(3)] == ["whole"] * 3
    await until(lambda: reaches(pair, charged, 6))  # each leaves its figures for the other once a second
    for worker in pair.workers:
        with only(worker, pair.workers):
            assert await pair.metric(charged) == 6
            assert await pair.metric("rabbitgw_workers") == 2

    victim = pair.workers[0]
    os.kill(victim, signal.SIGKILL)
    await until(lambda: victim not in pair.workers and len(pair.workers) == 2)
    await until(lambda: reaches(pair, "rabbitgw_workers", 2))
    for worker in pair.workers:
        with only(worker, pair.workers):
            assert await pair.metric(charged) == 6  # the dead one's are among them
            assert await pair.metric("rabbitgw_worker_deaths_total") == 1
    with only(pair.workers[-1], pair.workers):
        assert await pair.call(PLAIN) == "whole"
    await until(lambda: reaches(pair, charged, 7))
    assert await pair.house.terminate(pair.parent) == 0
    await pair.settled_down()


async def reaches(pair: Pair, line: str, value: float) -> bool:
    return await pair.metric(line) == value


async def test_a_worker_that_is_killed_takes_only_its_own_streams_along(pair: Pair) -> None:
    victim, other = pair.workers
    with only(victim, pair.workers):
        lost = await pair.streams(4)
    with only(other, pair.workers):
        kept = await pair.streams(4)
    os.kill(victim, signal.SIGKILL)
    assert await asyncio.gather(*lost) == ["cut"] * 4
    assert await asyncio.gather(*kept) == ["whole"] * 4

    await until(lambda: len(pair.workers) == 2 and victim not in pair.workers)
    (ended,) = pair.logged("worker_ended")
    assert (ended["pid"], ended["status"]) == (victim, -signal.SIGKILL)
    await pair.settled_down()  # the lost streams' holds were swept, and charged for what was delivered
    assert await pair.house.terminate(pair.parent) == 0


async def test_sigterm_ends_every_stream_whole_and_loses_no_connection(pair: Pair) -> None:
    workers = pair.workers
    streams = []
    for worker in workers:
        with only(worker, workers):
            streams += await pair.streams(3)
    waiting = [await asyncio.open_connection("127.0.0.1", pair.house.port) for _ in range(20)]
    pair.parent.process.send_signal(signal.SIGTERM)
    await until(lambda: is_refused(pair.house.port))
    assert await asyncio.gather(*(ask_models(pair, *one) for one in waiting)) == [(200, True)] * 20
    pair.parent.process.send_signal(signal.SIGTERM)  # once more changes nothing
    assert any(not stream.done() for stream in streams), "the port closed only after the streams"
    assert await asyncio.gather(*streams) == ["whole"] * 6
    assert await pair.parent.ended(STARTS_WITHIN_S) == 0
    assert not any(map(alive, workers))
    assert [line["status"] for line in pair.logged("worker_ended")] == [0, 0]
    assert not pair.logged("worker_killed")
    await pair.house.gateway()
    await pair.settled_down()


async def ask_models(
    pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, bool]:
    """A request on a connection that was opened before; its status, and whether it is said to be the last there."""
    key = pair.house.headers["authorization"]
    writer.write(f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n\r\n".encode())
    answer = (await reader.read()).decode().lower()
    writer.close()
    return int(answer.split()[1]), "\r\nconnection: close\r\n" in answer


async def is_refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_an_answer_that_outlives_the_drain_is_charged_for_its_part(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with open_pair(dsn, redis_url, upstream, tmp_path, RABBITGW_DRAIN_TIMEOUT_S="0.2") as pair:
        streams = await pair.streams(4)
        assert await pair.house.terminate(pair.parent) == 0
        assert await asyncio.gather(*streams) == ["cut"] * 4
        await pair.house.gateway()
        await pair.settled_down()
        rows = await pair.house.stores.pg.fetch("SELECT status, charge_nanos FROM usage")
        assert {row["status"] for row in rows} == {"partial"}
        assert all(0 < row["charge_nanos"] < LONG.cost_nanos for row in rows)


async def test_workers_whose_parent_is_killed_finish_and_go(pair: Pair) -> None:
    workers = pair.workers
    streams = await pair.streams(4)
    await pair.house.kill(pair.parent)
    assert await asyncio.gather(*streams) == ["whole"] * 4
    await until(lambda: not any(map(alive, workers)), timeout_s=60)
    assert len(pair.logged("parent_gone")) == 2
    await pair.house.gateway()  # on the same port
    await pair.settled_down()


@pytest.fixture
def hangups_are_heard() -> Iterator[None]:
    """Under nohup SIGHUP is ignored, and a parent that starts so leaves it at that. What is caught here is not ignored
    in processes that are started from here."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


async def test_sighup_replaces_every_worker_and_no_caller_notices(
    hangups_are_heard: None, pair: Pair
) -> None:
    before = set(pair.workers)
    async with Callers(pair.house.base_url, pair.house.secret, random.Random(1), count=6) as callers:
        await until(lambda: callers.seen.served > 6)
        pair.parent.process.send_signal(signal.SIGHUP)
        await until(lambda: len(pair.workers) == 2 and not before & set(pair.workers), timeout_s=120)
        seen = callers.seen.served
        await until(lambda: callers.seen.served > seen + 6)
    assert set(callers.seen.outcomes) == {"whole"}
    assert [line["status"] for line in pair.logged("worker_ended")] == [0, 0]
    pair.whole.update(callers.seen.whole)
    assert await pair.metric("rabbitgw_worker_deaths_total") == 0
    assert await pair.house.terminate(pair.parent) == 0
    await pair.settled_down()


async def test_what_keeps_a_worker_from_starting_is_said_once(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with deployment(dsn, redis_url, upstream.base_url, tmp_path, credit_nanos=1) as house:
        for env, line in (
            ({"DATABASE_URL": ""}, "rabbitgw: DATABASE_URL: not set; `rabbitgw dev` runs without it"),
            ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "rabbitgw: Redis: cannot connect"),
        ):
            started = house.start("serve", "--workers", "3", **env)
            assert await started.ended(STARTS_WITHIN_S) == 1
            assert started.log.read_text().count(line) == 1
            assert "ready on" not in started.log.read_text()
