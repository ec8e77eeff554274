"""A till on the test's own stores, with an account, a key and credit: what the hot path reserves and settles by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from rabbitgw.billing import accounts, keys, wallets
from rabbitgw.billing.admission import Till
from rabbitgw.billing.epoch import publish_epoch, read_names
from rabbitgw.billing.hold import Hold, Terms
from rabbitgw.billing.keyring import KeyRecord, Keyring
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.loading import AccountLoader
from rabbitgw.billing.partitions import Partitions
from rabbitgw.billing.plan_book import PlanFeed
from rabbitgw.billing.settling import Settler
from rabbitgw.billing.spool import Spool
from rabbitgw.billing.stray import StrayBooker
from rabbitgw.clock import RedisClock, new_id
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


@dataclass
class Counter:
    """Its own `stores`, for assert_books_balance."""

    pg: Pool
    link: RedisLink
    scripts: Scripts
    keyring: Keyring
    settler: Settler
    spool: Spool
    till: Till
    account: accounts.Account
    secret: str
    plans: PlanFeed  # follows nothing by itself: `refresh` it

    @classmethod
    async def open(
        cls,
        pg: Pool,
        link: RedisLink,
        folder: Path,
        *,
        credit_nanos: int = 1_000_000_000,
        make_scripts: Callable[[RedisLink, KeyNames], Scripts] = Scripts,
        **limits: Any,
    ) -> Counter:
        await Partitions(pg).run_once()
        names = await read_names(pg)
        await publish_epoch(link, names)
        scripts = make_scripts(link, names)
        account = await accounts.create_account(pg, "test")
        created = await keys.create_key(pg, keys.NewKey(account_id=account.id, name="test", **limits))
        clock = RedisClock()
        keyring = Keyring(pg, scripts, link)
        spool = Spool(folder / "spool", new_id())
        strays = StrayBooker(pg, link, names)
        settler = Settler(scripts, spool, strays.book, settle_wait_s=0.1)
        plans = PlanFeed(pg)
        till = Till(
            scripts,
            keyring,
            Leases(scripts, new_id(), clock, 600.0),
            settler,
            clock,
            AccountLoader(pg, scripts).load,
            plans,
            hold_max_age_s=3600,
            events_backlog_max=10**6,
            hold_wait_s=5.0,
        )
        counter = cls(pg, link, scripts, keyring, settler, spool, till, account, created.secret, plans)
        if credit_nanos:
            await counter.credit(credit_nanos)
        return counter

    @property
    def stores(self) -> Counter:
        return self

    async def credit(self, amount_nanos: int) -> None:
        await wallets.credit(
            self.pg, self.account, currency="USD", amount_nanos=amount_nanos, idempotency_key=new_id()
        )

    async def key(self) -> KeyRecord:
        return await self.keyring.find(self.secret)

    async def hold(
        self, amount_nanos: int, least_nanos: int | None = None, *, secret: str = "", **options: Any
    ) -> Hold:
        secret = secret or self.secret
        terms = (Terms(amount_nanos, amount_nanos if least_nanos is None else least_nanos, 0),)
        key = await self.keyring.find(secret)
        return await self.till.reserve(secret, key, new_id(), terms, self.ticket(), **options)

    @staticmethod
    def ticket() -> bytes:
        return orjson.dumps({"k": 1, "m": "m", "d": "openai-chat", "v": 1, "at": 1, "t0": 1})

    @property
    def wallet_key(self) -> str:
        return self.scripts.names.partition[self.account.partition].account(self.account.id)

    @property
    def partition_keys(self) -> Any:
        return self.scripts.names.partition[self.account.partition]

    async def nanos(self, field: str) -> int:
        """b:USD or h:USD of the account in Redis."""
        return int(await self.link.call("HGET", self.wallet_key, field) or 0)

    async def balance_nanos(self) -> int:
        return await self.nanos("b:USD")

    async def held_nanos(self) -> int:
        return await self.nanos("h:USD")

    async def ends(self) -> list[tuple[str, int]]:
        """(status, charge) of the usage events not booked yet."""
        entries = await self.link.call("XRANGE", self.partition_keys.events, "-", "+")
        events = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in entries]
        return [(one[b"s"].decode(), int(one[b"n"])) for one in events]
