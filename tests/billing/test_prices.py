"""What a call costs. Expected nanos are literals: no product code computes them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.prices import Price, PriceBook, charge, charge_by_parts, cost_nanos, unpriced_parts
from rabbitgw.billing.rates import INPUT_KINDS, OUTPUT_KINDS, RateTable
from rabbitgw.billing.usage import Usage
from tests.billing.price_cases import cases, imported, price_of, usage_of

EXPECTED_NANOS = {
    "openai_cached": 5_470_000,
    "openai_priority": 11_475_000,
    "openai_default_tier": 6_750_000,
    "o3_flex_cached": 4_625_000,
    "gemini_tier_199999": 203_748_750,
    "gemini_tier_200000": 203_750_000,
    "gemini_tier_200001": 402_502_500,
    "anthropic_cache_write_5m_1h": 711_774_000,
    "tiered_list_256000": 12_804_000,
    "tiered_list_256001": 64_020_250,
    "one_token": 150,
    "embedding": 160,
    "transcription_seconds": 6_000_000,
    "image_tokens": 42_540_000,
    "text_completion": 21_500,
}


def test_every_published_case_is_expected() -> None:
    assert cases().keys() == EXPECTED_NANOS.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED_NANOS))
def test_published_case_comes_out_exact(name: str) -> None:
    case = cases()[name]
    bill = charge(imported(case["price_fields"], case["model"]), usage_of(case))
    assert bill.cost_nanos == EXPECTED_NANOS[name]
    assert bill.unpriced == ()


def test_cost_is_rounded_up_once_for_the_whole_call() -> None:
    price = price_of(input=1, output=1, cached_input=1)
    assert cost_nanos(price, Usage(input_tokens=1)) == 1
    # three parts of a fraction of a nano each are together still one
    assert cost_nanos(price, Usage(input_tokens=5, cached_input_tokens=2, output_tokens=3)) == 1
    assert cost_nanos(price, Usage(input_tokens=1_000_000)) == 1
    assert cost_nanos(price, Usage(input_tokens=1_000_001)) == 2


def test_nothing_used_costs_nothing() -> None:
    assert cost_nanos(price_of(input=5_000_000_000, output=1), Usage()) == 0


def test_largest_sums_stay_exact() -> None:
    price = price_of(input=9_000_000_000_000_000_000, output=0)
    assert cost_nanos(price, Usage(input_tokens=1_000_001)) == 9_000_009_000_000_000_000


def test_cached_audio_is_charged_once() -> None:
    price = price_of(
        input=1_000_000, audio_input=10_000_000, cached_input=500_000, cached_audio_input=2_000_000, output=0
    )
    # 100 tokens, 60 of them audio, 50 cached: 50 uncached audio, 10 cached audio, 40 cached text
    usage = Usage(input_tokens=100, audio_input_tokens=60, cached_input_tokens=50)
    assert cost_nanos(price, usage) == 500 + 20 + 20


def test_audio_and_images_without_a_rate_are_charged_as_text() -> None:
    price = price_of(input=1_000_000, output=2_000_000)
    usage = Usage(
        input_tokens=10,
        audio_input_tokens=4,
        image_input_tokens=3,
        output_tokens=5,
        audio_output_tokens=2,
        image_output_tokens=1,
    )
    assert cost_nanos(price, usage) == 10 + 10


def test_explicitly_free_cache_read_is_free_and_a_missing_one_costs_input() -> None:
    usage = Usage(input_tokens=1_000_000, cached_input_tokens=1_000_000)
    assert cost_nanos(price_of(input=2_500, output=0, cached_input=0), usage) == 0
    assert cost_nanos(price_of(input=2_500, output=0), usage) == 2_500


def test_batches_without_a_price_cost_half() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000, service_tier="batch")
    assert charge(price_of(input=3, output=10), usage).cost_nanos == 7  # 2 (1.5 rounded up) + 5
    assert charge(price_of(input=3, output=10), usage).unpriced == ()


@pytest.mark.parametrize("tier", [None, "", "default", "standard", "auto", "ON_DEMAND"])
def test_plain_tier_names_pay_the_plain_rates(tier: str | None) -> None:
    price = imported({"input_cost_per_token": 1e-6, "output_cost_per_token": 0.000002, "mode": "chat"})
    bill = charge(price, Usage(input_tokens=1_000, service_tier=tier))
    assert (bill.cost_nanos, bill.unpriced) == (1_000_000, ())


def test_unknown_tier_pays_the_dearest_known_rates_and_is_named() -> None:
    price = Price(
        pattern="m",
        table=RateTable(
            {
                ("", 0): {"input": 1_000_000, "output": 8_000_000},
                ("priority", 0): {"input": 3_000_000, "output": 6_000_000},
            }
        ),
    )
    bill = charge(price, Usage(input_tokens=100, output_tokens=10, service_tier="scale"))
    assert bill.cost_nanos == 300 + 80
    assert bill.unpriced == ("service_tier:scale",)


def test_fast_is_priority_unless_it_is_a_speed_with_a_price_of_its_own() -> None:
    sheets = {
        ("", 0): {"input": 1_000_000, "output": 1_000_000},
        ("priority", 0): {"input": 2_000_000, "output": 2_000_000},
    }
    usage = Usage(input_tokens=100, service_tier="fast")
    assert charge(Price(pattern="m", table=RateTable(sheets)), usage).cost_nanos == 200
    sheets["speed:fast", 0] = {"input": 6_000_000, "output": 6_000_000}
    price = Price(pattern="m", table=RateTable(sheets))
    assert charge(price, usage).cost_nanos == 600
    assert unpriced_parts(price, ("speed:fast",)) == ()
    # a speed is no service tier: a tier that nobody priced does not pay for it
    assert charge(price, replace(usage, service_tier="scale")).cost_nanos == 200


def test_flex_without_a_price_pays_plain_and_is_named() -> None:
    bill = charge(price_of(input=1_000_000, output=1), Usage(input_tokens=100, service_tier="flex"))
    assert (bill.cost_nanos, bill.unpriced) == (100, ("service_tier:flex",))


def test_tools_are_charged_by_use_and_unpriced_ones_are_named() -> None:
    price = price_of(input=1_000_000, output=1, units={"web_search_requests": 10_000_000_000_000})
    usage = Usage(input_tokens=7, server_tools={"web_search_requests": 2, "x_search": 1, "web_fetch": 0})
    bill = charge(price, usage)
    assert bill.cost_nanos == 20_000_000 + 7
    assert bill.unpriced == ("tool:x_search",)


def test_request_fee_is_charged_once_a_call() -> None:
    price = price_of(input=0, output=1_000_000, units={"requests": 5_000_000_000_000})
    share = Usage(output_tokens=4)
    usage = Usage(output_tokens=10, per_model=(("m", share),))
    assert cost_nanos(price, usage, PriceBook([price])) == 5_000_000 + 10


def test_seconds_are_charged_only_where_tokens_are_not() -> None:
    price = price_of(input=1_000_000, output=1_000_000, units={"seconds": 100_000_000_000})
    assert cost_nanos(price, Usage(seconds_milli=1_500)) == 150_000
    assert cost_nanos(price, Usage(seconds_milli=1_500, input_tokens=9)) == 9


def test_seconds_without_a_price_are_named() -> None:
    assert charge(price_of(input=1, output=1), Usage(seconds_milli=10)).unpriced == ("seconds",)


def test_a_share_of_another_model_is_charged_by_its_own_price() -> None:
    main = price_of("main", input=3_000_000, output=15_000_000)
    advisor = price_of("advisor", input=15_000_000, output=75_000_000)
    usage = Usage(
        input_tokens=4_954,
        output_tokens=163,
        per_model=(("advisor", Usage(input_tokens=2_543, output_tokens=18)),),
    )
    bill = charge(main, usage, PriceBook([main, advisor]))
    assert bill.cost_nanos == 7_233 + 2_175 + 38_145 + 1_350
    assert bill.unpriced == ()


def test_a_share_without_a_price_is_charged_by_the_main_one_and_named() -> None:
    main = price_of("main", input=3_000_000, output=15_000_000)
    usage = Usage(input_tokens=100, per_model=(("other", Usage(input_tokens=40)),))
    bill = charge(main, usage, PriceBook([main]))
    assert (bill.cost_nanos, bill.unpriced) == (300, ("model:other",))


def test_unpriced_output_pays_the_dearest_rate_and_is_named() -> None:
    bill = charge(price_of(input=1_000_000, image_input=4_000_000), Usage(input_tokens=1, output_tokens=10))
    assert (bill.cost_nanos, bill.unpriced) == (41, ("output",))


def test_unpriced_parts_of_a_request_are_named() -> None:
    price = replace(
        price_of(input=1, output=1, units={"web_search_requests": 0}), unsold=frozenset({"video_input"})
    )
    sold = ["input", "output", "image_input", "audio_input", "tool:web_search_requests", "service_tier:auto"]
    unsold = ["tool:file_search_requests", "service_tier:priority", "audio_output", "image_output"]
    unsold += ["video_input", "inference_geo:us", "speed:fast", "seconds"]
    assert unpriced_parts(
        price,
        (
            *sold,
            *unsold,
        ),
    ) == tuple(unsold)


def test_a_tier_that_leaves_out_output_is_not_sold() -> None:
    sheets = {("", 0): {"input": 1, "output": 2}, ("priority", 0): {"input": 2}}
    price = Price(pattern="m", table=RateTable(sheets))
    assert unpriced_parts(price, ("service_tier:priority",)) == ("service_tier:priority",)


def test_exact_name_wins_then_the_longest_pattern() -> None:
    book = PriceBook([price_of(name, input=1) for name in ("*", "gpt-*", "gpt-4*", "gpt-4o", "gpt-4o[m-n]*")])
    matches = {name: book.match(name) for name in ("gpt-4o", "gpt-4.1", "gpt-5", "claude", "GPT-4")}
    assert {name: price.pattern for name, price in matches.items() if price is not None} == {
        "gpt-4o": "gpt-4o",
        "gpt-4.1": "gpt-4*",
        "gpt-5": "gpt-*",
        "claude": "*",
        "GPT-4": "*",
    }


def test_a_model_is_priced_only_in_the_currency_asked_for() -> None:
    book = PriceBook([replace(price_of("m", input=1), currency="CNY")])
    assert book.match("m") is None
    assert book.match("m", "CNY") is not None


def test_a_withdrawn_model_is_not_sold_by_a_broader_pattern() -> None:
    book = PriceBook([price_of("gpt-*", input=1), replace(price_of("gpt-4o", input=1), sold=False)])
    assert book.match("gpt-4o") is None
    assert book.match("gpt-5") is not None


def test_the_newest_version_of_a_pattern_holds_whatever_the_order() -> None:
    old = replace(price_of("m", input=1), version=9, effective_from_us=10)
    new = replace(price_of("m", input=2), version=3, effective_from_us=20)
    for versions in ([old, new], [new, old]):
        book = PriceBook(versions)
        assert book.match("m") is new
    assert PriceBook([new]).with_versions([old]).match("m") is new


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    book = PriceBook([price_of("gpt-*", input=1)])
    for number in range(20_000):
        assert book.match(f"no-such-model-{number}") is None
    assert len(book._matches) <= 4096


RATES = st.integers(0, 10**12)
COUNTS = st.integers(0, 10**7)


@st.composite
def sane_prices(draw: st.DrawFn) -> Price:
    """A price as lists have them: cache reads below input, the upper size not below the lower."""
    base = {kind: draw(RATES) for kind in draw(st.sets(st.sampled_from((*INPUT_KINDS, *OUTPUT_KINDS))))}
    base |= {"input": draw(RATES), "output": draw(RATES)}
    for kind in ("audio_input", "image_input", "cache_write", "cache_write_1h"):
        if kind in base:
            base[kind] = max(base[kind], base["input"])
    for kind in ("cached_input", "cached_audio_input", "cached_image_input"):
        if kind in base:
            base[kind] = min(base[kind], base["input"])
    if "cached_input" in base:
        for kind in ("cached_audio_input", "cached_image_input"):
            base[kind] = min(base.get(kind, 0), base["cached_input"])
    factor = draw(st.integers(1, 4))
    above = {kind: rate * factor for kind, rate in base.items()}
    sheets = {("", 0): base, ("", draw(st.integers(1, 10**6))): above}
    return Price(pattern="m", table=RateTable(sheets))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    total, made = draw(COUNTS), draw(COUNTS)
    cached = draw(st.integers(0, total))
    short = draw(st.integers(0, total - cached))
    reasoning = draw(st.integers(0, made))
    return Usage(
        input_tokens=total,
        output_tokens=made,
        cached_input_tokens=cached,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=draw(st.integers(0, total - cached - short)),
        audio_input_tokens=draw(st.integers(0, total)),
        reasoning_tokens=reasoning,
        audio_output_tokens=draw(st.integers(0, made - reasoning)),
    )


@given(sane_prices(), usages(), st.integers(1, 10**6))
def test_more_tokens_never_cost_less(price: Price, usage: Usage, more: int) -> None:
    cost = cost_nanos(price, usage)
    assert cost >= 0
    assert cost_nanos(price, replace(usage, input_tokens=usage.input_tokens + more)) >= cost
    assert cost_nanos(price, replace(usage, output_tokens=usage.output_tokens + more)) >= cost


@given(sane_prices(), usages())
def test_the_charge_is_less_than_one_nano_above_the_exact_cost(price: Price, usage: Usage) -> None:
    rates = price.table.rates("", usage.input_tokens)
    cached, written = usage.cached_input_tokens, usage.cache_write_tokens
    uncached = usage.input_tokens - cached - written
    audio = min(usage.audio_input_tokens, uncached)
    cached_audio = min(usage.audio_input_tokens - audio, cached)
    exact = Fraction(
        (uncached - audio) * rates.input
        + audio * rates.audio_input
        + (cached - cached_audio) * rates.cached_input
        + cached_audio * rates.cached_audio_input
        + usage.cache_write_5m_tokens * rates.cache_write
        + usage.cache_write_1h_tokens * rates.cache_write_1h
        + (usage.output_tokens - usage.reasoning_tokens - usage.audio_output_tokens) * rates.output
        + usage.reasoning_tokens * rates.reasoning
        + usage.audio_output_tokens * rates.audio_output,
        1_000_000,
    )
    assert exact <= cost_nanos(price, usage) < exact + 1


@st.composite
def odd_prices(draw: st.DrawFn) -> Price:
    """Any sheets: parts without a price, tiers, thresholds, and what is sold by the piece."""
    kinds = st.dictionaries(st.sampled_from((*INPUT_KINDS, *OUTPUT_KINDS)), RATES)
    keys = st.tuples(
        st.sampled_from(("", "priority", "flex", "speed:fast")), st.sampled_from((0, 1_000, 200_000))
    )
    units = st.dictionaries(st.sampled_from(("requests", "seconds", "images")), RATES)
    return Price(
        pattern="m",
        table=RateTable(draw(st.dictionaries(keys, kinds)), inclusive=draw(st.booleans())),
        units=draw(units),
    )


@st.composite
def odd_usages(draw: st.DrawFn) -> Usage:
    """Counts that need not fit each other, most of them zero as in most answers."""
    few = st.one_of(st.just(0), st.just(0), COUNTS)
    usage = Usage(*(draw(few) for _ in range(11)))
    usage.service_tier = draw(st.sampled_from((None, "default", "priority", "flex", "fast", "unheard_of")))
    usage.server_tools = draw(
        st.dictionaries(st.sampled_from(("images", "other")), st.integers(0, 3), max_size=1)
    )
    if draw(st.booleans()):
        usage.per_model = (("other", Usage(input_tokens=draw(few), output_tokens=draw(few))),)
    return usage


@given(odd_prices(), st.one_of(usages(), odd_usages()))
def test_text_in_one_sum_costs_what_its_parts_do(price: Price, usage: Usage) -> None:
    assert charge(price, usage) == charge_by_parts(price, usage)
