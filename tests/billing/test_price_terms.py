"""Prices as operators write them: JSON fields and decimal text, exact or refused."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing.price_terms import fields_of, price_from_fields, price_from_terms, terms_json
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.prices import Price, cost_nanos
from rabbitgw.billing.rates import RateTable
from rabbitgw.billing.usage import Usage
from rabbitgw.errors import RequestInvalid
from tests.billing.price_cases import price_of

FIELDS: dict[str, Any] = {
    "pattern": "gpt-4o*",
    "currency": "USD",
    "input_nanos_per_mtok": 2_500_000_000,
    "output_nanos_per_mtok": 10_000_000_000,
    "cached_input_nanos_per_mtok": 1_250_000_000,
    "cache_write_nanos_per_mtok": 0,
    "above": [{"tokens": 200_000, "input_nanos_per_mtok": 5_000_000_000}],
    "tiers": {"priority": {"input_nanos_per_mtok": 4, "output_nanos_per_mtok": 8}},
    "unit_nanos": {"web_search_requests": 10_000_000},
    "max_output_tokens": 16_384,
    "mode": "chat",
    "sold": True,
    "reasons": False,
    "effective_from_ms": 1_700_000_000_000,
}


def test_fields_make_the_price_they_say() -> None:
    price = price_from_fields(FIELDS)
    usage = Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=400)
    assert cost_nanos(price, usage) == 1_500_000 + 500_000 + 1_000_000
    assert cost_nanos(price, Usage(input_tokens=200_001)) == 1_000_005_000
    assert cost_nanos(price, Usage(server_tools={"web_search_requests": 3})) == 30_000_000


def test_fields_come_back_as_they_went_in() -> None:
    shown = fields_of(price_from_fields(FIELDS))
    assert {name: shown[name] for name in FIELDS} == FIELDS
    assert shown["price_version"] == 0


def test_the_two_required_rates_are_enough() -> None:
    price = price_from_fields({"pattern": "m", "input_nanos_per_mtok": 1, "output_nanos_per_mtok": 2})
    assert price.table.sheets == {("", 0): {"input": 1, "output": 2}}
    assert (price.currency, price.sold) == ("USD", True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pattern": ""}, "pattern"),
        ({"pattern": None}, "pattern"),
        ({"pattern": "x" * 257}, "pattern"),
        ({"pattern": "a\nb"}, "pattern"),
        ({"currency": "dollars"}, "currency"),
        ({"input_nanos_per_mtok": 2.5}, "input_nanos_per_mtok"),
        ({"input_nanos_per_mtok": "2"}, "input_nanos_per_mtok"),
        ({"input_nanos_per_mtok": True}, "input_nanos_per_mtok"),
        ({"input_nanos_per_mtok": -1}, "input_nanos_per_mtok"),
        ({"input_nanos_per_mtok": 10**19}, "input_nanos_per_mtok"),
        ({"inptu_nanos_per_mtok": 1}, "inptu_nanos_per_mtok"),
        ({"above": {}}, "above"),
        ({"above": [{"tokens": 0}]}, "above"),
        ({"above": [{"tokens": 5, "price": 1}]}, "above"),
        ({"tiers": {"Priority": {}}}, "tiers"),
        ({"tiers": {"priority": {"cost": 1}}}, "tiers"),
        ({"unit_nanos": {"images": 10**13}}, "unit_nanos.images"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"sold": 1}, "sold"),
        ({"mode": 5}, "mode"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        price_from_fields({**FIELDS, **change})
    assert refused.value.field == field


def test_a_price_without_any_rate_is_refused() -> None:
    with pytest.raises(RequestInvalid):
        price_from_fields({"pattern": "m"})


def test_terms_are_stored_and_read_back_whole() -> None:
    price = Price(
        pattern="m",
        table=RateTable(
            {("", 0): {"input": 9 * 10**18, "output": 0}, ("flex", 5): {"input": 1}}, inclusive=True
        ),
        units={"seconds": 5},
        max_input_tokens=1,
        max_output_tokens=2,
        image_tokens_max=3,
        mode="chat",
        reasons=True,
        unsold=frozenset({"video_input"}),
    )
    back = price_from_terms(terms_json(price), pattern="m", currency="USD")
    assert terms_json(back) == terms_json(price)
    assert back.table.inclusive
    assert back.table.sheets == price.table.sheets
    assert (back.units, back.unsold, back.reasons) == (price.units, price.unsold, True)
    assert (back.max_input_tokens, back.max_output_tokens, back.image_tokens_max) == (1, 2, 3)


def test_text_is_units_of_currency_per_million_tokens() -> None:
    price = price_from_text("gpt-4o", {"input": "2.50", "output": "10", "cached_input": "1.25"})
    assert price.table.sheets["", 0] == {
        "input": 2_500_000_000,
        "output": 10_000_000_000,
        "cached_input": 1_250_000_000,
    }
    assert (
        cost_nanos(price, Usage(input_tokens=1_500, cached_input_tokens=1_024, output_tokens=300))
        == 5_470_000
    )


def test_one_base_price_with_a_multiplier_for_each_direction() -> None:
    price = price_from_text("m", {}, base_unit="0.60", input_multiplier="0.5", output_multiplier="2")
    assert price.table.sheets["", 0] == {"input": 300_000_000, "output": 1_200_000_000}


def test_multipliers_on_a_price_move_every_tier_and_size_and_round_up() -> None:
    base = Price(
        pattern="m",
        table=RateTable({("", 0): {"input": 3, "output": 10}, ("", 9): {"cached_input": 1}}),
        units={"web_search_requests": 10},
        max_output_tokens=7,
    )
    price = price_from_text("m", {}, base=base, input_multiplier="1.1", output_multiplier="1.25")
    assert price.table.sheets == {("", 0): {"input": 4, "output": 13}, ("", 9): {"cached_input": 2}}
    assert (price.units, price.max_output_tokens) == ({"web_search_requests": 11}, 7)
    assert base.table.sheets["", 0] == {"input": 3, "output": 10}


def test_units_are_priced_by_the_piece() -> None:
    price = price_from_text("dall-e", {}, units={"images": "0.04"})
    assert cost_nanos(price, Usage(server_tools={"images": 3})) == 120_000_000


@pytest.mark.parametrize(
    ("rates", "multiplier"),
    [
        ({"input": "free"}, "1"),
        ({"input": "-1"}, "1"),
        ({"input": "0.0000000001"}, "1"),
        ({"input": "NaN"}, "1"),
        ({"inputs": "1"}, "1"),
        ({}, "1"),
        ({"input": "1"}, "0"),
        ({"input": "1"}, "-2"),
        ({"input": "1"}, "1e9"),
        ({"input": "1"}, "much"),
        ({"input": "9000000000"}, "2"),
    ],
)
def test_text_that_is_no_price_is_refused(rates: dict[str, str], multiplier: str) -> None:
    with pytest.raises(RequestInvalid):
        price_from_text("m", rates, input_multiplier=multiplier)


def test_what_is_shown_of_a_price_by_the_piece_is_never_below_it() -> None:
    assert fields_of(price_of(units={"seconds": 1_000_001}))["unit_nanos"] == {"seconds": 2}
