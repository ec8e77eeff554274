"""What holds are made of: bounds that cover the dearest way a call can still go, in literal nanos."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.hold_bounds import (
    Media,
    input_bound_nanos,
    output_slice_nanos,
    output_tokens_within,
    prompt_tokens_max,
    reachable_tiers,
    tools_bound_nanos,
)
from rabbitgw.billing.prices import Price, cost_nanos
from rabbitgw.billing.rates import RateTable
from rabbitgw.billing.usage import Usage
from tests.billing.price_cases import price_of

PLAIN = price_of(input=1_000_000, output=4_000_000)
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
            ("", 1_000): {"input": 2_000_000, "cache_write": 2_500_000, "output": 6_000_000},
            ("priority", 0): {"input": 3_000_000, "output": 9_000_000},
        }
    ),
)


def test_input_is_held_by_the_bytes_of_the_body() -> None:
    assert input_bound_nanos(PLAIN, 1_001) == 501
    assert input_bound_nanos(PLAIN, 1_001, tokens_per_byte_milli=1_000) == 1_001
    assert input_bound_nanos(PLAIN, 1_000, tools_constant=300) == 800
    assert input_bound_nanos(PLAIN, 0) == 0


def test_input_is_held_at_the_dearest_rate_that_can_apply() -> None:
    assert input_bound_nanos(TIERED, 1_000, long_cache=False) == 625
    assert input_bound_nanos(TIERED, 1_000) == 1_000
    # past 1000 bytes the prompt may pass 1000 tokens, whatever the estimate says
    assert input_bound_nanos(TIERED, 1_002, long_cache=False) == 1_253
    # the tier has no rate for cache writes: three times the plain one, as its input is
    assert input_bound_nanos(TIERED, 1_000, tier="priority", long_cache=False) == 1_875


def test_media_are_held_by_what_they_are() -> None:
    price = price_of(input=1_000_000, output=1, image_input=2_000_000, audio_input=8_000_000)
    assert input_bound_nanos(price, 100, media=Media(images=2)) == 50 + 20_000
    assert input_bound_nanos(price, 100, media=Media(audio_bytes=1_000)) == 50 + 400
    assert input_bound_nanos(price, 100, media=Media(file_bytes=1_000)) == 550
    assert input_bound_nanos(price, 100, media=Media(linked_files=1)) == 200_050
    assert (
        input_bound_nanos(replace(price, max_input_tokens=1_000), 100, media=Media(linked_files=1)) == 1_050
    )
    assert input_bound_nanos(replace(price, image_tokens_max=48_169), 0, media=Media(images=1)) == 96_338


def test_output_is_held_at_the_dearer_of_seen_and_unseen() -> None:
    assert output_slice_nanos(PLAIN, 256) == 1_024
    assert output_slice_nanos(price_of(input=1, output=4_000_000, reasoning=10_000_000), 256) == 2_560
    spoken = price_of(input=1, output=4_000_000, audio_output=16_000_000)
    assert output_slice_nanos(spoken, 256) == 1_024
    assert output_slice_nanos(spoken, 256, media_output=("audio_output",)) == 4_096


def test_output_is_held_for_the_sizes_and_tiers_the_call_can_reach() -> None:
    assert output_slice_nanos(TIERED, 100, prompt_tokens=1_000) == 400
    assert output_slice_nanos(TIERED, 100, prompt_tokens=1_001) == 600
    assert output_slice_nanos(TIERED, 100) == 600
    assert output_slice_nanos(TIERED, 100, prompt_tokens=1_000, tier="priority") == 900


def test_a_tier_without_a_price_is_held_at_the_dearest_known() -> None:
    assert reachable_tiers(TIERED, "scale") == ("", "priority")
    assert reachable_tiers(TIERED, "auto") == ("",)
    assert output_slice_nanos(TIERED, 100, prompt_tokens=0, tier="scale") == 900


def test_the_tokens_an_amount_pays_for_never_cost_more_than_it() -> None:
    assert output_tokens_within(PLAIN, 1_023) == 255
    assert output_tokens_within(PLAIN, 1_024) == 256
    assert output_tokens_within(PLAIN, -5) == 0
    assert output_tokens_within(price_of(input=1, output=0), 10) is None


def test_tools_and_fees_are_held_by_the_piece() -> None:
    price = price_of(
        input=0, output=0, units={"web_search_requests": 10_000_000_000_000, "requests": 5_000_000_000_000}
    )
    assert tools_bound_nanos(price, {"web_search_requests": 3, "unheard_of": 9}) == 30_000_000
    assert input_bound_nanos(price, 10) == 5_000_000


@given(
    body_bytes=st.integers(0, 5_000),
    cached=st.integers(0, 5_000),
    written=st.integers(0, 5_000),
    output=st.integers(0, 5_000),
    tier=st.sampled_from([None, "priority"]),
)
def test_a_call_within_its_bounds_never_costs_more_than_they_hold(
    body_bytes: int, cached: int, written: int, output: int, tier: str | None
) -> None:
    """With a token per byte (`strict`), every split of the input among cache and plain is covered."""
    cached = min(cached, body_bytes)
    written = min(written, body_bytes - cached)
    usage = Usage(
        input_tokens=body_bytes,
        output_tokens=output,
        cached_input_tokens=cached,
        cache_write_1h_tokens=written,
        service_tier=tier,
    )
    largest = prompt_tokens_max(TIERED, body_bytes)
    held = input_bound_nanos(TIERED, body_bytes, tokens_per_byte_milli=1_000, tier=tier)
    held += output_slice_nanos(TIERED, output, tier=tier, prompt_tokens=largest)
    assert cost_nanos(TIERED, usage) <= held
