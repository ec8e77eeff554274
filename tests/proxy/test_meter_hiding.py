"""What leaves for the client, when: the usage chunk that we asked for, the terminal frame, huge lines."""

from __future__ import annotations

import tracemalloc

import pytest

from rabbitgw.proxy.meter import StreamReader
from tests.proxy.streams import cuts, raw, run

ROLE = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
TEXT = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}],"usage":null}\n\n'
FINISH = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def hidden(stream: bytes) -> bytes:
    """What the client gets in all, the same for every cut."""
    whole = run("openai-chat", [stream], hide_usage=True)
    for pieces in cuts(stream):
        assert run("openai-chat", pieces, hide_usage=True) == whole
    return whole.client + whole.withheld


def test_only_the_usage_chunk_is_cut_out() -> None:
    assert hidden(ROLE + TEXT + FINISH + USAGE + DONE) == ROLE + TEXT + FINISH + DONE


@pytest.mark.parametrize(
    "chunk",
    [
        b'data: { "usage" : {"prompt_tokens":3,"completion_tokens":2} , "choices" : [ ] }\n\n',
        b'data:{"usage":{"prompt_tokens":3,"completion_tokens":2},"id":"c"}\n\n',
        b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":3,"completion_tokens":2}}\r\n\r\n',
        b'id: 9\nevent: chunk\ndata: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\r\r',
    ],
)
def test_the_usage_chunk_is_known_however_it_is_written(chunk: bytes) -> None:
    assert hidden(TEXT + chunk + DONE) == TEXT + DONE


def test_a_usage_chunk_with_an_empty_choice_is_cut_out_behind_the_finish_chunk() -> None:
    chunk = (
        b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    )
    assert hidden(TEXT + FINISH + chunk + DONE) == TEXT + FINISH + DONE
    assert hidden(chunk + TEXT + FINISH + DONE) == chunk + TEXT + FINISH + DONE
    late = TEXT.replace(b"null", b'{"prompt_tokens":3,"completion_tokens":2}')
    assert hidden(TEXT + FINISH + late + DONE) == TEXT + FINISH + late + DONE


def test_comments_between_the_lines_of_a_cut_event_stay() -> None:
    body = b'"usage":{"prompt_tokens":3,"completion_tokens":2}}\n'
    chunk = b': a\ndata: {"choices":[],\n: b\ndata: ' + body + b": c\n\n"
    assert hidden(TEXT + chunk + DONE) == TEXT + b": a\n: b\n: c\n" + DONE


@pytest.mark.parametrize(
    "chunk",
    [
        b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n',
        b'data: {"choices":[],"usage":null}\n\n',
        b'data: {"choices":[],"moderation":{"input":{}},"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b'data: {"id":"litellm-fallback-metadata","choices":[],"litellm_fallback":{"fallback_model":"x"}}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}\n\n',
        b'data: {"error":{"message":"m"},"choices":[],"usage":{"prompt_tokens":3}}\n\n',
        b'data: {"choices":[{"delta":{"content":"{\\"choices\\":[],\\"usage\\":{\\"prompt_tokens\\":1}}"}}]}\n\n',
        b": ping\n\n",
        b'data: no json, "usage"\n\n',
        b"event: lonely\n\n",
    ],
)
def test_every_other_chunk_stays(chunk: bytes) -> None:
    assert hidden(TEXT + chunk + DONE) == TEXT + chunk + DONE


def test_nothing_is_hidden_from_a_caller_who_asked() -> None:
    seen = run("openai-chat", [ROLE + TEXT + FINISH + USAGE + DONE])
    assert seen.client + seen.withheld == ROLE + TEXT + FINISH + USAGE + DONE


def test_usage_that_the_dialect_shows_anyway_is_not_hidden() -> None:
    data = raw("anthropic_messages")
    seen = run("anthropic-messages", [data], hide_usage=True)
    assert seen.client + seen.withheld == data


def test_an_unterminated_usage_chunk_is_cut_out_at_the_end() -> None:
    assert hidden(TEXT + USAGE.rstrip(b"\n")) == TEXT


def test_half_a_usage_chunk_is_given_back_at_the_end() -> None:
    assert hidden(TEXT + USAGE[:40]) == TEXT + USAGE[:40]


def test_ordinary_pieces_leave_as_the_same_object() -> None:
    reader = StreamReader("openai-chat", hide_usage=True)
    for piece in (ROLE, TEXT, TEXT * 3, b": ping\n\n", FINISH):
        assert reader.feed(piece) is piece


def test_an_event_is_held_only_until_it_shows_a_choice() -> None:
    reader = StreamReader("openai-chat", hide_usage=True)
    head, tail = TEXT[:30], TEXT[30:]
    assert b'"choices":[{' not in head
    assert reader.feed(head) == b""
    assert reader.feed(tail[:40]) == head + tail[:40]
    assert reader.feed(tail[40:]) == tail[40:]


