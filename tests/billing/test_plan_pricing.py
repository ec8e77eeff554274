"""From a rule of a plan to a price: literals, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rabbitgw.billing.plan_pricing import PriceRule, price_of
from rabbitgw.billing.prices import charge
from rabbitgw.billing.usage import Usage
from rabbitgw.errors import RequestInvalid

RULE = PriceRule("gpt-*", "token", "2.50", output_multiplier="4", price_multiplier="1.2")


def test_a_base_price_and_its_multipliers() -> None:
    price = price_of(RULE)
    rates, priced = price.rates(None, 0)
    assert priced
    assert (rates.input, rates.cached_input, rates.output) == (3_000_000_000, 3_000_000_000, 12_000_000_000)
    assert charge(price, Usage(input_tokens=19, output_tokens=10)).cost_nanos == 177_000


def test_a_fraction_of_a_nano_is_rounded_up() -> None:
    price = price_of(replace(RULE, base_price="0.0000000001", output_multiplier="0", price_multiplier="1"))
    rates, _ = price.rates(None, 0)
    assert (rates.input, rates.output) == (1, 0)


def test_a_price_per_request_and_a_minimum() -> None:
    per_request = price_of(PriceRule("gpt-*", "request", "0.02"))
    assert charge(per_request, Usage(input_tokens=10**6, output_tokens=10**6)).cost_nanos == 20_000_000
    least = price_of(replace(RULE, min_charge_cents=1))
    assert charge(least, Usage(input_tokens=19, output_tokens=10)).cost_nanos == 10_000_000
    assert charge(least, Usage(input_tokens=10**6, output_tokens=0)).cost_nanos == 3_000_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit", "word"),
        ("base_price", "1e400"),
        ("base_price", "-1"),
        ("base_price", "NaN"),
        ("base_price", "two"),
        ("base_price", "9" * 30),
        ("base_price", "0." + "1" * 50),
        ("input_multiplier", "1001"),
        ("price_multiplier", "-0"),
        ("min_charge_cents", 10**19),
        ("model_pattern", ""),
    ],
)
def test_what_is_no_rule_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(RequestInvalid) as refused:
        price_of(replace(RULE, **{field: value}))
    assert refused.value.field == field
    assert refused.value.message.startswith(f"{field}: ")
