"""Takes unspent money out of a wallet: for a refund, say, or a dispute.

Owns the way between the books and Redis. Redis alone knows what is unspent, and learns of a negative credit after its
commit only; so Redis sets the money aside first, under an id of ours, and calls cannot spend it:

    lock       the epoch and the wallet's row; what decides about the take, a refund say, is locked by the caller
    set aside  in Redis, if that much is available: held rises
    book       ledger lines and a negative credit that names the take; the caller commits
    apply      the credit in Redis, by credits.py: balance and held fall together, available does not move

A try that dies before the commit leaves the money set aside. The next try, with the same id and amount, finds it so and
goes on; a take that is given up instead is put back, after the decision is committed and never before. The credit's
number keeps a command that comes late from setting aside what was taken long ago, and a mark what was put back.
An epoch that ends takes with it what was set aside; the lock keeps it from ending between the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rabbitgw import statements
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.epoch import read_names
from rabbitgw.billing.loading import load_account
from rabbitgw.billing.moves import LockedWallet, Moved, lock_wallet, move
from rabbitgw.errors import InvariantBroken, MigrationRefused, RedisUnavailable, RequestInvalid, TakeShort
from rabbitgw.keynames import KeyNames
from rabbitgw.money import AMOUNT_NANOS_MAX, units
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.billing import ledger
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool, PoolConnection

TRIES_MAX: Final = 3  # a cold account is loaded, then its credits may have to be applied


class Takes:
    """Loading an account and applying its credits use a second connection of `pool` while the caller holds one."""

    def __init__(self, pool: Pool, link: RedisLink) -> None:
        self._pool = pool
        self._link = link
        self._credits = Credits(pool, link)

    async def take(
        self,
        db: PoolConnection,
        *,
        account_id: int,
        partition: int,
        currency: str,
        amount_nanos: int,
        take_id: UUID,
        lines: Sequence[ledger.Line],
        kind: str,
        ref: str | None,
        detail: dict[str, Any] | None = None,
        may_overdraw: bool = False,
    ) -> Moved:
        """Take money out of a wallet, inside a transaction that has locked what decides that it happens once.

        One per wallet and transaction, with nothing else put in or taken before it. `lines`: the whole ledger
        transaction, with -amount_nanos for the wallet. `may_overdraw`: take it whether it is there or not. After the
        commit: `Credits.apply`.
        Raises: TakeShort, BalanceLimit, RequestInvalid (the amount): nothing is set aside that was not before;
                RedisUnavailable, PostgresUnavailable: roll back and try again with the same id and amount;
                InvariantBroken; asyncpg.UniqueViolationError when this id has taken already.
        """
        if not 1 <= amount_nanos <= AMOUNT_NANOS_MAX:
            raise RequestInvalid(f"amount_nanos: 1 to {AMOUNT_NANOS_MAX}", field="amount_nanos")
        scripts = None if may_overdraw else await self._scripts_of_this_epoch(db)
        wallet = await lock_wallet(db, account_id, currency)
        if scripts is not None:
            await self._set_aside(scripts, partition, wallet, take_id, amount_nanos)
        return await move(
            db, wallet, -amount_nanos, lines, kind=kind, ref=ref, detail=detail, take_id=take_id
        )

    async def put_back(self, *, account_id: int, partition: int, currency: str, take_id: UUID) -> bool:
        """Give back what is set aside for a take that is given up, for good: its id takes nothing any more.

        Only when the decision is committed, so that no try of this take is under way or follows.
        Returns: whether anything was set aside. Raises: RedisUnavailable, PostgresUnavailable: call again.
        """
        scripts = Scripts(self._link, await read_names(self._pool))
        reply = await scripts.put_back(partition, account_id, currency=currency, take_id=take_id)
        if reply.word == "FENCED":
            raise _fenced(account_id)
        return reply.word == "OK"

    async def _scripts_of_this_epoch(self, db: PoolConnection) -> Scripts:
        """Before the wallet is locked: a rebuild books what is in the streams, and locks wallets for it."""
        row = await db.fetchrow(statements.deployment.share)
        if row is None:
            raise MigrationRefused("the database was never migrated; run `rabbitgw migrate` first")
        return Scripts(self._link, KeyNames(row["partitions"], row["epoch"]))

    async def _set_aside(
        self, scripts: Scripts, partition: int, wallet: LockedWallet, take_id: UUID, amount_nanos: int
    ) -> None:
        account_id, currency = wallet.account_id, wallet.currency
        for _ in range(TRIES_MAX):
            reply = await scripts.set_aside(
                partition,
                account_id,
                currency=currency,
                take_id=take_id,
                amount_nanos=amount_nanos,
                seq=wallet.credit_seq,
            )
            match reply.word:
                case "OK" | "HELD":
                    return
                case "SHORT":
                    raise TakeShort(
                        f"the wallet of account {account_id} has {units(reply.available_nanos)} {currency} available, "
                        f"which does not cover the {units(amount_nanos)} to be taken",
                        available_nanos=reply.available_nanos,
                    )
                case "COLD":
                    await load_account(self._pool, scripts, account_id)
                case "GAP":
                    await self._credits.apply(account_id, currency, partition)
                case "FENCED":
                    raise _fenced(account_id)
                case _:  # STALE, GONE
                    raise InvariantBroken(
                        f"account {account_id}: take {take_id} after credit {wallet.credit_seq} in {currency} is "
                        f"{reply.word} in Redis (credit {reply.stored_seq})"
                    )
        raise RedisUnavailable(f"account {account_id}: its credits in {currency} do not reach Redis")


def _fenced(account_id: int) -> RedisUnavailable:
    return RedisUnavailable(f"account {account_id}: Redis is in another epoch")