def test_an_event_too_long_for_a_usage_chunk_passes() -> None:
    chunk = (
        b'data: {"choices":[],"pad":"'
        + b"x" * 70_000
        + b'","usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    )
    for size in (1000, 4096, len(chunk)):
        pieces = [chunk[i : i + size] for i in range(0, len(chunk), size)]
        seen = run("openai-chat", [TEXT, *pieces, DONE], hide_usage=True)
        assert seen.client + seen.withheld == TEXT + chunk + DONE
        assert seen.usage is not None
        assert (seen.usage.input_tokens, seen.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_end_of_the_terminal_frame_is_withheld_with_all_that_follows(end: bytes) -> None:
    stream = TEXT + b"data: [DONE]" + end + end
    for pieces in cuts(stream + b": bye\n\n"):
        seen = run("openai-chat", pieces)
        assert seen.client == TEXT + b"data: [DONE]"
        assert seen.withheld == end + end + b": bye\n\n"


def test_lines_after_the_terminal_data_leave_before_the_last_line_end() -> None:
    stream = TEXT + b"data: [DONE]\nid: 7\n\n"
    for pieces in cuts(stream):
        seen = run("openai-chat", pieces)
        assert (seen.client, seen.withheld) == (TEXT + b"data: [DONE]\nid: 7", b"\n\n")


def test_litellm_done_after_response_completed_is_withheld_too() -> None:
    data = raw("litellm_responses")
    seen = run("openai-responses", [data])
    assert seen.withheld == b"\n\ndata: [DONE]\n\n"


def test_after_release_everything_passes() -> None:
    reader = StreamReader("openai-chat", hide_usage=False)
    reader.feed(TEXT + DONE)
    assert reader.terminal_seen
    assert reader.feed(b": a\n\n") == b""
    assert reader.release() == b"\n\n: a\n\n"
    assert reader.withheld == b""
    assert reader.feed(b": b\n\n") == b": b\n\n"


def test_a_closing_event_is_terminal_only_if_nothing_follows() -> None:
    usage = b'{"input_tokens":5,"output_tokens":7}'
    done = b'data: {"type":"image_generation.completed","b64_json":"aa","usage":%b}\n\n' % usage
    for pieces in cuts(done + done):
        reader = StreamReader("openai-images", hide_usage=False)
        given = b"".join(reader.feed(piece) for piece in pieces)
        assert given == done + done[:-2]
        assert not reader.terminal_seen
        assert reader.end() == b""
        assert reader.terminal_seen
        assert reader.withheld == b"\n\n"
        assert reader.images == 2
        assert reader.usage is not None
        assert (reader.usage.input_tokens, reader.usage.image_output_tokens) == (10, 14)


def test_an_error_of_ours_may_follow_only_at_an_events_end() -> None:
    reader = StreamReader("openai-chat", hide_usage=True)
    assert reader.at_event_end
    reader.feed(TEXT)
    assert reader.at_event_end
    reader.feed(USAGE[:20])  # held whole: the client stands at the end of TEXT
    assert reader.at_event_end
    reader = StreamReader("openai-chat", hide_usage=False)
    reader.feed(TEXT + TEXT[:20])
    assert not reader.at_event_end
    reader.feed(TEXT[20:-1])
    assert not reader.at_event_end
    reader.feed(b"\n")
    assert reader.at_event_end
    reader.feed(DONE)
    assert not reader.at_event_end


def test_an_error_of_ours_does_not_follow_an_event_that_upstream_tore() -> None:
    torn = StreamReader("openai-responses", hide_usage=True)
    torn.feed(b'data: {"type":"response.output_text.delta","del')
    torn.end()
    assert not torn.at_event_end
    whole = StreamReader("openai-chat", hide_usage=False)
    whole.feed(TEXT)
    whole.end()
    assert whole.at_event_end
    held = StreamReader("openai-chat", hide_usage=True)
    held.feed(TEXT + USAGE[:20])  # of the torn event the client has nothing
    held.end()
    assert held.at_event_end


@pytest.mark.parametrize("hide_usage", [False, True])
def test_a_huge_line_passes_at_once_in_bounded_memory(hide_usage: bool) -> None:
    reader = StreamReader("openai-chat", hide_usage=hide_usage)
    reader.feed(ROLE)
    piece = b"x" * 65_536
    reader.feed(b'data: {"choices":[{"index":0,"delta":{"content":"')
    tracemalloc.start()
    for count in range(1, 161):  # 10 MB
        assert reader.feed(piece) is piece
        assert reader.delivered_tokens >= (count - 1) * 16_384
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    reader.feed(b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2500000}}\n\n')
    assert reader.finish_seen
    assert reader.delivered_any
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (5, 2_500_000)


def test_a_huge_terminal_event_is_read_whole() -> None:
    image = "A" * 3_000_000
    text = 'word \\" quoted } ] ' * 20_000
    data = (
        'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r","model":"gpt-5",'
        f'"output":[{{"type":"image_generation_call","id":"i","result":"{image}"}},'
        f'{{"type":"web_search_call","id":"w"}},{{"type":"message","content":[{{"text":"{text}"}}]}}],'
        '"service_tier":"flex","usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30}}}\n\n'
    ).encode()
    size = 65_536
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    for cut in ([data], pieces, [*pieces[:-1], pieces[-1][:-1], pieces[-1][-1:]]):
        seen = run("openai-responses", cut)
        assert seen.client + seen.withheld == data
        assert seen.withheld == b"\n\n"
        assert seen.model == "gpt-5"
        assert seen.usage is not None
        assert (seen.usage.input_tokens, seen.usage.output_tokens) == (10, 20)
        assert seen.usage.service_tier == "flex"
        assert seen.usage.server_tools == {"web_search_requests": 1}
