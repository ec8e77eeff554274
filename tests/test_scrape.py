"""The figures of several processes added up, and written down as Prometheus reads them."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from rabbitgw import metrics
from rabbitgw.errors import SettingInvalid
from rabbitgw.scrape import Board, Boards, Scrape, added_up
from rabbitgw.tally import METRICS, State

CALLS = "rabbitgw_requests_total"
SECONDS = "rabbitgw_settle_seconds"


def state(calls: int = 0, settles: dict[int, int] | None = None, **gauges: float) -> State:
    """What a process may leave: calls, settles per bucket, and gauges without labels."""
    counts = [0] * (len(metrics.STORE_SECONDS) + 1)
    for bucket, count in (settles or {}).items():
        counts[bucket] = count
    return {
        "counter": {CALLS: [[["openai-chat", "true", "ok"], calls]]},
        "gauge": {f"rabbitgw_{name}": [[[], value]] for name, value in gauges.items()},
        "histogram": {SECONDS: [[[], [counts, 0.25 * sum(counts)]]]},
    }


def samples(text: bytes, read: Callable[[str], Any] = read_text) -> dict[str, float]:
    """Every line of a scrape: name{labels} -> value."""
    found = {}
    for family in read(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture
def boards(tmp_path: Path) -> Boards:
    return Boards(tmp_path)


def test_processes_are_added_up_each_kind_in_its_way() -> None:
    states = [
        state(3, {0: 2, 4: 1}, spool_records=1, redis_up=1, consumer_lag_seconds=2.5),
        state(4, {4: 5}, spool_records=2, redis_up=0, consumer_lag_seconds=1.5),
    ]
    assert added_up(states, CALLS) == {("openai-chat", "true", "ok"): 7}
    ((counts, total),) = added_up(states, SECONDS).values()
    assert (counts[0], counts[4], sum(counts), total) == (2, 6, 8, 2.0)
    assert added_up(states, "rabbitgw_spool_records") == {(): 3}
    assert added_up(states, "rabbitgw_redis_up") == {(): 0}
    assert added_up(states, "rabbitgw_consumer_lag_seconds") == {(): 2.5}


def test_adding_up_leaves_what_was_added_alone() -> None:
    states = [state(1, {0: 1}), state(2, {0: 2})]
    before = copy.deepcopy(states)
    added_up(states, SECONDS)
    assert states == before


def test_another_version_of_the_program_does_no_harm() -> None:
    other: State = {
        "counter": {"rabbitgw_of_another_version_total": [[[], 5]]},
        "gauge": {},
        "histogram": {SECONDS: [[[], [[1, 2], 0.5]]]},
    }
    ((counts, _),) = added_up([state(1, {3: 1}), other], SECONDS).values()
    assert sum(counts) == 1


async def test_any_worker_shows_the_sum_of_all(boards: Boards) -> None:
    for slot in ("1", "2", "parent"):
        boards.board(slot).publish(state(100, {2: 10}, spool_records=1))
    shown = samples((await Scrape(boards.board("0")).text(""))[0])
    assert shown["rabbitgw_requests_total{code=ok,dialect=openai-chat,streamed=true}"] >= 300
    assert shown["rabbitgw_settle_seconds_count{}"] >= 30
    assert shown["process_cpu_seconds_total{worker=0}"] > 0


def test_counts_outlive_their_process_and_states_do_not(boards: Boards) -> None:
    boards.board("1").publish(state(100, {2: 10}, spool_records=7))
    boards.board("1").bury()
    states = boards.board("0").read_all()
    assert added_up(states, CALLS) == {("openai-chat", "true", "ok"): 100}
    assert added_up(states, "rabbitgw_spool_records") == {}


async def test_the_next_in_a_slot_goes_on_counting(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.REQUESTS, "values", {("openai-chat", "true", "ok"): 1})
    monkeypatch.setattr(metrics.SETTLE_SECONDS, "values", {})
    monkeypatch.setattr(metrics.CPU, "values", {})
    left = state(100, {2: 10})
    left["counter"]["process_cpu_seconds_total"] = [[["1"], 5000.0]]
    boards.board("1").publish(left)
    boards.board("1").bury()
    shown = samples((await Scrape(boards.board("1")).text(""))[0])
    assert shown["rabbitgw_requests_total{code=ok,dialect=openai-chat,streamed=true}"] == 101
    assert shown["rabbitgw_settle_seconds_count{}"] == 10
    assert shown["process_cpu_seconds_total{worker=1}"] < 5000  # of this very process


async def test_a_source_is_asked_before_each_look() -> None:
    scrape = Scrape()
    values = iter((3, 5))
    scrape.sources.append(lambda: metrics.SPOOL_RECORDS.set(next(values)))
    assert samples((await scrape.text(""))[0])["rabbitgw_spool_records{}"] == 3
    assert samples((await scrape.text(""))[0])["rabbitgw_spool_records{}"] == 5


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=9", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            "application/openmetrics-text;version=x\u00e9.1;escaping=dots",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
async def test_the_form_is_the_one_that_is_preferred(accept: str, content_type: str) -> None:
    body, said = await Scrape().text(accept)
    assert said == content_type
    read = read_openmetrics if "openmetrics" in said else read_text
    shown = samples(body, read)
    assert shown["rabbitgw_holds_refused_total{reason=balance}"] >= 0
    assert shown["rabbitgw_settle_seconds_bucket{le=+Inf}"] == shown["rabbitgw_settle_seconds_count{}"]


async def test_buckets_of_a_histogram_are_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.SETTLE_SECONDS, "values", {})
    for value in (0.0001, 0.0004, 0.0004, 99.0):
        metrics.SETTLE_SECONDS.cells().observe(value)
    shown = samples((await Scrape().text(""))[0])
    by_bound = {
        name: shown[f"rabbitgw_settle_seconds_bucket{{le={name}}}"]
        for name in ("0.00025", "0.0005", "10.0", "+Inf")
    }
    assert by_bound == {"0.00025": 1, "0.0005": 3, "10.0": 3, "+Inf": 4}
    assert shown["rabbitgw_settle_seconds_sum{}"] == pytest.approx(99.0009)


async def test_every_metric_is_in_a_scrape() -> None:
    text = (await Scrape().text(""))[0].decode()
    assert [name for name in METRICS if f"# TYPE {name} " not in text] == []


def test_folders_of_dead_parents_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = Boards(tmp_path)
    dead.board("0").publish(state(1))
    lock = dead._lock
    living = Boards(tmp_path)
    assert dead.folder.exists()
    os.close(lock)  # as the end of its process does
    third = Boards(tmp_path)
    assert not dead.folder.exists()
    assert living.folder.exists()
    living.remove()
    third.remove()
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["lock"]


async def test_a_disk_that_fails_stops_nobody(boards: Boards, caplog: pytest.LogCaptureFixture) -> None:
    gone = Board(boards.folder / "nowhere", "0")
    gone.publish(state(1))
    gone.publish(state(2))
    assert [record.getMessage() for record in caplog.records] == ["metrics_unpublished"]  # once
    assert (await Scrape(gone).text(""))[0]


def test_a_torn_file_is_passed_over(boards: Boards) -> None:
    (boards.folder / "1.json").write_bytes(b'{"counter": {')
    boards.board("2").publish(state(5))
    assert added_up(boards.board("0").read_all(), CALLS) == {("openai-chat", "true", "ok"): 5}


def test_a_data_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingInvalid, match="RABBITGW_DATA_DIR: cannot be used"):
        Boards(tmp_path / "file")
