"""A shrunk document parses to the same as the whole one, but for what carries output; any cut gives the same."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.proxy.meter.shrink import DROPPED_KEYS, KEPT_BYTES_MAX, STRING_BYTES_MAX, Shrinker

DROPPED = {key.decode() for key in DROPPED_KEYS}


def shrink(data: bytes, cuts: list[int]) -> bytes:
    shrinker = Shrinker()
    edges = [0, *sorted(cuts), len(data)]
    for a, b in itertools.pairwise(edges):
        shrinker.feed(data[a:b])
    return shrinker.end()


def wanted(value: Any) -> Any:
    """What should be left, by the plain definition."""
    if isinstance(value, dict):
        return {key: left_out(inner) if key in DROPPED else wanted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [wanted(inner) for inner in value]
    if isinstance(value, str) and len(json.dumps(value, ensure_ascii=False).encode()) - 2 > STRING_BYTES_MAX:
        return ""
    return value


def left_out(value: Any) -> Any:
    if isinstance(value, str):
        return ""
    return None if isinstance(value, dict | list) else value


KEYS = st.one_of(st.text(max_size=6), st.sampled_from([*sorted(DROPPED), "usage", "model", 'a"b', "\\"]))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.text(max_size=12),
    st.sampled_from(["x" * 1024, "x" * 1025, "\\" * 900, '"' * 300, "é" * 700]),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(DOCUMENTS, st.booleans(), st.data())
def test_only_output_is_left_out(document: Any, indented: bool, data: st.DataObject) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1 if indented else None).encode()
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    small = shrink(text, cuts)
    assert orjson.loads(small) == wanted(document)
    assert small == shrink(text, [])
    assert small == shrink(text, list(range(len(text))))


def test_a_document_that_stays_large_is_given_up() -> None:
    text = json.dumps({str(i): i for i in range(100_000)}).encode()
    assert len(text) > KEPT_BYTES_MAX
    assert shrink(text, []) == b""


def test_what_nests_too_deep_is_left_out() -> None:
    small = orjson.loads(shrink(b'{"a":' + b"[" * 200_000 + b"1" + b"]" * 200_000 + b',"usage":{"x":1}}', []))
    assert small["usage"] == {"x": 1}


def test_broken_json_comes_out_broken() -> None:
    for text in (b'{"a":', b"}}}", b'{"a":1]', b'"abc', b"[1,2"):
        try:
            orjson.loads(shrink(text, []))
        except orjson.JSONDecodeError:
            continue
        raise AssertionError(text)


def test_left_out_bytes_are_counted() -> None:
    shrinker = Shrinker()
    shrinker.feed(b'{"choices":[{"message":{"content":"' + b"w" * 5000 + b'"}}],"x":"' + b"y" * 2000 + b'"}')
    assert shrinker.dropped_bytes == 7000
