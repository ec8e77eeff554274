"""`/v1/reports/margin`: charged beside cost upstream, over the calls of which that is known; for operators alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import ADMIN_KEY, Operator
from tests.api.test_reports import Reader, ms, seen_both_ways
from tests.billing.usage_history import book, call, call_id

if TYPE_CHECKING:
    from rabbitgw.stores import Pool

DAYS = {"from": "2026-11-17", "to": "2026-11-18", "timezone": "UTC"}


@pytest.fixture
def admin(operator: Operator) -> Reader:
    return Reader(operator, ADMIN_KEY)


def at(moment: str, number: int, **facts: Any) -> dict[str, Any]:
    return call(call_id(ms(f"2026-11-{moment}"), number), **facts)


async def booked(operator: Operator, pg: Pool) -> tuple[int, int, int]:
    """Account and two keys."""
    account_id = (await operator.post("accounts", {"name": "a"}))["id"]
    first, second = [
        (await operator.post("keys", {"account_id": account_id, "name": "k"}))["id"] for _ in "12"
    ]
    of: dict[str, Any] = {"account_id": account_id, "key_id": first}
    pieces: dict[str, Any] = {"seconds_milli": 1_500}
    await book(
        pg,
        [
            at("17T10:00:00", 1, cost_nanos=1_000, upstream_cost_nanos=600, **of),
            at("17T10:00:01", 2, cost_nanos=500, upstream_cost_nanos=0, model="m", usage=pieces, **of),
            at("18T10:00:00", 3, cost_nanos=300, **of),  # upstream did not say
            at("18T10:00:01", 4, cost_nanos=100, upstream_cost_nanos=150, **of | {"key_id": second}),
            at("18T10:00:02", 5, cost_nanos=0, status="released", upstream_cost_nanos=9, **of),
            at("19T10:00:00", 6, cost_nanos=9_999, upstream_cost_nanos=1, **of),  # of another day
        ],
    )
    return account_id, first, second


async def test_a_margin_is_over_the_calls_of_known_cost(operator: Operator, admin: Reader, pg: Pool) -> None:
    account_id, first, second = await booked(operator, pg)

    async def look() -> list[dict[str, Any]]:
        reports = [
            await admin.get("margin", account_id=account_id, **DAYS, **grouped)
            for grouped in ({}, {"group_by": "day"}, {"group_by": "model,key"}, {"key_id": second})
        ]
        return [{name: value for name, value in report.items() if name != "request_id"} for report in reports]

    whole, by_day, by_model_and_key, of_key = await seen_both_ways(pg, look)
    total = {
        "currency": "USD",
        "calls": 4,
        "calls_without_cost": 1,
        "revenue_nanos": 1_900,
        "costed_revenue_nanos": 1_600,
        "upstream_cost_nanos": 750,
        "margin_nanos": 850,
        "margin": "0.000000850",
        "margin_ratio": "0.5312",
    }
    assert whole["totals"] == whole["rows"] == [total]
    days = [(row["day"], row["margin_nanos"], row["calls_without_cost"]) for row in by_day["rows"]]
    assert days == [("2026-11-17", 900, 0), ("2026-11-18", -50, 1)]
    groups = {(row["model"], row["key_id"]): row["margin_ratio"] for row in by_model_and_key["rows"]}
    assert groups == {("gpt-4o", first): "0.4000", ("gpt-4o", second): "-0.5000", ("m", first): "1.0000"}
    assert by_day["totals"] == by_model_and_key["totals"] == [total]
    assert (of_key["totals"][0]["revenue_nanos"], of_key["key_id"]) == (100, second)
    rows = await admin.csv(f"margin?account_id={account_id}", group_by="day,key", **DAYS)
    assert list(rows[0])[:3] == ["day", "key_id", "currency"]
    assert [(row["day"], row["key_id"], row["margin"]) for row in rows] == [
        ("2026-11-17", str(first), "0.000000900"),
        ("2026-11-18", str(first), "0.000000000"),
        ("2026-11-18", str(second), "-0.000000050"),
    ]
    sums = await admin.get("summary", account_id=account_id, **DAYS)
    assert (sums["totals"][0]["audio_ms"], "upstream_cost_nanos" in sums["totals"][0]) == (1_500, False)


async def test_what_upstream_costs_is_for_operators_alone(
    operator: Operator, admin: Reader, pg: Pool
) -> None:
    account_id, _, _ = await booked(operator, pg)
    key = (await operator.post("keys", {"account_id": account_id, "name": "k"}))["key"]
    caller = Reader(operator, key)
    async with operator.client.get("/v1/reports/margin", headers={"x-api-key": key}) as answer:
        assert answer.status in (401, 403)
    assert "cost" not in str(
        (await caller.get("summary", **DAYS))["totals"][0].keys() - {"cost", "cost_nanos"}
    )
    async with operator.client.get("/v1/usage", headers={"x-api-key": key}) as answer:
        assert "upstream_cost" not in await answer.text()
    assert await admin.refused("margin", group_by="tag") == (400, "group_by")
    assert await admin.refused("margin", key_id="999") == (404, "key_id")
