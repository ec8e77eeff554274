"""`rabbitgw accounts|keys|wallets …`: what the admin routes do, at the shell. Amounts are decimal units here."""

from __future__ import annotations

import argparse
from datetime import datetime

from rabbitgw import clock
from rabbitgw.api.views import AccountView, ChangedKey, KeyView, WalletView, shown
from rabbitgw.billing import accounts, keys, wallets
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.key_push import push_key
from rabbitgw.cli_output import money, note, print_json, print_table
from rabbitgw.cli_stores import books_only, both_stores
from rabbitgw.errors import RedisUnavailable, RequestInvalid
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


async def keys_create(options: Options) -> int:
    new = keys.NewKey(
        account_id=options.account,
        name=options.name,
        models=options.model,
        lifetime_limit_nanos=_limit(options.lifetime_limit, "lifetime_limit"),
        daily_limit_nanos=_limit(options.daily_limit, "daily_limit"),
        expires_at=_moment(options.expires_at),
        user_id=options.user,
        models_denied=options.deny_model,
        scopes=options.scope,
        ip_allowlist=options.allow_ip,
        rpm=options.rpm,
        tpm=options.tpm,
        parallel=options.parallel,
    )
    async with both_stores() as opened:
        made = await keys.create_key(opened.pg, new)
        pushed = await push_key(opened.pg, opened.scripts, made.id)
    return _show_secret(options, made, pushed)


async def keys_list(options: Options) -> int:
    async with books_only() as pg:
        found = await keys.list_keys(pg, options.account, after_id=options.after)
    if options.json:
        print_json({"keys": [shown(KeyView.of(key)) for key in found]})
        return 0
    rows = []
    for key in found:
        expires_at = shown(KeyView.of(key))["expires_at"]
        limits = (money(key.lifetime_limit_nanos), money(key.daily_limit_nanos))
        named = (key.id, key.account_id, key.name, key.prefix, _state(key))
        rows.append((*named, key.models, *limits, expires_at, key.user_id))
    columns = (
        "id",
        "account",
        "name",
        "prefix",
        "state",
        "models",
        "lifetime limit",
        "daily limit",
        "expires",
        "user",
    )
    print_table(columns, rows)
    return 0


async def keys_revoke(options: Options) -> int:
    async with both_stores() as opened:
        key = await keys.revoke_key(opened.pg, options.id)
        pushed = await push_key(opened.pg, opened.scripts, key.id)
    if options.json:
        print_json(shown(ChangedKey.of_key(key, in_effect=pushed)))
    else:
        print(f"key {key.id} ({key.prefix}…) is revoked")
    _note_unpushed(pushed)
    return 0


async def keys_rotate(options: Options) -> int:
    async with both_stores() as opened:
        made = await keys.rotate_key(opened.pg, options.id, options.grace)
        pushed = await push_key(opened.pg, opened.scripts, made.id)
    return _show_secret(options, made, pushed)


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


def _show_secret(options: Options, made: keys.CreatedKey, pushed: bool) -> int:
    if options.json:
        print_json({"id": made.id, "key": made.secret, "prefix": made.prefix, "in_effect": pushed})
    else:
        print(f"key {made.id}: {made.secret}")
        note("This is the only time it is shown.")
    _note_unpushed(pushed)
    return 0


def _note_unpushed(pushed: bool) -> None:
    if not pushed:
        note("Redis was not reached: it takes effect when the keys worker has pushed it")


def _state(key: keys.Key) -> str:
    """Why the key is no good, or that it is."""
    if key.revoked_at is not None:
        return "revoked"
    if _is_past(key.expires_at):
        return "expired"
    return "user disabled" if key.user_disabled else "active"


def _limit(text: str | None, field: str) -> int | None:
    return None if text is None else nanos(text, field=field)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RequestInvalid(f"expires_at: {text!r} is no time like 2027-01-31T00:00:00Z") from None


def _is_past(moment: datetime | None) -> bool:
    return moment is not None and moment.timestamp() * 1000 <= clock.now_ms()
