"""Whether the models that a plan degrades to are sold, and large enough, when the plan is saved.

What is sold may change later: a call whose lesser model has no price then, or is too small for its prompt, is not
degraded. Knows prices, and no call.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from rabbitgw.billing.overflow import Overflow, targets
from rabbitgw.billing.price_book import history_of_plan, load_book
from rabbitgw.billing.prices import Price, PriceBook
from rabbitgw.errors import RequestInvalid
from rabbitgw.stores import Pool, connection


async def check_targets(pg: Pool, plan_id: int, currency: str, overflow: Overflow) -> None:
    """As `check_sold`, of a plan that there is. Raises: RequestInvalid, PostgresUnavailable."""
    if targets(overflow):
        listed = await load_book(pg)
        async with connection(pg) as db:
            own = PriceBook(await history_of_plan(db, plan_id))
        check_sold(overflow, own, listed, currency)


def check_sold(overflow: Overflow, own: PriceBook, listed: PriceBook, currency: str) -> None:
    """Raises: RequestInvalid, naming the field and the model."""
    for field, name in targets(overflow):
        if (own.match(name, currency) or listed.match(name, currency)) is None:
            raise RequestInvalid(f"{field}: {name!r} has no price in {currency}", field=field)
    for pattern, name in overflow.degrade_map:
        lesser = _prompt_max(listed.match(name, currency))
        for price in listed.prices():
            larger = _prompt_max(price)
            picked = price.currency == currency and price.sold and fnmatchcase(price.pattern, pattern)
            if picked and overflow.degraded(price.pattern) == name and larger > lesser > 0:
                raise RequestInvalid(
                    f"degrade_map: {name!r} takes prompts of {lesser} tokens, {price.pattern!r} of {larger}: "
                    "a call could become too large for it",
                    field="degrade_map",
                )


def _prompt_max(price: Price | None) -> int:
    """0: it is not known."""
    return 0 if price is None else price.max_input_tokens or 0
