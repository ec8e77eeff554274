"""Wallets: what is in them, and credit put into them.

Owns the one transaction in which a credit is booked: wallet row, ledger, number for Redis, and the answer
kept under the caller's idempotency key. Redis is told afterwards by credits.py; the ledger is the truth, and
what a wallet can spend now is what Redis says.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import orjson

from rabbitgw import statements
from rabbitgw.billing import ledger
from rabbitgw.billing.accounts import Account, checked_currency
from rabbitgw.billing.loading import load_account
from rabbitgw.billing.moves import lock_wallet, move
from rabbitgw.errors import Conflict, RedisUnavailable, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, units
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool, connection, transaction

CREDIT_SCOPE = "wallets.credit"  # one key means one credit, whatever wallet it names
KEY_CHARS_MAX = 255


@dataclass(frozen=True, slots=True)
class Wallet:
    """`available_nanos` is what a new call may hold."""

    currency: str
    balance_nanos: int
    held_nanos: int

    @property
    def available_nanos(self) -> int:
        return self.balance_nanos - self.held_nanos

    @property
    def balance(self) -> str:
        return units(self.balance_nanos)


@dataclass(frozen=True, slots=True)
class Credit:
    """A booked credit. `balance_nanos` is the ledger's, right after it; `seq` its number in the wallet."""

    account_id: int
    currency: str
    amount_nanos: int
    seq: int
    balance_nanos: int
    ledger_transaction_id: int


async def booked_wallets(pg: Pool, account_id: int) -> list[Wallet]:
    """The wallets as the ledger has them: without what Redis has charged and nobody has booked, nothing held.

    Raises: PostgresUnavailable.
    """
    async with connection(pg) as db:
        rows = await db.fetch(statements.wallets.list, account_id)
    return [Wallet(row["currency"], row["balance_nanos"], 0) for row in rows]


async def live_wallets(
    pg: Pool, scripts: Scripts, link: RedisLink, *, account_id: int, partition: int
) -> list[Wallet]:
    """The wallets as the next request meets them. Raises: PostgresUnavailable, RedisUnavailable."""
    currencies = [wallet.currency for wallet in await booked_wallets(pg, account_id)]
    if not currencies:
        return []
    found = await _in_redis(scripts, link, account_id, partition, currencies)
    if found is None:
        await load_account(pg, scripts, account_id)
        found = await _in_redis(scripts, link, account_id, partition, currencies)
    if found is None:
        raise RedisUnavailable(f"account {account_id} is not loaded: another epoch has begun")
    return found


async def _in_redis(
    scripts: Scripts, link: RedisLink, account_id: int, partition: int, currencies: list[str]
) -> list[Wallet] | None:
    fields = [f"{kind}:{currency}" for currency in currencies for kind in "bh"]
    values = await link.call("HMGET", scripts.names.partition[partition].account(account_id), *fields)
    if all(value is None for value in values):
        return None
    numbers = [int(value or 0) for value in values]
    return [
        Wallet(currency, balance, held)
        for currency, balance, held in zip(currencies, numbers[::2], numbers[1::2], strict=True)
    ]


async def credit(
    pg: Pool, account: Account, *, currency: str, amount_nanos: int, idempotency_key: str
) -> Credit:
    """Put money into a wallet, once per idempotency key: the same request again gets the same answer.

    Raises: RequestInvalid (amount, currency; BalanceLimit: a wallet that would hold more than 9e9 units), Conflict (the
            key was used for another request), PostgresUnavailable (may be sent again).
    """
    _check(account, currency, amount_nanos, idempotency_key)
    try:
        return await _credit_once(pg, account.id, currency, amount_nanos, idempotency_key)
    except _KeyTaken:  # by a request for another wallet, which is committed now and will be found
        return await _credit_once(pg, account.id, currency, amount_nanos, idempotency_key)


class _KeyTaken(Exception):
    """The idempotency key was committed by somebody else after we had looked for it."""


async def _credit_once(pg: Pool, account_id: int, currency: str, amount_nanos: int, key: str) -> Credit:
    digest = hashlib.sha256(orjson.dumps([account_id, currency, amount_nanos])).digest()
    async with transaction(pg) as db:
        # The lock comes first: two requests with one key for one wallet wait for each other here.
        wallet = await lock_wallet(db, account_id, currency)
        known = await db.fetchrow(statements.idempotency.find, CREDIT_SCOPE, key)
        if known is not None:
            if known["request_sha256"] != digest:
                raise Conflict("idempotency_key: it was used for another credit", field="idempotency_key")
            return Credit(**orjson.loads(known["result"]))
        lines = ledger.credit_lines(account_id, currency, amount_nanos, ledger.CREDIT_OPERATOR)
        moved = await move(db, wallet, amount_nanos, lines, kind=ledger.CREDIT, ref=key)
        booked = Credit(account_id, currency, **asdict(moved))
        result = orjson.dumps(asdict(booked)).decode()
        if not await db.fetchval(statements.idempotency.keep, CREDIT_SCOPE, key, digest, result):
            raise _KeyTaken
    return booked


def _check(account: Account, currency: str, amount_nanos: int, key: str) -> None:
    if checked_currency(currency) != account.currency:
        raise RequestInvalid(
            f"currency: account {account.id} is billed in {account.currency}", field="currency"
        )
    if not 1 <= amount_nanos <= AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"amount_nanos: 1 to {AMOUNT_NANOS_MAX}", field="amount_nanos")
    if not 1 <= len(key) <= KEY_CHARS_MAX or not key.isprintable():
        raise RequestInvalid(
            f"idempotency_key: 1 to {KEY_CHARS_MAX} printable characters", field="idempotency_key"
        )
