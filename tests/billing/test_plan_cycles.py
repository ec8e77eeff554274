"""Billing cycles of usage plans: when they begin, what they grant and charge, once, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from rabbitgw import statements
from rabbitgw.billing import ledger
from rabbitgw.billing.audit import audit
from rabbitgw.billing.cycle_calendar import MONTHLY, WEEKLY, YEARLY, Calendar, part_of
from rabbitgw.billing.cycle_list import Cycle, cycles_of
from rabbitgw.billing.plan_assignments import end_assignment
from rabbitgw.billing.plan_cycles import PlanCycles
from rabbitgw.billing.plans import create_plan
from rabbitgw.billing.usage_plans import UsageTerms, add_usage_terms, change_usage_terms
from tests.billing.usage_history import call_id
from tests.books import Customer, Shop, assert_books_balance, breaches, drain

BERLIN = ZoneInfo("Europe/Berlin")
CENT = 10_000_000


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("anchor", "zone", "cycle", "starts"),
    [
        ("2027-01-31T10:00", UTC, MONTHLY, ["2027-01-31T10:00", "2027-02-28T10:00", "2027-03-31T10:00",
                                            "2027-04-30T10:00"]),
        ("2028-02-29T00:00", UTC, YEARLY, ["2028-02-29T00:00", "2029-02-28T00:00", "2030-02-28T00:00",
                                           "2031-02-28T00:00", "2032-02-29T00:00"]),
        ("2027-12-31T00:00", UTC, MONTHLY, ["2027-12-31T00:00", "2028-01-31T00:00", "2028-02-29T00:00"]),
        # 02:30 in Berlin; on 28 March 2027 there is no such time, and that cycle begins at 03:30
        ("2027-03-14T01:30", BERLIN, WEEKLY, ["2027-03-14T01:30", "2027-03-21T01:30", "2027-03-28T01:30",
                                              "2027-04-04T00:30"]),
        # 23:30 of the 30th in UTC is the 31st in Berlin
        ("2027-01-30T23:30", BERLIN, MONTHLY, ["2027-01-30T23:30", "2027-02-27T23:30", "2027-03-30T22:30"]),
    ],
)  # fmt: skip
def test_cycles_are_counted_from_the_anchor(anchor: str, zone: Any, cycle: str, starts: list[str]) -> None:
    calendar = Calendar(at(anchor), zone, cycle)
    assert [calendar.start(number) for number in range(len(starts))] == [at(start) for start in starts]
    for number in range(len(starts)):
        assert calendar.number_at(at(starts[number])) == number
        assert calendar.number_at(calendar.start(number + 1) - timedelta(microseconds=1)) == number


@pytest.mark.parametrize(
    ("cut", "part"),
    [
        ("2027-04-01T00:00", 0),
        ("2027-04-01T00:01", 1_000),
        ("2027-04-02T00:00", 1_000),
        ("2027-04-10T12:00", 10_000),
        ("2027-05-01T00:00", 30_000),
    ],
)
def test_a_cycle_cut_short_owes_the_days_that_began(cut: str, part: int) -> None:
    assert part_of(30_000, at("2027-04-01T00:00"), at("2027-05-01T00:00"), at(cut), UTC) == part


class Club:
    """Customers on usage plans, from a day in the past of the worker's clock."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now = at("2027-01-31T10:00")
        self.numbers = iter(range(1, 1000))

    def worker(self) -> PlanCycles:
        return PlanCycles(self.shop.pg, self.shop.link, now=lambda: self.now)

    async def plan(self, cycle: str = MONTHLY, *, commit: int = 0, grant: int = 0) -> UsageTerms:
        plan = await create_plan(self.shop.pg, "club", "usage", "USD")
        terms = UsageTerms(cycle, commit * CENT, grant * CENT)
        return await add_usage_terms(self.shop.pg, plan.id, terms)

    async def join(self, customer: Customer, terms: UsageTerms, starts: str, ends: str | None = None) -> int:
        return int(
            await self.shop.pg.fetchval(
                "INSERT INTO plan_assignments (plan_id, account_id, zone, effective_from, effective_to)"
                " VALUES ($1, $2, '+00:00', $3, $4) RETURNING id",
                terms.plan_id, customer.id, at(starts), None if ends is None else at(ends),
            )
        )  # fmt: skip

    async def call(self, customer: Customer, when: str, cost_nanos: int) -> None:
        """A call that was admitted then."""
        ms = int(at(when).timestamp() * 1000)
        hold_id = await customer.hold(cost_nanos, hold_id=call_id(ms, next(self.numbers)))
        assert await customer.settle(hold_id, cost_nanos) == "OK"

    async def until(self, moment: str) -> int:
        self.now = at(moment)
        done = 0
        while more := await self.worker().run_once():
            done += more
        return done

    async def cycles(self, assignment_id: int) -> list[Cycle]:
        return await cycles_of(self.shop.pg, assignment_id)


