"""What is counted, and under which names: bounded labels, and names as Prometheus wants them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rabbitgw import errors, metrics
from rabbitgw.tally import METRICS, Cells, Counter, Gauge, Histogram, Labels


@dataclass
class Used:
    input_tokens: int = 100
    output_tokens: int = 20
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    source: str = "provider"


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test counts from nothing, and leaves nothing behind."""
    monkeypatch.setattr(metrics, "_calls", {})
    monkeypatch.setattr(metrics, "_sold", {})
    for metric in METRICS.values():
        values = metric.values
        fresh = {labels: Cells(metric.bounds) for labels in values} if isinstance(metric, Histogram) else None
        monkeypatch.setattr(metric, "values", fresh if fresh is not None else dict.fromkeys(values, 0))


def counted(counter: Counter | Gauge) -> dict[Labels, float]:
    return {labels: value for labels, value in counter.values.items() if value}


def test_names_say_unit_and_kind() -> None:
    for name, metric in METRICS.items():
        assert name.startswith(("rabbitgw_", "process_"))
        assert name.endswith("_total") == isinstance(metric, Counter), name
        if isinstance(metric, Histogram):
            assert name.endswith("_seconds")
            assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.help
        assert not metric.help.endswith(".")
        assert not {"le", "instance", "job"} & set(metric.labels)


def test_a_code_that_is_not_ours_is_no_label() -> None:
    for code in (None, "client_left", "insufficient_quota", "upstream's own words", ""):
        metrics.answered("openai-chat", True, code)
    assert counted(metrics.REQUESTS) == {
        ("openai-chat", "true", "ok"): 1,
        ("openai-chat", "true", "client_left"): 1,
        ("openai-chat", "true", "insufficient_quota"): 1,
        ("openai-chat", "true", "other"): 2,
    }


def test_a_call_is_open_until_it_has_ended() -> None:
    streamed, plain = metrics.calls("openai-chat", True), metrics.calls("openai-chat", False)
    streamed.open += 2
    plain.open += 1
    metrics.fold()
    assert counted(metrics.CALLS_OPEN) == {("true",): 2, ("false",): 1}
    streamed.ended(300)
    streamed.first_byte(100)
    plain.ended(700_000)
    metrics.fold()
    assert counted(metrics.CALLS_OPEN) == {("true",): 1}
    took = metrics.DURATION.values["openai-chat", "true"]
    assert sum(took.counts) == 1
    assert took.counts[took.bounds.index(0.5)] == 1  # the first bound that is not below it
    assert metrics.DURATION.values["openai-chat", "false"].counts[-1] == 1
    assert metrics.FIRST_BYTE.values["openai-chat", "true"].total == 0.1
    assert sum(metrics.FIRST_BYTE.values["openai-chat", "false"].counts) == 0


def test_a_look_counts_what_calls_have_added_since_the_last() -> None:
    for _ in range(2):
        metrics.calls("openai-chat", False).ok += 3
        metrics.calls("openai-chat", False).attempts += 4
        metrics.fold()
        metrics.fold()
    assert counted(metrics.REQUESTS) == {("openai-chat", "false", "ok"): 6}
    assert counted(metrics.UPSTREAM_ATTEMPTS) == {(): 8}


def test_a_clock_that_stepped_back_makes_no_time_negative() -> None:
    plain = metrics.calls("openai-chat", False)
    plain.ended(-5000)
    plain.first_byte(-5000)
    assert metrics.DURATION.values["openai-chat", "false"].total == 0
    assert metrics.FIRST_BYTE.values["openai-chat", "false"].total == 0


def test_parts_of_a_usage_are_counted_where_there_are_any() -> None:
    metrics.charged("gpt-4o*", "USD", 450_000, Used())
    metrics.charged(
        "gpt-4o*", "USD", 50_000, Used(cached_input_tokens=64, cache_write_tokens=8, reasoning_tokens=7)
    )
    metrics.fold()
    metrics.fold()  # there is nothing left to count
    assert counted(metrics.CHARGED) == {("gpt-4o*", "USD"): 500_000}
    assert counted(metrics.TOKENS) == {
        ("gpt-4o*", "input"): 200,
        ("gpt-4o*", "output"): 40,
        ("gpt-4o*", "cached_input"): 64,
        ("gpt-4o*", "cache_write"): 8,
        ("gpt-4o*", "reasoning"): 7,
    }
    assert counted(metrics.CALLS_CHARGED) == {("provider",): 2}


def test_past_its_limit_models_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MODELS_MAX", 2)
    monkeypatch.setattr(metrics.CHARGED, "values", {})  # with no model of the tests before
    for model in ("a", "b", "c", "d", "a"):
        metrics.charged(model, "USD", 1, Used())
        metrics.fold()
    assert counted(metrics.CHARGED) == {("a", "USD"): 2, ("b", "USD"): 1, ("other", "USD"): 2}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.BalanceShort(""), "balance"),
        (errors.WindowShort("", limit_nanos=1, available_nanos=0, resets_at_s=None), "window"),
        (errors.Backlog(""), "backlog"),
        (errors.RedisTimeout(""), "redis"),
        (errors.PostgresUnavailable(""), "postgres"),
        (errors.AuthError(""), "key"),
        (errors.AccessDenied(""), "key"),
        (errors.InvariantBroken(""), "other"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_a_hold_is_refused_for_a_reason(error: errors.RabbitError, reason: str) -> None:
    metrics.hold_refused(error)
    assert counted(metrics.HOLDS_REFUSED) == {(reason,): 1}


def test_an_upstream_fails_for_a_reason() -> None:
    metrics.upstream_failed(errors.UpstreamConnectFailed(""))
    metrics.upstream_failed(errors.UpstreamTimeout(""))
    metrics.upstream_failed(errors.UpstreamError(""))
    assert counted(metrics.UPSTREAM_FAILURES) == {("connect",): 1, ("timeout",): 1, ("other",): 1}


def test_redis_says_what_it_likes_and_the_labels_stay_few() -> None:
    for kind in ("timeout", "NOSCRIPT", "WRONGTYPE"):
        metrics.redis_failed(kind)
    assert counted(metrics.REDIS_ERRORS) == {("timeout",): 1, ("NOSCRIPT",): 1, ("other",): 1}
