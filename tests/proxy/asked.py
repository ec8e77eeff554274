"""Bodies for tests of what a body may ask for: the least of each dialect, and what is added to it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.parsing import parse_call
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.dialects import CHAT, COMPLETIONS, COUNT_TOKENS, EMBEDDINGS, MESSAGES, RESPONSES, Dialect

ASKED: dict[Dialect, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"prompt": "hi"},
    RESPONSES: {"input": "hi"},
    MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    COUNT_TOKENS: {"messages": [{"role": "user", "content": "hi"}]},
    EMBEDDINGS: {"input": "hi"},
}


def parsed(dialect: Dialect, **fields: Any) -> Call:
    return parse_call(dialect, orjson.dumps({"model": "m", **ASKED[dialect], **fields}))


def assert_refused(dialect: Dialect, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parsed(dialect, **fields)
    assert refused.value.field == named
    assert named in refused.value.message


def said(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(parts)}]}


def given(item: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "hi"}, item]}
