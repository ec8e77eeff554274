"""Credit packages: so many credits at such a price, as data that an operator edits.

A credit is what the shop counts in; what one puts into a wallet is the package's `nanos_per_credit`. The buyer pays
the price, and what the credits are worth above it is a bonus: of 500 credits at 0.10 for 45, 45 are paid and 5 are
given. A package that costs more than it is worth is refused, for the rest would be nobody's.

An order copies what it needs, so a change holds for orders to come. Nothing is deleted; a retired one stays retired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX
from rabbitgw.billing.versions import check_version
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX
from rabbitgw.payments.currencies import decimal_of_minor, exponent, nanos_per_minor
from rabbitgw.stores import Pool, PoolConnection, connection, transaction

CREDITS_MAX: Final = 1_000_000
PRICE_MINOR_MAX: Final = 99_999_999  # what providers take of one payment
NANOS_PER_CREDIT: Final = 100_000_000  # 0.10 of the currency
NANOS_PER_CREDIT_MAX: Final = AMOUNT_NANOS_MAX // CREDITS_MAX
POSITION_MAX: Final = 1_000_000
FOR_SALE_MAX: Final = 100  # shown at most: a price list is read whole

_NANO: Final = Decimal(1).scaleb(-9)
_HUNDREDTH: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Package:
    id: int
    credits: int
    currency: str
    price_minor: int
    nanos_per_credit: int
    position: int
    active: bool
    version: int
    created_at: datetime
    changed_at: datetime

    @property
    def price_nanos(self) -> int:
        return self.price_minor * nanos_per_minor(self.currency)

    @property
    def worth_nanos(self) -> int:
        """What it puts into the wallet, bonus included."""
        return self.credits * self.nanos_per_credit

    @property
    def bonus_nanos(self) -> int:
        return self.worth_nanos - self.price_nanos

    @property
    def price(self) -> Decimal:
        """In units of the currency."""
        return decimal_of_minor(self.currency, self.price_minor)

    @property
    def price_per_credit(self) -> Decimal:
        """In units, to the nano."""
        return (self.price / self.credits).quantize(_NANO)

    @property
    def discount_percent(self) -> Decimal:
        """How much less it costs than it is worth, to the hundredth."""
        return (Decimal(100 * self.bonus_nanos) / self.worth_nanos).quantize(_HUNDREDTH)


@dataclass(frozen=True, slots=True)
class NewPackage:
    credits: int
    currency: str
    price_minor: int
    nanos_per_credit: int = NANOS_PER_CREDIT
    position: int = 0

    def check(self) -> None:
        """Raises: RequestInvalid naming the field."""
        exponent(self.currency)
        for field, value, least, most in (
            ("credits", self.credits, 1, CREDITS_MAX),
            ("price_minor", self.price_minor, 1, PRICE_MINOR_MAX),
            ("nanos_per_credit", self.nanos_per_credit, 1, NANOS_PER_CREDIT_MAX),
            ("position", self.position, 0, POSITION_MAX),
        ):
            if not least <= value <= most:
                raise RequestInvalid(f"{field}: {least} to {most}", field=field)
        worth_minor = Decimal(self.credits * self.nanos_per_credit) / nanos_per_minor(self.currency)
        if self.price_minor > worth_minor:
            raise RequestInvalid(
                f"price_minor: {self.credits} credits are worth {worth_minor:f} minor units of {self.currency}; "
                "a package must not cost more",
                field="price_minor",
            )


async def find_package(db: PoolConnection, credits: int, currency: str) -> Package | None:
    """The one for sale, in the caller's transaction or outside of one; None: there is none."""
    if not 1 <= credits <= CREDITS_MAX:
        return None
    row = await db.fetchrow(statements.packages.find, credits, currency)
    return None if row is None else _package(row)


async def list_packages(db: PoolConnection, currency: str) -> list[Package]:
    """Those for sale, in their order: FOR_SALE_MAX at most."""
    return [_package(row) for row in await db.fetch(statements.packages.for_sale, currency, FOR_SALE_MAX)]


async def all_packages(
    pg: Pool, currency: str | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[Package]:
    """By id, retired ones too. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.packages.list, currency, after_id, min(rows_max, PAGE_MAX))
    return [_package(row) for row in rows]


async def create_package(pg: Pool, new: NewPackage) -> Package:
    """Raises: RequestInvalid, Conflict (so many credits are for sale already), PostgresUnavailable."""
    new.check()
    async with connection(pg) as db:
        row = await db.fetchrow(
            statements.packages.create,
            new.credits,
            new.currency,
            new.price_minor,
            new.nanos_per_credit,
            new.position,
        )
    if row is None:
        raise Conflict(
            f"credits: {new.credits} credits are for sale in {new.currency} already; change or retire that package",
            field="credits",
        )
    return _package(row)


async def change_package(
    pg: Pool, package_id: int, changes: Mapping[str, int], *, version: int | None = None
) -> Package:
    """Change those of price_minor, nanos_per_credit and position that are named.

    version: that the package must still have; None: whatever it is, and the last change wins.
    Raises: RequestInvalid, NotFound, Conflict (it is retired), PreconditionFailed, PostgresUnavailable.
    """
    async with transaction(pg) as db:
        package = await _locked(db, package_id, version)
        if not package.active:
            raise Conflict(f"package {package_id} is retired; make a new one")
        terms = {
            "price_minor": package.price_minor,
            "nanos_per_credit": package.nanos_per_credit,
            "position": package.position,
        }
        wanted = NewPackage(package.credits, package.currency, **{**terms, **changes})
        wanted.check()
        if not changes:
            return package
        row = await db.fetchrow(
            statements.packages.change,
            package_id,
            wanted.price_minor,
            wanted.nanos_per_credit,
            wanted.position,
        )
    assert row is not None, "it is locked"
    return _package(row)


async def retire_package(pg: Pool, package_id: int, *, version: int | None = None) -> Package:
    """Take it out of sale; again changes nothing. Raises: NotFound, PreconditionFailed, PostgresUnavailable."""
    async with transaction(pg) as db:
        package = await _locked(db, package_id, version)
        row = await db.fetchrow(statements.packages.retire, package_id)
    return package if row is None else _package(row)


async def _locked(db: PoolConnection, package_id: int, version: int | None) -> Package:
    """Raises: NotFound, PreconditionFailed."""
    row = await db.fetchrow(statements.packages.lock, package_id)
    if row is None:
        raise NotFound(f"package {package_id} does not exist")
    check_version(f"package {package_id}", row["version"], version)
    return _package(row)


def _package(row: asyncpg.Record) -> Package:
    return Package(**row)
