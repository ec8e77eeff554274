"""A shop whose calls were sold by a wrong price: version 3, 1 and 2 USD a million tokens of input and output."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from rabbitgw.billing.credits import Credits
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.billing.rerate import apply, dry_run
from rabbitgw.billing.rerate_report import RerateReport
from rabbitgw.billing.rerate_request import Rerate
from rabbitgw.clock import now_ms
from tests.billing.usage_history import call_id
from tests.books import Customer, Shop

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

HOUR_MS = 3_600_000
WRONG, CHEAPER, DEARER = 3, 4, 5  # price versions of `gpt`
CALL_NANOS = 140_000  # 100 tokens in and 20 out, by the wrong price
CHEAPER_NANOS = 110_000  # at 0.50 and 3 USD
DEARER_NANOS = 280_000  # at 2 and 4 USD


async def sell(pg: Pool) -> None:
    """Make the versions; the last is the one that is sold."""
    for pattern, rates in (
        ("other", {"input": "9", "output": "9"}),
        ("another", {"input": "8", "output": "8"}),
        ("gpt", {"input": "1", "output": "2"}),
        ("gpt", {"input": "0.50", "output": "3"}),
        ("gpt", {"input": "2", "output": "4"}),
    ):
        await append_prices(pg, [price_from_text(pattern, rates)])


@dataclass
class Till:
    """Makes calls that came in some minutes ago, and re-rates the last hour."""

    shop: Shop
    _numbers: Any = field(default_factory=lambda: count(1))
    _keys: Any = field(default_factory=lambda: count(1))
    began_ms: int = field(default_factory=now_ms)

    def new_id(self) -> str:
        number = next(self._numbers)
        return call_id(self.began_ms - 600_000 + number, number)

    async def call(self, customer: Customer, cost_nanos: int = CALL_NANOS, **usage: Any) -> str:
        hold_id = await customer.hold(cost_nanos, hold_id=self.new_id())
        assert await customer.settle(hold_id, cost_nanos, **usage) == "OK"
        return hold_id

    def asked(self, to_version: int | None = CHEAPER, **changes: Any) -> Rerate:
        given = {
            "price_version": WRONG, "from_ms": self.began_ms - HOUR_MS, "to_ms": self.began_ms,
            "to_version": to_version, **changes,
        }  # fmt: skip
        return Rerate(**given)

    async def look(self, to_version: int | None = CHEAPER, **changes: Any) -> RerateReport:
        return await dry_run(self.shop.pg, self.asked(to_version, **changes))

    async def apply(
        self, to_version: int | None = CHEAPER, *, key: str | None = None, **changes: Any
    ) -> RerateReport:
        credits = Credits(self.shop.pg, self.shop.link)
        asked = self.asked(to_version, **changes)
        return await apply(self.shop.pg, credits, asked, key or f"run-{next(self._keys)}")
