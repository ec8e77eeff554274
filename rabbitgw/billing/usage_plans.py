"""Terms of usage plans in PostgreSQL: what is granted and what is asked for in each billing cycle.

Owns what the terms may say. The cycles themselves are plan_cycles.py's. A change holds from the next cycle that begins;
the length of a cycle stays, since cycles are counted from the begin of an assignment. Tier, included credits and the
price per thousand are told to who asks and move no money.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from rabbitgw import statements
from rabbitgw.billing.cycle_calendar import CYCLES
from rabbitgw.billing.plan_pricing import DECIMAL
from rabbitgw.billing.plans import USAGE, locked
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, CENTS_MAX
from rabbitgw.stores import Pool, connection, transaction

TIER: Final = "[a-z][a-z0-9_-]{0,31}"
CREDITS_MAX: Final = 10**15


@dataclass(frozen=True, slots=True)
class UsageTerms:
    """`id` and `plan_id` are 0 until they are stored."""

    billing_cycle: str
    commit_nanos: int = 0
    grant_nanos: int = 0
    tier: str | None = None
    included_credits: int | None = None
    price_per_1k: str | None = None
    id: int = 0
    plan_id: int = 0


async def add_usage_terms(pg: Pool, plan_id: int, terms: UsageTerms) -> UsageTerms:
    """Raises: RequestInvalid, NotFound (of the plan), Conflict (it has some, is archived or of another type),
    PostgresUnavailable.
    """
    _check(terms)
    async with transaction(pg) as db:
        plan = await locked(db, plan_id, None)
        if plan["type"] != USAGE:
            raise Conflict(f"plan {plan_id} is of type {plan['type']}, not {USAGE}", field="plan_id")
        terms_id = await db.fetchval(
            statements.cycles.add_terms,
            plan_id,
            terms.billing_cycle,
            terms.commit_nanos,
            terms.grant_nanos,
            terms.tier,
            terms.included_credits,
            terms.price_per_1k,
        )
        if terms_id is None:
            raise Conflict(f"plan {plan_id} has terms of usage; change those", field="plan_id")
        await db.execute(statements.plans.touch, plan_id, None, False)
    return replace(terms, id=terms_id, plan_id=plan_id)


async def change_usage_terms(
    pg: Pool, terms_id: int, changes: dict[str, Any], *, revision: int | None = None
) -> UsageTerms:
    """Change some of the terms, from the next cycle on.

    Raises: RequestInvalid, NotFound, Conflict (archived), PreconditionFailed, PostgresUnavailable.
    """
    async with transaction(pg) as db:
        row = await db.fetchrow(statements.cycles.terms, terms_id, None)
        if row is None:
            raise NotFound(f"terms of usage {terms_id} do not exist")
        await locked(db, row["plan_id"], revision)
        row = (await db.fetch(statements.cycles.terms, terms_id, None))[0]
        terms = replace(_terms(row), **changes)
        _check(terms)
        await db.execute(
            statements.cycles.change_terms,
            terms_id,
            terms.commit_nanos,
            terms.grant_nanos,
            terms.tier,
            terms.included_credits,
            terms.price_per_1k,
        )
        await db.execute(statements.plans.touch, terms.plan_id, None, False)
    return terms


async def usage_terms_of(pg: Pool, plan_id: int) -> UsageTerms | None:
    """Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        row = await db.fetchrow(statements.cycles.terms, None, plan_id)
    return None if row is None else _terms(row)


def _check(terms: UsageTerms) -> None:
    if terms.billing_cycle not in CYCLES:
        raise RequestInvalid(
            f"billing_cycle: {terms.billing_cycle!r} is none of {', '.join(CYCLES)}", field="billing_cycle"
        )
    for field, nanos in (("min_commit_cents", terms.commit_nanos), ("credit_grant_cents", terms.grant_nanos)):
        if not 0 <= nanos <= AMOUNT_NANOS_MAX:
            raise RequestInvalid(f"{field}: 0 to {CENTS_MAX}", field=field)
    if terms.tier is not None and re.fullmatch(TIER, terms.tier) is None:
        raise RequestInvalid("tier: 1 to 32 of a-z, 0-9, - and _, a letter first", field="tier")
    if terms.included_credits is not None and not 0 <= terms.included_credits <= CREDITS_MAX:
        raise RequestInvalid(f"included_credits: 0 to {CREDITS_MAX}", field="included_credits")
    if terms.price_per_1k is not None and re.fullmatch(DECIMAL, terms.price_per_1k) is None:
        raise RequestInvalid("price_per_1k: a decimal like 2.50", field="price_per_1k")


def _terms(row: Any) -> UsageTerms:
    return UsageTerms(**{name: row[name] for name in UsageTerms.__slots__})
