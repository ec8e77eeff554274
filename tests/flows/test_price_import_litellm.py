"""Prices from a real LiteLLM: the whole map of its package, and the map that its proxy serves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import asyncpg

from rabbitgw.billing.price_import import import_litellm_map, parse_map
from rabbitgw.billing.price_sources import PACKAGE_MAP, import_prices
from rabbitgw.billing.price_terms import terms_json
from rabbitgw.billing.prices import PriceBook, cost_nanos
from rabbitgw.billing.usage import Usage
from tests.fakes.litellm_proxy import VENV_DEFAULT, VENV_VARIABLE, LiteLLMProxy

MAP_GLOB = f"lib/python3.*/site-packages/litellm/{PACKAGE_MAP}"


def package_map() -> bytes:
    venv = Path(os.environ.get(VENV_VARIABLE) or VENV_DEFAULT)
    found = list(venv.glob(MAP_GLOB))
    assert found, f"no {MAP_GLOB} in {venv}: run `make litellm-venv`"
    return found[0].read_bytes()


def no_float(text: str) -> None:
    raise AssertionError(f"{text} is a float")


def test_the_whole_map_of_the_package_is_imported_without_a_float() -> None:
    result = import_litellm_map(parse_map(package_map()))
    assert len(result.prices) > 3_000
    assert not {price.pattern for price in result.prices} & result.refused.keys()
    for price in result.prices:
        rates = [rate for sheet in price.table.sheets.values() for rate in sheet.values()]
        assert all(type(rate) is int and rate >= 0 for rate in [*rates, *price.units.values()]), price.pattern
        assert any(rates) or any(price.units.values()) or price.mode == "moderation", (
            f"{price.pattern} is free"
        )
        json.loads(terms_json(price), parse_float=no_float)
    book = PriceBook(result.prices)
    gpt = book.match("gpt-4o")
    assert gpt is not None
    usage = Usage(input_tokens=1_500, cached_input_tokens=1_024, output_tokens=300)
    assert cost_nanos(gpt, usage) == 5_470_000
    assert gpt.max_output_tokens == 16_384


async def test_the_map_that_the_proxy_serves_is_imported(
    pg: asyncpg.Pool, litellm_proxy: LiteLLMProxy
) -> None:
    report = await import_prices(
        pg, "litellm", base_url=litellm_proxy.base_url, api_key=litellm_proxy.master_key
    )
    assert report.source == litellm_proxy.base_url
    assert len(report.appended.added) > 3_000
    # A model that the proxy serves and nobody priced is not sold; it is named.
    assert report.refused["fake-gpt"] == "no price"
