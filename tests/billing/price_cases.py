"""Prices and usages that the price tests share."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from rabbitgw.billing.price_import import import_litellm_map
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import RateTable
from rabbitgw.billing.usage import Usage

FIXTURE = Path(__file__).parents[1] / "fixtures" / "pricing_cases.json"


def price_of(model: str = "m", *, units: dict[str, int] | None = None, **rates: int) -> Price:
    """A price with one sheet, nanos per million tokens."""
    return Price(pattern=model, table=RateTable({("", 0): rates}), units=units or {})


def imported(fields: dict[str, Any], model: str = "m") -> Price:
    """The price that the import makes of one entry of the map."""
    result = import_litellm_map({model: fields})
    assert not result.refused, result.refused
    return result.prices[0]


def cases() -> dict[str, dict[str, Any]]:
    text = FIXTURE.read_text("utf-8")
    return {case["name"]: case for case in json.loads(text, parse_float=Decimal)["cases"]}


def usage_of(case: dict[str, Any]) -> Usage:
    """The usage object of a case in the normal form, read here so that no meter stands in between."""
    stated = case["usage"]
    given = stated.get("prompt_tokens_details") or stated.get("input_tokens_details") or {}
    made = stated.get("completion_tokens_details") or stated.get("output_tokens_details") or {}
    split = given.get("cache_creation_token_details") or {}
    return Usage(
        input_tokens=stated.get("prompt_tokens", stated.get("input_tokens", 0)),
        output_tokens=stated.get("completion_tokens", stated.get("output_tokens", 0)),
        cached_input_tokens=given.get("cached_tokens", 0),
        cache_write_5m_tokens=split.get("ephemeral_5m_input_tokens", 0),
        cache_write_1h_tokens=split.get("ephemeral_1h_input_tokens", 0),
        reasoning_tokens=made.get("reasoning_tokens", 0),
        image_input_tokens=given.get("image_tokens", 0),
        image_output_tokens=made.get("image_tokens", 0),
        seconds_milli=stated.get("seconds", 0) * 1000,
        service_tier=case.get("service_tier"),
    )
