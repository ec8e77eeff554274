"""How Anthropic's messages, and proxies that speak them, state usage."""

from __future__ import annotations

from typing import Any

import orjson

from rabbitgw.billing.usage import Usage
from tests.proxy.streams import Seen, cuts, run

STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **members}))


def start(**usage: Any) -> bytes:
    return event("message_start", message={"id": "m", "model": "claude-a", "usage": usage})


def text(words: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


def delta(stop: str | None = "end_turn", **usage: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": stop}, usage=usage)


def read(stream: bytes) -> Seen:
    whole = run("anthropic-messages", [stream])
    for pieces in cuts(stream):
        assert run("anthropic-messages", pieces) == whole
    assert whole.client + whole.withheld == stream
    return whole


def usage_of(stream: bytes) -> Usage:
    usage = read(stream).usage
    assert usage is not None
    return usage


def test_each_member_of_each_delta_overrides() -> None:
    stream = start(input_tokens=2, cache_read_input_tokens=7, output_tokens=1) + text("Hi")
    stream += delta(None, input_tokens=5, output_tokens=3) + delta(
        output_tokens=9, cache_read_input_tokens=None
    )
    usage = usage_of(stream + STOP)
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (12, 7, 9)


def test_a_split_that_covers_less_than_was_written_leaves_the_rest_short() -> None:
    split = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
    stream = start(input_tokens=1, cache_creation_input_tokens=30, cache_creation=split, output_tokens=1)
    usage = usage_of(stream + text("Hi") + delta(output_tokens=5, cache_creation_input_tokens=50) + STOP)
    assert (usage.input_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (51, 30, 20)


def test_the_turns_are_billed_not_the_first_ones_input() -> None:
    turns = [
        {"type": "message", "input_tokens": 412, "output_tokens": 89},
        {"type": "advisor_message", "model": "claude-b", "input_tokens": 823, "output_tokens": 1612},
        {"type": "message", "input_tokens": 1348, "cache_read_input_tokens": 412, "output_tokens": 442},
    ]
    stream = start(input_tokens=412, output_tokens=1) + text("Hi")
    usage = usage_of(stream + delta(input_tokens=412, output_tokens=531, iterations=turns) + STOP)
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (
        412 + 823 + 1760,
        412,
        2143,
    )
    assert usage.per_model == (("claude-b", Usage(input_tokens=823, output_tokens=1612)),)


def test_turns_beside_the_top_level_are_added_to_it() -> None:
    turns = [{"type": "compaction", "input_tokens": 100, "output_tokens": 8}]
    usage = usage_of(start(input_tokens=5) + text("Hi") + delta(output_tokens=2, iterations=turns) + STOP)
    assert (usage.input_tokens, usage.output_tokens, usage.per_model) == (105, 10, ())


def test_a_fallback_is_a_share_of_the_model_that_answered() -> None:
    turns = [
        {"type": "message", "model": "claude-a", "input_tokens": 408, "output_tokens": 0},
        {"type": "fallback_message", "model": "claude-b", "input_tokens": 412, "output_tokens": 264},
    ]
    usage = usage_of(start(input_tokens=408) + text("Hi") + delta(output_tokens=264, iterations=turns) + STOP)
    assert (usage.input_tokens, usage.output_tokens) == (820, 264)
    assert usage.per_model == (("claude-b", Usage(input_tokens=412, output_tokens=264)),)


def test_one_hour_writes_of_the_top_level_are_spread_over_turns_without_a_split() -> None:
    split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 60}
    turns = [
        {"type": "message", "input_tokens": 1, "cache_creation_input_tokens": 50, "output_tokens": 1}
    ] * 2
    stream = start(input_tokens=1, cache_creation_input_tokens=100, cache_creation=split) + text("Hi")
    usage = usage_of(stream + delta(output_tokens=2, iterations=turns) + STOP)
    assert (usage.cache_write_1h_tokens, usage.cache_write_5m_tokens) == (60, 40)


def test_a_placeholder_is_not_the_output() -> None:
    seen = read(start(input_tokens=5, output_tokens=4) + text("Hi"))
    assert seen.usage is not None
    assert not seen.output_stated
    assert not seen.finish
    seen = read(start(input_tokens=5, output_tokens=4) + text("Hi") + delta(output_tokens=7))
    assert seen.output_stated
    assert seen.finish


def test_zeros_before_a_cut_are_missing() -> None:
    seen = read(start(input_tokens=0, output_tokens=0) + text("Hi"))
    assert (seen.usage, seen.zero_usage) == (None, True)


def test_fast_mode_is_a_tier() -> None:
    usage = usage_of(
        start(input_tokens=5, service_tier="standard", speed="fast") + text("Hi") + delta(output_tokens=1)
    )
    assert usage.service_tier == "fast"


def test_types_count_where_event_lines_are_missing() -> None:
    stream = start(input_tokens=5) + text("Hi") + delta(output_tokens=2) + STOP
    bare = b"".join(
        b"data: " + part.split(b"\ndata: ", 1)[1] + b"\n\n" for part in stream.split(b"\n\n")[:-1]
    )
    seen = read(bare)
    assert seen.terminal
    assert seen.usage is not None
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (5, 2)


def test_names_count_where_types_are_missing() -> None:
    seen = read(start(input_tokens=5) + text("Hi") + b"data: {}\nevent: message_stop\n\n")
    assert seen.terminal
    assert seen.withheld == b"\n\n"


def test_pings_between_deltas_are_no_output() -> None:
    ping = event("ping")
    assert read(start(input_tokens=5) + ping * 20).tokens == 0
    assert read(start(input_tokens=5) + (text("a") + ping) * 20).tokens == 20


def test_an_error_event_keeps_what_was_stated() -> None:
    seen = read(
        start(input_tokens=5) + event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    )
    assert seen.error == {"type": "overloaded_error", "message": "Overloaded", "code": None}
    assert seen.usage == Usage(input_tokens=5)
    assert not seen.delivered
