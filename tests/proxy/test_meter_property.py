"""For any stream of chunks, in any rendering and any cut: the same reading, and the bytes that the rules say."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proxy.streams import run


class Part(NamedTuple):
    """A chunk's data, and whether it is the usage chunk that include_usage asks for."""

    data: bytes
    is_usage: bool = False


HEAD = b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"'
PARTS = st.sampled_from(
    [
        Part(HEAD + b'Hi"},"finish_reason":null}],"usage":null}'),
        Part(HEAD + b'"}}]}'),
        Part(HEAD + b'\\"usage\\":{\\"prompt_tokens\\":9}, data: [DONE]"}}]}'),
        Part(HEAD + "世界🌍\u2028".encode() + b'"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}'),
        Part(HEAD + b"x" * 300 + b'"},"finish_reason":"stop"}]}'),
        Part(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}', is_usage=True),
        Part(b'{"usage": {"prompt_tokens": 4, "completion_tokens": 2}, "choices": []}', is_usage=True),
        Part(b'{"choices":[],"usage":null}'),
        Part(b'{"choices":[],"prompt_filter_results":[{}]}'),
        Part(b'{"error":{"message":"m","type":"t"}}'),
        Part(b"not json"),
        Part(b"[DONE]"),
    ]
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BEFORE = st.sampled_from([b"", b": ping"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream as upstream sends it, and what of it is left without usage chunks."""
    sent, left = [], []
    for part in draw(st.lists(PARTS, max_size=8)):
        end = draw(LINE_ENDS)
        comment = draw(BEFORE)
        field = draw(st.sampled_from([b"data: ", b"data:"]))
        written = comment + end + end if comment else b""
        sent.append(written + field + part.data + end + end)
        left.append(written if part.is_usage else sent[-1])
        if part.data == b"[DONE]":
            break
    return b"".join(sent), b"".join(left)


@settings(max_examples=300)
@given(streams(), st.booleans(), st.data())
def test_no_cut_and_no_rendering_changes_the_reading(
    made: tuple[bytes, bytes], hide_usage: bool, data: st.DataObject
) -> None:
    sent, left = made
    whole = run("openai-chat", [sent], hide_usage=hide_usage)
    assert whole.client + whole.withheld == (left if hide_usage else sent)
    assert whole.terminal == sent.rstrip(b"\r\n").endswith(b"[DONE]")
    places = data.draw(st.sets(st.integers(0, len(sent)), max_size=10))
    edges = [0, *sorted(places), len(sent)]
    assert run("openai-chat", [sent[a:b] for a, b in pairwise(edges)], hide_usage=hide_usage) == whole
    assert run("openai-chat", [bytes([byte]) for byte in sent], hide_usage=hide_usage) == whole
