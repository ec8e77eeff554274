"""LiteLLM's map becomes prices that never sell below it; what is not understood is refused by name."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from rabbitgw.billing.price_import import import_litellm_map, parse_map
from rabbitgw.billing.price_terms import terms_json
from rabbitgw.billing.prices import Price, cost_nanos, unpriced_parts
from rabbitgw.billing.usage import Usage
from rabbitgw.errors import RequestInvalid
from tests.billing.price_cases import imported

CHAT = {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
MTOK = 1_000_000


def chat(**fields: Any) -> dict[str, Any]:
    return {**CHAT, **fields}


def refusal(fields: dict[str, Any]) -> str:
    result = import_litellm_map({"m": fields})
    assert not result.prices
    return result.refused["m"]


def notes(fields: dict[str, Any]) -> tuple[str, ...]:
    return import_litellm_map({"m": fields}).notes.get("m", ())


def input_cost(price: Price, tokens: int, tier: str | None = None) -> int:
    return cost_nanos(price, Usage(input_tokens=tokens, service_tier=tier))


def test_float_dust_is_quantized_to_fifteen_places() -> None:
    price = imported(chat(input_cost_per_token=5.0000000000000004e-08))
    assert input_cost(price, MTOK) == 50_000_000
    text = '{"m": {"mode": "chat", "input_cost_per_token": 5.0000000000000004E-8, "output_cost_per_token": "2e-6"}}'
    from_text = import_litellm_map(parse_map(text)).prices[0]
    assert terms_json(from_text) == terms_json(price)


def test_the_cheapest_published_price_keeps_its_digits() -> None:
    price = imported(chat(input_cost_per_token=1.3e-10))
    assert price.table.sheets["", 0]["input"] == 130_000
    assert input_cost(price, 7) == 1  # 0.91 nanos


def test_every_rate_is_an_integer_and_the_json_holds_no_float() -> None:
    entry = chat(input_cost_per_token_above_200k_tokens=2.5e-06, search_context_cost_per_query={"low": 0.01})
    price = imported(entry)
    rates = [rate for sheet in price.table.sheets.values() for rate in sheet.values()]
    assert all(type(rate) is int for rate in [*rates, *price.units.values()])

    def no_float(text: str) -> None:
        raise AssertionError(f"{text} is a float")

    json.loads(terms_json(price), parse_float=no_float)


def test_parsing_a_map_makes_decimals() -> None:
    parsed = parse_map(b'{"m": {"input_cost_per_token": 1e-7, "max_tokens": 10}}')
    assert parsed == {"m": {"input_cost_per_token": Decimal("1E-7"), "max_tokens": 10}}


@pytest.mark.parametrize("text", ["[]", "{", "nonsense", b"\xff\xfe\x00"])
def test_what_is_no_map_is_refused(text: str | bytes) -> None:
    with pytest.raises(RequestInvalid):
        parse_map(text)


def test_pages_that_are_no_models_are_skipped_in_silence() -> None:
    result = import_litellm_map({"sample_spec": {"mode": "x"}, "fallback_generalizations": {"rules": []}})
    assert (result.prices, result.refused) == ((), {})


def test_an_entry_without_price_is_refused_and_reported() -> None:
    assert refusal({"mode": "chat", "max_tokens": 10}) == "no price"
    assert "output" in refusal({"mode": "chat", "input_cost_per_token": 1e-6})
    assert refusal({"mode": "chat", "output_cost_per_token": 1e-6}) == "no price for input"
    assert refusal({"mode": "chat", "input_cost_per_second": 0.001, "cost_per_second": 0.001})


def test_zero_prices_are_given_away_only_on_request() -> None:
    free = chat(input_cost_per_token=0, output_cost_per_token=0.0)
    assert "zero" in refusal(free)
    assert "output" in refusal(chat(output_cost_per_token=0))
    assert len(import_litellm_map({"m": free}, free=True).prices) == 1
    moderation = {"mode": "moderation", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    assert len(import_litellm_map({"m": moderation}).prices) == 1


def test_a_field_that_looks_like_a_price_and_is_not_known_refuses_the_model() -> None:
    assert "moon_cost_per_token" in refusal(chat(moon_cost_per_token=1e-9))
    assert "handling_fee" in refusal(chat(handling_fee=0.01))
    assert not import_litellm_map({"m": chat(moon_cost_per_token=0.0)}).refused


def test_a_mode_that_no_route_sells_is_refused() -> None:
    assert "realtime" in refusal(chat(mode="realtime"))


@pytest.mark.parametrize("value", [-1e-6, "cheap", True, [1], "NaN", float("inf"), 1e-17, 1e12])
def test_a_price_that_is_no_price_refuses_the_model(value: Any) -> None:
    assert "input_cost_per_token" in refusal(chat(input_cost_per_token=value))


def test_a_name_too_long_to_be_a_model_is_refused() -> None:
    result = import_litellm_map({"m" * 300: CHAT, "entry": 5})
    assert len(result.refused) == 2


def test_tiers_and_thresholds_in_either_order_of_the_name() -> None:
    price = imported(
        chat(
            input_cost_per_token_above_200k_tokens=2e-6,
            input_cost_per_token_priority=3e-6,
            output_cost_per_token_priority=4e-6,
            input_cost_per_token_above_200k_tokens_priority=5e-6,
            input_cost_per_token_ultrafast_above_200k_tokens=9e-6,
            input_cost_per_token_above_512_tokens=1.5e-6,
        )
    )
    assert price.table.sheets["", 200_000] == {"input": 2_000_000_000}
    assert price.table.sheets["priority", 200_000] == {"input": 5_000_000_000}
    assert price.table.sheets["ultrafast", 200_000] == {"input": 9_000_000_000}
    assert price.table.sheets["", 512] == {"input": 1_500_000_000}


def test_xai_bills_the_upper_rates_from_the_threshold_on() -> None:
    entry = chat(input_cost_per_token_above_200k_tokens=2e-6)
    assert input_cost(imported({**entry, "litellm_provider": "xai"}), 200_000) == 400_000_000
    assert input_cost(imported({**entry, "litellm_provider": "openai"}), 200_000) == 200_000_000


def test_hour_long_cache_writes_above_a_threshold() -> None:
    price = imported(
        chat(
            cache_creation_input_token_cost=1.25e-6,
            cache_creation_input_token_cost_above_1hr=2e-6,
            cache_creation_input_token_cost_above_12hr=3e-6,
            cache_creation_input_token_cost_above_1hr_above_100k_tokens=7e-6,
        )
    )
    written = Usage(input_tokens=1_000, cache_write_1h_tokens=1_000)
    assert cost_nanos(price, written) == 3_000_000  # longer than an hour or not, usage cannot tell
    assert cost_nanos(price, Usage(input_tokens=100_001, cache_write_1h_tokens=100_001)) == 700_007_000


def test_size_ranges_price_the_whole_call_and_fill_their_gaps_from_themselves() -> None:
    price = imported(
        {
            "mode": "chat",
            "cache_read_input_token_cost": 1e-9,
            "tiered_pricing": [
                {"range": [0, 32_000.0], "input_cost_per_token": 1e-6, "output_cost_per_token": 5e-6},
                {
                    "range": [32_000.0, 128_000.0],
                    "input_cost_per_token": 2e-6,
                    "output_cost_per_token": 9e-6,
                    "output_cost_per_reasoning_token": 2e-5,
                    "cache_read_input_token_cost": 5e-7,
                },
            ],
        }
    )
    below = Usage(input_tokens=32_000, cached_input_tokens=32_000, output_tokens=10, reasoning_tokens=10)
    above = Usage(input_tokens=200_000, cached_input_tokens=200_000, output_tokens=10, reasoning_tokens=10)
    assert cost_nanos(price, below) == 32_000_000 + 50_000
    assert cost_nanos(price, above) == 100_000_000 + 200_000


def test_ranges_of_anything_but_prompt_size_are_refused() -> None:
    steps = [{"input_cost_per_query": 0.005, "max_results_range": [0, 25]}]
    assert "tiered_pricing" in refusal(chat(tiered_pricing=steps))


def test_off_peak_prices_are_noted_and_the_dearer_one_holds() -> None:
    entry = chat(off_peak_pricing={"hours_utc": "16:30-00:30", "input_cost_per_token": 5e-7})
    assert input_cost(imported(entry), 1_000) == 1_000_000
    assert "off-peak" in notes(entry)[0]
    dearer = chat(off_peak_pricing={"hours_utc": "16:30-00:30", "input_cost_per_token": 3e-6})
    assert input_cost(imported(dearer), 1_000) == 3_000_000


def test_fast_mode_has_rates_of_its_own_and_a_chosen_place_is_not_sold() -> None:
    entry = chat(provider_specific_entry={"fast": 2, "us": 1.1})
    price = imported(entry)
    assert input_cost(price, 1_000, "fast") == 2_000_000
    assert unpriced_parts(
        price,
        (
            "speed:fast",
            "inference_geo:us",
        ),
    ) == ("inference_geo:us",)
    assert "us" in notes(entry)[0]


def test_regional_uplift_is_applied_where_the_operator_names_the_region() -> None:
    entry = chat(regional_processing_uplift_multiplier_eu=1.1, regional_processing_uplift_multiplier_us=1.2)
    assert "global" in notes(entry)[0]

    def nanos(region: str) -> int:
        return input_cost(import_litellm_map({"m": entry}, region=region).prices[0], 1_000)

    assert (nanos("global"), nanos("eu"), nanos("us"), nanos("jp")) == (
        1_000_000,
        1_100_000,
        1_200_000,
        1_200_000,
    )


def test_tools_are_sold_at_their_dearest_size() -> None:
    sizes = {"search_context_size_low": 0.006, "search_context_size_high": 0.014}
    entry = chat(search_context_cost_per_query=sizes, file_search_cost_per_1k_calls=2.5)
    usage = Usage(server_tools={"web_search_requests": 2, "file_search_requests": 1})
    assert cost_nanos(imported(entry), usage) == 28_000_000 + 2_500_000
    assert "largest" in notes(entry)[0]


def test_parts_that_usage_does_not_count_are_not_sold() -> None:
    price = imported(chat(input_cost_per_video_token=1e-5, input_cost_per_image=0.001))
    assert unpriced_parts(
        price,
        (
            "video_input",
            "image_input",
            "input",
        ),
    ) == ("video_input", "image_input")


def test_images_are_sold_by_the_piece_where_they_are_what_is_made() -> None:
    price = imported(
        {"mode": "image_generation", "output_cost_per_image": 0.04, "output_cost_per_image_4K": 0.16}
    )
    assert cost_nanos(price, Usage(server_tools={"images": 2})) == 320_000_000
    assert "pixel" in refusal({"mode": "image_generation", "input_cost_per_pixel": 1e-8})


def test_limits_are_read_from_numbers_and_strings() -> None:
    price = imported(chat(max_output_tokens="16384", max_input_tokens=128_000.0))
    assert (price.max_output_tokens, price.max_input_tokens) == (16_384, 128_000)
    assert imported(chat(max_output_tokens="see docs", max_tokens=4_096)).max_output_tokens == 4_096
    assert imported(CHAT).max_output_tokens is None


def test_models_that_think_are_known() -> None:
    assert imported(chat(supports_reasoning=True)).reasons
    assert not imported(CHAT).reasons
