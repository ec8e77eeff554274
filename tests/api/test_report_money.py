"""Reports against the books: late ends, redeliveries, budgets with open holds, and wallets below zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw import statements
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.rollups import LOCK_ID, Rollups
from rabbitgw.clock import now_ms
from tests.api.conftest import ADMIN_KEY, Operator
from tests.api.test_reports import Reader
from tests.billing.usage_history import book, call, call_id
from tests.books import Shop, assert_books_balance, drain

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.scripts import Scripts
    from rabbitgw.stores import Pool


@pytest.fixture
def shop(pg: Pool, link: RedisLink, scripts: Scripts) -> Shop:
    return Shop(pg, link, scripts)


@pytest.fixture
def admin(operator: Operator) -> Reader:
    return Reader(operator, ADMIN_KEY)


async def totals(admin: Reader, account_id: int) -> tuple[int, int, int, int]:
    """Calls, input tokens, output tokens and cost of the day."""
    today = datetime.now(UTC).date()
    span = {"from_": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1)), "timezone": "UTC"}
    by_key = await admin.get("summary", account_id=account_id, group_by="key", **span)
    assert (await admin.get("summary", account_id=account_id, **span))["totals"] == by_key["totals"]
    if not by_key["totals"]:
        return 0, 0, 0, 0
    (total,) = by_key["totals"]
    return total["calls"], total["input_tokens"], total["output_tokens"], total["cost_nanos"]


@pytest.mark.parametrize("folded", [False, True])
async def test_a_late_end_moves_the_report_by_the_difference_and_a_redelivery_by_nothing(
    shop: Shop, admin: Reader, folded: bool
) -> None:
    async def settle_books() -> None:
        await drain(shop.pg, shop.link)
        if folded:
            await Rollups(shop.pg).run_once()

    customer = await shop.customer(10_000)
    late = await customer.hold(500)
    await customer.deliver(late, 40)
    await customer.call(300)
    assert await customer.expire(late) == "OK"
    await settle_books()
    assert await totals(admin, customer.id) == (2, 100, 20, 340)
    assert await customer.settle(late, 200) == "LATE"
    await settle_books()
    assert await totals(admin, customer.id) == (2, 200, 40, 500)
    # What is delivered again was booked before.
    rows = await shop.pg.fetch("SELECT id, charge_nanos FROM usage")
    await book(
        shop.pg,
        [call(str(row["id"]), account_id=customer.id, cost_nanos=row["charge_nanos"]) for row in rows],
    )
    free = await customer.hold(50)
    assert await customer.release(free) == "OK"
    await settle_books()
    assert await totals(admin, customer.id) == (2, 200, 40, 500)
    await assert_books_balance(shop)
    # An expiry and its late end in one batch.
    both = await customer.hold(500)
    await customer.deliver(both, 40)
    await customer.expire(both)
    await customer.settle(both, 60)
    await settle_books()
    assert await totals(admin, customer.id) == (3, 300, 60, 560)
    await assert_books_balance(shop)


async def test_a_correction_is_of_the_day_of_its_call(shop: Shop, admin: Reader) -> None:
    """That the sums are then those of the ledger is asserted wherever calls are corrected."""
    customer = await shop.customer(10_000)
    ids = [call_id(1_795_000_000_000 + 86_400_000 * day) for day in range(2)]
    await book(shop.pg, [call(one, account_id=customer.id, cost_nanos=100) for one in ids])
    run = await shop.pg.fetchval(
        "INSERT INTO rerates (idempotency_key, request_sha256, wrong_version, right_version, last_id, left_out)"
        " VALUES ('k', $1, 1, 2, $2, '{}') RETURNING id",
        bytes(32),
        ids[0],
    )
    for number, old, new in ((1, 100, 30), (2, 30, 250), (3, 250, 250)):
        await shop.pg.execute(
            "INSERT INTO corrections VALUES ($1, $2, $3, $4, 'USD', 1, 2, $5, $6, $7)",
            ids[0], number, run, customer.id, old, new, None if old == new else 1,
        )  # fmt: skip
    span: dict[str, str | int] = {"from_": "2026-11-18", "to": "2026-11-19", "account_id": customer.id}
    for _ in range(2):
        body = await admin.get("daily", **span)
        assert [(row["calls"], row["cost_nanos"]) for row in body["rows"]] == [(1, 250), (1, 100)]
        await Rollups(shop.pg).run_once()


async def test_the_audit_notices_a_rollup_that_is_not_the_sum(shop: Shop, dsn: str) -> None:
    import asyncpg

    customer = await shop.customer(10_000)
    await customer.call(300)
    await drain(shop.pg, shop.link)
    await Rollups(shop.pg).run_once()
    await assert_books_balance(shop)
    owner = await asyncpg.connect(dsn)
    await owner.execute("UPDATE usage_rollups SET charge_nanos = 299 WHERE scope = 2 AND grain = 32")
    await owner.close()
    with pytest.raises(AssertionError, match=r"rollups \(2/32\) have 299 in 1"):
        await assert_books_balance(shop)


async def test_one_worker_adds_up_at_a_time_and_no_sum_is_too_large(shop: Shop, admin: Reader) -> None:
    customer = await shop.customer(10_000)
    day = 1_795_000_000_000
    most = {"cached_input_tokens": 2**63 - 1}
    await book(
        shop.pg,
        [call(call_id(day, n), account_id=customer.id, cost_nanos=9 * 10**18, usage=most) for n in range(3)],
    )
    async with shop.pg.acquire() as other, other.transaction():
        await other.fetchval("SELECT pg_advisory_xact_lock($1)", LOCK_ID)
        assert await Rollups(shop.pg).run_once() == 0
    assert await Rollups(shop.pg).run_once() == 3
    body = await admin.get("summary", account_id=customer.id, from_="2026-11-18", to="2026-11-18")
    (total,) = body["totals"]
    assert (total["calls"], total["cached_input_tokens"]) == (3, 2**63 - 1)
    assert (total["cost_nanos"], total["cost"]) == (2**63 - 1, "27000000000.000000000")
    assert (
        await shop.pg.fetchval("SELECT max(cached_input_tokens) FROM usage_rollups") == 27670116110564327421
    )


async def test_a_budget_is_limit_used_and_held(shop: Shop, admin: Reader, operator: Operator) -> None:
    customer = await shop.customer(10_000)
    pg = shop.pg
    windows = {}
    user = (await operator.post("users", {"account_id": customer.id, "name": "Ann"}))["id"]
    team = await pg.fetchval(
        "INSERT INTO teams (account_id, name) VALUES ($1, 't') RETURNING id", customer.id
    )
    await pg.execute("UPDATE users SET team_id = $1 WHERE id = $2", team, user)
    made = await operator.post("keys", {"account_id": customer.id, "name": "k", "user_id": user})
    for level, owner in (("account", None), ("team", team), ("user", user), ("key", made["id"])):
        column = f"{level}_id" if owner else "key_id"
        windows[level] = await pg.fetchval(
            f"INSERT INTO windows (account_id, kind, limit_nanos, {column}, extra_nanos, extra_until)"
            " VALUES ($1, 'lifetime', 1000, $2, 1000, now() + interval '1 hour') RETURNING id",
            customer.id,
            owner,
        )
    daily = await pg.fetchval(
        "INSERT INTO windows (account_id, kind, limit_nanos) VALUES ($1, 'day', 0) RETURNING id", customer.id
    )
    customer.windows = list(windows.values())
    await customer.call(500)
    await drain(pg, shop.link)
    await customer.hold(250)
    body = await admin.get("budget", key_id=made["id"])
    found = {one["window_id"]: one for one in body["windows"]}
    assert list(found) == [*windows.values(), daily]
    for level, window_id in windows.items():
        one = found[window_id]
        assert (one["level"], one["span"], one["resets_at"]) == (level, "life", None)
        assert (one["limit_nanos"], one["extra_nanos"], one["used_nanos"]) == (1000, 1000, 500)
        assert (one["held_nanos"], one["remaining_nanos"], one["share"]) == (250, 1250, "0.3750")
    assert (found[daily]["share"], found[daily]["remaining_nanos"], found[daily]["held_nanos"]) == (
        None,
        0,
        0,
    )
    assert found[daily]["resets_at"].endswith("T16:00:00.000Z")
    above: list[tuple[dict[str, str | int], list[str]]] = [
        ({"account_id": customer.id}, ["account"]),
        ({"team_id": team}, ["account", "team"]),
        ({"user_id": user}, ["account", "team", "user"]),
    ]
    for whose, levels in above:
        body = await admin.get("budget", **whose)
        ids = [windows[level] for level in levels]
        assert [one["window_id"] for one in body["windows"]] == [*ids, daily]
    rows = await Reader(operator, made["key"]).csv("budget")
    assert [row["remaining_nanos"] for row in rows] == ["1250"] * 4 + ["0"]
    # An account that Redis does not have: what is held is not known.
    await shop.link.call("DEL", customer.key)
    body = await admin.get("budget", account_id=customer.id)
    assert [(one["held_nanos"], one["remaining_nanos"]) for one in body["windows"]] == [
        (None, 1500),
        (None, 0),
    ]


async def test_a_budget_knows_every_kind_and_the_windows_of_plans(shop: Shop, admin: Reader) -> None:
    customer = await shop.customer(10_000)
    made = [
        await shop.pg.fetchval(
            "INSERT INTO windows (account_id, kind, limit_nanos) VALUES ($1, $2, 1000) RETURNING id",
            customer.id,
            kind,
        )
        for kind in ("week", "month", "5h")
    ]
    assignments = []
    for plan, end in (("now", None), ("over", "now()")):
        plan_id = await shop.pg.fetchval(
            "INSERT INTO plans (name, type, currency) VALUES ($1, 'daily_limit', 'USD') RETURNING id", plan
        )
        await shop.pg.execute(
            "INSERT INTO plan_daily_limits (plan_id, limit_nanos, zone, reset_time)"
            " VALUES ($1, 4000, 'UTC', '06:00')",
            plan_id,
        )
        assignments.append(
            await shop.pg.fetchval(
                "INSERT INTO plan_assignments (plan_id, account_id, effective_from, effective_to)"
                f" VALUES ($1, $2, now(), {end or 'NULL'}) RETURNING id",
                plan_id,
                customer.id,
            )
        )
        await shop.pg.execute(
            "INSERT INTO windows (account_id, kind, assignment_id) VALUES ($1, 'day', $2)",
            customer.id,
            assignments[-1],
        )

    async def seen() -> list[tuple[Any, ...]]:
        windows = (await admin.get("budget", account_id=customer.id))["windows"]
        return [
            (one["kind"], one["limit_nanos"], one["held_nanos"], (one["resets_at"] or "")[11:])
            for one in windows
        ]

    calendar = [("week", 1000, 0, "16:00:00.000Z"), ("month", 1000, 0, "16:00:00.000Z")]
    of_plan = ("day", 4000, 0, "06:00:00.000Z")
    assert await seen() == [*calendar, ("5h", 1000, 0, ""), of_plan]
    # One of five hours is open since a call opened it.
    opened_ms = now_ms() // 1000 * 1000 - 3_600_000
    counter = f"w:{made[2]}:{opened_ms}"
    await shop.link.call("HSET", customer.key, f"ws:{made[2]}", opened_ms, counter, 70)
    ends = datetime.fromtimestamp(opened_ms / 1000 + 5 * 3600, UTC).strftime("%H:%M:%S.000Z")
    assert await seen() == [*calendar, ("5h", 1000, 70, ends), of_plan]
    await shop.link.call("HSET", customer.key, f"ws:{made[2]}", opened_ms - 5 * 3_600_000)
    assert await seen() == [*calendar, ("5h", 1000, 0, ""), of_plan]


async def test_an_overdraft_is_since_when_and_how_much(shop: Shop, admin: Reader) -> None:
    never = await shop.customer(1000)
    await never.call(10)
    paid = await shop.customer(100)
    deep = await shop.customer(100)
    for customer in (paid, deep):
        hold_id = await customer.hold(90)
        await customer.settle(hold_id, 150)
        await drain(shop.pg, shop.link)
    went_below = await shop.pg.fetchval(
        "SELECT max(created_at) FROM ledger_entries WHERE account_id = $1", deep.id
    )
    await paid.credit(70)
    await Credits(shop.pg, shop.link).run_once()
    await deep.credit(20)
    await Credits(shop.pg, shop.link).run_once()
    body = await admin.get("overdraft")
    first, second = body["wallets"]
    assert body["next"] is None
    assert first == {
        "account_id": paid.id, "currency": "USD", "balance_nanos": 20, "balance": "0.000000020",
        "overdrawn_nanos": 0, "overdrawn": "0.000000000", "worst_nanos": -50, "worst": "-0.000000050", "since": None,
    }  # fmt: skip
    assert second["account_id"] == deep.id
    assert (second["balance"], second["overdrawn_nanos"], second["worst_nanos"]) == ("-0.000000030", 30, -50)
    assert second["since"] == went_below.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    page = await admin.get("overdraft", limit=1)
    assert (page["wallets"], page["next"]) == ([first], f"{paid.id}:USD")
    assert (await admin.get("overdraft", limit=1, after=page["next"]))["wallets"] == [second]
    assert (await admin.get("overdraft", account_id=deep.id))["wallets"] == [second]
    await shop.pg.execute(  # as a booking makes one that is missing
        statements.books.move_wallets, [deep.id, deep.id], ["EUR", "USD"], [-5, 0], [0, 0]
    )
    made = (await admin.get("overdraft", account_id=deep.id))["wallets"]
    assert [(one["currency"], one["overdrawn_nanos"], one["since"] is None) for one in made] == [
        ("EUR", 5, False), ("USD", 30, False),
    ]  # fmt: skip
    await shop.pg.execute(statements.books.move_wallets, [deep.id], ["EUR"], [5], [0])
    assert [row["balance"] for row in await admin.csv("overdraft")] == ["0.000000020", "-0.000000030"]
    await assert_books_balance(shop)
