"""Billing's objects as the JSON that side routes and the command line show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rabbitgw.billing.accounts import Account
from rabbitgw.billing.keys import Key
from rabbitgw.billing.wallets import Wallet


def moment(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def account_view(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "currency": account.currency,
        "created_at": moment(account.created_at),
    }


def key_view(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "prefix": key.prefix,
        "models": None if key.models is None else list(key.models),
        "lifetime_limit_nanos": key.lifetime_limit_nanos,
        "daily_limit_nanos": key.daily_limit_nanos,
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "created_at": moment(key.created_at),
    }


def wallet_view(wallet: Wallet) -> dict[str, Any]:
    return {
        "currency": wallet.currency,
        "balance_nanos": wallet.balance_nanos,
        "held_nanos": wallet.held_nanos,
        "available_nanos": wallet.available_nanos,
        "balance": wallet.balance,
    }


def page(name: str, rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of a list; `next` is what to send as `after`, null on the last page."""
    return {name: rows, "next": rows[-1]["id"] if len(rows) == limit else None}
