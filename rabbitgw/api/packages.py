"""Credit packages: /billing/credit-packages shows anybody what is for sale, /v1/admin/credit-packages edits it. Thin.

The list for buyers has decimal units of the currency, as people read them; the operator's has minor units and nanos,
as the books do.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Currency, Form, Nothing, PageQuery, told
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Nanos, Number, Time, View, next_page
from rabbitgw.billing.accounts import CURRENCY_DEFAULT, checked_currency
from rabbitgw.errors import Conflict, NotFound, PreconditionFailed, StoreError
from rabbitgw.payments import packages
from rabbitgw.payments.packages import (
    CREDITS_MAX,
    NANOS_PER_CREDIT,
    NANOS_PER_CREDIT_MAX,
    POSITION_MAX,
    PRICE_MINOR_MAX,
    NewPackage,
    Package,
)
from rabbitgw.stores import connection

QueryCurrency = Annotated[Currency, AfterValidator(checked_currency)]
Price = Annotated[StrictInt, told(format="int64", minimum=1, maximum=PRICE_MINOR_MAX)]
Worth = Annotated[StrictInt, told(format="int64", minimum=1, maximum=NANOS_PER_CREDIT_MAX)]
Position = Annotated[StrictInt, told(format="int32", minimum=0, maximum=POSITION_MAX)]
PRICE_SAYS = "in minor units of the currency: cents, yen, fils"
WORTH_SAYS = "what one credit puts into the wallet"
POSITION_SAYS = "where it stands in the list, lowest first"


class PackageForm(Form):
    credits: Annotated[StrictInt, told(format="int64", minimum=1, maximum=CREDITS_MAX)]
    currency: Currency = CURRENCY_DEFAULT
    price_minor: Price = Field(description=PRICE_SAYS)
    nanos_per_credit: Worth = Field(default=NANOS_PER_CREDIT, description=WORTH_SAYS)
    position: Position = Field(default=0, description=POSITION_SAYS)


class PackageChange(Form):
    """A field that is left out stays as it is."""

    price_minor: Price = Field(default_factory=int, description=PRICE_SAYS)
    nanos_per_credit: Worth = Field(default_factory=int, description=WORTH_SAYS)
    position: Position = Field(default_factory=int, description=POSITION_SAYS)


class ForSaleQuery(Form):
    currency: QueryCurrency = CURRENCY_DEFAULT


class PackagesQuery(PageQuery):
    currency: QueryCurrency | None = Field(default=None, description="only packages in this currency")


class Offer(View):
    credits: int
    price: Number = Field(description="in units of the currency", examples=[45])
    price_per_credit: Number = Field(examples=[0.09])
    discount_percent: Number = Field(
        description="how much less it costs than what it puts into the wallet", examples=[10]
    )


class Offers(View):
    packages: list[Offer]


class PackageView(View):
    id: int
    credits: int
    currency: str
    price_minor: int = Field(description=PRICE_SAYS)
    nanos_per_credit: Nanos = Field(description=WORTH_SAYS)
    bonus_nanos: Nanos = Field(description="what it puts into the wallet above its price")
    position: int
    active: bool = Field(description="for sale; false: retired, for good")
    version: int = Field(description="raised by every change; the ETag of an answer with one package")
    created_at: Time
    changed_at: Time


class OnePackage(PackageView):
    @property
    def etag(self) -> int:
        return self.version


class PackagesPage(View):
    packages: list[PackageView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class PackageRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        path, admin = "/v1/admin/credit-packages", Auth.ADMIN
        one = rf"{path}/{{id:\d+}}"
        return [
            Route(
                "GET",
                "/billing/credit-packages",
                self.list_offers,
                "The credit packages that are for sale",
                Auth.NONE,
                Offers,
                query=ForSaleQuery,
                refusals=(StoreError,),
            ),
            Route(
                "GET",
                path,
                self.list_packages,
                "Credit packages by id, retired ones too",
                admin,
                PackagesPage,
                query=PackagesQuery,
            ),
            Route(
                "POST",
                path,
                self.create_package,
                "Put a credit package up for sale",
                admin,
                OnePackage,
                form=PackageForm,
                refusals=(Conflict,),
            ),
            Route(
                "POST",
                one,
                self.change_package,
                "Change price, worth or place of a credit package, for orders to come",
                admin,
                OnePackage,
                form=PackageChange,
                refusals=(NotFound, Conflict, PreconditionFailed),
            ),
            Route(
                "POST",
                f"{one}/retire",
                self.retire_package,
                "Take a credit package out of sale, for good",
                admin,
                OnePackage,
                refusals=(NotFound, PreconditionFailed),
            ),
        ]

    async def list_offers(self, asked: Asked[Nothing, ForSaleQuery]) -> Offers:
        async with connection(self._pg) as db:
            found = await packages.list_packages(db, asked.query.currency)
        return Offers(packages=[Offer.of(package) for package in found])

    async def list_packages(self, asked: Asked[Nothing, PackagesQuery]) -> PackagesPage:
        query = asked.query
        found = await packages.all_packages(
            self._pg, query.currency, after_id=query.after, rows_max=query.limit
        )
        views = [PackageView.of(package) for package in found]
        return PackagesPage(packages=views, next=next_page(found, query.limit))

    async def create_package(self, asked: Asked[PackageForm, Nothing]) -> OnePackage:
        package = await packages.create_package(self._pg, NewPackage(**asked.form.model_dump()))
        telemetry.log("package_created", **_terms(package))
        return OnePackage.of(package)

    async def change_package(self, asked: Asked[PackageChange, Nothing]) -> OnePackage:
        changes = asked.form.model_dump(exclude_unset=True)
        package = await packages.change_package(self._pg, asked.id, changes, version=asked.if_match)
        telemetry.log("package_changed", **_terms(package))
        return OnePackage.of(package)

    async def retire_package(self, asked: Asked[Nothing, Nothing]) -> OnePackage:
        package = await packages.retire_package(self._pg, asked.id, version=asked.if_match)
        telemetry.log("package_retired", **_terms(package))
        return OnePackage.of(package)


def _terms(package: Package) -> dict[str, int | str]:
    return {
        "package_id": package.id,
        "credits": package.credits,
        "currency": package.currency,
        "price_minor": package.price_minor,
    }
