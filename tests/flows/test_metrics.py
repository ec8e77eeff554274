"""What /metrics says of calls: counted once, by their real outcome, and the states of the stores beside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, Refuse, usage
from tests.flows.house import ADMIN_KEY, MEDIA, PRICES, House, until

MESSAGES = [{"role": "user", "content": "hello"}]
LINE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


class Figures:
    """What came to be since it was made: metrics are of the process, and other tests have counted too."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._before: dict[str, float] = {}

    async def begin(self) -> Figures:
        self._before = await self.now()
        return self

    async def now(self) -> dict[str, float]:
        reply = await self._house.get("/metrics", authorization=f"Bearer {ADMIN_KEY}")
        assert reply.status == 200
        return {name: float(value) for name, value in LINE.findall(reply.body.decode())}

    async def new(self, *prefixes: str) -> dict[str, float]:
        """The lines that changed, of metrics that begin so; buckets are left out."""
        found = {}
        for name, value in (await self.now()).items():
            change = value - self._before.get(name, 0.0)
            if change and name.startswith(prefixes) and "_bucket" not in name and "_created" not in name:
                found[name] = change
        return found


@pytest.fixture
async def figures(house: House) -> Figures:
    return await Figures(house).begin()


async def test_a_charge_is_timed_booked_and_counted(
    house: House, figures: Figures, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10)))
    reply = await house.post({"model": "gpt-4o", "messages": MESSAGES})
    assert (await house.bill(reply.request_id))["cost_nanos"] == 147_500
    new = await figures.new(
        "rabbitgw_settle_seconds_count", "rabbitgw_consumer_events", "rabbitgw_settles_spooled"
    )
    assert new == {"rabbitgw_settle_seconds_count": 1, "rabbitgw_consumer_events_total": 1}
    now = await figures.now()
    assert now["rabbitgw_redis_up"] == 1
    assert now["rabbitgw_price_book_prices"] == len(PRICES) + len(MEDIA)
    assert now["rabbitgw_price_book_stale"] == 0
    assert now["rabbitgw_ends_kept"] == now["rabbitgw_spool_records"] == 0
    assert now['rabbitgw_upstream_connections{state="busy"}'] == 0
    assert now['rabbitgw_upstream_connections{state="idle"}'] == 1
    await until(lambda: redis_was_timed(figures))
    await until(lambda: backlog_is_empty(figures))
    await assert_books_balance(house)


async def redis_was_timed(figures: Figures) -> bool:
    new = await figures.new("rabbitgw_redis_")
    timed, answered = (
        new.get(f"rabbitgw_redis_{name}", 0) for name in ("round_trip_seconds_count", "commands_total")
    )
    return 0 < timed <= answered


async def backlog_is_empty(figures: Figures) -> bool:
    now = await figures.now()
    names = ("backlog_events", "lag_seconds")
    return [now.get(f"rabbitgw_consumer_{name}") for name in names] == [0, 0] and (
        now["rabbitgw_consumer_partitions"] > 0
    )


async def test_an_empty_wallet_is_a_refused_hold(
    house_with: Callable[..., AbstractAsyncContextManager[House]],
) -> None:
    async with house_with(credit_nanos=0) as house:
        figures = await Figures(house).begin()
        assert (await house.post({"model": "gpt-4o", "messages": MESSAGES})).status == 429
        assert (await house.post({"model": "free", "messages": MESSAGES})).status == 200
        assert await figures.new("rabbitgw_holds_refused") == {
            'rabbitgw_holds_refused_total{reason="balance"}': 1
        }


async def test_every_request_is_counted_once_by_its_outcome(
    house: House, figures: Figures, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10, prompt_tokens_details={"cached_tokens": 4})))
    upstream.script("fake-gpt", Refuse(401), Refuse(429), Answer(usage=None))
    for stream in (True, False):
        assert (await house.post({"model": "gpt-4o", "messages": MESSAGES, "stream": stream})).status == 200
    fake = {"model": "fake-gpt", "messages": MESSAGES}
    statuses = [(await house.post(fake)).status for _ in range(3)]
    assert statuses == [502, 429, 200]
    assert (await house.post({"model": "nope", "messages": MESSAGES})).status == 404
    assert (await house.post(fake, authorization="Bearer rk-nobody")).status == 401
    assert (await house.get("/v1/models")).status == 200

    requests: dict[str, float] = defaultdict(float)
    for name, count in (await figures.new("rabbitgw_requests_total")).items():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
        requests[f"{labels['dialect']} {labels['streamed']} {labels['code']}"] += count
    assert requests == {
        "openai-chat true ok": 1,
        "openai-chat false ok": 2,
        "openai-chat false upstream_error": 1,
        "openai-chat false rate_limit_exceeded": 1,
        "openai-chat false model_not_found": 1,
        "openai-chat false invalid_api_key": 1,
        "models false ok": 1,
    }
    assert await figures.new("rabbitgw_upstream_attempts", "rabbitgw_upstream_failures") == {
        "rabbitgw_upstream_attempts_total": 5,
        'rabbitgw_upstream_failures_total{reason="refused_us"}': 1,
        'rabbitgw_upstream_failures_total{reason="rate_limited"}': 1,
    }
    ended = await figures.new("rabbitgw_request_duration_seconds_count", "rabbitgw_first_byte_seconds_count")
    assert ended == {
        'rabbitgw_request_duration_seconds_count{dialect="openai-chat",streamed="true"}': 1,
        'rabbitgw_request_duration_seconds_count{dialect="openai-chat",streamed="false"}': 4,
        'rabbitgw_first_byte_seconds_count{dialect="openai-chat",streamed="true"}': 1,
        'rabbitgw_first_byte_seconds_count{dialect="openai-chat",streamed="false"}': 4,
    }
    sold = await figures.new(
        "rabbitgw_tokens_total", "rabbitgw_charged_nanos_total", "rabbitgw_calls_charged"
    )
    of_gpt_4o = {name: value for name, value in sold.items() if 'model="gpt-4o"' in name}
    assert of_gpt_4o == {  # 15 tokens in, 4 cached, 10 out, twice: 37 500 + 5 000 + 100 000 nanos each
        'rabbitgw_tokens_total{kind="input",model="gpt-4o"}': 38,
        'rabbitgw_tokens_total{kind="cached_input",model="gpt-4o"}': 8,
        'rabbitgw_tokens_total{kind="output",model="gpt-4o"}': 20,
        'rabbitgw_charged_nanos_total{currency="USD",model="gpt-4o"}': 285_000,
    }
    assert sold['rabbitgw_calls_charged_total{source="provider"}'] == 2
    assert sold['rabbitgw_calls_charged_total{source="estimated"}'] == 1
    now = await figures.now()
    assert now['rabbitgw_calls_open{streamed="true"}'] == now['rabbitgw_calls_open{streamed="false"}'] == 0
    await assert_books_balance(house)
