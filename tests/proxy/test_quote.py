"""What a call holds: the whole, the limited, the last money. Expected nanos are worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.hold import Hold
from rabbitgw.billing.hold_bounds import (
    NO_MEDIA,
    Media,
    input_bound_nanos,
    input_tokens_bound,
    output_slice_nanos,
    prompt_tokens_max,
)
from rabbitgw.billing.keyring import KeyRecord
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import RateTable
from rabbitgw.billing.ways import Laid
from rabbitgw.config import Settings
from rabbitgw.errors import ModelNotPriced
from rabbitgw.proxy.bodies.parsing import parse_call
from rabbitgw.proxy.call import Call
from rabbitgw.proxy.dialects import CHAT, COMPLETIONS, COUNT_TOKENS, EMBEDDINGS, MESSAGES, Dialect
from rabbitgw.proxy.quote import Quote, quote

PRICE = price_from_text("m", {"input": "2", "output": "10"})  # 2 000 and 10 000 nanos a token
KEY = KeyRecord(
    key_id=1,
    account_id=1,
    partition=0,
    currency="USD",
    generation=1,
    name="k",
    models=None,
    windows=(),
    expires_at_ms=None,
    revoked=False,
)


def body(**fields: Any) -> bytes:
    """Exactly 1 000 bytes of request."""
    made = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": ""}], **fields})
    padding = "x" * (1000 - len(made))
    return orjson.dumps({"model": "m", "messages": [{"role": "user", "content": padding}], **fields})


def quoted(price: Any = PRICE, **fields: Any) -> tuple[Call, Quote]:
    call = parse_call(CHAT, body(**fields))
    return call, quote(call, price, Settings.load())


def hold(index: int, granted_nanos: int) -> Hold:
    return Hold("h", KEY, index, granted_nanos, (), cast("Any", None), Laid((), b""))


def test_a_stream_holds_its_input_and_one_slice() -> None:
    _, offer = quoted(stream=True)
    # 1000 bytes x 0.5 tokens x 2000 nanos, and 256 tokens x 10000 nanos
    assert offer.offers[0].amount_nanos == 1_000_000 + 2_560_000
    assert offer.offers[0].least_nanos == 3_560_000
    assert offer.offers[0].input_nanos == 1_000_000


def test_a_stream_limited_below_a_slice_holds_no_more_than_its_limit() -> None:
    _, offer = quoted(stream=True, max_tokens=20, n=2)
    assert offer.offers[0].amount_nanos == 1_000_000 + 400_000
    assert offer.output_tokens_max == 40


def test_a_limit_that_upstream_may_raise_is_held_for_as_raised() -> None:
    call, offer = quoted(max_tokens=1)
    assert offer.offers[0].amount_nanos == 1_000_000 + 160_000
    offer.apply(call, hold(0, 1_160_000))
    assert call.body["max_tokens"] == 1


def test_the_last_money_needs_the_plain_estimate_only() -> None:
    _, offer = quoted(stream=True)
    last = offer.offers[-1]
    # 250 tokens x 2000 nanos, and 16 tokens of answer
    assert (last.last, last.input_nanos, last.least_nanos) == (True, 500_000, 660_000)


def test_a_plain_call_holds_its_worst_case() -> None:
    call, offer = quoted(max_tokens=100)
    assert offer.offers[0].amount_nanos == 1_000_000 + 1_000_000
    offer.apply(call, hold(0, 2_000_000))
    assert call.output_limit == 100
    assert "max_completion_tokens" not in call.body


def test_a_plain_call_is_limited_to_what_was_granted() -> None:
    call, offer = quoted(max_tokens=100)
    offer.apply(call, hold(1, 1_500_000))
    assert call.body["max_tokens"] == 50
    assert offer.headers(call, hold(1, 1_500_000)) == [(b"x-rabbitgw-max-tokens", b"50")]


def test_a_plain_call_without_any_known_limit_is_given_ours() -> None:
    call, offer = quoted()
    assert offer.offers[0].amount_nanos == 1_000_000 + 81_920_000  # 8192 tokens
    offer.apply(call, hold(0, 82_920_000))
    assert call.body["max_completion_tokens"] == 8192


def test_less_than_the_bound_that_still_pays_for_all_the_output_limits_nothing() -> None:
    price = price_from_text("m", {"input": "2", "output": "10"})
    call, offer = quoted(replace(price, max_output_tokens=30))
    assert offer.offers[0].amount_nanos == 1_000_000 + 300_000
    last = hold(2, 1_200_000)  # the last money: the plain estimate of the input leaves 70 tokens
    offer.apply(call, last)
    assert call.output_limit is None
    assert offer.headers(call, last) == []


def test_a_minimum_charge_is_held_whatever_the_call_is() -> None:
    _, offer = quoted(stream=True, max_tokens=20)
    offer.hold_at_least(5_000_000)  # the whole would be 1 200 000
    assert [(terms.amount_nanos, terms.least_nanos) for terms in offer.offers] == [(5_000_000, 5_000_000)] * 2
    growth = offer.offers[0].growth
    assert growth is not None
    assert growth.floor_nanos == 5_000_000
    offer.hold_at_least(7)
    assert offer.offers[0].amount_nanos == 5_000_000


def test_a_free_model_holds_nothing() -> None:
    _, offer = quoted(price_from_text("m", {"input": "0", "output": "0"}), stream=True)
    assert offer.offers[0].amount_nanos == 0


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"service_tier": "priority"}, "service_tier:priority"),
        ({"modalities": ["text", "audio"]}, "audio_output"),
        ({"web_search_options": {}}, "tool:web_search_requests"),
        ({"tools": [{"type": "code_interpreter"}]}, "tool:code_interpreter_sessions"),
    ],
)
def test_a_part_without_a_price_is_not_sold(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(ModelNotPriced, match=part):
        quoted(**fields)


def test_functions_and_the_plain_tier_are_sold() -> None:
    _, offer = quoted(
        stream=True, service_tier="auto", tools=[{"type": "function", "function": {"name": "f"}}]
    )
    # 1000 bytes x 0.5 and 600 tokens for the tool list, x 2000 nanos
    assert offer.offers[0].input_nanos == 2_200_000


def quoted_as(dialect: Dialect, price: Any = PRICE, **fields: Any) -> tuple[Call, Quote]:
    """Exactly 1 000 bytes of request."""
    made = orjson.dumps({"model": "m", "pad": "", **fields})
    call = parse_call(dialect, orjson.dumps({"model": "m", "pad": "x" * (1000 - len(made)), **fields}))
    return call, quote(call, price, Settings.load())


def test_an_embedding_holds_its_input_and_nothing_else() -> None:
    price = price_from_text("m", {"input": "2"})  # no price of output
    call, offer = quoted_as(EMBEDDINGS, price, input="hi")
    assert [terms.amount_nanos for terms in offer.offers] == [1_000_000, 1_000_000, 1_000_000]
    assert [terms.least_nanos for terms in offer.offers] == [1_000_000, 1_000_000, 500_000]
    offer.apply(call, hold(0, 1_000_000))
    assert set(call.body) == {"model", "pad", "input"}
    assert offer.headers(call, hold(0, 1_000_000)) == []


def test_completions_hold_for_every_answer_that_is_produced() -> None:
    call, offer = quoted_as(COMPLETIONS, prompt=["a", "b"], n=2, best_of=3, max_tokens=20)
    assert offer.offers[0].amount_nanos == 1_000_000 + 1_200_000  # 2 prompts x 3 answers x 20 tokens
    offer.apply(call, hold(1, 2_020_000))
    assert call.body["max_tokens"] == 17


def test_a_count_of_tokens_holds_nothing_even_of_a_model_that_costs() -> None:
    call, offer = quoted_as(COUNT_TOKENS, messages=[{"role": "user", "content": "hi"}])
    assert [terms.amount_nanos for terms in offer.offers] == [0]
    offer.apply(call, hold(0, 0))
    assert "max_tokens" not in call.body


def test_thinking_is_not_limited_below_what_it_needs() -> None:
    thinking = {"type": "enabled", "budget_tokens": 64}
    _, offer = quoted_as(
        MESSAGES, messages=[{"role": "user", "content": "hi"}], max_tokens=100, thinking=thinking
    )
    assert offer.offers[0].amount_nanos == 1_000_000 + 1_000_000
    assert offer.offers[1].least_nanos == 1_000_000 + 650_000  # one token more than the thinking


def test_what_may_be_rejected_of_a_prediction_is_held_for_as_output() -> None:
    _, offer = quoted_as(
        CHAT,
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        prediction={"type": "content", "content": "y" * 200},
    )
    # 1000 bytes x 0.5 tokens x 2000 nanos, and of the prediction 200 bytes x 0.5 x 10000
    assert offer.offers[0].input_nanos == 1_000_000 + 1_000_000


def test_a_model_that_draws_is_held_for_at_its_dearest_output() -> None:
    price = price_from_text("m", {"input": "2", "output": "10", "image_output": "120"})
    _, offer = quoted_as(CHAT, price, messages=[{"role": "user", "content": "hi"}], stream=True)
    assert offer.offers[0].amount_nanos == 1_000_000 + 256 * 120_000


@pytest.mark.parametrize(
    ("fields", "part", "field"),
    [
        ({"speed": "fast"}, "speed:fast", "speed"),
        ({"inference_geo": "us"}, "inference_geo:us", "inference_geo"),
        ({"tools": [{"type": "web_search_20250305"}]}, "tool:web_search_requests", "tools"),
    ],
)
def test_a_part_of_messages_without_a_price_is_not_sold(
    fields: dict[str, Any], part: str, field: str
) -> None:
    with pytest.raises(ModelNotPriced, match=part) as refused:
        quoted_as(MESSAGES, messages=[{"role": "user", "content": "hi"}], max_tokens=9, **fields)
    assert refused.value.field == field


TIERED = Price(
    pattern="m",
    table=RateTable(
        {
            ("", 0): {
                "input": 1_000_000,
                "cache_write": 1_250_000,
                "cache_write_1h": 2_000_000,
                "output": 4_000_000,
            },
            ("", 1_000): {
                "input": 2_000_000,
                "cache_write": 2_500_000,
                "output": 6_000_000,
                "audio_output": 9,
            },
            ("priority", 0): {"input": 3_000_000, "output": 9_000_000, "image_output": 10_000_000},
        }
    ),
    units={"requests": 3_000_000},
)


@pytest.mark.parametrize(
    ("body_bytes", "tier", "nanos"), [(1_000, None, 250), (4_004, None, 2_002), (1_000, "priority", 750)]
)
def test_the_plain_estimate_is_a_quarter_token_a_byte_at_the_plain_rate(
    body_bytes: int, tier: str | None, nanos: int
) -> None:
    call = Call(CHAT, {}, body_bytes, "m", tier=tier)
    assert quote(call, TIERED, Settings.load()).offers[-1].input_nanos == nanos + 3


@given(
    st.sampled_from([PRICE, TIERED]),
    st.sampled_from([CHAT, EMBEDDINGS]),
    st.integers(0, 5_000),
    st.sampled_from([None, "default", "priority"]),
    st.booleans(),
    st.sampled_from(
        [NO_MEDIA, Media(), Media(images=1, file_bytes=9), Media(audio_bytes=90, linked_files=1)]
    ),
    st.booleans(),
)
def test_a_quote_is_what_the_bounds_of_its_parts_add_up_to(
    price: Price,
    dialect: Dialect,
    body_bytes: int,
    tier: str | None,
    long_cache: bool,
    media: Media,
    tools: bool,
) -> None:
    body = {"tools": [{}]} if tools else {}
    call = Call(dialect, body, body_bytes, "m", stream=True, media=media, tier=tier, long_cache=long_cache)
    offer = quote(call, price, Settings.load())
    constant = 600 if tools else 0
    bound_nanos = input_bound_nanos(
        price, body_bytes, tools_constant=constant, media=media, tier=tier, long_cache=long_cache
    )
    largest = prompt_tokens_max(price, body_bytes, tools_constant=constant, media=media)
    drawn = ("image_output",) if "image_output" in price.table.sheets["", 0] else ()
    rate = output_slice_nanos(price, 10**6, tier=tier, prompt_tokens=largest, media_output=drawn)
    assert offer.offers[0].input_nanos == bound_nanos
    assert offer.output_nanos_per_mtok == (rate if dialect.has_output else 0)
    assert offer.held_input_tokens == input_tokens_bound(
        price, body_bytes, tools_constant=constant, media=media
    )
