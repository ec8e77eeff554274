"""`rabbitgw accounts|wallets …`: what the admin routes do, at the shell. Amounts are decimal units here."""

from __future__ import annotations

import argparse

from rabbitgw import clock
from rabbitgw.api.views import AccountView, WalletView, shown
from rabbitgw.billing import accounts, wallets
from rabbitgw.billing.credits import Credits
from rabbitgw.cli_output import money, note, print_json, print_table
from rabbitgw.cli_stores import books_only, both_stores
from rabbitgw.errors import RedisUnavailable
from rabbitgw.money import nanos

Options = argparse.Namespace


async def accounts_create(options: Options) -> int:
    async with books_only() as pg:
        account = await accounts.create_account(pg, options.name, options.currency)
    if options.json:
        print_json(shown(AccountView.of(account)))
    else:
        print(f"account {account.id} ({account.currency}): {account.name}")
    return 0


async def accounts_list(options: Options) -> int:
    async with books_only() as pg:
        found = await accounts.list_accounts(pg, after_id=options.after)
    views = [shown(AccountView.of(account)) for account in found]
    if options.json:
        print_json({"accounts": views})
    else:
        print_table(("id", "name", "currency", "created"), [list(view.values()) for view in views])
    return 0


async def wallets_show(options: Options) -> int:
    async with both_stores() as opened:
        account = await accounts.get_account(opened.pg, options.account)
        found = await wallets.live_wallets(
            opened.pg, opened.scripts, opened.link, account_id=account.id, partition=account.partition
        )
    if options.json:
        print_json({"account_id": account.id, "wallets": [shown(WalletView.of(wallet)) for wallet in found]})
    else:
        rows = [
            (wallet.currency, wallet.balance, money(wallet.held_nanos), money(wallet.available_nanos))
            for wallet in found
        ]
        print_table(("currency", "balance", "held", "available"), rows)
    return 0


async def wallets_credit(options: Options) -> int:
    """Without an idempotency key each run is a credit of its own, and the key that was made is shown."""
    key = options.idempotency_key or f"cli-{clock.new_id()}"
    async with both_stores() as opened:
        account = await accounts.get_account(opened.pg, options.account)
        booked = await wallets.credit(
            opened.pg,
            account,
            currency=options.currency or account.currency,
            amount_nanos=nanos(options.amount),
            idempotency_key=key,
        )
        try:
            await Credits(opened.pg, opened.link).apply(account.id, booked.currency, account.partition)
        except RedisUnavailable as error:
            note(f"booked; Redis was not reached ({error.message}), the credits worker will tell it")
    if options.json:
        print_json(
            {
                "account_id": booked.account_id,
                "currency": booked.currency,
                "amount_nanos": booked.amount_nanos,
                "seq": booked.seq,
                "balance_nanos": booked.balance_nanos,
                "ledger_transaction_id": booked.ledger_transaction_id,
                "idempotency_key": key,
            }
        )
    else:
        print(f"account {account.id}: {money(booked.amount_nanos, booked.currency)} credited")
        print(f"booked balance: {money(booked.balance_nanos, booked.currency)}  (idempotency key {key})")
    return 0
