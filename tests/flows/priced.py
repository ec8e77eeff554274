"""More to sell than every house has, added while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from tests.flows.house import House, until


async def sell(house: House, prices: Mapping[str, Mapping[str, str]], *, listed: str) -> None:
    """Add prices by pattern and wait until the gateway sells at them: `listed` is one that upstream names."""
    priced = [price_from_text(pattern, rates) for pattern, rates in prices.items()]
    await append_prices(house.stores.pg, priced)

    async def sold() -> bool:
        models = (await house.get("/v1/models")).json()["data"]
        return listed in [model["id"] for model in models]

    await until(sold)
