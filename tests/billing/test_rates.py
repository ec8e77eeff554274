"""How a rate that nobody set is inferred: by tier, by size, by kind."""

from __future__ import annotations

import pytest

from rabbitgw.billing.rates import RateTable


def test_a_prompt_of_exactly_the_threshold_pays_the_lower_rates_unless_inclusive() -> None:
    sheets = {("", 0): {"input": 1, "output": 1}, ("", 200_000): {"input": 2, "output": 3}}
    assert RateTable(sheets).rates("", 200_000).output == 1
    assert RateTable(sheets).rates("", 200_001).output == 3
    assert RateTable(sheets, inclusive=True).rates("", 200_000).output == 3
    assert RateTable(sheets, inclusive=True).rates("", 199_999).output == 1


def test_the_highest_threshold_passed_decides() -> None:
    sheets = {("", 0): {"input": 1}, ("", 32_000): {"input": 2}, ("", 128_000): {"input": 4}}
    table = RateTable(sheets)
    assert [table.rates("", size).input for size in (0, 32_000, 32_001, 128_000, 128_001)] == [1, 1, 2, 2, 4]


def test_size_moves_parts_that_have_no_rate_there_with_their_parent() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 1_000, "cached_input": 10, "reasoning": 1_000},
        ("", 200_000): {"input": 200, "output": 1_500},
    }
    above = RateTable(sheets).rates("", 200_001)
    assert (above.cached_input, above.reasoning) == (20, 1_500)


def test_a_cheaper_tier_leaves_discounts_alone_and_takes_reasoning_with_its_output() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 1_000, "cached_input": 10, "reasoning": 1_000},
        ("flex", 0): {"input": 50, "output": 500},
    }
    flex = RateTable(sheets).rates("flex", 10)
    assert (flex.input, flex.cached_input, flex.output, flex.reasoning) == (50, 10, 500, 500)


def test_a_dearer_tier_takes_its_parts_with_it() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 1_000, "cached_input": 10, "cache_write": 125},
        ("priority", 0): {"input": 180, "output": 1_800},
    }
    priority = RateTable(sheets).rates("priority", 10)
    assert (priority.cached_input, priority.cache_write, priority.reasoning) == (18, 225, 1_800)


def test_a_dearer_tier_without_an_upper_size_never_falls_below_its_lower_one() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 1},
        ("", 200_000): {"input": 150, "output": 1},
        ("priority", 0): {"input": 180, "output": 2},
    }
    assert RateTable(sheets).rates("priority", 200_001).input == 180


def test_a_rate_for_tier_and_size_wins_over_all_others() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 1},
        ("", 200_000): {"input": 200, "output": 1},
        ("priority", 0): {"input": 180, "output": 2},
        ("priority", 200_000): {"input": 360, "output": 4},
    }
    assert RateTable(sheets).rates("priority", 200_001).input == 360


def test_missing_batch_rates_are_half_of_the_plain_ones_at_that_size() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 10},
        ("", 200_000): {"input": 201, "output": 20},
        ("batches", 0): {"input": 40},
    }
    table = RateTable(sheets)
    assert (table.rates("batches", 1).input, table.rates("batches", 1).output) == (40, 5)
    assert (table.rates("batches", 200_001).input, table.rates("batches", 200_001).output) == (101, 10)


@pytest.mark.parametrize(
    ("rates", "long"),
    [
        ({"input": 300, "cache_write": 375, "cache_write_1h": 600}, 600),
        ({"input": 300, "cache_write": 375}, 600),  # as the provider that sells both: twice the input
        ({"input": 300, "cache_write": 900}, 900),  # never below five minutes
        ({"input": 300, "cache_write": 375, "cache_write_1h": 100}, 375),
        ({"input": 300, "cache_write": 300}, 300),  # writing costs nothing extra
        ({"input": 300}, 300),
        ({"input": 300, "cache_write": 0}, 0),  # an explicit zero is a price
    ],
)
def test_a_long_cache_write_without_a_rate(rates: dict[str, int], long: int) -> None:
    assert RateTable({("", 0): {**rates, "output": 1}}).rates("", 1).cache_write_1h == long


def test_the_worst_rate_covers_only_sizes_that_can_be_reached() -> None:
    sheets = {
        ("", 0): {"input": 100, "output": 1, "cache_write": 125},
        ("", 200_000): {"input": 200, "output": 1, "cache_write": 250},
        ("priority", 0): {"input": 180, "output": 2},
    }
    table = RateTable(sheets)
    kinds = ("input", "cache_write")
    assert table.worst(("",), 200_000, kinds) == 125
    assert table.worst(("",), 200_001, kinds) == 250
    assert table.worst(("",), None, kinds) == 250
    assert table.worst(("", "priority"), 10, ("input",)) == 180