@pytest.fixture
async def owner(dsn: str) -> Any:
    connection = await asyncpg.connect(dsn)
    await connection.execute("ALTER TABLE plan_usage ALTER COLUMN created_at SET DEFAULT '2020-01-01Z'")
    yield connection
    await connection.close()


@pytest.fixture
async def club(shop: Shop, owner: asyncpg.Connection) -> Club:
    return Club(shop)


async def test_each_cycle_grants_and_a_commitment_is_made_up(club: Club) -> None:
    customer = await club.shop.customer(1_000 * CENT)
    terms = await club.plan(commit=500, grant=200)
    on = await club.join(customer, terms, "2027-01-31T10:00")
    assert await club.until("2027-01-31T09:59") == 0
    assert await club.until("2027-01-31T10:00") == 1
    assert await customer.ledger_nanos() == 1_200 * CENT
    await club.call(customer, "2027-02-01T00:00", 120 * CENT)
    await club.call(customer, "2027-02-28T11:00", 600 * CENT)  # of the second cycle
    # a change holds from the next cycle on
    await change_usage_terms(club.shop.pg, terms.id, {"commit_nanos": 700 * CENT, "grant_nanos": 300 * CENT})
    await drain(club.shop.pg, club.shop.link)
    assert await club.until("2027-03-01T09:59") == 1  # the second begins; the first is not closed for a day
    assert await club.until("2027-03-01T10:00") == 1
    # missed cycles come one by one: the third and fourth begin, the second and third close
    assert await club.until("2027-05-01T10:00") == 4
    found = await club.cycles(on)
    assert [(one.number, one.grant_nanos, one.due_nanos, one.spent_nanos, one.true_up_nanos) for one in found] == [
        (1, 200 * CENT, 500 * CENT, 120 * CENT, 380 * CENT),
        (2, 300 * CENT, 700 * CENT, 600 * CENT, 100 * CENT),
        (3, 300 * CENT, 700 * CENT, 0, 700 * CENT),
        (4, 300 * CENT, None, None, None),
    ]  # fmt: skip
    # 1000 + 4 grants - 720 of calls - 1180 of true-ups: below zero, as it may
    assert await customer.ledger_nanos() == 200 * CENT
    await assert_books_balance(club.shop)
    assert await customer.redis_nanos() == 200 * CENT
    assert len(await cycles_of(club.shop.pg, on, after=1, rows_max=2)) == 2


