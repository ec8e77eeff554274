"""A call costed anew from what its usage row holds: exactly, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from rabbitgw.billing.price_terms import price_from_fields
from rabbitgw.billing.prices import Price, PriceBook
from rabbitgw.billing.recosting import Change, Repricing

CALL = UUID(int=7)


def price(**fields: Any) -> Price:
    """In nanos a token, but for what has units of its own."""
    rates = {
        (name if name in ("tiers", "unit_nanos", "pattern", "above") else f"{name}_nanos_per_mtok"): (
            value * 1_000_000 if isinstance(value, int) else value
        )
        for name, value in fields.items()
    }
    return price_from_fields({"pattern": "gpt", **rates})


def row(nanos: int, **facts: Any) -> dict[str, Any]:
    counts = dict.fromkeys(
        ("input_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens",
         "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "corrections", "included_nanos"), 0
    )  # fmt: skip
    before = dict.fromkeys(
        ("audio_ms", "image_input_tokens", "image_output_tokens", "image_kind")
    )  # migration 0017
    return {
        **before, "images": 0, "characters": 0,
        "id": CALL, "account_id": 1, "status": "settled", "model": "gpt", "nanos": nanos, "service_tier": None,
        "tools": None, "per_model": None, **counts, **facts,
    }  # fmt: skip


PLAIN = {"input": 2, "output": 10}
FLEX = {"input_nanos_per_mtok": 1_000_000, "output_nanos_per_mtok": 5_000_000}
LARGE = {"tokens": 200, "input_nanos_per_mtok": 6_000_000, "output_nanos_per_mtok": 7_000_000}
TEXT = {"input_tokens": 100, "output_tokens": 10}
NOW = {"audio_ms": 0, "image_input_tokens": 0, "image_output_tokens": 0}
SHARED = '[{"m": "helper", "in": 40, "out": 5}]'

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], int | str]] = {
    # what it used and was charged; the wrong price; the right one; what it costs, or why that cannot be told
    "text": (row(300, **TEXT), PLAIN, {"input": 3, "output": 20}, 500),
    "caches of both lengths": (
        row(1_320, input_tokens=100, cached_input_tokens=20, cache_write_tokens=50, cache_write_1h_tokens=40,
            output_tokens=10),
        {**PLAIN, "cached_input": 1, "cache_write": 10, "cache_write_1h": 26},
        {**PLAIN, "cached_input": 2, "cache_write": 3, "cache_write_1h": 4},
        60 + 40 + 30 + 160 + 100,
    ),
    "reasoning": (row(300, reasoning_tokens=4, **TEXT), PLAIN, {**PLAIN, "reasoning": 30}, 200 + 60 + 120),
    "audio": (
        row(300, audio_input_tokens=60, audio_output_tokens=8, **TEXT),
        {**PLAIN, "audio_output": 10},
        {**PLAIN, "audio_input": 5, "audio_output": 40},
        80 + 300 + 20 + 320,
    ),
    "the tier that served": (
        row(300, service_tier="flex", **TEXT), {**PLAIN, "tiers": {"flex": FLEX | {"input_nanos_per_mtok": 2_500_000}}},
        {**PLAIN, "tiers": {"flex": FLEX}}, 150,
    ),
    "the size of the prompt": (row(500, input_tokens=200, output_tokens=10), PLAIN,
                               {"input": 2, "output": 11, "above": [LARGE]}, 510),
    "a prompt above a size": (row(502, input_tokens=201, output_tokens=10), PLAIN, {**PLAIN, "above": [LARGE]}, 1_276),
    "tools": (
        row(320, tools='{"web_search_requests": 2}', **TEXT), {**PLAIN, "unit_nanos": {"web_search_requests": 10}},
        {**PLAIN, "unit_nanos": {"web_search_requests": 25}}, 350,
    ),
    "a share of another model": (row(120 + 50 + 45, per_model=SHARED, **TEXT), PLAIN, {"input": 3, "output": 20},
                                 180 + 100 + 45),
    "hidden parts of a share": (row(215, per_model=SHARED, reasoning_tokens=1, **TEXT), PLAIN, {"input": 3},
                                "shares_not_kept"),
    "an expiry": (row(50, status="expired"), PLAIN, {"input": 3}, "no_counts"),
    "what a plan bore": (row(0, included_nanos=300, **TEXT), PLAIN, {"input": 3}, "borne"),
    "counts that do not give the charge": (row(301, **TEXT), PLAIN, {"input": 3, "output": 3}, "counts_differ"),
    "an output without a price": (row(300, **TEXT), PLAIN, {"input": 3}, "not_priced"),
    "a tier without a price": (row(150, service_tier="flex", **TEXT), {**PLAIN, "tiers": {"flex": FLEX}}, PLAIN,
                               "not_priced"),
    "a tool without a price": (
        row(320, tools='{"web_search_requests": 2}', **TEXT), {**PLAIN, "unit_nanos": {"web_search_requests": 10}},
        PLAIN, "not_priced",
    ),
    "images that may have been": (row(300, **TEXT), PLAIN, {**PLAIN, "image_input": 9}, "images_not_kept"),
    "images that were not": (
        row(300, **TEXT), {**PLAIN, "image_input": 9}, {**PLAIN, "input": 3, "image_input": 8}, 400,
    ),
    "seconds": (row(0), PLAIN, {"unit_nanos": {"seconds": 100}}, "seconds_not_kept"),
    "images by size": (
        row(240, images=3, image_kind="1024x1024:hd", **NOW), {"unit_nanos": {"images:1024x1024:hd": 80}},
        {"unit_nanos": {"images:1024x1024": 50, "images": 9}}, 150,
    ),
    "images of a size without a price": (
        row(240, images=3, image_kind="1024x1024:hd", **NOW), {"unit_nanos": {"images": 80}},
        {"unit_nanos": {"images:1024x1024:low": 50}}, "not_priced",
    ),
    "tokens of images that are kept": (
        row(300, **TEXT, **NOW | {"image_input_tokens": 40}), PLAIN, {**PLAIN, "image_input": 9}, 580,
    ),
    "seconds that are kept": (
        row(5_000, **NOW | {"audio_ms": 50_000}), {"unit_nanos": {"seconds": 100}}, {"unit_nanos": {"minutes": 7_000}},
        5_834,
    ),
    "characters": (
        row(30, characters=10, **NOW), {"unit_nanos": {"characters": 3}}, {"unit_nanos": {"characters": 2}}, 20,
    ),
    "beyond a wallet": (row(2 * 10**12, input_tokens=10**12), PLAIN, {"input": 9 * 10**12}, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_call_is_costed_anew_from_its_row_or_the_reason_is_told(case: str) -> None:
    called, wrong, right, expected = CASES[case]
    book = PriceBook([price(pattern="helper", input=1, output=1), price(**PLAIN)])
    found = Repricing.between(price(**wrong), price(**right), book).recost(called)
    if isinstance(expected, int):
        assert found == Change(CALL, 1, 1, called["nanos"], expected)
    else:
        assert found == expected


def test_a_plan_s_price_has_the_list_s_tools_and_its_own_minimum() -> None:
    listed = price(**PLAIN, unit_nanos={"web_search_requests": 10})
    wrong, right = (
        replace(price(input=rate, output=1), plan_id=5, min_charge_nanos=least)
        for rate, least in ((1, 0), (2, 500))
    )
    change = Repricing.between(wrong, right, PriceBook([listed]))
    called = row(130, tools='{"web_search_requests": 2}', **TEXT)
    assert change.recost(called) == Change(CALL, 1, 1, 130, 500)


def test_the_next_correction_of_a_call_has_the_next_number() -> None:
    change = Repricing.between(price(**PLAIN), price(input=1, output=1), PriceBook()).recost(
        row(300, **TEXT | {"corrections": 4})
    )
    assert change == Change(CALL, 5, 1, 300, 110)
