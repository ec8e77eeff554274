"""What the state machine of the money scripts works with, and what it checks after every step.

Redis must hold what the model holds, and both must obey the books: a balance is what was credited less the events'
charges, held is the sum of the open holds and of what is set aside, a counter is its usage plus the holds that name it,
and no hold ends twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from rabbitgw.prepared import RateCheck, WindowCheck
from rabbitgw.redis_link import RedisLink
from tests.billing.money_model import Event, Model
from tests.billing.money_world import ACCOUNT, DAY_MS, KEY, MARK_LIFE_MS, PARTITION, START_MS, World, opening

T = TypeVar("T")

# Of the windows, by id: 11 is a lifetime window, 12 and 13 are daily, 14 has five hours from an admission on.
LIMITS = {11: 400, 12: 150, 13: 90, 14: 110}


# of the rates, by id
RATES = {
    21: RateCheck(21, 3, 0, 0),
    22: RateCheck(22, 0, 700, 0),
    23: RateCheck(23, 0, 0, 2),
    24: RateCheck(24, 7, 1000, 3),
}


def moves_of(event: dict[str, str]) -> tuple[tuple[str, int], ...]:
    """What an event moved in each window: its charge, or what stands beside the window's name."""
    moves = []
    for text in event["w"].split(",") if event["w"] else ():
        name, equals, amount = text.partition("=")
        assert bool(equals) == ("i" in event)
        moves.append((name, int(amount if equals else event["n"])))
    return tuple(moves)


class MoneyDriver(RuleBasedStateMachine):
    """One account in Redis and in the model, and what must be true of both; the rules are the subclass's."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.link = self.run(RedisLink.connect(self.redis_url))
        self.world = World(self.link)
        self.reserved: dict[str, dict[str, Any]] = {}
        self.made = 0
        self.unit = 1
        self.limits = dict(LIMITS)
        self.begins_ms: dict[int, int] = {}  # of daily windows, after the usual time
        self.model = Model(0)

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    def redis(self, *args: bytes | str | int) -> Any:
        async def ask() -> Any:
            return await self.link.call(*args)

        return self.runner.run(ask())

    def teardown(self) -> None:
        self.run(self.link.close())
        self.runner.close()

    def check(self, answered: object, expected: object) -> None:
        assert answered == expected

    def new_id(self) -> str:
        self.made += 1
        return f"h-{self.made}"

    def pick(self, whose: str, number: int) -> str:
        """One of the holds in that state, counted from the youngest; if there is none, any other one."""
        marks = self.model.marks
        ids = list(self.model.holds) if whose == "open" else [i for i, m in marks.items() if m.kind == whose]
        if not ids and whose != "never":
            ids = [*marks, *self.model.holds]
        return ids[-1 - number % len(ids)] if ids else self.new_id()

    def windows(self, ids: list[int], days_back: int = 0) -> list[WindowCheck]:
        """As their plans are now: their limits, and when their days begin."""
        checks = []
        for i in ids:
            limit = self.limits[i] * self.unit
            if i == 11:
                checks.append(WindowCheck(11, "life", 0, 0, limit))
            elif i == 14:
                checks.append(opening(limit))
            else:
                begin_ms = START_MS + self.begins_ms.get(i, 0)
                today = (self.model.now_ms - begin_ms) // DAY_MS - days_back
                start_ms = begin_ms + today * DAY_MS
                checks.append(WindowCheck(i, f"day{today + 1}", start_ms, start_ms + DAY_MS, limit))
        return checks

    def time_passes(self, milliseconds: int) -> None:
        self.model.now_ms += milliseconds
        self.world.clocked.now_ms = self.model.now_ms
        for hold_id, mark in list(self.model.marks.items()):
            if self.model.now_ms >= mark.at_ms + MARK_LIFE_MS:  # Redis' own clock does not follow the test's
                del self.model.marks[hold_id]
                self.redis("DEL", self.world.keys.mark(hold_id))
        for take_id, at_ms in list(self.model.takes.barred.items()):
            if self.model.now_ms >= at_ms + MARK_LIFE_MS:
                del self.model.takes.barred[take_id]
                self.redis("DEL", self.world.keys.mark(str(take_id)))

    # -- what must hold after every step --

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        model = self.model
        seen = self.run(self.world.scripts.snapshot(PARTITION, [ACCOUNT]))
        assert {
            hold_id: (
                h.worker_id,
                h.amount_nanos,
                h.delivered_nanos,
                h.max_at_ms,
                [tuple(part) for part in h.parts],
                h.last,
                h.rates,
                h.ticket,
            )
            for hold_id, h in seen.holds.items()
        } == {
            hold_id: (
                h.worker_id,
                h.amount,
                h.delivered,
                h.max_at_ms,
                [(part.amount, part.borne, part.windows) for part in h.parts],
                h.last,
                h.rates,
                h.ticket,
            )
            for hold_id, h in model.holds.items()
        }
        account = dict(seen.accounts[0])
        assert int(account.pop("b:USD")) == model.balance
        assert int(account.pop("h:USD")) == model.held
        assert int(account.pop("s:USD")) == model.seq
        assert int(account.pop(f"g:{KEY}")) == model.generation
        assert account.pop("o:USD", None) == (None if model.worst is None else str(model.worst))
        assert account.pop("l:USD", None) == model.last_hold
        below_ms = model.below_zero_at_ms
        assert account.pop("z:USD", None) == (None if below_ms is None else str(below_ms))
        assert account == {
            **model.rates.fields(),
            **model.takes.fields(),
            **{f"w:{name}": str(nanos) for name, nanos in model.counters.items()},
            **{f"ws:{window_id}": span for window_id, span in model.latest.items()},
            **{f"wo:{window_id}": span for window_id, span in model.before.items()},
        }

    @invariant()
    def the_stream_tells_every_end_once(self) -> None:
        events = [
            Event(
                event["id"],
                event["s"],
                int(event["n"]),
                int(event["x"]),
                moves_of(event),
                int(event.get("i", "0")),
            )
            for event in self.run(self.world.events())
        ]
        assert events == self.model.events
        assert self.model.balance == self.model.credited - sum(event.charge for event in events)

    @invariant()
    def every_counter_is_its_usage_and_its_holds(self) -> None:
        for name, nanos in self.model.counters.items():
            moved = [change for event in self.model.events for one, change in event.moves if one == name]
            parts = [part for hold in self.model.holds.values() for part in hold.parts]
            assert nanos == sum(moved) + sum(part.amount for part in parts if name in part.windows)

    @invariant()
    def the_calls_in_parallel_are_the_open_holds(self) -> None:
        for rate_id, count in self.model.rates.parallel.items():
            holds = self.model.holds.values()
            assert count == sum(hold.rates.count(f",{rate_id}:") for hold in holds) <= RATES[rate_id].parallel

    @invariant()
    def marks_say_how_each_hold_ended(self) -> None:
        ids = [f"h-{number}" for number in range(1, self.made + 1)]
        if ids:
            marks = self.redis("MGET", *map(self.world.keys.mark, ids))
            seen = {i: mark[:1].decode() for i, mark in zip(ids, marks, strict=True) if mark}
            assert seen == {i: mark.kind for i, mark in self.model.marks.items()}
            assert not seen.keys() & self.model.holds.keys()
