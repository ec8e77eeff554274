"""Every stream of tests/fixtures/streams reads as its sidecar says, however it is cut, and its bytes stay its own."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing.usage import Usage
from tests.proxy.streams import NAMES, cuts, dialect_of, raw, run, sidecar

CLIENT_SIDE = "forced_usage_client"
TEXT_DIALECTS = ("openai-chat", "openai-completions")


def as_sidecar(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens_total": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "cache_write_30m_tokens": usage.cache_write_5m_tokens,
        "cache_write_12h_tokens": usage.cache_write_1h_tokens,
        "uncached_input_tokens": usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens,
        "output_tokens_total": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_input_tokens": usage.audio_input_tokens,
        "audio_output_tokens": usage.audio_output_tokens,
        "image_input_tokens": usage.image_input_tokens,
        "image_output_tokens": usage.image_output_tokens,
        "server_tools": usage.server_tools,
    }


@pytest.mark.parametrize("name", NAMES)
def test_usage_is_read_as_the_sidecar_says(name: str) -> None:
    expected = sidecar(name)["expected_usage"]
    seen = run(dialect_of(name), [raw(name)])
    if expected is None:
        assert seen.usage is None
        return
    assert seen.usage is not None
    read = as_sidecar(seen.usage)
    expected.pop("upstream_stated_cost_usd", None)
    assert {key: read[key] for key in expected} == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_known_to_be_missing(name: str) -> None:
    side = sidecar(name)
    seen = run(dialect_of(name), [raw(name)])
    if name != CLIENT_SIDE:
        exact = seen.usage is not None and seen.output_stated
        assert side["must_estimate"] == (seen.delivered and not exact)
    if side["error"] is None:
        assert seen.error is None
    else:
        assert seen.error is not None
        known = {key: value for key, value in side["error"].items() if key in ("type", "code", "message")}
        assert {key: seen.error[key] for key in known} == known


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_frame_is_seen(name: str) -> None:
    side = sidecar(name)
    seen = run(dialect_of(name), [raw(name)])
    closes = dialect_of(name) not in TEXT_DIALECTS and side["stream_end"] == "eof"
    closes = closes and not name.startswith("anthropic")
    terminal = side["stream_end"] in ("done", "message_stop", "terminal_event") or closes
    terminal = terminal or name == "openai_responses_error_event_nested"
    assert seen.terminal == terminal


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_identical_but_for_the_end_of_the_terminal_frame(name: str) -> None:
    data = raw(name)
    seen = run(dialect_of(name), [data])
    assert seen.client + seen.withheld == data
    if seen.terminal:
        assert not seen.client.endswith((b"\n", b"\r"))
        assert seen.withheld.startswith((b"\r\n\r\n", b"\n\n", b"\r\r"))
    else:
        assert seen.withheld == b""


@pytest.mark.parametrize("name", NAMES)
def test_any_cut_gives_the_same(name: str) -> None:
    data = raw(name)
    dialect = dialect_of(name)
    whole = run(dialect, [data])
    for pieces in cuts(data, sidecar(name).get("chunk_boundaries")):
        assert run(dialect, pieces) == whole, [len(piece) for piece in pieces]


@pytest.mark.parametrize("name", [name for name in NAMES if dialect_of(name) in TEXT_DIALECTS])
def test_any_cut_gives_the_same_when_usage_is_hidden(name: str) -> None:
    data = raw(name)
    dialect = dialect_of(name)
    whole = run(dialect, [data], hide_usage=True)
    for pieces in cuts(data, sidecar(name).get("chunk_boundaries")):
        assert run(dialect, pieces, hide_usage=True) == whole, [len(piece) for piece in pieces]


def test_the_forced_usage_chunk_is_cut_out_and_nothing_else() -> None:
    data = raw("forced_usage_upstream")
    wanted = raw("forced_usage_client")
    for pieces in cuts(data):
        seen = run("openai-chat", pieces, hide_usage=True)
        assert seen.client + seen.withheld == wanted
        assert seen.withheld == b"\n\n"
        assert seen.usage is not None
        assert (seen.usage.input_tokens, seen.usage.output_tokens) == (19, 10)
