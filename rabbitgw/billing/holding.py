"""How much each account holds in this process, and who waits for it to come free.

Without waiting, a burst that the wallet can pay for is mostly refused: holds are larger than costs, and the money
comes back a moment later. Waiting is bounded by time and number; other processes' holds are not seen here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

WAITERS_MAX: Final = 1000  # per account; past it a call is refused at once


class Holding:
    __slots__ = ("_held", "_waiters")

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._waiters: dict[int, deque[asyncio.Future[None]]] = {}

    def held_nanos(self, account_id: int) -> int:
        return self._held.get(account_id, 0)

    def add(self, account_id: int, amount_nanos: int) -> None:
        """Count a hold (positive) or its end (negative)."""
        held = self._held.get(account_id, 0) + amount_nanos
        if held:
            self._held[account_id] = held
        else:
            self._held.pop(account_id, None)

    async def wait(self, account_id: int, timeout_s: float) -> bool:
        """Wait until something of this account may have come free. False: too many wait already, or too long."""
        waiters = self._waiters.setdefault(account_id, deque())
        if len(waiters) >= WAITERS_MAX:
            return False
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return False
        finally:
            with contextlib.suppress(ValueError):  # `wake` took it out
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(account_id, None)
        return True

    def wake(self, account_id: int) -> None:
        """Let the first in line try again; if it gets its money, it wakes the next."""
        waiters = self._waiters.get(account_id)
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
