"""A partition with one account and a clock that the test sets, for the tests of the money scripts.

The clock is put in the place of prologue.lua and reaches a script as its last argument.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Literal
from uuid import UUID

from rabbitgw.keynames import KeyNames
from rabbitgw.prepared import RateCheck, WindowCheck
from rabbitgw.redis_link import RedisLink
from rabbitgw.replies import (
    CreditReply,
    ExpireReply,
    ExtendReply,
    LeaseReply,
    PackedHold,
    PutBackReply,
    ReleaseReply,
    ReserveReply,
    SetAsideReply,
    SettleReply,
    unpack_hold,
)
from rabbitgw.scripts import Scripts, WindowLimit, load_scripts
from tests.scripted import LookingLink, Offer, reserve

TEST_PROLOGUE = "local now_ms = tonumber(table.remove(ARGV))"
START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
FIVE_HOURS_MS = 18_000_000
LEASE_MS = 15_000
AGE_MAX_MS = 3_600_000
MARK_LIFE_MS = 900_000
AMOUNT_MAX = 9_000_000_000_000_000_000
EPOCH = 3
PARTITION = 2
ACCOUNT = 41
KEY = 7
WORKER = "w-1"
TICKET = b'{"k":7,"m":"gpt","v":1}'
PAYLOAD = b'{"k":7,"m":"gpt","v":1,"out":12}'
HOLD = "01930000-0000-7000-8000-000000000001"
OTHER = "01930000-0000-7000-8000-000000000002"
TAKE = UUID("01930000-0000-7000-8000-00000000000a")


class ClockedLink(LookingLink):
    """A link that tells every script which reads the time what time it is."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.now_ms = START_MS
        self._timed = {
            name
            for script in load_scripts(TEST_PROLOGUE).values()
            if TEST_PROLOGUE.encode() in script.source
            for name in (script.sha, script.source)
        }

    def call(self, *args: bytes | str | int) -> Awaitable[Any]:
        if args[0] in (b"EVALSHA", b"EVAL") and args[1] in self._timed:
            return self.link.call(*args, self.now_ms)
        return self.link.call(*args)


def offer(
    amount_nanos: int, least_nanos: int | None = None, *, last: int = 0, enforce: str = "", how: str = ""
) -> Offer:
    """An offer that takes all or nothing unless `least_nanos` says otherwise."""
    return Offer(amount_nanos, amount_nanos if least_nanos is None else least_nanos, last, enforce, how)


def life(limit_nanos: int, window_id: int = 11) -> WindowCheck:
    """A lifetime window."""
    return WindowCheck(window_id, "life", 0, 0, limit_nanos)


def day(limit_nanos: int, number: int = 0, window_id: int = 12) -> WindowCheck:
    """A daily window; day 0 begins at START_MS."""
    start_ms = START_MS + number * DAY_MS
    return WindowCheck(window_id, f"day{number}", start_ms, start_ms + DAY_MS, limit_nanos)


def opening(limit_nanos: int, window_id: int = 14) -> WindowCheck:
    """A window of five hours, which opens at an admission."""
    return WindowCheck(window_id, f"*{FIVE_HOURS_MS}", 0, 0, limit_nanos)


