"""The money scripts of billing/lua/, one typed method each.

Owns loading (preludes in front, SHA-1) and calling: EVALSHA first, EVAL when this Redis has not seen the
script, again while Redis says that it is loading, busy or moving the slot. Decides nothing about money: every
rule is in the Lua, and the header of each file says what its words mean.
A call that raised RedisUnavailable may have had its effect, unless it is a RedisReplyError: then nothing was
written. Either way it may be sent again, because each script answers a repetition by what it finds.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple, Protocol
from uuid import UUID

from rabbitgw import replies, resp
from rabbitgw.clock import monotonic_s
from rabbitgw.errors import InvariantBroken, RedisReplyError
from rabbitgw.keynames import KeyNames
from rabbitgw.prepared import EndCommands, RateCheck, ReserveCommand, WindowCheck
from rabbitgw.resp import Argument, bulk

SNAPSHOT_ACCOUNTS_MAX = 100  # accounts in one snapshot: Redis does nothing else meanwhile
WALLETS_MAX = 10_000  # whose commands are kept ready; about 2 kB each
PAUSE_FIRST_S = 0.005  # between tries while Redis is not ready; doubles up to PAUSE_MAX_S
PAUSE_MAX_S = 0.1

NAMES: Final = (
    "reserve", "extend", "settle", "release", "expire", "credit",
    "set_aside", "put_back", "load", "key_put", "key_record_put", "lease", "snapshot",
)  # fmt: skip

# Redis did not run the script and will, soon.
_NOT_YET = frozenset({"LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN"})
# What only a mistake of ours brings about: a script refused its arguments, or met a key of another type.
_MISTAKES = frozenset({"ERR", "WRONGTYPE", "NOPERM", "CROSSSLOT"})
# But Redis 6.2 says ERR also when Redis refused a command inside the script; the reason is in the text then.
# That happens at a script's first write, so nothing was written.
_REFUSED_INSIDE = re.compile(r"-(?:OOM|MISCONF|READONLY|NOREPLICAS) ")

_NEEDS = re.compile(r"^-- Needs: (.+)$", re.MULTILINE)


class Link(Protocol):
    """What a script needs of a connection: RedisLink, or what a test puts in its place."""

    def send(self, command: bytes) -> Awaitable[Any]: ...


class WindowLimit(NamedTuple):
    """A spend window as extend is given it: its span is that of admission, which the hold knows."""

    window_id: int
    limit_nanos: int
    enforce: int = 1  # 0: counted only


class Script(NamedTuple):
    name: str
    source: bytes
    sha: bytes

    def whole(self, command: bytes) -> bytes:
        """An EVALSHA of it as the EVAL that does the same."""
        called, whole = bulk(b"EVALSHA") + bulk(self.sha), bulk(b"EVAL") + bulk(self.source)
        return command.replace(called, whole, 1)


@lru_cache(maxsize=8)
def load_scripts(prologue: str | None = None) -> Mapping[str, Script]:
    """Every script with its preludes in front. `prologue` replaces prologue.lua: how tests set the clock.

    A file names the preludes it uses in a line "-- Needs: prologue, amounts".
    """
    folder = files("rabbitgw") / "billing" / "lua"

    def text(name: str) -> str:
        if name == "prologue" and prologue is not None:
            return prologue
        return (folder / f"{name}.lua").read_text("utf-8")

    scripts = {}
    for name in NAMES:
        body = text(name)
        needs = _NEEDS.search(body)
        preludes = [text(need) for need in needs.group(1).split(", ")] if needs else []
        source = "\n".join([*preludes, body]).encode()
        scripts[name] = Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())
    return scripts


class Scripts:
    """Calls the scripts on one Redis, with the names of one epoch.

    timeout_s: how long a call goes on while Redis answers that it is not ready (for silence see the link).
    Every method raises: RedisUnavailable (and RedisReplyError, a kind of it: refused, nothing written);
    InvariantBroken when a script refuses its arguments or answers a word that is not its own.
    """

    __slots__ = (
        "_epoch", "_names", "_partitions", "_reserve", "_scripts", "_settle", "_wallets", "link", "timeout_s"
    )  # fmt: skip

    def __init__(
        self, link: Link, names: KeyNames, *, timeout_s: float = 1.0, prologue: str | None = None
    ) -> None:
        self.link = link
        self._scripts = load_scripts(prologue)
        self._reserve, self._settle = self._scripts["reserve"], self._scripts["settle"]
        self.timeout_s = timeout_s
        self.use(names)

    def use(self, names: KeyNames) -> None:
        """From now on call with the names of another epoch. A ReserveCommand stays of its own."""
        self._names = names
        self._wallets: dict[tuple[int, int, str], EndCommands] = {}
        self._partitions = names.partition
        self._epoch = str(names.epoch).encode()

    @property
    def names(self) -> KeyNames:
        return self._names

    def reserve_command(
        self,
        partition: int,
        account_id: int,
        *,
        worker_id: str,
        currency: str,
        key_id: int,
        generation: int,
        max_age_ms: int,
        backlog_max: int,
        windows: Sequence[WindowCheck],
        rates: Sequence[RateCheck] = (),
        enforce: bytes | None = None,
        how: bytes = b"",
    ) -> ReserveCommand:
        """What every reserve of a key under these rates has in common, while its windows are in these spans.

        `enforce` and `how`: of an offer, as reserve.lua has them; None: every window counts and binds.
        """
        return ReserveCommand(
            self._scripts["reserve"].sha,
            self._partitions[partition],
            self._epoch,
            account_id,
            worker_id=worker_id,
            currency=currency,
            key_id=key_id,
            generation=generation,
            max_age_ms=max_age_ms,
            backlog_max=backlog_max,
            windows=windows,
            rates=rates,
            enforce=enforce,
            how=how,
        )

    async def reserve(
        self, key: ReserveCommand, hold_id: str, offers: bytes, ticket: bytes, tokens: int = 0
    ) -> replies.ReserveReply:
        """Put a hold on wallet, windows and rates, by the first offer that passes. Source: reserve.lua.

        `offers` as the key's `offers` writes them; the ticket (JSON) is of them all.
        """
        command = key.filled(hold_id, offers, ticket, tokens)
        return await self.reserved(command, self.link.send(command))

    async def reserved(self, command: bytes, sent: Awaitable[Any]) -> replies.ReserveReply:
        """What comes of a reserve that has been sent to the link, and is sent again where that helps."""
        return replies.reserve_reply(await self._replied(self._reserve, command, sent))

    async def extend(
        self,
        partition: int,
        account_id: int,
        *,
        hold_id: str,
        new_total_nanos: int,
        least_total_nanos: int,
        delivered_nanos: int,
        windows: Sequence[WindowLimit] = (),
        way: bytes | None = None,
    ) -> replies.ExtendReply:
        """Let a hold grow to a new total, and note what was delivered so far. Source: extend.lua.

        `way`: who pays for the growth and where it counts, if no longer as before.
        """
        keys = self._partitions[partition]
        argv: list[Argument] = [
            self._epoch, hold_id, account_id, new_total_nanos, least_total_nanos, delivered_nanos,
            len(windows),
        ]  # fmt: skip
        for window in windows:
            argv += window
        if way is not None:
            argv.append(way)
        names = (keys.epoch_key, keys.account(account_id), keys.holds)
        return replies.extend_reply(await self._call("extend", names, argv))

    async def settle(
        self,
        partition: int,
        account_id: int,
        *,
        hold_id: str,
        currency: str,
        cost_nanos: int,
        status: Literal["settled", "partial"],
        payload: bytes,
        first_try_ms: int = 0,
        tokens: int | None = None,
    ) -> replies.SettleReply:
        """Charge the true cost of a held call and emit its usage event, once. Source: settle.lua.

        Units: first_try_ms is by Redis' clock; 0 means that this is the first try. tokens: of a call under a token
        rate.
        """
        ends = self.end_commands(partition, account_id, currency)
        command = ends.settle(hold_id, cost_nanos, first_try_ms, status, payload, tokens)
        return await self.settled(command, self.link.send(command))

    async def settled(self, command: bytes, sent: Awaitable[Any]) -> replies.SettleReply:
        """What comes of a settle that has been sent to the link, and is sent again where that helps."""
        return replies.settle_reply(await self._replied(self._settle, command, sent))

    async def release(
        self, partition: int, account_id: int, *, hold_id: str, currency: str, payload: bytes
    ) -> replies.ReleaseReply:
        """Give a hold back uncharged, or bar the reserve that is still under way. Source: release.lua."""
        command = self.end_commands(partition, account_id, currency).release(hold_id, payload)
        return replies.release_reply(await self._run(self._scripts["release"], command))

    async def expire(self, partition: int, account_id: int, *, hold_id: str) -> replies.ExpireReply:
        """End a hold whose worker is gone, or too old; charge what was delivered. Source: expire.lua."""
        keys = self._partitions[partition]
        names = (
            keys.epoch_key, keys.account(account_id), keys.holds, keys.mark(hold_id), keys.events, keys.leases
        )  # fmt: skip
        argv = (self._epoch, hold_id, account_id)
        return replies.expire_reply(await self._call("expire", names, argv))

    async def credit(
        self,
        partition: int,
        account_id: int,
        *,
        currency: str,
        seq: int,
        amount_nanos: int,
        take_id: UUID | None = None,
    ) -> replies.CreditReply:
        """Apply the booked change number `seq` of a wallet, in order and once. Source: credit.lua.

        `take_id`: what is set aside under it is taken by this change.
        """
        keys = self._partitions[partition]
        argv: list[Argument] = [self._epoch, currency, seq, amount_nanos]
        if take_id is not None:
            argv.append(str(take_id))
        return replies.credit_reply(
            await self._call("credit", (keys.epoch_key, keys.account(account_id)), argv)
        )

    async def set_aside(
        self, partition: int, account_id: int, *, currency: str, take_id: UUID, amount_nanos: int, seq: int
    ) -> replies.SetAsideReply:
        """Keep available money from calls until the credit of this take is applied. Source: set_aside.lua.

        `seq`: of the wallet's last booked credit, read under the lock of its row.
        """
        keys, name = self._partitions[partition], str(take_id)
        argv = (self._epoch, currency, name, amount_nanos, seq)
        names = (keys.epoch_key, keys.account(account_id), keys.mark(name))
        return replies.set_aside_reply(await self._call("set_aside", names, argv))

    async def put_back(
        self, partition: int, account_id: int, *, currency: str, take_id: UUID
    ) -> replies.PutBackReply:
        """Give back what is set aside, and bar a set_aside that is still under way. Source: put_back.lua."""
        keys, name = self._partitions[partition], str(take_id)
        names = (keys.epoch_key, keys.account(account_id), keys.mark(name))
        return replies.put_back_reply(await self._call("put_back", names, (self._epoch, currency, name)))

    async def load(
        self, partition: int, account_id: int, fields: Mapping[str, str | int]
    ) -> replies.LoadWord:
        """Bring an account into Redis unless it is there; load.lua lists the fields."""
        keys = self._partitions[partition]
        argv: list[Argument] = [self._epoch, len(fields)]
        for field, value in fields.items():
            argv += (field, value)
        return replies.load_word(await self._call("load", (keys.epoch_key, keys.account(account_id)), argv))

    async def key_put(
        self, partition: int, account_id: int, *, key_id: int, generation: int
    ) -> replies.KeyPutWord:
        """Set a key's generation: reserves with an older one answer STALE from now on. See key_put.lua."""
        keys = self._partitions[partition]
        argv = (self._epoch, key_id, generation)
        return replies.key_put_word(
            await self._call("key_put", (keys.epoch_key, keys.account(account_id)), argv)
        )

    async def key_record_put(
        self, secret_sha256_hex: str, *, generation: int, record: bytes
    ) -> replies.KeyRecordWord:
        """Keep a compiled key record, stored as b"<generation> <record>". Source: key_record_put.lua."""
        keys = (self._names.key_record(secret_sha256_hex),)
        return replies.key_record_word(await self._call("key_record_put", keys, (generation, record)))

    async def lease(self, partition: int, *, worker_id: str, ttl_ms: int) -> replies.LeaseReply:
        """Renew a worker's lease on a partition, or give it up with ttl_ms = 0. Source: lease.lua."""
        keys = self._partitions[partition]
        return replies.lease_reply(
            await self._call("lease", (keys.epoch_key, keys.leases), (self._epoch, worker_id, ttl_ms))
        )

    async def snapshot(self, partition: int, account_ids: Iterable[int]) -> replies.SnapshotReply:
        """One moment of a partition: stream position, holds, up to 100 accounts. Source: snapshot.lua."""
        names = self._partitions[partition]
        keys = (names.epoch_key, names.events, names.holds, *map(names.account, account_ids))
        return replies.snapshot_reply(await self._call("snapshot", keys, (self._epoch,)))

    def end_commands(self, partition: int, account_id: int, currency: str) -> EndCommands:
        """What every settle and release of a wallet has in common."""
        wallet = self._wallets.get((partition, account_id, currency))
        if wallet is None:
            if len(self._wallets) >= WALLETS_MAX:
                self._wallets.clear()
            settle, release = self._settle.sha, self._scripts["release"].sha
            keys = self._partitions[partition]
            wallet = EndCommands(settle, release, keys, self._epoch, account_id, currency)
            self._wallets[partition, account_id, currency] = wallet
        return wallet

    def _call(self, name: str, keys: Sequence[str], argv: Sequence[Argument]) -> Awaitable[list[Any]]:
        script = self._scripts[name]
        return self._run(script, resp.command((b"EVALSHA", script.sha, len(keys), *keys, *argv)))

    async def _run(self, script: Script, command: bytes) -> list[Any]:
        """The reply to an EVALSHA."""
        return await self._replied(script, command, self.link.send(command))

    async def _replied(self, script: Script, command: bytes, sent: Awaitable[Any]) -> list[Any]:
        try:
            reply: list[Any] = await sent
        except RedisReplyError as error:
            return await self._run_again(script, command, error)
        return reply

    async def _run_again(self, script: Script, command: bytes, error: RedisReplyError) -> list[Any]:
        """Go on after an error reply, until it works, is final, or timeout_s is over."""
        deadline_s = monotonic_s() + self.timeout_s
        pause_s = PAUSE_FIRST_S
        is_whole = False
        while True:
            if error.kind == "NOSCRIPT" and not is_whole:
                command = script.whole(command)  # which also loads it, and cannot meet NOSCRIPT itself
                is_whole = True
            elif error.kind in _NOT_YET and monotonic_s() + pause_s < deadline_s:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
            elif error.kind in _MISTAKES and not _REFUSED_INSIDE.search(error.message):
                raise InvariantBroken(f"{script.name}: {error}") from error
            else:
                raise error
            try:
                reply: list[Any] = await self.link.send(command)
            except RedisReplyError as again:
                error = again
            else:
                return reply
