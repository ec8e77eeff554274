"""Tells Redis what PostgreSQL has booked to wallets: credits, and whatever else moves a wallet outside of calls.

Owns the way of a credit to Redis, per wallet and in order. Books nothing itself. The number that Redis keeps with
the balance decides what is sent, never a note of ours; so a credit is applied once however often it is sent, and
none is given up: a wallet is done when Redis has its last number.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rabbitgw import statements, telemetry
from rabbitgw.billing.epoch import read_names
from rabbitgw.billing.loops import run_worker
from rabbitgw.errors import InvariantBroken, StoreError
from rabbitgw.scripts import Scripts
from rabbitgw.stores import connection

if TYPE_CHECKING:
    from rabbitgw.keynames import KeyNames
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

WALLETS_AT_ONCE: Final = 500
CREDITS_AT_ONCE: Final = 1_000
PAUSE_S: Final = 1.0  # whoever commits a credit tries at once; this loop is for what that try did not reach
# An account that is not loaded needs no telling, but for a load that read its balance before the credit was booked
# and writes it afterwards. A load takes milliseconds; past this it has failed.
LOAD_LASTS_AT_MOST: Final = timedelta(seconds=60)
TRIES_MAX: Final = 3  # a round starts anew when Redis was restored or emptied in the middle of it


class Credits:
    """The credit worker, and the immediate attempt that follows the commit of a credit."""

    def __init__(self, pool: Pool, link: RedisLink) -> None:
        self._pool = pool
        self._link = link
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Let the loop look now instead of at the end of its pause."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        await run_worker("credits", self.run_once, stop, pause_s=PAUSE_S, wake=self._wake)

    async def run_once(self) -> int:
        """Send every wallet's outstanding credits.

        Returns: how many credits Redis applied.
        Raises:  RedisUnavailable, PostgresUnavailable; what was applied stays applied, the rest stays outstanding.
        """
        scripts = await self._scripts_now()
        applied = 0
        account_id, currency = 0, ""
        while True:
            async with connection(self._pool) as pg:
                wallets = await pg.fetch(statements.credits.pending, account_id, currency, WALLETS_AT_ONCE)
            for account_id, currency, partition in wallets:
                applied += await self._apply(scripts, account_id, currency, partition)
            if len(wallets) < WALLETS_AT_ONCE:
                return applied

    async def apply(self, account_id: int, currency: str, partition: int) -> int:
        """Send Redis every credit of a wallet after the last one it has; what to do right after a credit's commit.

        Returns: how many were applied.
        Raises:  RedisUnavailable, PostgresUnavailable: the loop will send them.
        """
        return await self._apply(await self._scripts_now(), account_id, currency, partition)

    async def apply_if_reached(self, account_id: int, currency: str, partition: int) -> None:
        """`apply`, right after a commit that must be answered for whether Redis was reached or not."""
        try:
            await self.apply(account_id, currency, partition)
        except StoreError as error:
            # It is booked: the loop brings it to Redis when Redis is back.
            telemetry.warn("credit_not_applied_yet", account_id=account_id, reason=error.message)

    async def _scripts_now(self) -> Scripts:
        """The scripts of the present epoch: in one that is over, every account would look as if not loaded."""
        return Scripts(self._link, await read_names(self._pool))

    async def _apply(self, scripts: Scripts, account_id: int, currency: str, partition: int) -> int:
        applied = 0
        for _ in range(TRIES_MAX):
            stored = await self._stored_seq(scripts.names, account_id, currency, partition)
            if stored is None:
                async with connection(self._pool) as pg:
                    await pg.execute(statements.credits.needless, account_id, currency, LOAD_LASTS_AT_MOST)
                break
            word, last_seq, count = await self._send_after(scripts, account_id, currency, partition, stored)
            applied += count
            if word == "DONE":
                async with connection(self._pool) as pg:
                    await pg.execute(statements.credits.applied, account_id, currency, last_seq)
                break
            if word == "FENCED":
                break  # a new epoch: the next round is in it
        return applied

    async def _stored_seq(
        self, names: KeyNames, account_id: int, currency: str, partition: int
    ) -> int | None:
        """The number of the last credit that Redis has applied; None when the account is not loaded."""
        key = names.partition[partition].account(account_id)
        stored, exists = await asyncio.gather(
            self._link.call("HGET", key, f"s:{currency}"), self._link.call("EXISTS", key)
        )
        if not exists:
            return None
        return int(stored or 0)

    async def _send_after(
        self, scripts: Scripts, account_id: int, currency: str, partition: int, stored: int
    ) -> tuple[str, int, int]:
        """Send what follows `stored`. Returns the last word, the last number Redis has, and how many it applied."""
        count = 0
        while True:
            async with connection(self._pool) as pg:
                credits = await pg.fetch(
                    statements.credits.after, account_id, currency, stored, CREDITS_AT_ONCE
                )
            for seq, amount_nanos, take_id in credits:
                reply = await scripts.credit(
                    partition,
                    account_id,
                    currency=currency,
                    seq=seq,
                    amount_nanos=amount_nanos,
                    take_id=take_id,
                )
                if reply.word == "GAP" and reply.stored_seq >= stored:
                    raise InvariantBroken(
                        f"account {account_id}: credit {seq} in {currency} follows {reply.stored_seq}"
                    )
                if reply.word not in ("OK", "DONE"):
                    return reply.word, stored, count
                stored = seq
                count += reply.word == "OK"
            if len(credits) < CREDITS_AT_ONCE:
                return "DONE", stored, count
