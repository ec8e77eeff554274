"""How selling goes: success of payments, value of orders, packages, refunds, delivery of webhooks, of a span of time.

Owns what each figure is made of. A rate without anything to divide by is None, and never 0 or 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from rabbitgw import statements
from rabbitgw.payments.currencies import decimal_of_minor
from rabbitgw.payments.events import WEBHOOK
from rabbitgw.stores import connection

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.stores import Pool

PAID: Final = frozenset({"paid", "partially_refunded", "refunded", "disputed", "needs_review"})
NOT_PAID: Final = frozenset({"failed", "canceled"})
_RATE: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class PackageFigure:
    """`credits` None: credit that was bought in any amount. `share`: of the orders that were paid."""

    credits: int | None
    orders: int
    share: Decimal | None


@dataclass(frozen=True, slots=True)
class ProviderWebhooks:
    """`delivered`: events that came as webhooks. `never_came`: those that only a back-fill brought. `waiting`: stored,
    and not worked off. `success_rate`: delivered, of all there were."""

    provider: str
    delivered: int
    repeated: int
    never_came: int
    waiting: int
    given_up: int
    success_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class Figures:
    """`payment_success_rate`: paid orders of those that were paid, failed or canceled; the open ones may still be.
    `refund_rate`: money that went back, of the money that came in."""

    currency: str
    orders: dict[str, int]
    payment_success_rate: Decimal | None
    payments: int
    paid: Decimal
    average_order_value: Decimal | None
    refunds: int
    refunded: Decimal
    refund_rate: Decimal | None
    disputes: int
    packages: list[PackageFigure] = field(default_factory=list)
    webhooks: list[ProviderWebhooks] = field(default_factory=list)


async def figures(pg: Pool, currency: str, since: datetime, until: datetime) -> Figures:
    """Raises: RequestInvalid (a currency that is not sold for), PostgresUnavailable."""
    decimal_of_minor(currency, 0)
    async with connection(pg) as db:
        rows = await db.fetch(statements.payments.figures_orders, currency, since, until)
        money = await db.fetchrow(statements.payments.figures_money, currency, since, until)
        events = await db.fetch(statements.payments.figures_events, since, until)
    assert money is not None
    orders: dict[str, int] = {}
    bought: dict[int | None, int] = {}
    for row in rows:
        orders[row["status"]] = orders.get(row["status"], 0) + row["orders"]
        if row["status"] in PAID:
            bought[row["package_credits"]] = bought.get(row["package_credits"], 0) + row["orders"]
    paid = sum(bought.values())
    lost = sum(count for status, count in orders.items() if status in NOT_PAID)
    paid_minor, payments = money["paid_minor"], money["payments"]
    value = None
    if payments:
        exact = decimal_of_minor(currency, paid_minor)
        value = (exact / payments).quantize(decimal_of_minor(currency, 1), rounding=ROUND_HALF_UP)
    return Figures(
        currency=currency,
        orders=orders,
        payment_success_rate=_rate(paid, paid + lost),
        payments=payments,
        paid=decimal_of_minor(currency, paid_minor),
        average_order_value=value,
        refunds=money["refunds"],
        refunded=decimal_of_minor(currency, money["refunded_minor"]),
        refund_rate=_rate(money["refunded_minor"], paid_minor),
        disputes=money["disputes"],
        packages=[
            PackageFigure(credits, count, _rate(count, paid))
            for credits, count in sorted(bought.items(), key=lambda one: (-one[1], one[0] or 0))
        ],
        webhooks=[_webhooks(provider, events) for provider in sorted({row["provider"] for row in events})],
    )


def _webhooks(provider: str, rows: Sequence[asyncpg.Record]) -> ProviderWebhooks:
    own = [row for row in rows if row["provider"] == provider]

    def count(source: str | None = None, state: str | None = None, what: str = "events") -> int:
        return sum(
            row[what] for row in own if source in (None, row["source"]) and state in (None, row["state"])
        )

    delivered = count(WEBHOOK)
    return ProviderWebhooks(
        provider=provider,
        delivered=delivered,
        repeated=count(WEBHOOK, what="deliveries") - delivered,
        never_came=count("backfill"),
        waiting=count(state="stored"),
        given_up=count(state="given_up"),
        success_rate=_rate(delivered, count()),
    )


def _rate(part: int, whole: int) -> Decimal | None:
    return None if not whole else (Decimal(part) / whole).quantize(_RATE, rounding=ROUND_HALF_UP)
