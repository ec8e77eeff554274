"""What nobody stated: estimates by bytes or tokenizer, and which numbers are charged in the end."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import orjson
import pytest

from rabbitgw.billing.usage import ESTIMATED, PARTIAL, PROVIDER, Usage
from rabbitgw.proxy.meter import (
    StreamReader,
    charged_usage,
    estimate_input_tokens,
    estimate_output_tokens,
    load_tokenizer,
)
from tests.proxy.streams import raw, run, sidecar


def chunk(content: str) -> bytes:
    choice = {"index": 0, "delta": {"content": content}}
    return b"data: " + orjson.dumps({"id": "c", "model": "m", "choices": [choice]}) + b"\n\n"


def read(stream: bytes, dialect: str = "openai-chat") -> StreamReader:
    reader = StreamReader(dialect, hide_usage=False)
    reader.feed(stream)
    reader.end()
    return reader


@pytest.mark.parametrize(
    "name", ["openai_chat_no_usage", "openai_chat_midstream_error", "anthropic_messages_eof_after_start"]
)
def test_delivered_text_is_estimated_by_its_bytes(name: str) -> None:
    dialect = "anthropic-messages" if name.startswith("anthropic") else "openai-chat"
    assert run(dialect, [raw(name)]).estimate == -(-len(sidecar(name)["assembled_text"]) // 4)


def test_tool_arguments_count() -> None:
    assert run("openai-chat", [raw("openai_chat_tool_calls")]).estimate == -(
        -len('get_weather{"city":"Zürich"}'.encode()) // 4
    )


def test_beyond_the_sample_the_estimate_follows_the_bytes() -> None:
    reader = StreamReader("openai-chat", hide_usage=False)
    for _ in range(10_000):
        reader.feed(chunk("word"))
    sample = reader.output_sample()
    assert len(sample.stream) < 20_000
    assert estimate_output_tokens(sample) == 10_000


def test_a_tokenizer_counts_the_sample_and_scales_the_rest() -> None:
    reader = StreamReader("openai-chat", hide_usage=False)
    for _ in range(1000):
        reader.feed(chunk("a bc "))
    assert estimate_output_tokens(reader.output_sample(), lambda text: len(text.split())) == pytest.approx(
        2000, abs=2
    )


def test_a_huge_event_alone_is_estimated() -> None:
    reader = StreamReader("openai-chat", hide_usage=False)
    line = chunk("x" * 400_000)
    for i in range(0, len(line), 65_536):
        reader.feed(line[i : i + 65_536])
    assert 100_000 <= estimate_output_tokens(reader.output_sample()) < 100_100


def test_stated_usage_of_a_whole_answer_is_charged_as_it_is() -> None:
    meter = read(raw("openai_chat_usage"))
    usage = charged_usage(meter, meter.usage, input_tokens=1, output_tokens=1, whole=True)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (19, 10, PROVIDER)


def test_missing_usage_of_a_whole_answer_is_estimated() -> None:
    meter = read(raw("openai_chat_no_usage"))
    usage = charged_usage(meter, meter.usage, input_tokens=7, output_tokens=3, whole=True)
    assert usage == Usage(input_tokens=7, output_tokens=3, source=ESTIMATED)


def test_stated_input_stays_exact_when_the_answer_ended_early() -> None:
    meter = read(raw("anthropic_messages_eof_after_start"), "anthropic-messages")
    usage = charged_usage(meter, meter.usage, input_tokens=7, output_tokens=30, whole=False)
    assert usage is not None
    assert (usage.input_tokens, usage.cached_input_tokens) == (525, 500)
    assert (usage.output_tokens, usage.source) == (30, PARTIAL)


def test_stated_usage_of_an_answer_that_ended_early_is_partial() -> None:
    meter = read(raw("openai_chat_usage_every_chunk")[:600])
    usage = charged_usage(meter, meter.usage, input_tokens=1, output_tokens=1, whole=False)
    assert usage is not None
    assert (usage.input_tokens, usage.source) == (12, PARTIAL)


def test_nothing_stated_and_nothing_delivered_owes_nothing() -> None:
    meter = read(raw("litellm_chat_ttft_ping_error"))
    assert charged_usage(meter, meter.usage, input_tokens=7, output_tokens=0, whole=False) is None


def test_a_stated_zero_with_nothing_delivered_is_exact() -> None:
    meter = read(b'data: {"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}\n\n')
    assert charged_usage(meter, meter.usage, input_tokens=7, output_tokens=9, whole=True) == Usage()


def test_input_is_estimated_from_what_the_model_reads() -> None:
    body = {"model": "m" * 400, "user": "u" * 400, "messages": [{"role": "user", "content": "x" * 4000}]}
    tokens = estimate_input_tokens(body)
    assert tokens == estimate_input_tokens(orjson.dumps(body))
    assert 1004 <= tokens <= 1015


def test_media_counts_by_the_part_not_by_its_bytes() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    body = {"messages": [{"role": "user", "content": [image, {"type": "text", "text": "What?"}]}]}
    assert 700 <= estimate_input_tokens(body, media_part_tokens=700) < 720
    file = {"type": "input_file", "file_data": "A" * 1_000_000}
    assert estimate_input_tokens({"input": [file]}, media_part_tokens=700) == 700 + 25_000


@pytest.mark.parametrize(
    "body",
    [
        {"input": "A" * 400_000},
        {"messages": [{"content": "data:;base64," + "A" * 400_000}]},
        {"messages": [{"content": [{"type": "text", "text": "x" * 400_000}]}]},
        {"messages": [{"content": [{"type": "tool_use", "input": {"data": "x" * 400_000}}]}]},
        {
            "messages": [
                {"content": [{"type": "document", "source": {"type": "text", "data": "x" * 400_000}}]}
            ]
        },
        {
            "messages": [
                {"content": [{"type": "document", "source": {"type": "content", "content": "x" * 400_000}}]}
            ]
        },
    ],
)
def test_text_is_counted_whatever_it_looks_like(body: dict[str, Any]) -> None:
    assert estimate_input_tokens(body) >= 100_000


def test_token_ids_count_one_each() -> None:
    assert estimate_input_tokens({"prompt": [1, 2, 3]}) == 3


def test_a_body_that_is_no_json_is_estimated_by_its_bytes() -> None:
    assert estimate_input_tokens(b"--boundary\r\n") == 3


def test_the_optional_tokenizer_is_used_where_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rs_bpe", None)
    assert load_tokenizer() is None
    module = ModuleType("rs_bpe")
    module.openai = SimpleNamespace(o200k_base=lambda: SimpleNamespace(count=len))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rs_bpe", module)
    count = load_tokenizer()
    assert count is not None
    assert count("four\ud83d") == 5