async def test_nothing_is_closed_before_all_of_it_is_booked(club: Club) -> None:
    customer = await club.shop.customer(1_000 * CENT)
    on = await club.join(
        customer, await club.plan(WEEKLY, commit=100), "2027-01-04T00:00", "2027-01-11T00:00"
    )
    ms = int(at("2027-01-10T23:00").timestamp() * 1000)
    hold_id = await customer.hold(90 * CENT, hold_id=call_id(ms, 1))
    assert await club.until("2027-02-01T00:00") == 1  # begun; a call of it is open
    assert await customer.settle(hold_id, 90 * CENT) == "OK"
    assert await club.until("2027-02-01T00:00") == 0  # ended, and not booked
    await drain(club.shop.pg, club.shop.link)
    assert await club.until("2027-02-01T00:00") == 1
    assert [(one.spent_nanos, one.true_up_nanos) for one in await club.cycles(on)] == [(90 * CENT, 10 * CENT)]
    assert await customer.ledger_nanos() == 900 * CENT
    await assert_books_balance(club.shop)


class Died(Exception):
    """Of a worker, between two steps."""


async def test_two_workers_and_one_that_dies_book_once(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    customers = [await club.shop.customer(0) for _ in range(6)]
    terms = await club.plan(WEEKLY, commit=30, grant=10)
    for customer in customers:
        await club.join(customer, terms, "2027-01-04T00:00", "2027-01-25T00:00")
    club.now = at("2027-03-01T00:00")

    append_one, execute = ledger.append_one, asyncpg.Connection.execute

    async def dies_after_entries(*args: Any, **how: Any) -> int:
        await append_one(*args, **how)
        raise Died

    async def dies_after_the_cycle(self: Any, query: str, *args: Any, **how: Any) -> Any:
        done = await execute(self, query, *args, **how)
        if query in (statements.cycles.begin, statements.cycles.close):
            raise Died
        return done

    async def die_at_both_steps() -> None:
        for target, name, dying in (
            (ledger, "append_one", dies_after_entries),
            (asyncpg.Connection, "execute", dies_after_the_cycle),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(target, name, dying)
                with pytest.raises(Died):
                    await club.worker().run_once()

    await die_at_both_steps()
    assert await club.shop.pg.fetchval("SELECT count(*) FROM plan_cycles") == 0
    club.now = at("2027-01-24T00:00")  # all have begun, one is closed
    while any(await asyncio.gather(club.worker().run_once(), club.worker().run_once())):
        pass
    club.now = at("2027-03-01T00:00")
    await die_at_both_steps()
    while any(await asyncio.gather(club.worker().run_once(), club.worker().run_once())):
        pass
    for customer in customers:
        assert await customer.ledger_nanos() == 3 * (10 - 30) * CENT
    kinds = await club.shop.pg.fetch("SELECT kind, count(*) FROM ledger_transactions GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in kinds] == [("commitment", 18), ("grant", 18)]
    await assert_books_balance(club.shop)


async def test_an_assignment_that_ends_and_another_plan(club: Club, owner: asyncpg.Connection) -> None:
    customer = await club.shop.customer(0)
    first, second = await club.plan(commit=300, grant=5), await club.plan(grant=7)
    on = await club.join(customer, first, "2027-04-01T00:00", "2027-04-10T12:00")
    after = await club.join(customer, second, "2027-04-10T12:00")
    assert await club.until("2027-04-12T00:00") == 3
    (cut,) = await club.cycles(on)
    assert (cut.ended_at, cut.due_nanos, cut.true_up_nanos) == (
        at("2027-04-10T12:00"),
        100 * CENT,
        100 * CENT,
    )
    await end_assignment(club.shop.pg, after)  # before it began, by the real clock
    await club.until("2027-09-01T00:00")
    assert [one.grant_nanos for one in await club.cycles(after)] == [7 * CENT]
    assert await customer.ledger_nanos() == (5 + 7 - 100) * CENT
    await assert_books_balance(club.shop)
    await owner.execute("UPDATE plan_cycles SET grant_nanos = grant_nanos + 1 WHERE assignment_id = $1", on)
    said = breaches(await audit(club.shop.pg, club.shop.link))
    assert said[3] == (
        f"account {customer.id}, transaction {cut.grant_transaction_id}: its billing cycle moved 50000001 nanos of USD,"
        " the ledger has 50000000"
    )
