"""Money set aside for one call, as the gateway knows it: what was asked for, what was granted, and who bears it.

A stream that outgrows a plan's limit may go on by another way of the plan: its hold then has several parts, and its
cost is divided among them in their order, each up to what it holds, as the scripts do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rabbitgw import telemetry
from rabbitgw.billing.holding import Growth
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.overflow import DEGRADE, Way
from rabbitgw.billing.ways import LEFT_OUT, Laid
from rabbitgw.billing.windows import Span, WindowRule
from rabbitgw.prepared import EndCommands
from rabbitgw.replies import Standing


class Terms(NamedTuple):
    """One way to take a call: what to hold, at least what, and how much of it is for the input. `growth` is that of
    a stream, whose hold is extended while it runs."""

    amount_nanos: int
    least_nanos: int
    input_nanos: int
    last: bool = False
    growth: Growth | None = None


class Beyond(NamedTuple):
    """A call as it would be taken beyond a plan's limit; the ticket (JSON) says so to the books."""

    way: Way
    terms: Terms
    ticket: bytes


@dataclass(slots=True)
class Hold:
    """`granted_nanos` grows by extend. `offer_index`: which of the terms it was taken by."""

    hold_id: str
    key: KeyRecord
    offer_index: int
    granted_nanos: int
    windows: tuple[tuple[WindowRule, Span], ...]
    ends: EndCommands
    laid: Laid
    counts_tokens: bool = False  # it is to be told what it used in truth
    standing: Standing | None = None  # with the rates that it came under
    way: Way | None = None  # by which it goes on now, where that is beyond a plan's limit
    # parts before the present one: nanos, and whether the plan bears them
    closed: tuple[tuple[int, bool], ...] = ()

    @property
    def borne(self) -> bool:
        """A plan bears what the hold grows by."""
        return self.laid.borne if self.way is None else self.way.borne

    @property
    def enforce(self) -> bytes:
        return self.laid.enforce if self.way is None else self.way.enforce

    @property
    def overflow(self) -> str:
        """The policy of a plan by which it went beyond a limit; "": it did not."""
        return "" if self.way is None else self.way.policy

    @property
    def wallet_nanos(self) -> int:
        """What of it the wallet holds."""
        return self.granted_nanos - self.borne_of(self.granted_nanos)

    def borne_of(self, cost_nanos: int) -> int:
        """What of a cost a plan bears."""
        if not self.closed:
            return cost_nanos if self.borne else 0
        borne_nanos, left_nanos = 0, cost_nanos
        for nanos, borne in self.closed:
            share = min(left_nanos, nanos)
            left_nanos -= share
            borne_nanos += share if borne else 0
        return borne_nanos + (left_nanos if self.borne else 0)

    def complete(
        self,
        offered: tuple[Beyond, ...],
        counts_tokens: bool,
        standing: Sequence[int] | int | None = None,
        passed: int = -1,
    ) -> None:
        """What a reserve says only of calls under rates or plans: where they stand, by which of the ways offered they
        were taken, and which limit that only counts they have passed."""
        if standing:
            assert not isinstance(standing, int)
            self.counts_tokens, self.standing = counts_tokens, Standing(*standing)
        if offered and self.offer_index:
            place = self.offer_index - 1
            if place < len(offered):
                self.way, self.offer_index = offered[place].way, 0
            else:
                self.offer_index -= len(offered)
        if passed >= 0:
            telemetry.log(
                "plan_limit_passed_in_shadow",
                request_id=self.hold_id,
                account_id=self.key.account_id,
                key_id=self.key.key_id,
                plan_id=self.laid.plan_of[passed],
            )

    def further_ways(self, window: int) -> Iterator[Way]:
        """The ways by which a stream may go on that a window stopped. Its model stays what it is."""
        ways = self.laid.ways
        if self.way is not None:
            later = ways[ways.index(self.way) + 1 :]
            ways = tuple(way for way in later if way.overflow is self.way.overflow)
        for way in ways:
            if way.policy != DEGRADE and way.enforce[window] == LEFT_OUT:
                yield way

    def go_on(self, way: Way, before_nanos: int) -> None:
        """From now on by another way; `before_nanos`: what was granted before that."""
        part_nanos = before_nanos - sum(nanos for nanos, _ in self.closed)
        self.closed = (*self.closed, (part_nanos, self.borne))
        self.way = way

    def part_text(self, way: Way) -> bytes:
        """A way as extend.lua takes it. The spans are those of admission."""
        names = [
            f"{rule.window_id}:{span.name}"
            for (rule, span), sign in zip(self.windows, way.enforce, strict=True)
            if sign != LEFT_OUT
        ]
        return ("~" if way.borne else "").encode() + ",".join(names).encode()
