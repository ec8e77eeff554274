"""/v1/admin: accounts, keys, wallets and prices, for the operator. Thin: billing decides and checks.

What changes a key is pushed to Redis before the answer; `in_effect` false says that Redis was not reached, and
that the `keys` worker will push it.
"""

from __future__ import annotations

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import (
    AccountForm,
    CreditForm,
    KeyForm,
    KeysQuery,
    Nothing,
    PageQuery,
    PricesQuery,
    RotationForm,
    WalletsQuery,
)
from rabbitgw.api.price_fields import PriceForm, PricesView, PriceView
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import (
    AccountsPage,
    AccountView,
    AccountWallets,
    ChangedKey,
    CreditView,
    KeySecret,
    KeysPage,
    KeyView,
    RotatedKey,
    next_page,
)
from rabbitgw.api.wallets import account_wallets
from rabbitgw.billing import accounts, keys, price_book, wallets
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.key_push import push_key
from rabbitgw.billing.price_terms import fields_of, price_from_fields
from rabbitgw.errors import Conflict, NotFound

ADMIN = Auth.ADMIN


class AdminRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg
        self._credits = Credits(deps.pg, deps.link)

    def routes(self) -> list[AnyRoute]:
        return [*self._accounts(), *self._keys(), *self._wallets(), *self._prices()]

    def _accounts(self) -> list[AnyRoute]:
        path = "/v1/admin/accounts"
        return [
            Route("GET", path, self.list_accounts, "Accounts by id", ADMIN, AccountsPage, query=PageQuery),
            Route("POST", path, self.create_account, "Make an account", ADMIN, AccountView, form=AccountForm),
        ]

    def _keys(self) -> list[AnyRoute]:
        path = "/v1/admin/keys"
        one = rf"{path}/{{id:\d+}}"
        return [
            Route("GET", path, self.list_keys, "Keys by id", ADMIN, KeysPage, query=KeysQuery),
            Route(
                "POST",
                path,
                self.create_key,
                "Make a key; its secret is shown once",
                ADMIN,
                KeySecret,
                form=KeyForm,
                refusals=(NotFound, Conflict),
            ),
            Route(
                "POST",
                f"{one}/revoke",
                self.revoke_key,
                "End a key for good, now",
                ADMIN,
                ChangedKey,
                refusals=(NotFound,),
            ),
            Route(
                "POST",
                f"{one}/rotate",
                self.rotate_key,
                "Give a key a new secret; the old one ends now, or after a grace period",
                ADMIN,
                RotatedKey,
                form=RotationForm,
                refusals=(NotFound, Conflict),
            ),
        ]

    def _wallets(self) -> list[AnyRoute]:
        path = "/v1/admin/wallets"
        return [
            Route(
                "GET",
                path,
                self.list_wallets,
                "The wallets of an account, as its next call meets them",
                ADMIN,
                AccountWallets,
                query=WalletsQuery,
                refusals=(NotFound,),
            ),
            Route(
                "POST",
                f"{path}/credit",
                self.credit_wallet,
                "Put money into a wallet, once per idempotency key",
                ADMIN,
                CreditView,
                form=CreditForm,
                refusals=(NotFound, Conflict),
            ),
        ]

    def _prices(self) -> list[AnyRoute]:
        path = "/v1/admin/prices"
        return [
            Route(
                "GET",
                path,
                self.list_prices,
                "Present prices, or every version of one pattern",
                ADMIN,
                PricesView,
                query=PricesQuery,
            ),
            Route("POST", path, self.set_price, "Set a price", ADMIN, PriceView, form=PriceForm),
        ]

    async def create_account(self, asked: Asked[AccountForm, Nothing]) -> AccountView:
        account = await accounts.create_account(self._pg, asked.form.name, asked.form.currency)
        telemetry.log("account_created", account_id=account.id)
        return AccountView.of(account)

    async def list_accounts(self, asked: Asked[Nothing, PageQuery]) -> AccountsPage:
        query = asked.query
        found = await accounts.list_accounts(self._pg, after_id=query.after, rows_max=query.limit)
        views = [AccountView.of(account) for account in found]
        return AccountsPage(accounts=views, next=next_page(found, query.limit))

    async def create_key(self, asked: Asked[KeyForm, Nothing]) -> KeySecret:
        new = keys.NewKey(**asked.form.model_dump())
        made = await keys.create_key(self._pg, new, by_admin_key=asked.by_admin_key)
        telemetry.log("key_created", account_id=asked.form.account_id, key_id=made.id)
        return await self._with_secret(made)

    async def list_keys(self, asked: Asked[Nothing, KeysQuery]) -> KeysPage:
        query = asked.query
        found = await keys.list_keys(self._pg, query.account_id, after_id=query.after, rows_max=query.limit)
        return KeysPage(keys=[KeyView.of(key) for key in found], next=next_page(found, query.limit))

    async def revoke_key(self, asked: Asked[Nothing, Nothing]) -> ChangedKey:
        key = await keys.revoke_key(self._pg, asked.id)
        telemetry.log("key_revoked", account_id=key.account_id, key_id=key.id)
        pushed = await push_key(self._pg, self._deps.scripts, key.id)
        return ChangedKey.of_key(key, in_effect=pushed)

    async def rotate_key(self, asked: Asked[RotationForm, Nothing]) -> RotatedKey:
        grace_s = asked.form.grace_s
        made = await keys.rotate_key(self._pg, asked.id, grace_s, by_admin_key=asked.by_admin_key)
        telemetry.log("key_rotated", key_id=made.id, grace_s=grace_s)
        shown = await self._with_secret(made)
        fields = {**shown.model_dump(), "previous_ends_at": made.previous_ends_at}
        return RotatedKey.model_validate(fields)

    async def list_wallets(self, asked: Asked[Nothing, WalletsQuery]) -> AccountWallets:
        account = await accounts.get_account(self._pg, asked.query.account_id)
        return await account_wallets(self._deps, account.id, account.partition)

    async def credit_wallet(self, asked: Asked[CreditForm, Nothing]) -> CreditView:
        form = asked.form
        account = await accounts.get_account(self._pg, form.account_id)
        booked = await wallets.credit(
            self._pg,
            account,
            currency=form.currency,
            amount_nanos=form.amount_nanos,
            idempotency_key=form.idempotency_key,
        )
        telemetry.log(
            "wallet_credited",
            account_id=account.id,
            currency=booked.currency,
            amount_nanos=booked.amount_nanos,
        )
        await self._credits.apply_if_reached(account.id, booked.currency, account.partition)
        return CreditView.of(booked)

    async def list_prices(self, asked: Asked[Nothing, PricesQuery]) -> PricesView:
        query = asked.query
        if query.pattern is None:
            found = (await price_book.load_book(self._pg)).prices()
        else:
            found = await price_book.price_history(self._pg, query.pattern, query.currency)
        return PricesView(prices=[PriceView(**fields_of(price)) for price in found])

    async def set_price(self, asked: Asked[PriceForm, Nothing]) -> PriceView:
        fields = asked.form.model_dump(exclude_unset=True)
        price = await price_book.set_price(self._pg, price_from_fields(fields))
        telemetry.log(
            "price_set", pattern=price.pattern, currency=price.currency, price_version=price.version
        )
        return PriceView(**fields_of(price))

    async def _with_secret(self, made: keys.CreatedKey) -> KeySecret:
        in_effect = await push_key(self._pg, self._deps.scripts, made.id)
        return KeySecret(id=made.id, key=made.secret, prefix=made.prefix, in_effect=in_effect)
