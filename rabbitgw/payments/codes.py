"""Codes: redeemed for credit, or given with an order for a bonus. A use is taken once, however many ask at once.

Whoever takes a use of a code has its row locked, so what is left is counted by one at a time. A redeem is one
transaction: the use, the ledger (wallet +, bonus -), the wallet, the number for Redis. With an order a use is reserved
when the order is made, and used or released by the transaction that makes the order paid or ends it; what it gives is
fixed when it is reserved. The three functions for orders belong inside the caller's transaction, before it locks a
wallet: codes are locked before wallets, everywhere.

A try that is no code counts against the account, by the hour; the rest of a code is a secret of 80 bits or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from rabbitgw import statements
from rabbitgw.billing import ledger
from rabbitgw.billing.accounts import Account
from rabbitgw.billing.moves import put
from rabbitgw.errors import BalanceLimit, Conflict, NotFound, RateLimited
from rabbitgw.money import AMOUNT_NANOS_MAX
from rabbitgw.payments.code_text import code_sha256, read_code
from rabbitgw.stores import Pool, PoolConnection, connection, transaction

TRIES_PER_HOUR: Final = 20
HOUR: Final = timedelta(hours=1)
RESERVED_FOR: Final = timedelta(days=1)  # an order that is not paid by then is paid without its code

CREDIT: Final = "credit"
BONUS: Final = "bonus"
BONUS_PERCENT: Final = "bonus_percent"


@dataclass(frozen=True, slots=True)
class Redeemed:
    """`balance_nanos` is the ledger's, right after it; `seq` its number in the wallet."""

    code_id: int
    account_id: int
    currency: str
    amount_nanos: int
    seq: int
    balance_nanos: int
    ledger_transaction_id: int


async def find_code(pg: Pool, account_id: int, text: str) -> int:
    """The id of a code, good or not. Outside any transaction: a try is counted though the caller's fails.

    Raises: NotFound, RateLimited (too many tries were no codes), PostgresUnavailable.
    """
    code = read_code(text)
    async with connection(pg) as db:
        tried = await db.fetchrow(statements.codes.take_try, account_id, HOUR, TRIES_PER_HOUR)
        assert tried is not None
        if not tried["allowed"]:
            message = (
                f"code: {TRIES_PER_HOUR} tries in an hour were no codes; try again in {tried['wait_s']:.0f} s"
            )
            raise RateLimited(message, what="tries", retry_after_s=tried["wait_s"])
        code_id = None if code is None else await db.fetchval(statements.codes.find, code_sha256(code))
        if code_id is None:
            raise NotFound("code: there is no such code", field="code")
        await db.execute(statements.codes.give_back_try, account_id)
    return int(code_id)


async def redeem(pg: Pool, account: Account, text: str) -> Redeemed:
    """Put what a code is worth into the account's wallet.

    The caller tells Redis afterwards, as after any credit.
    Raises: NotFound, Conflict (used, expired, retired, not for this account), RateLimited, PostgresUnavailable.
    """
    code_id = await find_code(pg, account.id, text)
    async with transaction(pg) as db:
        code = await _locked(db, code_id)
        await _check_usable(db, code, account.id)
        if code["kind"] != CREDIT:
            raise _no("it is a bonus on a purchase: give it when you buy")
        _check_currency(code, account.currency)
        try:
            return await _book(db, code, account.id)
        except BalanceLimit:
            limit = f"{AMOUNT_NANOS_MAX} nanos"
            raise _no(f"the wallet would hold more than its limit of {limit}") from None


async def reserve_for_order(
    db: PoolConnection, code_id: int, account_id: int, order_id: str, *, paid_nanos: int, currency: str
) -> int:
    """Reserve a use of a bonus code for an order, inside the transaction that makes it; again the same answer.

    code_id: from `find_code`.
    Units:   paid_nanos is what the order costs; of it a percentage is taken, rounded down.
    Returns: bonus_nanos, to be credited from `bonus` when the order is paid.
    Raises:  NotFound, Conflict (used, expired, retired, no bonus code; the order has another code).
    """
    code = await _locked(db, code_id)
    # Only now: of two requests for one order the second has waited for the first.
    known = await db.fetchrow(statements.codes.of_order, order_id)
    if known is not None:
        if (known["code_id"], known["account_id"]) != (code_id, account_id):
            raise _no(f"order {order_id} has another code")
        return int(known["amount_nanos"])
    await _check_usable(db, code, account_id)
    if code["kind"] == CREDIT:
        raise _no("it is no bonus on a purchase: redeem it by itself")
    _check_currency(code, currency)
    if code["kind"] == BONUS_PERCENT:
        bonus_nanos = paid_nanos * code["percent"] // 100
    else:
        bonus_nanos = code["amount_nanos"]
    use = (code_id, account_id, order_id, "reserved", currency, bonus_nanos, None)
    if await db.fetchval(statements.codes.take_use, *use) is None:
        raise _no(f"order {order_id} has another code")
    return int(bonus_nanos)


async def use_for_order(db: PoolConnection, order_id: str, ledger_transaction_id: int | None = None) -> int:
    """The order is paid. Inside the transaction that books it; again the same answer.

    ledger_transaction_id: what booked the bonus, if that is known yet.
    Returns: bonus_nanos; 0 for an order without a code, or whose code was released.
    """
    return int(await db.fetchval(statements.codes.use, order_id, ledger_transaction_id) or 0)


async def release_for_order(db: PoolConnection, order_id: str) -> None:
    """The order will not be paid: its code is free again. Again, without a code, or when it is used: nothing."""
    await db.execute(statements.codes.release, order_id)


async def release_old(pg: Pool) -> None:
    """Free the codes of orders that nobody has paid for a day. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        await db.execute(statements.codes.release_old, RESERVED_FOR)


async def _locked(db: PoolConnection, code_id: int) -> Any:
    """Raises: NotFound."""
    code = await db.fetchrow(statements.codes.lock, code_id)
    if code is None:
        raise NotFound("code: there is no such code", field="code")
    return code


async def _check_usable(db: PoolConnection, code: Any, account_id: int) -> None:
    """Whether this account may use a locked code now. Raises: Conflict."""
    used = await db.fetchval(statements.codes.uses_of_account, code["id"], account_id)
    if used >= code["uses_per_account_max"]:
        raise _no("your account has used it already")
    if code["uses"] >= code["uses_max"]:
        raise _no("it has been used")
    if code["retired_at"] is not None:
        raise _no("it is no longer good")
    if code["expired"]:
        raise _no("it has expired")


async def _book(db: PoolConnection, code: Any, account_id: int) -> Redeemed:
    code_id, currency, amount_nanos = code["id"], code["currency"], code["amount_nanos"]
    lines = ledger.credit_lines(account_id, currency, amount_nanos, ledger.BONUS)
    moved = await put(
        db,
        account_id=account_id,
        currency=currency,
        amount_nanos=amount_nanos,
        lines=lines,
        kind=ledger.REDEEM,
        ref=f"code:{code_id}",
    )
    use = (code_id, account_id, None, "used", currency, amount_nanos, moved.ledger_transaction_id)
    await db.execute(statements.codes.take_use, *use)
    return Redeemed(
        code_id,
        account_id,
        currency,
        amount_nanos,
        moved.seq,
        moved.balance_nanos,
        moved.ledger_transaction_id,
    )


def _check_currency(code: Any, currency: str) -> None:
    if code["currency"] not in (None, currency):
        raise _no(f"it is worth {code['currency']}, and this is paid in {currency}")


def _no(reason: str) -> Conflict:
    return Conflict(f"code: {reason}", field="code")
