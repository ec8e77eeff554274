"""Price rules of plans: what a model costs for who is on a plan, instead of its list price.

Owns the way from a rule (a base price, multipliers, a minimum) to a version of a price that only calls on the plan are
charged by. A rule that ends is two versions: the price, and its end. Nothing that was is priced again.
Units: base_price is decimal text in the plan's currency, per million tokens, per request, minute or image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final

from rabbitgw import statements
from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.billing.pieces import IMAGES, MINUTES, REQUESTS
from rabbitgw.billing.plans import locked
from rabbitgw.billing.price_book import append, history_of_plan
from rabbitgw.billing.prices import Price
from rabbitgw.billing.rates import BASE_TIER, RateTable
from rabbitgw.clock import now_ms
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, CENTS_PER_UNIT, NANOS_PER_CENT, NANOS_PER_UNIT, TOKENS_PER_MTOK
from rabbitgw.stores import Pool, connection, transaction

BY_TOKEN: Final = "token"  # noqa: S105 - the unit of a price
BY_REQUEST: Final = "request"
BY_MINUTE: Final = "minute"
BY_IMAGE: Final = "image"
UNITS: Final = (BY_TOKEN, BY_REQUEST, BY_MINUTE, BY_IMAGE)
_PIECES: Final = {BY_REQUEST: REQUESTS, BY_MINUTE: MINUTES, BY_IMAGE: IMAGES}
MULTIPLIER_MAX: Final = 1000
DECIMAL: Final = r"[0-9]{1,12}(\.[0-9]{1,18})?"
SHOWN_CHARS_MAX: Final = 40
_DECIMAL: Final = re.compile(DECIMAL)


@dataclass(frozen=True, slots=True)
class PriceRule:
    """As an operator writes it. Decimals are text; a multiplier left out is 1."""

    model_pattern: str
    unit: str
    base_price: str
    input_multiplier: str = "1"
    output_multiplier: str = "1"
    price_multiplier: str = "1"
    min_charge_cents: int = 0
    effective_from: datetime | None = None
    effective_to: datetime | None = None


async def add_rule(pg: Pool, plan_id: int, rule: PriceRule) -> Price:
    """Let calls on the plan be charged by a rule, from now on or from a later moment.

    Returns: the version that it became.
    Raises:  RequestInvalid, NotFound (of the plan), Conflict (it is archived), PostgresUnavailable.
    """
    starts_ms, ends_ms = _checked_span(rule)
    async with transaction(pg) as db:
        plan = await locked(db, plan_id, None)
        price = replace(
            price_of(rule), plan_id=plan_id, currency=plan["currency"], effective_from_us=starts_ms * 1000
        )
        versions = [price]
        if ends_ms is not None:
            versions.append(replace(price, sold=False, effective_from_us=ends_ms * 1000))
        added = await append(db, versions)
        await db.execute(statements.plans.touch, plan_id, None, False)
    return added[0]


async def end_rule(pg: Pool, plan_id: int, model_pattern: str) -> Price:
    """End the plan's price of exactly this pattern now; calls that were admitted keep it. Returns: its end.

    Raises: NotFound (of the plan, or it has no such price now), Conflict (archived), PostgresUnavailable.
    """
    async with transaction(pg) as db:
        await locked(db, plan_id, None)
        now_us = now_ms() * 1000
        known = [price for price in await history_of_plan(db, plan_id) if price.pattern == model_pattern]
        present = next((price for price in known if price.effective_from_us <= now_us), None)
        if present is None or not present.sold:
            raise NotFound(f"plan {plan_id} has no price of {model_pattern!r}", field="model_pattern")
        (end,) = await append(db, [replace(present, sold=False, effective_from_us=0)])
        await db.execute(statements.plans.touch, plan_id, None, False)
    return end


async def rules_of(pg: Pool, plan_id: int) -> list[Price]:
    """Every version of the plan's prices, newest first, ends (not sold) too. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        return await history_of_plan(db, plan_id)


def price_of(rule: PriceRule) -> Price:
    """The price that a rule makes, without plan, currency and time. Fractions of a nano are rounded up.

    Raises: RequestInvalid naming the field.
    """
    if rule.unit not in UNITS:
        raise RequestInvalid(f"unit: {rule.unit!r} is none of {', '.join(UNITS)}", field="unit")
    least = rule.min_charge_cents * NANOS_PER_CENT
    if not 0 <= least <= AMOUNT_NANOS_MAX:
        most = AMOUNT_NANOS_MAX // NANOS_PER_UNIT * CENTS_PER_UNIT
        raise RequestInvalid(f"min_charge_cents: 0 to {most}", field="min_charge_cents")
    base = _decimal(rule.base_price, "base_price") * _multiplier(rule.price_multiplier, "price_multiplier")
    sides = {
        "input": _multiplier(rule.input_multiplier, "input_multiplier"),
        "output": _multiplier(rule.output_multiplier, "output_multiplier"),
    }
    units = {}
    if rule.unit in _PIECES:
        if set(sides.values()) != {1}:
            raise RequestInvalid("input_multiplier, output_multiplier: only of tokens", field="unit")
        units[_PIECES[rule.unit]] = _nanos(base) * TOKENS_PER_MTOK
        # By the request tokens cost nothing more; by the minute or image they have no price, so that those are charged.
        rates = dict.fromkeys(sides, 0) if rule.unit == BY_REQUEST else {}
    else:
        rates = {kind: _nanos(base * factor) for kind, factor in sides.items()}
    return Price(
        pattern=checked_pattern(rule.model_pattern, "model_pattern"),
        table=RateTable({(BASE_TIER, 0): rates}),
        units=units,
        min_charge_nanos=least,
    )


def _nanos(amount: Decimal) -> int:
    nanos = int((amount * NANOS_PER_UNIT).to_integral_value(ROUND_CEILING))
    if nanos > AMOUNT_NANOS_MAX // TOKENS_PER_MTOK:
        most = AMOUNT_NANOS_MAX // TOKENS_PER_MTOK // NANOS_PER_UNIT
        raise RequestInvalid(f"base_price: with its multipliers at most {most}", field="base_price")
    return nanos


def _multiplier(text: str, field: str) -> Decimal:
    factor = _decimal(text, field)
    if factor > MULTIPLIER_MAX:
        raise RequestInvalid(f"{field}: at most {MULTIPLIER_MAX}", field=field)
    return factor


def _decimal(text: str, field: str) -> Decimal:
    if _DECIMAL.fullmatch(text) is None:
        raise RequestInvalid(f"{field}: {text[:SHOWN_CHARS_MAX]!r} is no decimal like 2.50", field=field)
    return Decimal(text)


def _checked_span(rule: PriceRule) -> tuple[int, int | None]:
    """(0 for at once or its begin in ms, its end in ms or None)."""
    at_ms = now_ms()
    moments = []
    for field in ("effective_from", "effective_to"):
        moment = getattr(rule, field)
        if moment is not None and moment.tzinfo is None:
            raise RequestInvalid(f"{field}: give the time zone, like 2027-01-31T00:00:00Z", field=field)
        moments.append(None if moment is None else int(moment.astimezone(UTC).timestamp() * 1000))
    starts_ms, ends_ms = moments
    if starts_ms is not None and starts_ms <= at_ms:
        starts_ms = None
    if ends_ms is not None and ends_ms <= (starts_ms or at_ms):
        raise RequestInvalid("effective_to: must lie after effective_from, and ahead", field="effective_to")
    return starts_ms or 0, ends_ms
