"""GET /v1/wallets: what a caller has; and for the operator what an account has, or who pays for a user."""

from __future__ import annotations

from pydantic import Field

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Nothing, QueryId
from rabbitgw.api.route import Asked, Auth, Route
from rabbitgw.api.views import AccountWallets, WalletView
from rabbitgw.billing.accounts import get_account
from rabbitgw.billing.users import get_user
from rabbitgw.billing.wallets import live_wallets
from rabbitgw.errors import NotFound, RequestInvalid


class OwnerQuery(Form):
    account_id: QueryId | None = Field(default=None, description="the operator's only")
    user_id: QueryId | None = Field(
        default=None, description="the operator's only, instead: the account that pays for this user"
    )


class WalletsRoute:
    """Its handler, of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps

    def route(self) -> Route[Nothing, OwnerQuery, AccountWallets]:
        return Route(
            "GET",
            "/v1/wallets",
            self.show_wallets,
            "The wallets of an account, as its next call meets them: a caller's own, or any for the operator",
            Auth.EITHER,
            AccountWallets,
            query=OwnerQuery,
            refusals=(NotFound,),
        )

    async def show_wallets(self, asked: Asked[Nothing, OwnerQuery]) -> AccountWallets:
        account_id, user_id = asked.query.account_id, asked.query.user_id
        if asked.key is not None:
            for field, value in (("account_id", account_id), ("user_id", user_id)):
                if value is not None:
                    raise RequestInvalid(
                        f"{field}: for the operator only; a key has one account", field=field
                    )
            return await account_wallets(self._deps, asked.key.account_id, asked.key.partition)
        if (account_id is None) == (user_id is None):
            raise RequestInvalid("account_id: give it, or user_id, but not both", field="account_id")
        if account_id is None:
            assert user_id is not None
            account_id = (await get_user(self._deps.pg, user_id)).account_id
        account = await get_account(self._deps.pg, account_id)
        return await account_wallets(self._deps, account.id, account.partition)


async def account_wallets(deps: SideDeps, account_id: int, partition: int) -> AccountWallets:
    found = await live_wallets(deps.pg, deps.scripts, deps.link, account_id=account_id, partition=partition)
    return AccountWallets(account_id=account_id, wallets=[WalletView.of(wallet) for wallet in found])
