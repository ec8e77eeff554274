"""What of a body is refused before anything of it is understood: too many values, too deep, names of other APIs."""

from __future__ import annotations

from typing import Any, get_type_hints

import anthropic.types.beta.message_count_tokens_params
import anthropic.types.beta.message_create_params
import openai.types.chat.completion_create_params
import openai.types.completion_create_params
import openai.types.embedding_create_params
import openai.types.responses.response_create_params
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies import parsing
from rabbitgw.proxy.bodies.names import check_metadata, check_names
from rabbitgw.proxy.bodies.parsing import SHAPES, is_crowded, parse_object
from rabbitgw.proxy.dialects import CHAT, COMPLETIONS, COUNT_TOKENS, EMBEDDINGS, MESSAGES, RESPONSES, Dialect

texts = st.text(alphabet='",[{}]:\\a\n\x7f', max_size=6)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=40,
)


def separators(value: Any) -> int:
    """Commas and opening brackets of the document, counted on what it says."""
    if isinstance(value, dict):
        return 1 + max(len(value) - 1, 0) + sum(map(separators, value.values()))
    if isinstance(value, list):
        return 1 + max(len(value) - 1, 0) + sum(map(separators, value))
    return 0


@given(value=values, limit=st.integers(0, 30))
def test_what_stands_in_strings_is_not_counted(value: Any, limit: int) -> None:
    raw = orjson.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "VALUES_MAX", limit)
        assert is_crowded(raw) == (separators(value) > limit)


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b"\\\\", b'\\"'])
def test_a_string_that_never_ends_is_passed_over_once(end: bytes) -> None:
    """It would take hours otherwise, however fast the machine."""
    raw = b'{"x":"' + b'\\"' * 2_000_000 + b"," * 600_000 + end
    assert not is_crowded(raw)
    with pytest.raises(RequestInvalid, match="not valid JSON"):
        parse_object(raw)


def test_the_limits_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "VALUES_MAX", 300)
    deep = parsing.DEPTH_MAX - 1
    assert parse_object(b'{"x":' + b"[" * deep + b"]" * deep + b"}")
    with pytest.raises(RequestInvalid, match="nested more than 254 levels"):
        parse_object(b'{"x":' + b"[" * (deep + 1) + b"]" * (deep + 1) + b"}")
    assert parse_object(b'{"x":[' + b"0," * 298 + b"0]}")
    with pytest.raises(RequestInvalid, match="more than 300 values"):
        parse_object(b'{"x":[' + b"0," * 299 + b"0]}")


# What the official clients may send; the names that are refused whatever they say are tested in test_bodies.py.
SENT_BY_SDKS: dict[Dialect, tuple[type, ...]] = {
    CHAT: (
        openai.types.chat.completion_create_params.CompletionCreateParamsNonStreaming,
        openai.types.chat.completion_create_params.CompletionCreateParamsStreaming,
    ),
    COMPLETIONS: (openai.types.completion_create_params.CompletionCreateParamsStreaming,),
    RESPONSES: (openai.types.responses.response_create_params.ResponseCreateParamsStreaming,),
    EMBEDDINGS: (openai.types.embedding_create_params.EmbeddingCreateParams,),
    MESSAGES: (anthropic.types.beta.message_create_params.MessageCreateParamsStreaming,),
    COUNT_TOKENS: (anthropic.types.beta.message_count_tokens_params.MessageCountTokensParams,),
}


@pytest.mark.parametrize("dialect", SENT_BY_SDKS, ids=lambda dialect: dialect.name)
def test_no_field_of_an_official_client_is_refused_by_its_name(dialect: Dialect) -> None:
    names = {name for params in SENT_BY_SDKS[dialect] for name in get_type_hints(params)}
    assert {"model"} < names
    names.discard("fallbacks")  # of Anthropic's API: other models, at other prices
    check_names(dict.fromkeys(names, "x"), SHAPES[dialect.name].priced_fields)


def test_a_field_of_another_api_may_say_nothing() -> None:
    check_names({"n": None, "max_tokens": None}, SHAPES[RESPONSES.name].priced_fields)
    with pytest.raises(RequestInvalid) as refused:
        check_names({"n": 1}, SHAPES[RESPONSES.name].priced_fields)
    assert refused.value.field == "n"


def test_a_made_up_name_is_said_in_part() -> None:
    for name in ("_" + "x" * 10_000, "AWS_" + "x" * 10_000):
        with pytest.raises(RequestInvalid) as refused:
            check_names({name: 1}, frozenset())
        assert refused.value.field == name[:64]
        assert len(refused.value.message) < 200
    with pytest.raises(RequestInvalid) as refused:
        check_metadata({"user_api_key" + "x" * 10_000: 1}, anthropic=False)
    assert len(refused.value.message) < 200


def test_the_user_of_anthropics_metadata_is_replaced_and_not_refused() -> None:
    check_metadata({"user_id": "me"}, anthropic=True)
    for name in ("USER_ID", "tags"):
        with pytest.raises(RequestInvalid):
            check_metadata({name: "me"}, anthropic=True)


@pytest.mark.parametrize("offset", range(8))
def test_an_integer_past_64_bits_is_refused_wherever_it_stands(offset: int) -> None:
    for number in (b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616"):
        with pytest.raises(RequestInvalid):
            parse_object(b'{"%b":%b}' % (b"x" * offset, number))
    assert parse_object(b'{"%b":9223372036854775807}' % (b"x" * offset))
