"""Who holds money of an account in this process, what the running streams will still need, and who waits in line.

Holds are larger than costs, and streams outgrow their first hold. So of a burst that the wallet can pay for some must
wait until money comes free, and no more streams may begin than the wallet can see to their end: what a stream has
delivered when it is cut is paid for, and no use to anybody. What a stream comes to is taken from the limit it states,
or from those of its kind that ended before it; of an unknown kind few begin while money is scarce, and the first that
ends lets the others in.
All of this is advice on when to ask: Redis decides what is held. Calls of other processes are seen only by what they
leave available.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rabbitgw import clock

WAITERS_MAX: Final = 1000  # per account; past it a call is refused at once
FEW: Final = 8  # with fewer running, one that has waited long enough may begin on what there is
# What a stream of a kind that none has ended of is taken to come to, unless it states less: with this many first holds
# for each call there is no scarcity either.
WORST_HOLDS: Final = 16
KINDS_MAX: Final = 10_000  # whose usual cost is remembered; about 200 bytes each


class Growth(NamedTuple):
    """Of a call whose hold grows while it runs."""

    kind: str  # calls of one kind and account are taken to cost alike
    floor_nanos: int  # the least first hold
    most_nanos: int | None  # by its own limit, where it has one


@dataclass(slots=True)
class _Call:
    amount_nanos: int  # the first hold that it asks for
    growth: Growth | None
    granted_nanos: int = 0  # 0 while it is being asked for
    starves: bool = False  # it runs and could not have more


@dataclass(slots=True)
class _Account:
    calls: dict[str, _Call] = field(default_factory=dict)
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    held_nanos: int = 0
    available_nanos: int | None = None  # as Redis said last, and what has come free here since
    moved_s: float = 0.0  # when a call ended or grew last


class Holding:
    __slots__ = ("_accounts", "_usual_nanos")

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}  # those with calls or waiters
        self._usual_nanos: OrderedDict[tuple[int, str], int] = OrderedDict()

    def held_nanos(self, account_id: int) -> int:
        account = self._accounts.get(account_id)
        return account.held_nanos if account is not None else 0

    def moved_s(self, account_id: int) -> float:
        """When a call of the account ended or grew last, by the monotonic clock; 0.0 when none is known."""
        account = self._accounts.get(account_id)
        return account.moved_s if account is not None else 0.0

    def enter(self, account_id: int, hold_id: str, amount_nanos: int, growth: Growth | None) -> bool:
        """Count a call that is about to ask for all of `amount_nanos`, if nobody waits and there is plenty: `may_begin`
        and `begin` in one for nearly every call. False: ask those."""
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = _Account()
        elif account.waiters or (
            growth is not None
            and (
                account.available_nanos is None
                or account.available_nanos < (len(account.calls) + 1) * WORST_HOLDS * amount_nanos
            )
        ):
            return False
        account.calls[hold_id] = _Call(amount_nanos, growth)
        return True

    def may_begin(self, account_id: int, amount_nanos: int, growth: Growth | None, *, new: bool) -> bool:
        """Whether to ask for a hold now, or to wait. `new`: it has not waited, so it goes behind those who have."""
        account = self._accounts.get(account_id)
        if account is None or not account.calls or growth is None:
            return True
        if account.available_nanos is None or (new and account.waiters):
            return False
        call = _Call(amount_nanos, growth)
        if _is_rich(account, call):
            return True
        if any(one.starves for one in account.calls.values()):
            return False  # those that run come first
        spare_nanos = account.available_nanos - sum(
            max(self._expected_nanos(account_id, one) - one.granted_nanos, 0)
            for one in account.calls.values()
        )
        return spare_nanos >= self._expected_nanos(account_id, call)

    def few_run(self, account_id: int) -> bool:
        """Whether so few calls run, or so little is known, that one that has waited long enough may try its luck."""
        account = self._accounts.get(account_id)
        return account is None or account.available_nanos is None or len(account.calls) < FEW

    def begin(self, account_id: int, hold_id: str, amount_nanos: int, growth: Growth | None) -> int:
        """Count a call that is about to ask. Returns how much to ask for: less than a slice where money is scarce and
        calls of its kind are short."""
        account = self._accounts.setdefault(account_id, _Account())
        call = _Call(amount_nanos, growth)
        if growth is not None and account.available_nanos is not None and not _is_rich(account, call):
            usual = self._usual_nanos.get((account_id, growth.kind))
            if usual is not None:
                call.amount_nanos = min(amount_nanos, max(_with_margin(usual), growth.floor_nanos))
        account.calls[hold_id] = call
        self.wake(account_id)  # there may be enough for the next in line too
        return call.amount_nanos

    def granted(self, account_id: int, hold_id: str, granted_nanos: int, available_nanos: int) -> None:
        """A hold was granted, or has grown to this total."""
        account = self._accounts[account_id]
        call = account.calls[hold_id]
        if call.granted_nanos and granted_nanos > call.granted_nanos:
            account.moved_s = clock.monotonic_s()
            self._learn_growth(account_id, call, granted_nanos)
        account.held_nanos += granted_nanos - call.granted_nanos
        call.granted_nanos = granted_nanos
        call.starves = False
        account.available_nanos = available_nanos
        if account.waiters:
            self.wake(account_id)

    def starves(self, account_id: int, hold_id: str) -> None:
        """A hold could not grow: until it can, or ends, nobody new begins."""
        self._accounts[account_id].calls[hold_id].starves = True

    def refused(self, account_id: int, hold_id: str, available_nanos: int | None = None) -> None:
        """No hold was granted."""
        account = self._accounts[account_id]
        if available_nanos is not None:
            account.available_nanos = available_nanos
        del account.calls[hold_id]  # it has been granted nothing
        self._forget_idle(account_id, account)

    def ended(self, account_id: int, hold_id: str, cost_nanos: int, *, whole: bool) -> None:
        """A hold ended. `whole`: its cost is what a call of its kind comes to."""
        account = self._accounts.get(account_id)
        call = account.calls.pop(hold_id, None) if account is not None else None
        if account is None or call is None:
            return  # told before: an end that was interrupted is begun again
        account.held_nanos -= call.granted_nanos
        if account.available_nanos is not None:
            account.available_nanos += call.granted_nanos - cost_nanos
        if call.growth is not None:
            self._learn((account_id, call.growth.kind), cost_nanos, whole=whole)
        account.moved_s = clock.monotonic_s()
        if account.waiters:
            self.wake(account_id)
        elif not account.calls:
            del self._accounts[account_id]

    async def wait(self, account_id: int, timeout_s: float, *, new: bool) -> bool:
        """Wait until it is worth to ask again, or until the time is over. False: too many wait already."""
        account = self._accounts.setdefault(account_id, _Account())
        if len(account.waiters) >= WAITERS_MAX:
            return False
        waiter = asyncio.get_running_loop().create_future()
        if new:
            account.waiters.append(waiter)
        else:
            account.waiters.appendleft(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.wake(account_id)  # it was this one's turn: the next one's now
            raise
        finally:
            with contextlib.suppress(ValueError):  # `wake` took it out
                account.waiters.remove(waiter)
            self._forget_idle(account_id, account)
        return True

    def wake(self, account_id: int) -> None:
        """Let the first in line try again; once it has asked, it wakes the next."""
        account = self._accounts.get(account_id)
        while account is not None and account.waiters:
            waiter = account.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _forget_idle(self, account_id: int, account: _Account) -> None:
        if not account.calls and not account.waiters and self._accounts.get(account_id) is account:
            del self._accounts[account_id]

    def _expected_nanos(self, account_id: int, call: _Call) -> int:
        """What a call is expected to cost in all."""
        growth = call.growth
        if growth is None:
            return call.amount_nanos
        usual = self._usual_nanos.get((account_id, growth.kind))
        if usual is None:
            expected = WORST_HOLDS * call.amount_nanos
        else:
            expected = max(_with_margin(usual), growth.floor_nanos)
        return expected if growth.most_nanos is None else min(expected, growth.most_nanos)

    def _learn_growth(self, account_id: int, call: _Call, granted_nanos: int) -> None:
        """The short ones end first: those that go on correct what was learnt from them."""
        if call.growth is None:
            return
        kind = (account_id, call.growth.kind)
        if granted_nanos > _with_margin(self._usual_nanos.get(kind, granted_nanos)):
            self._learn(kind, granted_nanos, whole=False)

    def _learn(self, kind: tuple[int, str], cost_nanos: int, *, whole: bool) -> None:
        """Up fast and down slowly: to expect too little cuts streams, to expect too much only makes calls wait."""
        usual = self._usual_nanos.get(kind)
        if usual is None:
            if not whole:
                return
            usual = cost_nanos
        elif cost_nanos > usual:
            usual = (usual + cost_nanos + 1) // 2
        elif whole:
            usual = (3 * usual + cost_nanos) // 4
        self._usual_nanos[kind] = usual
        self._usual_nanos.move_to_end(kind)
        if len(self._usual_nanos) > KINDS_MAX:
            self._usual_nanos.popitem(last=False)


def _with_margin(usual_nanos: int) -> int:
    return usual_nanos + usual_nanos // 4


def _is_rich(account: _Account, call: _Call) -> bool:
    """There is enough for all that run and this one, whatever they come to."""
    worst_nanos = WORST_HOLDS * call.amount_nanos
    return (
        account.available_nanos is not None
        and account.available_nanos >= (len(account.calls) + 1) * worst_nanos
    )
