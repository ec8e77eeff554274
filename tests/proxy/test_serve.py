"""One request against a real till and real stores, with a client and an upstream in the test's hands: whatever happens
in between, the hold ends once, and nobody sees an answer whole that is not charged."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import orjson
import pytest

from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.prices import PriceBook
from rabbitgw.billing.spool import SpoolFailed
from rabbitgw.config import Settings
from rabbitgw.errors import InvariantBroken, RedisUnavailable, UpstreamConnectFailed, UpstreamCut
from rabbitgw.proxy import forward as forward_module
from rabbitgw.proxy import verdict as verdict_module
from rabbitgw.proxy.ask import Ask
from rabbitgw.proxy.dialects import CHAT
from rabbitgw.proxy.serve import Service
from tests.counter import Counter
from tests.fakes.hot_path import DONE, JSON, FakeClient, HandUpstream, event, usage_event
from tests.loops import until
from tests.scripted import fail_scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

CREDIT_NANOS = 1_000_000_000
MESSAGES = [{"role": "user", "content": "Tell nobody: tulip."}]
STREAM = {"model": "m", "messages": MESSAGES, "stream": True}
PLAIN = {"model": "m", "messages": MESSAGES, "max_tokens": 50}
ANSWER = (event("Hello"), event(finish="stop"), usage_event(7, 3), DONE)
COST_NANOS = 7 * 2_000 + 3 * 10_000
BODY = orjson.dumps(
    {
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
)


def feed_of(prices: PriceBook) -> PriceFeed:
    """A feed that follows no table."""
    feed = PriceFeed(cast("Any", None))
    feed.book = prices
    return feed


class Desk:
    """A service before a counter, and the calls that run through it."""

    def __init__(self, counter: Counter, **settings: Any) -> None:
        self.counter = counter
        self.upstream = HandUpstream()
        prices = PriceBook(
            [
                price_from_text("m", {"input": "2", "output": "10"}),
            ]
        )
        self.catalog: Any = SimpleNamespace(names=self._names)
        self.service = Service(
            Settings.load(**settings),
            counter.keyring,
            feed_of(prices),
            counter.till,
            self.upstream,  # type: ignore[arg-type]
            self.catalog,
        )

    async def _names(self) -> frozenset[str]:
        return frozenset()

    def call(
        self, body: Any = STREAM, client: FakeClient | None = None
    ) -> tuple[asyncio.Task[None], FakeClient]:
        client = client or FakeClient()

        async def read() -> bytes:
            return body if isinstance(body, bytes) else orjson.dumps(body)

        ask = Ask(CHAT, None, self.counter.secret, read)
        return asyncio.create_task(self.service.serve(ask, client)), client

    async def forwarded(self, body: Any = STREAM) -> tuple[asyncio.Task[None], FakeClient]:
        task, client = self.call(body)
        await until(lambda: self.upstream.sink or task.done())
        assert self.upstream.sink is not None, client.body
        return task, client

    async def assert_ended(self, status: str, cost_nanos: int) -> None:
        assert await self.counter.ends() == [(status, cost_nanos)]
        assert await self.counter.held_nanos() == 0
        assert await self.counter.balance_nanos() == CREDIT_NANOS - cost_nanos
        assert self.counter.till._holding.held_nanos(self.counter.account.id) == 0
        assert self.service._forwarder.hiding == {}


@pytest.fixture
async def desk(pg: Pool, link: RedisLink, tmp_path: Path) -> Any:
    desk = Desk(await Counter.open(pg, link, tmp_path, credit_nanos=CREDIT_NANOS))
    yield desk
    desk.counter.spool.close()


async def test_a_stream_is_settled_before_its_last_line_ends(desk: Desk) -> None:
    task, client = await desk.forwarded()
    gate = asyncio.Event()
    settle = desk.counter.till.settle

    async def late(*args: Any) -> None:
        await gate.wait()
        await settle(*args)

    desk.counter.till.settle = late  # type: ignore[method-assign]
    desk.upstream.answer(*ANSWER)
    desk.upstream.end()
    whole = b"".join(ANSWER).replace(usage_event(7, 3), b"")
    await until(lambda: client.body == whole.removesuffix(b"\n\n"))
    await asyncio.sleep(0.05)
    assert not client.finished
    gate.set()
    await task
    assert client.body == whole
    assert client.finished
    await desk.assert_ended("settled", COST_NANOS)


async def test_the_last_byte_of_a_plain_body_waits_for_its_settle(desk: Desk) -> None:
    task, client = await desk.forwarded(PLAIN)
    desk.upstream.answer(BODY, headers=[*JSON, (b"content-length", b"%d" % len(BODY))])
    assert client.length == len(BODY)
    assert client.body == BODY[:-1]
    desk.upstream.end()
    await task
    assert client.body == BODY
    await desk.assert_ended("settled", COST_NANOS)


async def test_a_body_without_a_byte_costs_nothing(desk: Desk) -> None:
    task, client = await desk.forwarded(PLAIN)
    desk.upstream.answer(headers=[*JSON, (b"content-length", b"0")])
    desk.upstream.end()
    await task
    assert (client.length, client.body, client.finished) == (0, b"", True)
    await desk.assert_ended("released", 0)


@pytest.mark.parametrize("body", [STREAM, PLAIN])
async def test_a_charge_that_neither_redis_nor_the_disk_takes_cuts_the_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    task, client = await desk.forwarded(body)

    async def full(*args: Any) -> None:
        raise SpoolFailed("full")

    fail_scripts(monkeypatch, desk.counter.link, ["settle"], lambda: RedisUnavailable("away"))
    monkeypatch.setattr(desk.counter.spool, "keep", full)
    if body is STREAM:
        desk.upstream.answer(*ANSWER)
    else:
        desk.upstream.answer(BODY, headers=JSON)
    desk.upstream.end()
    await task
    assert client.was_cut
    assert not client.finished
    assert client.body == BODY[:-1] if body is PLAIN else not client.body.endswith(b"\n\n")
    assert desk.counter.till._holding.held_nanos(desk.counter.account.id) == 0
    # it is not forgotten while this process lives
    monkeypatch.undo()
    await desk.counter.settler.run_once()
    await desk.assert_ended("settled", COST_NANOS)


async def test_a_client_that_left_while_it_waited_for_money_is_not_forwarded(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeClient()
    client.leave()
    task, _ = desk.call(PLAIN, client)
    await task
    assert desk.upstream.bodies == []
    await desk.assert_ended("released", 0)
    assert [r.message for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_client_that_leaves_before_the_first_byte_is_no_error_of_ours(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    task, client = await desk.forwarded()
    client.leave()
    await task
    assert desk.upstream.line.aborted
    await desk.assert_ended("released", 0)
    assert [r.message for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_client_that_leaves_after_the_finish_chunk_pays_the_true_usage(desk: Desk) -> None:
    task, client = await desk.forwarded()
    desk.upstream.answer(*ANSWER[:2])
    client.leave()
    desk.upstream.play(*ANSWER[2:])
    desk.upstream.end()
    await task
    await desk.assert_ended("settled", COST_NANOS)


async def test_a_client_that_leaves_while_the_settle_runs_changes_nothing(desk: Desk) -> None:
    task, client = await desk.forwarded()
    desk.upstream.answer(*ANSWER)
    client.leave()
    desk.upstream.end()
    await task
    await desk.assert_ended("settled", COST_NANOS)


async def test_a_cancelled_call_still_ends_its_hold(desk: Desk) -> None:
    task, _ = await desk.forwarded()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    async def ended() -> bool:
        return await desk.counter.ends() == [("released", 0)]

    for _ in range(200):
        if await ended():
            break
        await asyncio.sleep(0.01)
    await desk.assert_ended("released", 0)


async def test_an_upstream_that_cannot_be_reached_is_an_answer_and_a_release(desk: Desk) -> None:
    desk.upstream.error = UpstreamConnectFailed("upstream: cannot connect", sent=False)
    task, client = desk.call()
    await task
    assert client.status == 502
    await desk.assert_ended("released", 0)


async def test_a_connection_that_fails_is_tried_once_more(desk: Desk) -> None:
    desk.upstream.failures = [UpstreamConnectFailed("upstream: cannot connect", sent=False)]
    task, client = await desk.forwarded()
    desk.upstream.answer(*ANSWER)
    desk.upstream.end()
    await task
    assert client.status == 200
    assert len(desk.upstream.bodies) == 1
    await desk.assert_ended("settled", COST_NANOS)


async def test_a_cut_stream_ends_with_an_error_event_and_a_partial_charge(desk: Desk) -> None:
    task, client = await desk.forwarded()
    desk.upstream.answer(event("x" * 40))
    desk.upstream.fail(UpstreamCut("upstream: broke"))
    await task
    last = client.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
    assert orjson.loads(last)["error"]["code"] == "upstream_error"
    (end,) = await desk.counter.ends()
    assert end[0] == "partial"
    assert end[1] > 10 * 10_000


@pytest.mark.parametrize("where", ["judge_now", "charge", "payload"])
async def test_a_bug_at_the_end_leaves_no_money_held_and_no_answer_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("a bug")

    target = forward_module.events if where == "payload" else forward_module
    monkeypatch.setattr(target, where, broken)
    task, client = await desk.forwarded(PLAIN)
    desk.upstream.answer(BODY, headers=JSON)
    desk.upstream.end()
    await task
    assert client.was_cut
    assert client.body == BODY[:-1]
    await desk.assert_ended("released", 0)


async def test_a_tokenizer_that_fails_is_replaced_by_the_estimate_by_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict_module, "counter", lambda: lambda text: 1 // 0)
    task, client = await desk.forwarded()
    desk.upstream.answer(event("x" * 40), event(finish="stop"), DONE)
    desk.upstream.end()
    await task
    assert client.finished
    (end,) = await desk.counter.ends()
    assert end[0] == "settled"
    assert end[1] > 10 * 10_000  # 40 bytes are 10 tokens, and the input


async def test_a_bug_before_the_call_leaves_is_a_500_that_tells_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.upstream, "send_now", lambda *args: 1 / 0)
    task, client = desk.call()
    await task
    assert client.status == 500
    assert orjson.loads(client.body)["error"]["message"] == "an unexpected error; it has been logged"
    await desk.assert_ended("released", 0)


async def test_false_books_are_not_explained_to_the_caller(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any, **kwargs: Any) -> Any:
        raise InvariantBroken("BADHOLD secret")

    monkeypatch.setattr(desk.counter.till, "reserve", broken)
    task, client = desk.call()
    await task
    assert client.status == 500
    assert b"secret" not in client.body
    monkeypatch.setattr(desk.counter.keyring, "confirm", broken)
    listed = FakeClient()
    await desk.service.models(Ask(CHAT, None, desk.counter.secret), listed)
    assert listed.status == 500
    assert b"secret" not in listed.body


async def test_a_store_that_is_away_is_not_described_to_the_caller(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any, **kwargs: Any) -> Any:
        raise RedisUnavailable("Redis: cannot connect to 10.1.2.3")

    monkeypatch.setattr(desk.counter.till, "reserve", away)
    task, client = desk.call()
    await task
    assert client.status == 503
    assert b"10.1.2.3" not in client.body


async def test_a_key_that_changed_is_asked_again_what_it_may_call(desk: Desk, dsn: str) -> None:
    await desk.counter.key()  # into memory, with every model allowed
    task, _ = await desk.forwarded()
    desk.upstream.answer(*ANSWER)
    desk.upstream.end()
    await task
    owner = await asyncpg.connect(dsn)
    await owner.execute("UPDATE api_keys SET models = '{other-*}', generation = generation + 1")
    await owner.close()
    key = await desk.counter.key()
    await desk.counter.scripts.key_put(
        key.partition, key.account_id, key_id=key.key_id, generation=key.generation + 1
    )
    task, client = desk.call()
    await task
    assert (client.status, orjson.loads(client.body)["error"]["code"]) == (403, "model_not_allowed")
    assert len(desk.upstream.bodies) == 1
    await desk.assert_ended("settled", COST_NANOS)


async def test_upstreams_words_reach_the_caller_and_no_log(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    task, client = await desk.forwarded()
    said = b'{"error":{"message":"I do not like \'Tell nobody: tulip.\'","type":"invalid_request_error"}}'
    desk.upstream.answer(said, headers=JSON, status=400)
    desk.upstream.end()
    await task
    assert b"tulip" in client.body
    assert caplog.records
    assert not any("tulip" in str(vars(record)) for record in caplog.records)


async def test_an_ill_formed_key_is_refused_before_its_body_is_read(desk: Desk) -> None:
    async def read() -> bytes:
        raise AssertionError("nobody pays for this body")

    client = FakeClient()
    await desk.service.serve(Ask(CHAT, None, "rk-nonsense", read), client)
    assert client.status == 401
