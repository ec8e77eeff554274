"""The usual usage object is read by a shorter way, to the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter.numbers import COUNT_MAX, detailed_usage, openai_usage

NUMBERS = st.sampled_from(
    [0, 1, 7, 40, COUNT_MAX, COUNT_MAX + 1, -1, 2.5, float("nan"), True, None, "9", [], {}]
)
DETAILS = st.one_of(
    st.none(),
    st.sampled_from(["", "x", [], [1], {}]),
    st.dictionaries(
        st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "cache_write_tokens", "other"]),
        NUMBERS,
    ),
)
USAGES = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            **{f"{kind}_tokens": NUMBERS for kind in kinds},
            **{f"{kind}_tokens_details": DETAILS for kind in kinds},
            "total_tokens": NUMBERS,
            **extra,
        },
    )
    for kinds in (("prompt", "completion"), ("input", "output"))
    for extra in ({}, {"cache_read_input_tokens": NUMBERS, "seconds": NUMBERS})
)


@given(USAGES, st.sampled_from([None, "flex"]), st.sampled_from([None, {}, {"web_search_requests": 2}]))
def test_the_usual_object_is_read_as_any_other(
    usage: dict[str, Any], tier: str | None, tools: dict[str, int] | None
) -> None:
    assert openai_usage(usage, service_tier=tier, server_tools=tools) == detailed_usage(usage, tier, tools)


@pytest.mark.parametrize("names", [("prompt", "completion"), ("input", "output")])
@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": 0, "audio_tokens": None}])
def test_the_usual_object(names: tuple[str, str], details: dict[str, Any] | None) -> None:
    into, out = names
    stated = {
        f"{into}_tokens": 19,
        f"{out}_tokens": 50,
        "total_tokens": 69,
        f"{into}_tokens_details": details,
    }
    assert openai_usage(stated) == Usage(input_tokens=19, output_tokens=50)
