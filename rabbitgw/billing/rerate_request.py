"""What a re-rating is asked for, checked: which calls, from which price to which.

Owns every refusal of such a request, and the price that is right where it is given by its fields. Moves no money.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from rabbitgw import clock
from rabbitgw.billing.accounts import get_account
from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.billing.price_book import load_book, load_version, set_price
from rabbitgw.billing.price_terms import LIMITS, price_from_fields, terms_json
from rabbitgw.billing.prices import Price
from rabbitgw.billing.recosting import Repricing
from rabbitgw.billing.usage_list import floor_id
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.stores import Pool

SPAN_MS_MAX: Final = 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class Rerate:
    """Calls that came in from `from_ms` on and before `to_ms`, by their ids.

    price_version: the wrong one. The right one is `to_version`, or `price`: the fields of a price as
    `POST /v1/admin/prices` takes them, but for pattern and currency, which are the wrong one's.
    model: a name or a pattern (fnmatch).
    """

    price_version: int
    from_ms: int
    to_ms: int
    to_version: int | None = None
    price: Mapping[str, Any] | None = None
    account_id: int | None = None
    model: str | None = None
    allow_overdraft: bool = False

    @property
    def first(self) -> UUID:
        """The highest id before the span."""
        return UUID(int=floor_id(self.from_ms).int - 1)

    @property
    def last(self) -> UUID:
        """The highest id in the span."""
        return UUID(int=floor_id(self.to_ms).int - 1)

    def digest(self) -> bytes:
        """By which the same request is known again."""
        return hashlib.sha256(orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)).digest()


def check_scope(asked: Rerate) -> None:
    """Raises: RequestInvalid."""
    if asked.model is not None:
        checked_pattern(asked.model, "model")
    if asked.from_ms < 1:
        raise RequestInvalid("from: must be a time since 1970", field="from")
    if asked.from_ms >= asked.to_ms:
        raise RequestInvalid("from: must lie before `to`", field="from")
    if asked.to_ms > clock.now_ms():
        raise RequestInvalid("to: lies in the future", field="to")
    if asked.to_ms - asked.from_ms > SPAN_MS_MAX:
        raise RequestInvalid("to: lies more than 366 days after `from`", field="to")


async def repricing(pg: Pool, asked: Rerate, *, right_version: int | None = None) -> Repricing:
    """From the wrong price to the right one: of a run that has begun, `right_version`.

    A right price that is given by its fields has version 0 where it is not stored yet.
    Raises: NotFound, RequestInvalid naming the field, PostgresUnavailable.
    """
    wrong = await _version(pg, asked.price_version, "price_version")
    if asked.account_id is not None:
        account = await get_account(pg, asked.account_id)
        if account.currency != wrong.currency:
            raise RequestInvalid(
                f"account_id: account {account.id} is billed in {account.currency}, price version {wrong.version} is "
                f"in {wrong.currency}",
                field="account_id",
            )
    right = await _right(pg, asked, wrong, right_version)
    return Repricing.between(wrong, right, await load_book(pg))


async def stored(pg: Pool, change: Repricing) -> Repricing:
    """The same with the right price stored, and so sold from now on, where it was not."""
    if change.right.version:
        return change
    return replace(change, right=await set_price(pg, change.right))


async def _right(pg: Pool, asked: Rerate, wrong: Price, right_version: int | None) -> Price:
    if right_version is not None:
        return await _version(pg, right_version, "to_version")
    if (asked.to_version is None) == (asked.price is None):
        raise RequestInvalid("to_version: give it, or the right price, and not both", field="to_version")
    if asked.to_version is not None:
        field, right = "to_version", await _version(pg, asked.to_version, "to_version")
        if right.currency != wrong.currency:
            raise RequestInvalid(
                f"to_version: price version {right.version} is in {right.currency}, version {wrong.version} in "
                f"{wrong.currency}",
                field=field,
            )
        if not right.sold:
            raise RequestInvalid(
                f"to_version: price version {right.version} takes {right.pattern} from sale", field=field
            )
    else:
        field, right = "price", await _given(pg, asked.price or {}, wrong)
    if terms_json(right) == terms_json(wrong):
        raise RequestInvalid(f"{field}: says the same as price version {wrong.version}", field=field)
    return right


async def _given(pg: Pool, fields: Mapping[str, Any], wrong: Price) -> Price:
    """The right price from its fields: what holds now if it says just that, else a version that is yet to be made.

    It will be what is sold, so it can only take the place of the wrong one. Limits and kind stay where none is given.
    """
    if wrong.plan_id is not None:
        raise RequestInvalid(
            f"price: version {wrong.version} is of plan {wrong.plan_id}: change its rule, and name that version as "
            "to_version",
            field="price",
        )
    given = price_from_fields({**fields, "pattern": wrong.pattern, "currency": wrong.currency})
    kept = {name: getattr(wrong, name) for name in (*LIMITS, "mode") if name not in fields}
    reasons = given.reasons if "reasons" in fields else given.reasons or wrong.reasons
    right = replace(given, **kept, reasons=reasons, unsold=wrong.unsold)
    now = (await load_book(pg)).current(wrong.pattern, wrong.currency)
    if now is not None and now.sold and terms_json(now) == terms_json(right):
        return now
    if now is None or now.version != wrong.version:
        holds = "no version is" if now is None else f"version {now.version} is"
        raise RequestInvalid(
            f"price: version {wrong.version} of {wrong.pattern} is no longer in effect, {holds}; name the right "
            "version as to_version",
            field="price",
        )
    return right


async def _version(pg: Pool, version: int, field: str) -> Price:
    found = await load_version(pg, version)
    if found is None:
        raise NotFound(f"{field}: there is no price version {version}", field=field)
    return found
