"""How far a stream may run on the money that is held for it, and how more is held ahead of need.

A stream holds its input and one slice of output, or less where money is scarce (billing/holding.py). Half a slice
before that is used up, the next slice is asked for; a hold that began small grows by doubling. If the answer is late,
reading upstream waits for it; if there is none to be had, the stream ends at what is held. A refusal ahead of need is
not the last word: once more is asked where the hold is used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from rabbitgw import clock, telemetry
from rabbitgw.billing.admission import Till
from rabbitgw.billing.hold import Hold
from rabbitgw.errors import BudgetError, InvariantBroken, RabbitError, StoreError
from rabbitgw.money import TOKENS_PER_MTOK, ceil_div
from rabbitgw.proxy.quote import Quote

STORE_PATIENCE_S: Final = 10.0  # how long a stream waits for a store that is away before it is ended
MONEY_PATIENCE_S: Final = 2.0  # how long it waits for money that other calls of the account hold
RETRY_S: Final = 0.1
SMALLEST_STEP_TOKENS: Final = 16
UNLIMITED: Final = 1 << 62


class Slices:
    """Implements Meter of relay.py for one stream."""

    __slots__ = (
        "_ask_at",
        "_closed",
        "_hidden",
        "_hidden_milli_per_ms",
        "_hold",
        "_input_nanos",
        "_last_seen",
        "_limit",
        "_on_more",
        "_on_spent",
        "_quote",
        "_seen_ms",
        "_task",
        "_till",
        "calm_tokens",
        "refusal",
        "visible_tokens",
    )

    def __init__(self, till: Till, hold: Hold, quote: Quote, *, hidden_tokens_per_s: int) -> None:
        self._till = till
        self._hold = hold
        self._quote = quote
        self._input_nanos = quote.offers[hold.offer_index].input_nanos
        self._task: asyncio.Task[None] | None = None
        self._on_more: Callable[[], None] | None = None
        self._on_spent: Callable[[], None] | None = None
        self.visible_tokens = 0  # delivered so far; the relay writes it
        self.calm_tokens = 0  # below this there is nothing to do, and `seen` need not be called
        self._hidden = 0
        self._hidden_milli_per_ms = hidden_tokens_per_s
        self._last_seen = 0
        self._seen_ms = clock.now_ms()
        self.refusal: RabbitError | None = None
        self._limit = 0
        self._ask_at = 0
        self._closed = False
        self._set_limit()

    def bind(self, on_more: Callable[[], None], on_spent: Callable[[], None]) -> None:
        """Who is told that the stream may read on, and that it must end."""
        self._on_more = on_more
        self._on_spent = on_spent

    def seen(self, delivered_tokens: int) -> bool:
        self.visible_tokens = delivered_tokens
        used = delivered_tokens + self._hidden
        if used < self._ask_at or self._closed:
            return True
        if self._task is None and self.refusal is None:
            self._task = asyncio.get_running_loop().create_task(self._extend())
        if used < self._limit:
            return True
        if self.refusal is not None and self._on_spent is not None:
            self._on_spent()
        return False

    def room_tokens(self) -> int:
        return self._limit - self.visible_tokens - self._hidden

    def tick(self, now_ms: int, *, paused: bool = False) -> None:
        """Count what a reasoning model may have produced unseen since the last tick without visible output.

        `paused`: upstream is not being read, so that nothing could be seen.
        """
        if self.visible_tokens == self._last_seen and not paused:
            self._hidden += (now_ms - self._seen_ms) * self._hidden_milli_per_ms // 1000
            self._set_calm()
            self.seen(self.visible_tokens)
        self._last_seen = self.visible_tokens
        self._seen_ms = now_ms

    async def close(self) -> None:
        """No extension begins any more; one under way is given up. What it sent already reaches Redis before the
        settle does, or finds no hold."""
        self._closed = True
        self._on_more = self._on_spent = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _set_limit(self) -> None:
        """The output tokens that the present hold pays for."""
        rate = self._quote.output_nanos_per_mtok
        most = self._quote.output_tokens_max
        if rate == 0:
            self._limit = UNLIMITED
        else:
            self._limit = (self._hold.granted_nanos - self._input_nanos) * TOKENS_PER_MTOK // rate
        if most is not None and self._limit >= most:
            self._limit = UNLIMITED
        # one that began small is meant to be enough: it asks late
        ahead = self._quote.slice_tokens // 2 if self._limit >= self._quote.slice_tokens else self._limit // 8
        self._ask_at = UNLIMITED if self._limit == UNLIMITED else max(self._limit - ahead, 0)
        self._set_calm()

    def _ask_no_more_ahead(self) -> None:
        """From here only the end of the hold matters."""
        self._ask_at = self._limit
        self._set_calm()

    def _set_calm(self) -> None:
        self.calm_tokens = min(self._ask_at, self._limit) - self._hidden

    async def _extend(self) -> None:
        """Hold more until the hold is ahead of what was used; it may have grown by more than a slice meanwhile."""
        try:
            while self.visible_tokens + self._hidden >= self._ask_at:
                await self._hold_next_slice()
                self._set_limit()
        except (BudgetError, StoreError) as error:
            self._ask_no_more_ahead()
            if self.visible_tokens + self._hidden >= self._limit:
                self.refusal = error
        except Exception as error:  # a stream that waits for an answer must get one
            telemetry.error("invariant_broken", exc=error, hold_id=self._hold.hold_id)
            self._ask_no_more_ahead()
            self.refusal = InvariantBroken("a hold could not be extended")
        finally:
            self._task = None
        if self.visible_tokens + self._hidden < self._limit:
            if self._on_more is not None:
                self._on_more()
        elif self._on_spent is not None:
            self._on_spent()

    async def _hold_next_slice(self) -> None:
        """Raises: BudgetError when no more can be held; StoreError when Redis stayed away."""
        started_s = clock.monotonic_s()
        while True:
            used = self.visible_tokens + self._hidden
            reached = max(self._limit, used)
            tokens = reached + min(self._quote.slice_tokens, max(reached, SMALLEST_STEP_TOKENS))
            if self._quote.output_tokens_max is not None:
                tokens = min(tokens, self._quote.output_tokens_max)
            wanted = self._input_nanos + ceil_div(tokens * self._quote.output_nanos_per_mtok, TOKENS_PER_MTOK)
            delivered = self._quote.plain_input_nanos + ceil_div(
                used * self._quote.output_nanos_per_mtok, TOKENS_PER_MTOK
            )
            waited_s = clock.monotonic_s() - started_s
            try:
                await self._till.extend(self._hold, wanted, delivered)
            except BudgetError:
                if waited_s > MONEY_PATIENCE_S or not self._till.others_hold(self._hold):
                    raise
            except StoreError:
                if waited_s > STORE_PATIENCE_S:
                    raise
            else:
                return
            await asyncio.sleep(RETRY_S)
