"""Prices by the piece: images by size and quality, sound by the second or minute, characters. Costs are literals."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.billing.pieces import image_kinds, usual_kind
from rabbitgw.billing.plan_pricing import PriceRule, price_of
from rabbitgw.billing.price_book import completed
from rabbitgw.billing.price_import import import_litellm_map
from rabbitgw.billing.price_terms import price_from_fields, price_from_terms, terms_json
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.prices import Price, charge
from rabbitgw.billing.usage import Pieces, Usage
from rabbitgw.errors import RequestInvalid

SIZES = {"images:1024x1024:standard": "0.04", "images:1024x1024:hd": "0.08", "images:1024x1792": "0.12"}
DALL_E = price_from_text("dall-e-3", {}, units=SIZES)


def images(count: int, kind: str = "") -> Usage:
    return Usage(pieces=Pieces(images=count, image_kind=kind))


@pytest.mark.parametrize(
    ("price", "usage", "cost_nanos"),
    [
        (DALL_E, images(3, "1024x1024:standard"), 120_000_000),
        (DALL_E, images(3, "1024x1024:hd"), 240_000_000),
        (DALL_E, images(1, "1024x1792:hd"), 120_000_000),
        (price_from_text("m", {}, units={**SIZES, "images": "0.5"}), images(1, "512x512"), 500_000_000),
        (price_from_text("m", {}, units={"characters": "0.000015"}), Usage(pieces=Pieces(characters=3)), 45_000),
        (price_from_text("m", {}, units={"seconds": "0.0001"}), Usage(seconds_milli=8_471), 847_100),
        # 7 000 000 nanos a minute is no whole number of nanos a second
        (price_from_text("m", {}, units={"minutes": "0.007"}), Usage(seconds_milli=60_000), 7_000_000),
        (price_from_text("m", {}, units={"minutes": "0.007"}), Usage(seconds_milli=1), 117),
        # the sound of a speech is its text, sold once; tokens that are stated and priced come before either
        (
            price_from_text("m", {}, units={"characters": "0.01", "seconds": "9"}),
            Usage(seconds_milli=1_000, pieces=Pieces(characters=2)),
            20_000_000,
        ),
        (
            price_from_text("m", {"input": "5", "output": "40"}, units=SIZES),
            Usage(input_tokens=10, output_tokens=272, pieces=Pieces(1, "1024x1024:hd")),
            10_930_000,
        ),
        (DALL_E, Usage(input_tokens=9, output_tokens=9, pieces=Pieces(1, "1024x1024:hd")), 80_000_000),
    ],
)  # fmt: skip
def test_pieces_cost_what_their_price_says(price: Price, usage: Usage, cost_nanos: int) -> None:
    assert charge(price, usage) == (cost_nanos, ())


@pytest.mark.parametrize(
    ("usage", "named"),
    [
        (images(1, "512x512:hd"), "images:512x512:hd"),
        (images(1), "images"),
        (Usage(pieces=Pieces(characters=1)), "characters"),
        (Usage(seconds_milli=1), "seconds"),
    ],
)
def test_a_piece_without_a_price_is_named(usage: Usage, named: str) -> None:
    assert charge(DALL_E, usage) == (0, (named,))


@pytest.mark.parametrize(
    ("asked", "kinds", "usual"),
    [
        (("1024x1024", "hd"), ["1024x1024:hd"], "1024x1024:hd"),
        (("1024x1792", "hd"), ["1024x1792:hd"], "1024x1792:hd"),
        (("1024x1024", ""), ["1024x1024:hd", "1024x1024:standard"], "1024x1024:standard"),
        (("", "hd"), ["1024x1792", "1024x1024:hd"], "1024x1024:hd"),
        (("", ""), ["1024x1792", "1024x1024:hd", "1024x1024:standard"], "1024x1024:standard"),
        (("auto", "auto"), ["1024x1792", "1024x1024:hd", "1024x1024:standard"], "1024x1792"),
        (("256x256", ""), [], "256x256"),
        (("1024x1024", "low"), [], "1024x1024:low"),
    ],
)
def test_what_a_request_leaves_open_can_be_any_and_is_usually_the_providers_own(
    asked: tuple[str, str], kinds: list[str], usual: str
) -> None:
    assert image_kinds(DALL_E.units, *asked) == kinds
    assert usual_kind(DALL_E.units, *asked) == usual


def test_a_price_by_the_piece_keeps_its_terms() -> None:
    fields: dict[str, Any] = {"unit_nanos": {"images:1024x1024:hd": 80_000_000, "minutes": 7_000_000}}
    price = price_from_fields({"pattern": "m", **fields})
    again = price_from_terms(terms_json(price), pattern="m", currency="USD")
    assert charge(again, images(1, "1024x1024:hd")).cost_nanos == 80_000_000
    assert charge(again, Usage(seconds_milli=30_000)).cost_nanos == 3_500_000


@pytest.mark.parametrize(
    "units", [{"images:": 1}, {"images:A": 1}, {"images:1:2:3": 1}, {"seconds": 1, "minutes": 1}]
)
def test_a_piece_that_no_call_could_be_charged_by_is_refused(units: dict[str, int]) -> None:
    with pytest.raises(RequestInvalid) as refused:
        price_from_fields({"pattern": "m", "unit_nanos": units})
    assert refused.value.field == "unit_nanos"
    with pytest.raises(RequestInvalid):
        price_from_text("m", {}, units=dict.fromkeys(units, "1"))


def test_a_rule_of_a_plan_by_the_minute_or_image_takes_the_place_of_the_lists() -> None:
    listed = price_from_text("m", {}, units={**SIZES, "seconds": "9", "characters": "0.01"})
    image = completed(price_of(PriceRule("m", "image", "0.02", price_multiplier="1.5")), listed)
    assert charge(image, images(2, "1024x1024:hd")).cost_nanos == 60_000_000
    minute = completed(price_of(PriceRule("m", "minute", "0.006", min_charge_cents=1)), listed)
    assert charge(minute, Usage(seconds_milli=150_000)).cost_nanos == 15_000_000
    assert charge(minute, Usage(seconds_milli=1_000)).cost_nanos == 10_000_000
    with pytest.raises(RequestInvalid):
        price_of(PriceRule("m", "image", "1", input_multiplier="2"))


def test_sized_entries_of_the_map_become_one_price_of_their_model() -> None:
    image = {"mode": "image_generation", "litellm_provider": "azure"}
    found = import_litellm_map(
        {
            "azure/standard/1024-x-1024/dall-e-3": {**image, "input_cost_per_pixel": 4e-8},
            "azure/hd/1024-x-1792/dall-e-3": {**image, "input_cost_per_image": 0.12},
            "1024-x-1024/plain": {**image, "output_cost_per_image": 0.01},
            "low/1024-x-1024/by-token": {**image, "input_cost_per_image": 0.011},
            "by-token": {**image, "input_cost_per_token": 5e-6, "output_cost_per_image_token": 4e-5},
        }
    )  # fmt: skip
    prices = {price.pattern: price for price in found.prices}
    assert sorted(prices) == ["azure/dall-e-3", "by-token", "plain"]
    assert charge(prices["azure/dall-e-3"], images(1, "1024x1024:standard")).cost_nanos == 41_943_040
    assert charge(prices["azure/dall-e-3"], images(1, "1024x1792:hd")).cost_nanos == 120_000_000
    assert charge(prices["plain"], images(1, "1024x1024:hd")).cost_nanos == 10_000_000
    assert not prices["by-token"].units