class World:
    """One account, its key at generation 1, and calls with everything filled in that a test does not name."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.clocked = ClockedLink(link)
        self.names = KeyNames(4, EPOCH)
        self.keys = self.names.partition[PARTITION]
        self.scripts = Scripts(self.clocked, self.names, prologue=TEST_PROLOGUE)

    async def open(self, balance_nanos: int = 1000, **fields: int | str) -> World:
        """Set the epoch, load the account and give the worker a lease."""
        await self.link.call("SET", self.keys.epoch_key, EPOCH)
        loaded = {"b:USD": balance_nanos, "h:USD": 0, "s:USD": 0, f"g:{KEY}": 1, **fields}
        assert await self.scripts.load(PARTITION, ACCOUNT, loaded) == "OK"
        await self.lease()
        return self

    def advance(self, milliseconds: int) -> None:
        self.clocked.now_ms += milliseconds

    @property
    def now_ms(self) -> int:
        return self.clocked.now_ms

    # -- the scripts --

    async def reserve(
        self,
        *offers: Offer,
        hold_id: str = HOLD,
        windows: Sequence[WindowCheck] = (),
        generation: int = 1,
        backlog_max: int = 1000,
        worker_id: str = WORKER,
        currency: str = "USD",
        ticket: bytes = TICKET,
        rates: Sequence[RateCheck] = (),
        tokens: int = 0,
    ) -> ReserveReply:
        return await reserve(
            self.scripts,
            PARTITION,
            ACCOUNT,
            hold_id=hold_id,
            worker_id=worker_id,
            currency=currency,
            key_id=KEY,
            generation=generation,
            max_age_ms=AGE_MAX_MS,
            backlog_max=backlog_max,
            windows=windows,
            offers=offers,
            ticket=ticket,
            rates=rates,
            tokens=tokens,
        )

    async def extend(
        self,
        new_total: int,
        least_total: int | None = None,
        *,
        delivered: int = 0,
        windows: Sequence[WindowLimit] = (),
        hold_id: str = HOLD,
        way: bytes | None = None,
    ) -> ExtendReply:
        return await self.scripts.extend(
            PARTITION,
            ACCOUNT,
            hold_id=hold_id,
            new_total_nanos=new_total,
            least_total_nanos=new_total if least_total is None else least_total,
            delivered_nanos=delivered,
            windows=windows,
            way=way,
        )

    async def settle(
        self,
        cost_nanos: int,
        *,
        hold_id: str = HOLD,
        first_try_ms: int = 0,
        status: Literal["settled", "partial"] = "settled",
        tokens: int | None = None,
    ) -> SettleReply:
        return await self.scripts.settle(
            PARTITION,
            ACCOUNT,
            hold_id=hold_id,
            currency="USD",
            cost_nanos=cost_nanos,
            status=status,
            payload=PAYLOAD,
            first_try_ms=first_try_ms,
            tokens=tokens,
        )

    async def release(self, *, hold_id: str = HOLD) -> ReleaseReply:
        return await self.scripts.release(
            PARTITION, ACCOUNT, hold_id=hold_id, currency="USD", payload=PAYLOAD
        )

    async def expire(self, *, hold_id: str = HOLD) -> ExpireReply:
        return await self.scripts.expire(PARTITION, ACCOUNT, hold_id=hold_id)

    async def credit(
        self, seq: int, amount_nanos: int, currency: str = "USD", *, take_id: UUID | None = None
    ) -> CreditReply:
        return await self.scripts.credit(
            PARTITION, ACCOUNT, currency=currency, seq=seq, amount_nanos=amount_nanos, take_id=take_id
        )

    async def set_aside(self, amount_nanos: int, seq: int = 0, *, take_id: UUID = TAKE) -> SetAsideReply:
        return await self.scripts.set_aside(
            PARTITION, ACCOUNT, currency="USD", take_id=take_id, amount_nanos=amount_nanos, seq=seq
        )

    async def put_back(self, *, take_id: UUID = TAKE) -> PutBackReply:
        return await self.scripts.put_back(PARTITION, ACCOUNT, currency="USD", take_id=take_id)

    async def lease(self, ttl_ms: int = LEASE_MS, worker_id: str = WORKER) -> LeaseReply:
        return await self.scripts.lease(PARTITION, worker_id=worker_id, ttl_ms=ttl_ms)

    # -- what is stored --

    async def account(self) -> dict[str, str]:
        flat = await self.link.call("HGETALL", self.keys.account(ACCOUNT))
        return {field.decode(): value.decode() for field, value in zip(flat[::2], flat[1::2], strict=True)}

    async def field(self, name: str) -> str | None:
        return (await self.account()).get(name)

    async def hold(self, hold_id: str = HOLD) -> PackedHold | None:
        packed = await self.link.call("HGET", self.keys.holds, hold_id)
        return None if packed is None else unpack_hold(packed)

    async def mark(self, hold_id: str = HOLD) -> bytes | None:
        mark: bytes | None = await self.link.call("GET", self.keys.mark(hold_id))
        return mark

    async def events(self) -> list[dict[str, str]]:
        entries = await self.link.call("XRANGE", self.keys.events, "-", "+")
        return [
            {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
            for _, flat in entries
        ]

    async def everything(self) -> dict[bytes, bytes]:
        """All that Redis holds, to see whether a refusal wrote anything."""
        return {key: await self.link.call("DUMP", key) for key in await self.link.call("KEYS", "*")}
