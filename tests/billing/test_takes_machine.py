"""The way of a take, in any order: tries that die, credits, calls, new epochs, and every command once more at any time.

The books are a few numbers here, and move as takes.py moves them in PostgreSQL. Whatever happens: no wallet ever has
less than nothing available, what is set aside belongs to a take that is not done, and what was decided happens once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rabbitgw.keynames import KeyNames
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts
from tests.billing.money_world import ACCOUNT, EPOCH, KEY, PARTITION, TEST_PROLOGUE, World, offer

T = TypeVar("T")
State = Literal["requested", "taken", "given up", "put back"]
amounts = st.integers(1, 300)
which = st.integers(0, 7)


class Take:
    def __init__(self, number: int, amount: int) -> None:
        self.id, self.amount, self.state = UUID(int=number), amount, "requested"
        self.seq = 0  # of its credit


class TakesMachine(RuleBasedStateMachine):
    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.link = self.run(RedisLink.connect(self.redis_url))
        self.world = World(self.link)
        self.epoch = EPOCH
        self.credits: list[tuple[int, UUID | None]] = []  # as they were booked; the first has number 1
        self.spent = 0  # by calls
        self.takes: list[Take] = []
        self.holds: dict[str, int] = {}
        self.made = 0
        self.sent: list[Callable[[], Awaitable[Any]]] = []  # every command of a take, as it went out

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    def redis(self, *args: bytes | str | int) -> Any:
        async def ask() -> Any:
            return await self.link.call(*args)

        return self.runner.run(ask())

    def send(self, call: Callable[[Scripts], Awaitable[T]]) -> T:
        """By the scripts of this epoch; what is sent again later is of this epoch too."""
        scripts = Scripts(self.world.clocked, KeyNames(4, self.epoch), prologue=TEST_PROLOGUE)
        self.sent.append(lambda: call(scripts))
        return self.run(call(scripts))

    @property
    def balance(self) -> int:
        return sum(amount for amount, _ in self.credits) - self.spent

    def load(self) -> None:
        fields = {"b:USD": self.balance, "h:USD": 0, "s:USD": len(self.credits), f"g:{KEY}": 1}
        self.run(self.world.scripts.load(PARTITION, ACCOUNT, fields))

    def fields(self) -> dict[str, str]:
        return self.run(self.world.account())

    def apply_credits(self, at_most: int = 1000) -> None:
        fields = self.fields()
        if fields:
            stored = int(fields["s:USD"])
            for number, (amount, take_id) in enumerate(self.credits[stored : stored + at_most], stored + 1):
                self.send_credit(number, amount, take_id)

    def send_credit(self, number: int, amount: int, take_id: UUID | None) -> None:
        reply = self.send(
            lambda scripts: scripts.credit(
                PARTITION, ACCOUNT, currency="USD", seq=number, amount_nanos=amount, take_id=take_id
            )
        )
        assert reply.word == "OK"

    # -- the way of a take --

    @initialize(paid=st.integers(0, 10).map(lambda number: number * 150))
    def begin(self, paid: int) -> None:
        self.redis("FLUSHALL")
        self.redis("SET", self.world.keys.epoch_key, self.epoch)
        self.credits.append((paid, None))
        self.load()
        self.run(self.world.lease(10**9))

    @rule(amount=amounts)
    def request(self, amount: int) -> None:
        self.takes.append(Take(len(self.takes) + 1, amount))

    @precondition(lambda self: self.takes)
    @rule(which=which, dies=st.sampled_from([None, None, "unsent", "before the commit"]))
    def try_to_take(self, which: int, dies: str | None) -> None:
        take = self.takes[-1 - which % len(self.takes)]
        if take.state != "requested" or dies == "unsent":
            return
        if self.set_aside(take) and dies is None:
            self.credits.append((-take.amount, take.id))
            take.state, take.seq = "taken", len(self.credits)

    def set_aside(self, take: Take) -> bool:
        seq = len(self.credits)
        for _ in range(3):
            reply = self.send(
                lambda scripts: scripts.set_aside(
                    PARTITION, ACCOUNT, currency="USD", take_id=take.id, amount_nanos=take.amount, seq=seq
                )
            )
            if reply.word == "COLD":
                self.load()
            elif reply.word == "GAP":
                self.apply_credits()
            else:
                assert reply.word in ("OK", "HELD", "SHORT")
                return reply.word != "SHORT"
        raise AssertionError("neither loaded nor applied")

    @precondition(lambda self: self.takes)
    @rule(which=which, dies=st.booleans())
    def give_up(self, which: int, dies: bool) -> None:
        """Decided first; put back then, or by the next try."""
        take = self.takes[-1 - which % len(self.takes)]
        if take.state == "requested":
            take.state = "given up"
        if take.state == "given up" and not dies:
            self.put_back(take)

    def put_back(self, take: Take) -> None:
        reply = self.send(
            lambda scripts: scripts.put_back(PARTITION, ACCOUNT, currency="USD", take_id=take.id)
        )
        assert reply.word in ("OK", "GONE")
        take.state = "put back"

    @precondition(lambda self: self.sent)
    @rule(which=st.sampled_from([0, 1, 1, 2, 3, 5, 8, 13]))
    def an_earlier_command_comes_once_more(self, which: int) -> None:
        """A set_aside can come after all that followed it: its connection broke, and another one went on."""
        self.run(self.sent[-1 - which % len(self.sent)]())

    # -- what else goes on --

    @rule(at_most=st.sampled_from([1, 1, 1000]))
    def the_credit_worker_comes(self, at_most: int) -> None:
        self.apply_credits(at_most)

    @rule(amount=amounts)
    def pay(self, amount: int) -> None:
        self.credits.append((amount, None))

    @rule(amount=amounts)
    def call_begins(self, amount: int) -> None:
        self.made += 1
        if self.run(self.world.reserve(offer(amount, 1), hold_id=f"h-{self.made}")).word == "OK":
            hold = self.run(self.world.hold(f"h-{self.made}"))
            assert hold is not None
            self.holds[f"h-{self.made}"] = hold.amount_nanos

    @precondition(lambda self: self.holds)
    @rule(share=st.integers(0, 4))
    def call_ends(self, share: int) -> None:
        hold_id = next(iter(self.holds))
        cost = self.holds.pop(hold_id) * share // 4
        assert self.run(self.world.settle(cost, hold_id=hold_id)).word == "OK"
        self.spent += cost

    @rule()
    def rebuild(self) -> None:
        while self.holds:
            self.call_ends(1)
        self.epoch += 1
        self.redis("SET", self.world.keys.epoch_key, self.epoch)
        self.world.names = KeyNames(4, self.epoch)
        self.world.scripts.use(self.world.names)
        self.world.keys = self.world.names.partition[PARTITION]
        self.run(self.world.lease(10**9))

    # -- what holds --

    @invariant()
    def nothing_is_spent_twice(self) -> None:
        fields = self.fields()
        if not fields:
            return
        stored = int(fields["s:USD"])
        assert int(fields["b:USD"]) == sum(amount for amount, _ in self.credits[:stored]) - self.spent
        aside = {UUID(name[6:]): int(value) for name, value in fields.items() if name.startswith("a:USD:")}
        assert int(fields["h:USD"]) == sum(self.holds.values()) + sum(aside.values())
        assert int(fields["b:USD"]) >= int(fields["h:USD"])
        assert self.balance >= 0
        for take in self.takes:
            done = take.state == "put back" or (take.state == "taken" and take.seq <= stored)
            assert aside.pop(take.id, take.amount) == take.amount or done
            if done:
                assert f"a:USD:{take.id}" not in fields
            elif take.state == "taken":
                assert f"a:USD:{take.id}" in fields
        assert not aside

    def teardown(self) -> None:
        """Everything comes to its end, then every command once more, the last first, and nothing is left."""
        try:
            if self.credits:
                self.finish()
        finally:
            self.run(self.link.close())
            self.runner.close()

    def finish(self) -> None:
        for take in self.takes:
            self.try_to_take(len(self.takes) - 1 - self.takes.index(take), None)
            self.give_up(len(self.takes) - 1 - self.takes.index(take), False)
        self.load()
        self.apply_credits()
        while self.holds:
            self.call_ends(4)
        for again in reversed(self.sent):
            self.run(again())
        self.nothing_is_spent_twice()
        fields = self.fields()
        taken = sum(take.amount for take in self.takes if take.state == "taken")
        paid = sum(amount for amount, _ in self.credits if amount > 0)
        assert (int(fields["b:USD"]), fields["h:USD"]) == (paid - taken - self.spent, "0")
        assert not [name for name in fields if name.startswith("a:")]


@pytest.mark.timeout(600)
def test_a_take_happens_once_whatever_comes_between(redis_url: str) -> None:
    TakesMachine.redis_url = redis_url
    run_state_machine_as_test(
        TakesMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
