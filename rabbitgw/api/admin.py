"""/v1/admin: accounts, keys, wallets and prices, for the operator. Thin: billing decides and checks.

What changes a key is pushed to Redis before the answer; `in_effect` false says that Redis was not reached, and
that the `keys` worker will push it.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from rabbitgw import telemetry
from rabbitgw.api.access import require_admin
from rabbitgw.api.answers import Handler, answering, path_id, read_fields, read_model, read_query
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import (
    AccountForm,
    CreditForm,
    KeyForm,
    KeysQuery,
    Nothing,
    PageQuery,
    PricesQuery,
    WalletsQuery,
)
from rabbitgw.api.views import account_view, key_view, page, wallet_view
from rabbitgw.billing import accounts, keys, price_book, wallets
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.key_push import push_key
from rabbitgw.billing.price_terms import fields_of, price_from_fields
from rabbitgw.errors import StoreError


class AdminRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg
        self._credits = Credits(deps.pg, deps.link)

    def routes(self) -> list[web.RouteDef]:
        admin = "/v1/admin"
        return [
            web.get(f"{admin}/accounts", self._handler(self.list_accounts)),
            web.post(f"{admin}/accounts", self._handler(self.create_account)),
            web.get(f"{admin}/keys", self._handler(self.list_keys)),
            web.post(f"{admin}/keys", self._handler(self.create_key)),
            web.post(rf"{admin}/keys/{{id:\d+}}/revoke", self._handler(self.revoke_key)),
            web.post(rf"{admin}/keys/{{id:\d+}}/rotate", self._handler(self.rotate_key)),
            web.get(f"{admin}/wallets", self._handler(self.list_wallets)),
            web.post(f"{admin}/wallets/credit", self._handler(self.credit_wallet)),
            web.get(f"{admin}/prices", self._handler(self.list_prices)),
            web.post(f"{admin}/prices", self._handler(self.set_price)),
        ]

    def _handler(self, work: Any) -> Handler:
        async def checked(request: web.Request) -> dict[str, Any]:
            require_admin(request, self._deps.settings.admin_key.get_secret_value())
            answer: dict[str, Any] = await work(request)
            return answer

        return answering(checked)

    async def create_account(self, request: web.Request) -> dict[str, Any]:
        form = await read_model(request, AccountForm)
        account = await accounts.create_account(self._pg, form.name, form.currency)
        telemetry.log("account_created", account_id=account.id)
        return account_view(account)

    async def list_accounts(self, request: web.Request) -> dict[str, Any]:
        query = read_query(request, PageQuery)
        found = await accounts.list_accounts(self._pg, after_id=query.after, rows_max=query.limit)
        return page("accounts", [account_view(account) for account in found], query.limit)

    async def create_key(self, request: web.Request) -> dict[str, Any]:
        form = await read_model(request, KeyForm)
        made = await keys.create_key(self._pg, keys.NewKey(**form.model_dump()))
        telemetry.log("key_created", account_id=form.account_id, key_id=made.id)
        return await self._with_secret(made)

    async def list_keys(self, request: web.Request) -> dict[str, Any]:
        query = read_query(request, KeysQuery)
        found = await keys.list_keys(self._pg, query.account_id, after_id=query.after, rows_max=query.limit)
        return page("keys", [key_view(key) for key in found], query.limit)

    async def revoke_key(self, request: web.Request) -> dict[str, Any]:
        await read_model(request, Nothing)
        key = await keys.revoke_key(self._pg, path_id(request))
        telemetry.log("key_revoked", account_id=key.account_id, key_id=key.id)
        return {**key_view(key), "in_effect": await push_key(self._pg, self._deps.scripts, key.id)}

    async def rotate_key(self, request: web.Request) -> dict[str, Any]:
        await read_model(request, Nothing)
        made = await keys.rotate_key(self._pg, path_id(request))
        telemetry.log("key_rotated", key_id=made.id)
        return await self._with_secret(made)

    async def list_wallets(self, request: web.Request) -> dict[str, Any]:
        query = read_query(request, WalletsQuery)
        account = await accounts.get_account(self._pg, query.account_id)
        found = await wallets.live_wallets(
            self._pg,
            self._deps.scripts,
            self._deps.link,
            account_id=account.id,
            partition=account.partition,
        )
        return {"account_id": account.id, "wallets": [wallet_view(wallet) for wallet in found]}

    async def credit_wallet(self, request: web.Request) -> dict[str, Any]:
        form = await read_model(request, CreditForm)
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
        try:
            await self._credits.apply(account.id, booked.currency, account.partition)
        except StoreError as error:
            # It is booked: the credits worker brings it to Redis when Redis is back.
            telemetry.warn("credit_not_applied_yet", account_id=account.id, reason=error.message)
        return {
            "account_id": booked.account_id,
            "currency": booked.currency,
            "amount_nanos": booked.amount_nanos,
            "seq": booked.seq,
            "balance_nanos": booked.balance_nanos,
            "ledger_transaction_id": booked.ledger_transaction_id,
        }

    async def list_prices(self, request: web.Request) -> dict[str, Any]:
        query = read_query(request, PricesQuery)
        if query.pattern is None:
            found = (await price_book.load_book(self._pg)).prices()
        else:
            found = await price_book.price_history(self._pg, query.pattern, query.currency)
        return {"prices": [fields_of(price) for price in found]}

    async def set_price(self, request: web.Request) -> dict[str, Any]:
        price = await price_book.set_price(self._pg, price_from_fields(await read_fields(request)))
        telemetry.log(
            "price_set", pattern=price.pattern, currency=price.currency, price_version=price.version
        )
        return fields_of(price)

    async def _with_secret(self, made: keys.CreatedKey) -> dict[str, Any]:
        in_effect = await push_key(self._pg, self._deps.scripts, made.id)
        return {"id": made.id, "key": made.secret, "prefix": made.prefix, "in_effect": in_effect}
