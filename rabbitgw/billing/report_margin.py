"""What is left of what calls were charged, beside what upstream says they cost it.

A margin is taken only over the calls of which upstream said what they cost, which is in US dollars: of an account that
pays in something else there is a cost and no margin. How many calls have no known cost stands beside it.
Units: nanos of the account's currency; the cost in nanos of US dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import asyncpg

from rabbitgw.money import units

COST_CURRENCY: Final = "USD"
FIGURES: Final = ("calls", "costed_calls", "charge_nanos", "costed_charge_nanos", "upstream_cost_nanos")
_INT64_MAX: Final = 2**63 - 1

Row = dict[str, Any]


def margin_rows(found: Iterable[asyncpg.Record], fields: Iterable[str]) -> list[Row]:
    """One row per group, in order. fields: what it is grouped by, as the statement names it."""
    names = tuple(fields)
    return [
        {name: record[name] for name in names}
        | margin(record["currency"], {figure: int(record[figure]) for figure in FIGURES})
        for record in found
    ]


def margin_totals(found: Iterable[asyncpg.Record]) -> list[Row]:
    """One row per currency: each call is in one group."""
    sums: dict[str, dict[str, int]] = {}
    for record in found:
        into = sums.setdefault(record["currency"], dict.fromkeys(FIGURES, 0))
        for figure in FIGURES:
            into[figure] += int(record[figure])
    return [margin(currency, sums[currency]) for currency in sorted(sums)]


def margin(currency: str, sums: Mapping[str, int]) -> Row:
    costed, cost = sums["costed_charge_nanos"], sums["upstream_cost_nanos"]
    margin_nanos = costed - cost if currency == COST_CURRENCY else None
    ratio = None
    if margin_nanos is not None and costed:
        ratio = f"{Decimal(margin_nanos) / costed:.4f}"
    return {
        "currency": currency,
        "calls": sums["calls"],
        "calls_without_cost": sums["calls"] - sums["costed_calls"],
        "revenue_nanos": _fit(sums["charge_nanos"]),
        "costed_revenue_nanos": _fit(costed),
        "upstream_cost_nanos": _fit(cost),
        "margin_nanos": None if margin_nanos is None else _fit(margin_nanos),
        "margin": None if margin_nanos is None else units(margin_nanos),
        "margin_ratio": ratio,
    }


def _fit(nanos: int) -> int:
    """Within 64 bits, which is what JSON can carry to most programs."""
    return max(-_INT64_MAX, min(nanos, _INT64_MAX))
