"""The commands of a call, prepared: whole but for what each call brings.

Owns the order of the arguments of reserve.lua, settle.lua and release.lua; their headers say what they mean. Sends
nothing. What is prepared belongs to one epoch, and what reserves also to the present spans of its windows: whoever
keeps it makes it anew when those end. Another epoch is told by the script, which answers FENCED.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from rabbitgw.keynames import PartitionKeys
from rabbitgw.resp import Argument, Open, template

OPEN: Final = Open()
ID_BYTES: Final = 36  # of a hold's id, as the gateway makes them
NOW_BYTES: Final = 13  # of a time in milliseconds, until the year 2286


class WindowCheck(NamedTuple):
    """A spend window as reserve is given it, at most 24 a call; the fields are its arguments, in order."""

    window_id: int
    span: str
    start_ms: int
    end_ms: int  # 0: never ends
    limit_nanos: int


class RateCheck(NamedTuple):
    """A rate as reserve is given it, at most 16 a call; 0: none of its kind."""

    rate_id: int
    rpm: int
    tpm: int
    parallel: int


class Offer(Protocol):
    """One way to take a call, as far as reserve is told of it."""

    @property
    def amount_nanos(self) -> int: ...
    @property
    def least_nanos(self) -> int: ...
    @property
    def last(self) -> bool: ...  # only as the account's one last-money call


class ReserveCommand:
    """reserve.lua for one key, while its windows are in these spans, and for calls that come under these rates."""

    __slots__ = ("_last", "_mark_bytes", "_plain", "_rates_bytes", "_template")

    def __init__(
        self,
        sha: bytes,
        keys: PartitionKeys,
        epoch: bytes,
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
    ) -> None:
        mark = keys.mark("").encode()
        args: list[Argument | Open] = [
            b"EVALSHA", sha, b"5",
            keys.epoch_key, keys.account(account_id), keys.holds, Open(mark), keys.events,
            epoch, OPEN, worker_id, account_id, currency, key_id, generation,
            max_age_ms, backlog_max, len(windows),
        ]  # fmt: skip
        for window in windows:
            args += window
        rules = b"".join(b"%d %d %d %d;" % rate for rate in rates)
        self._rates_bytes = len(rules)
        self._template = template([*args, Open(rules) if rates else b"", OPEN, OPEN])
        self._mark_bytes = len(mark)
        if enforce is None:
            enforce = b"1" * len(windows)
        self._plain, self._last = b" 0 %b%b;" % (enforce, how), b" 1 %b%b;" % (enforce, how)

    def offers(self, offers: Iterable[Offer]) -> bytes:
        """Offers as `filled` takes them."""
        text = b""
        for offer in offers:
            how = self._last if offer.last else self._plain
            text += b"%d %d%b" % (offer.amount_nanos, offer.least_nanos, how)
        return text

    @staticmethod
    def way(offer: Offer, enforce: bytes, how: bytes, ticket: int) -> bytes:
        """An offer by a way of its own; `ticket`: the place of its ticket."""
        return b"%d %d 0 %b%b/%d;" % (offer.amount_nanos, offer.least_nanos, enforce, how, ticket)

    def filled(self, hold_id: str, offers: bytes, ticket: bytes, tokens: int = 0) -> bytes:
        """`tokens`: what the call is estimated at; said where there are rates."""
        hold = hold_id.encode()
        size = len(hold)
        if self._rates_bytes:
            count = b"%d" % tokens
            return self._template % (
                self._mark_bytes + size, hold, size, hold, self._rates_bytes + len(count), count,
                len(offers), offers, len(ticket), ticket,
            )  # fmt: skip
        return self._template % (
            self._mark_bytes + size, hold, size, hold, len(offers), offers, len(ticket), ticket
        )  # fmt: skip


class EndCommands:
    """settle.lua and release.lua for one wallet.

    The settle of nearly every call has a template of its own, with all lengths in it that do not vary: half the time.
    """

    __slots__ = ("_mark_bytes", "_rated", "_release", "_settle", "_usual")

    def __init__(
        self,
        settle_sha: bytes,
        release_sha: bytes,
        keys: PartitionKeys,
        epoch: bytes,
        account_id: int,
        currency: str,
    ) -> None:
        mark = keys.mark("").encode()

        def args(sha: bytes, size: int | None = None) -> list[Argument | Open]:
            return [
                b"EVALSHA", sha, b"5",
                keys.epoch_key, keys.account(account_id), keys.holds, Open(mark, size), keys.events,
                epoch, Open(size=size), account_id, currency,
            ]  # fmt: skip

        self._settle = template([*args(settle_sha), OPEN, OPEN, OPEN, OPEN])
        self._rated = template([*args(settle_sha), OPEN, OPEN, OPEN, OPEN, OPEN])
        self._usual = template([*args(settle_sha, ID_BYTES), OPEN, Open(size=NOW_BYTES), b"settled", OPEN])
        self._release = template([*args(release_sha), OPEN])
        self._mark_bytes = len(mark)

    def settle(
        self,
        hold_id: str,
        cost_nanos: int,
        first_try_ms: int,
        status: str,
        payload: bytes,
        tokens: int | None = None,
    ) -> bytes:
        """`tokens`: what was used in truth, of a call under a token rate."""
        hold, cost, first_try = hold_id.encode(), str(cost_nanos).encode(), str(first_try_ms).encode()
        size = len(hold)
        if tokens is not None:
            how, count = status.encode(), b"%d" % tokens
            return self._rated % (
                self._mark_bytes + size, hold, size, hold, len(cost), cost, len(first_try), first_try,
                len(how), how, len(payload), payload, len(count), count,
            )  # fmt: skip
        if size == ID_BYTES and len(first_try) == NOW_BYTES and status == "settled":
            return self._usual % (hold, hold, len(cost), cost, first_try, len(payload), payload)
        how = status.encode()
        return self._settle % (
            self._mark_bytes + size, hold, size, hold, len(cost), cost, len(first_try), first_try,
            len(how), how, len(payload), payload,
        )  # fmt: skip

    def release(self, hold_id: str, payload: bytes) -> bytes:
        hold = hold_id.encode()
        size = len(hold)
        return self._release % (self._mark_bytes + size, hold, size, hold, len(payload), payload)
