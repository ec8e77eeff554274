"""All money scripts in any order against a plain model of their rules, by a clock that only the test moves.

What is checked after every step stands in money_driver.py. Amounts are small and in conflict with each other,
in nanos or in thousands of units.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rabbitgw.scripts import WindowLimit
from tests.billing.money_driver import LIMITS, RATES, MoneyDriver
from tests.billing.money_model import Model, Part
from tests.billing.money_world import (
    ACCOUNT,
    AGE_MAX_MS,
    DAY_MS,
    EPOCH,
    FIVE_HOURS_MS,
    KEY,
    LEASE_MS,
    MARK_LIFE_MS,
    PARTITION,
    START_MS,
)
from tests.scripted import Offer, reserve

WORKERS = ("w-1", "w-2")
small = st.integers(0, 120)
number = st.integers(0, 5)
rate_ids = st.just([]) | st.lists(st.sampled_from(sorted(RATES)), unique=True, max_size=4)
tokens = st.sampled_from([0, 1, 150, 333, 700, 701, 1500])
steps_ms = st.sampled_from(
    [1, 4_000, LEASE_MS, LEASE_MS, 500_000, MARK_LIFE_MS, AGE_MAX_MS, 4 * AGE_MAX_MS, FIVE_HOURS_MS, DAY_MS]
)
takes = st.sampled_from([UUID(int=number) for number in range(1, 5)])
# How an offer stands to plans: borne by one; only if the wallet is not below zero since so long; a way with a ticket.
manners = st.tuples(
    st.booleans(), st.sampled_from([None, None, 0, 1, 500_000, DAY_MS]), st.sampled_from([0, 0, 1, 2, 3])
)
# Which hold a step is about: mostly one that is open, else one that ended so, else one never heard of.
whose = st.sampled_from(["open"] * 8 + ["E", "E", "E", "S", "R", "never"])


class MoneyMachine(MoneyDriver):
    @initialize(balance=st.integers(0, 1500), unit=st.sampled_from([1, 10**12]))
    def begin(self, balance: int, unit: int) -> None:
        self.unit = unit
        self.redis("FLUSHALL")
        self.model = Model(balance * unit, now_ms=START_MS)
        self.run(self.world.open(balance * unit))
        self.model.leases["w-1"] = START_MS + LEASE_MS

    # -- admission --

    @rule(
        worker=st.sampled_from(WORKERS),
        stale=st.sampled_from([0, 0, 0, 0, 1]),
        ids=st.lists(st.sampled_from(sorted(LIMITS)), unique=True, max_size=4),
        days_back=st.sampled_from([0, 0, 0, 0, 0, 1]),
        backlog_max=st.sampled_from([1000, 1000, 1000, 5]),
        rate_ids=rate_ids,
        tokens=tokens,
        offers=st.lists(
            st.tuples(small, small, st.sampled_from([0, 0, 1]), st.text("01", min_size=4, max_size=4)),
            min_size=1,
            max_size=3,
        ),
    )
    def reserve(
        self,
        worker: str,
        stale: int,
        ids: list[int],
        days_back: int,
        backlog_max: int,
        rate_ids: list[int],
        tokens: int,
        offers: list[tuple[int, int, int, str]],
    ) -> None:
        arguments: dict[str, Any] = {
            "hold_id": self.new_id(),
            "worker_id": worker,
            "generation": self.model.generation - stale,
            "max_age_ms": AGE_MAX_MS,
            "backlog_max": backlog_max,
            "windows": self.windows(ids, days_back),
            "offers": [
                Offer(
                    max(one, other) * self.unit,
                    min(one, other) * self.unit,
                    last,
                    enforce[: len(ids)],
                )
                for one, other, last, enforce in offers
            ],
            "ticket": b"ticket %d" % self.made,
            "rates": [RATES[i] for i in rate_ids],
            "tokens": tokens,
        }
        self.send_reserve(arguments)

    @rule(
        ids=st.lists(st.sampled_from(sorted(LIMITS)), unique=True, min_size=1, max_size=4),
        whole=small,
        least=small,
        usual=manners,
        ways=st.lists(
            st.tuples(small, st.text("1110-", min_size=4, max_size=4), manners), min_size=1, max_size=3
        ),
        last=st.sampled_from([0, 1]),
        counted_only=st.integers(0, 9),
    )
    def reserve_under_plans(
        self,
        ids: list[int],
        whole: int,
        least: int,
        usual: tuple[bool, int | None, int],
        ways: list[tuple[int, str, tuple[bool, int | None, int]]],
        last: int,
        counted_only: int,
    ) -> None:
        """The whole call, the ways beyond a limit, and at last what is left of it."""
        binds = "".join("0" if place == counted_only else "1" for place in range(len(ids)))
        how = self.how((*usual[:2], 0))
        whole, least = max(whole, least) * self.unit, min(whole, least) * self.unit
        offers = [Offer(whole, whole, 0, binds, how)]
        for amount, signs, manner in ways:
            offers.append(
                Offer(amount * self.unit, amount * self.unit, 0, signs[: len(ids)], self.how(manner))
            )
        offers.append(Offer(whole, least, last, binds, how))
        self.send_reserve(
            {
                "hold_id": self.new_id(),
                "worker_id": "w-1",
                "generation": self.model.generation,
                "max_age_ms": AGE_MAX_MS,
                "backlog_max": 1000,
                "windows": self.windows(ids),
                "offers": offers,
                "ticket": b"\x1f".join(b"ticket %d way %d" % (self.made, way) for way in range(4)),
            }
        )

    def how(self, manner: tuple[bool, int | None, int]) -> str:
        borne, since_ms, way = manner
        gate = "" if since_ms is None else f"^{self.model.now_ms - since_ms}"
        return ("~" if borne else "") + gate + (f"/{way}" if way else "")

    def send_reserve(self, arguments: dict[str, Any]) -> None:
        expected = self.model.reserve(**arguments)
        if expected.word == "OK":
            self.reserved[arguments["hold_id"]] = arguments
        answered = self.run(
            reserve(self.world.scripts, PARTITION, ACCOUNT, currency="USD", key_id=KEY, **arguments)
        )
        self.check(answered, expected)

    @rule(
        amount=small,
        ids=st.lists(st.sampled_from(sorted(LIMITS)), unique=True, max_size=4),
        rate_ids=rate_ids,
        tokens=tokens,
    )
    def reserve_plainly(self, amount: int, ids: list[int], rate_ids: list[int], tokens: int) -> None:
        self.send_reserve(
            {
                "hold_id": self.new_id(),
                "worker_id": "w-1",
                "generation": self.model.generation,
                "max_age_ms": AGE_MAX_MS,
                "backlog_max": 1000,
                "windows": self.windows(ids),
                "offers": [Offer(amount * self.unit, amount * self.unit, 0, "0" * len(ids))],
                "ticket": b"plain",
                "rates": [RATES[i] for i in rate_ids],
                "tokens": tokens,
            }
        )

    @precondition(lambda self: self.reserved)
    @rule(whose=whose, number=number)
    def reserve_again(self, whose: str, number: int) -> None:
        """The same call once more, whatever has become of its hold; for a tombstone, the call that it bars."""
        hold_id = self.pick(whose, number)
        arguments = self.reserved.get(hold_id, next(iter(self.reserved.values())))
        self.send_reserve({**arguments, "hold_id": hold_id})

    @rule(
        whose=whose,
        number=number,
        new=small,
        least=small,
        delivered=small,
        enforce=st.tuples(st.integers(0, 1), st.integers(0, 1)),
        listed=st.lists(st.sampled_from(sorted(LIMITS)), unique=True, max_size=2),
        on=st.none()
        | st.none()
        | st.tuples(st.booleans(), st.lists(st.sampled_from(sorted(LIMITS)), unique=True)),
    )
    def extend(
        self,
        whose: str,
        number: int,
        new: int,
        least: int,
        delivered: int,
        enforce: tuple[int, int],
        listed: list[int],
        on: tuple[bool, list[int]] | None,
    ) -> None:
        """`on`: by another way from now on, that a plan bears or not, and that counts in these windows."""
        hold_id = self.pick(whose, number)
        part, way = self.another_part(hold_id, *on) if on is not None else (None, None)
        windows = [
            WindowLimit(window.window_id, window.limit_nanos, binds)
            for window, binds in zip(self.windows(listed), enforce, strict=False)
        ]
        new, least = max(new, least) * self.unit, min(new, least) * self.unit
        expected = self.model.extend(hold_id, new, least, delivered * self.unit, windows, part)
        call = self.world.extend(
            new, least, delivered=delivered * self.unit, windows=windows, hold_id=hold_id, way=way
        )
        self.check(self.run(call), expected)

    def another_part(self, hold_id: str, borne: bool, ids: list[int]) -> tuple[Part, bytes]:
        """A part as the model has it, and as extend is told of it: a span that opened is that of admission."""
        hold = self.model.holds.get(hold_id)
        parts = hold.parts if hold is not None else ()
        spans = dict(name.split(":") for part in parts for name in part.windows)
        named = [window for window in self.windows(ids) if window.window_id != 14 or "14" in spans]
        names = [f"{one.window_id}:{spans['14'] if one.window_id == 14 else one.span}" for one in named]
        text = ("~" if borne else "") + ",".join(f"{one.window_id}:{one.span}" for one in named)
        return Part(0, borne, tuple(names)), text.encode()

    # -- ends --

    @rule(
        whose=whose,
        number=number,
        cost=st.integers(0, 200),
        tried_ms_ago=st.sampled_from([None, 0, 449_999, 450_000, 450_001]),
        status=st.sampled_from(["settled", "partial"]),
        used=st.none() | tokens,
    )
    def settle(
        self, whose: str, number: int, cost: int, tried_ms_ago: int | None, status: Any, used: int | None
    ) -> None:
        hold_id = self.pick(whose, number)
        first_try_ms = 0 if tried_ms_ago is None else self.model.now_ms - tried_ms_ago
        expected = self.model.settle(hold_id, cost * self.unit, first_try_ms, status, used)
        self.check(
            self.run(
                self.world.settle(
                    cost * self.unit, hold_id=hold_id, first_try_ms=first_try_ms, status=status, tokens=used
                )
            ),
            expected,
        )

    @rule(whose=whose, number=number)
    def release(self, whose: str, number: int) -> None:
        hold_id = self.pick(whose, number)
        self.check(self.run(self.world.release(hold_id=hold_id)), self.model.release(hold_id))

    @rule(whose=whose, number=number)
    def expire(self, whose: str, number: int) -> None:
        hold_id = self.pick(whose, number)
        self.check(self.run(self.world.expire(hold_id=hold_id)), self.model.expire(hold_id))

    @precondition(lambda self: len(self.model.holds) > 2)
    @rule()
    def sweep(self) -> None:
        """Every open hold is offered to the sweeper, when the leases of today are over."""
        self.time_passes(LEASE_MS)
        for hold_id in list(self.model.holds):
            self.check(self.run(self.world.expire(hold_id=hold_id)), self.model.expire(hold_id))

    # -- the world outside --

    @rule(ahead=st.integers(-2, 2), amount=st.integers(-100, 300), take=st.none() | st.none() | takes)
    def credit(self, ahead: int, amount: int, take: UUID | None) -> None:
        seq = max(1, self.model.seq + 1 + ahead)
        expected = self.model.credit(seq, amount * self.unit, take)
        self.check(self.run(self.world.credit(seq, amount * self.unit, take_id=take)), expected)

    @rule(take=takes, amount=st.integers(1, 120), ahead=st.sampled_from([0, 0, 0, 0, -1, 1]))
    def set_aside(self, take: UUID, amount: int, ahead: int) -> None:
        amount = self.model.takes.aside.get(take, amount * self.unit)
        seq = max(0, self.model.seq + ahead)
        expected = self.model.takes.set_aside(take, amount, seq, self.model.available, self.model.seq)
        self.check(self.run(self.world.set_aside(amount, seq, take_id=take)), expected)

    @precondition(lambda self: self.model.takes.aside)
    @rule(number=number)
    def take(self, number: int) -> None:
        """The credit of what is set aside."""
        aside = list(self.model.takes.aside.items())
        take_id, amount = aside[number % len(aside)]
        available = self.model.available
        expected = self.model.credit(self.model.seq + 1, -amount, take_id)
        self.check(self.run(self.world.credit(self.model.seq, -amount, take_id=take_id)), expected)
        assert self.model.available == available

    @rule(take=takes)
    def put_back(self, take: UUID) -> None:
        expected = self.model.takes.put_back(take, self.model.now_ms)
        self.check(self.run(self.world.put_back(take_id=take)), expected)

    @rule(worker=st.sampled_from(WORKERS), ttl_ms=st.sampled_from([0, LEASE_MS, LEASE_MS]))
    def lease(self, worker: str, ttl_ms: int) -> None:
        reply = self.run(self.world.lease(ttl_ms, worker))
        self.check(tuple(reply), ("OK", self.model.now_ms, self.model.leases.pop(worker, 0)))
        if ttl_ms:
            self.model.leases[worker] = self.model.now_ms + ttl_ms

    @rule(change=st.integers(-1, 2))
    def key_changes(self, change: int) -> None:
        generation = self.model.generation + change
        word = self.run(self.world.scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=generation))
        self.check(word, "OK" if change > 0 else "DONE")
        self.model.generation = max(generation, self.model.generation)

    @rule(
        window_id=st.sampled_from(sorted(LIMITS)),
        limit=st.sampled_from([0, 20, 90, 150, 400, 2000]),
        hours=st.sampled_from([0, 0, 8, 20]),
    )
    def plan_changes(self, window_id: int, limit: int, hours: int) -> None:
        """Another limit, or another zone or reset time. What runs is settled in the spans that it was admitted in."""
        self.limits[window_id] = limit
        self.begins_ms[window_id] = hours * 3_600_000

    @rule(milliseconds=steps_ms)
    def wait(self, milliseconds: int) -> None:
        self.time_passes(milliseconds)

    @rule(whose=whose, number=number)
    def another_epoch_is_fenced(self, whose: str, number: int) -> None:
        hold_id = self.pick(whose, number)
        self.redis("SET", self.world.keys.epoch_key, EPOCH + 1)
        replies = [
            self.run(self.world.settle(1, hold_id=hold_id)),
            self.run(self.world.release(hold_id=hold_id)),
            self.run(self.world.expire(hold_id=hold_id)),
            self.run(self.world.extend(500, 0, delivered=500, hold_id=hold_id)),
            self.run(self.world.credit(self.model.seq + 1, 5)),
            self.run(self.world.set_aside(1, self.model.seq)),
            self.run(self.world.put_back()),
        ]
        self.check({reply.word for reply in replies}, {"FENCED"})
        self.redis("SET", self.world.keys.epoch_key, EPOCH)

    @rule()
    def a_second_load_changes_nothing(self) -> None:
        self.check(self.run(self.world.scripts.load(PARTITION, ACCOUNT, {"b:USD": 1})), "LOADED")


@pytest.mark.timeout(600)
def test_the_scripts_follow_their_rules_in_any_order(redis_url: str) -> None:
    MoneyMachine.redis_url = redis_url
    run_state_machine_as_test(
        MoneyMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=80,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
