"""`/v1/reports`: days of zones, groups, whose numbers are seen by whom, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api import reports as reports_module
from rabbitgw.billing.rollups import Rollups
from tests.api.conftest import ADMIN_KEY, Operator
from tests.api.test_usage_list import NASTY, table
from tests.billing.usage_history import book, call, call_id

if TYPE_CHECKING:
    from rabbitgw.stores import Pool


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


class Reader:
    """A credential and what it sees."""

    def __init__(self, operator: Operator, secret: str) -> None:
        self.client = operator.client
        self.secret = secret

    async def get(self, path: str, status: int = 200, **query: str | int) -> dict[str, Any]:
        params = {name.rstrip("_"): str(value) for name, value in query.items()}
        headers = {"x-api-key": self.secret}
        async with self.client.get(f"/v1/reports/{path}", params=params, headers=headers) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == status, body
            return body

    async def csv(self, path: str, **query: str) -> list[dict[str, str]]:
        params = {**query, "format": "csv"}
        async with self.client.get(
            f"/v1/reports/{path}", params=params, headers={"x-api-key": self.secret}
        ) as answer:
            assert (answer.status, answer.content_type) == (200, "text/csv"), await answer.text()
            assert path.partition("?")[0] in answer.headers["content-disposition"]
            return table(await answer.text())

    async def refused(self, path: str, **query: str) -> tuple[int, str]:
        params = {name.rstrip("_"): value for name, value in query.items()}
        async with self.client.get(
            f"/v1/reports/{path}", params=params, headers={"x-api-key": self.secret}
        ) as answer:
            body = await answer.json()
            assert body["error"]["field"] in body["error"]["message"]
            return answer.status, body["error"]["field"]

    async def costs(self, path: str, *fields: str, **query: str | int) -> dict[Any, int]:
        """What each group cost."""
        rows = (await self.get(path, **query))["rows"]
        return {
            row[fields[0]] if len(fields) == 1 else tuple(row[one] for one in fields): row["cost_nanos"]
            for row in rows
        }


@pytest.fixture
def admin(operator: Operator) -> Reader:
    return Reader(operator, ADMIN_KEY)


async def seen_both_ways(pg: Pool, look: Any) -> Any:
    """What is seen while changes wait to be added up, while half of them are, and when all are: the same."""
    waiting = await look()
    await Rollups(pg, rows_max=2).run_once()
    assert await look() == waiting
    rollups = Rollups(pg)
    while await rollups.run_once():
        pass
    assert await pg.fetchval("SELECT count(*) FROM usage_deltas") == 0
    assert await look() == waiting
    return waiting


# Calls at the edges of days, with costs that tell them apart: powers of ten.
ZONES = [
    # UTC+8 begins its 18th at 16:00 of the 17th.
    ("+08:00", "2026-11-17", "2026-11-18", [
        ("2026-11-17T15:59:59", 1), ("2026-11-17T16:00:00", 10), ("2026-11-18T15:59:59", 100),
        ("2026-11-18T16:00:00", 1000), ("2026-11-16T16:00:00", 10_000), ("2026-11-16T15:59:59", 100_000),
    ], {"2026-11-17": 10_001, "2026-11-18": 110}),
    # Kathmandu is 5:45 ahead.
    ("Asia/Kathmandu", "2026-11-18", "2026-11-18", [
        ("2026-11-17T18:14:59", 1), ("2026-11-17T18:15:00", 10), ("2026-11-18T18:14:59", 100),
        ("2026-11-18T18:15:00", 1000),
    ], {"2026-11-18": 110}),
    # Berlin's day of 25 hours: 22:00 to 23:00 UTC; and a day of 24 after it.
    ("Europe/Berlin", "2026-10-24", "2026-10-26", [
        ("2026-10-24T21:59:59", 1), ("2026-10-24T22:00:00", 10), ("2026-10-25T22:30:00", 100),
        ("2026-10-25T23:00:00", 1000),
        ("2026-10-26T22:59:59", 10_000), ("2026-10-26T23:00:00", 100_000),
    ], {"2026-10-24": 1, "2026-10-25": 110, "2026-10-26": 11_000}),
    # Its day of 23 hours: 23:00 to 22:00 UTC.
    ("Europe/Berlin", "2026-03-29", "2026-03-30", [
        ("2026-03-28T22:59:59", 1), ("2026-03-28T23:00:00", 10), ("2026-03-29T21:59:59", 100),
        ("2026-03-29T22:00:00", 1000),
    ], {"2026-03-29": 110, "2026-03-30": 1000}),
    # Cairo's clocks skip midnight: the day begins at one o'clock.
    ("Africa/Cairo", "2026-04-23", "2026-04-24", [
        ("2026-04-23T21:59:59", 1), ("2026-04-23T22:00:00", 10), ("2026-04-24T20:59:59", 100),
        ("2026-04-24T21:00:00", 1000),
    ], {"2026-04-23": 1, "2026-04-24": 110}),
]  # fmt: skip


async def test_days_are_those_of_the_zone(operator: Operator, admin: Reader, pg: Pool) -> None:
    for zone, first, last, calls, expected in ZONES:
        account_id, key_id, secret = await operator.account_with_key()
        whose = {"account_id": account_id, "key_id": key_id}
        await book(pg, [call(call_id(ms(at), account_id), cost_nanos=nanos, **whose) for at, nanos in calls])
        caller = Reader(operator, secret)
        days: dict[str, str | int] = {"from_": first, "to": last, "timezone": zone}

        async def look(
            caller: Reader = caller, days: dict[str, str | int] = days, key_id: int = key_id
        ) -> dict[Any, int]:
            of_account = await caller.costs("daily", "day", **days)
            assert await caller.costs("daily", "day", key_id=key_id, **days) == of_account
            total = (await caller.get("summary", **days))["totals"]
            assert total[0]["cost_nanos"] == sum(of_account.values())
            return of_account

        assert await seen_both_ways(pg, look) == expected, zone
    body = await admin.get("daily", from_="2026-10-25", to="2026-10-25", timezone="Europe/Berlin")
    assert (body["starts_at"], body["ends_at"]) == ("2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z")


async def test_sums_are_grouped_by_whatever_calls_have(operator: Operator, admin: Reader, pg: Pool) -> None:
    account_id, key_id, secret = await operator.account_with_key()
    second = (await operator.post("keys", {"account_id": account_id, "name": "k"}))["id"]
    other_account, other_key, other_secret = await operator.account_with_key()
    user = (await operator.post("users", {"account_id": account_id, "name": "Ann"}))["id"]
    team = await pg.fetchval("INSERT INTO teams (account_id, name) VALUES ($1, 't') RETURNING id", account_id)
    at = ms("2026-11-18T02:00:00")
    usage = {"cached_input_tokens": 40, "reasoning_tokens": 5}
    own = {"account_id": account_id, "key_id": key_id}
    await book(
        pg,
        [
            call(call_id(at, 1), cost_nanos=1, model="a", usage=usage, **own),
            call(call_id(at + 86_400_000, 2), cost_nanos=10, model="b", user_id=user, **own),
            call(
                call_id(at, 3), cost_nanos=100, model="a", user_id=user, account_id=account_id, key_id=second
            ),
            call(call_id(at, 4), cost_nanos=0, status="released", **own),
            call(call_id(at, 5), cost_nanos=1000, model="a", account_id=other_account, key_id=other_key),
        ],
    )
    await pg.execute("UPDATE usage SET team_id = $1 WHERE user_id = $2", team, user)
    caller = Reader(operator, secret)
    span: dict[str, str | int] = {"from_": "2026-11-18", "to": "2026-11-19"}

    async def look() -> dict[str, Any]:
        body = await caller.get("summary", **span)
        body.pop("request_id")
        return body

    assert await seen_both_ways(pg, look) == {
        "account_id": account_id, "team_id": None, "user_id": None, "key_id": None, "timezone": "+08:00",
        "from": "2026-11-18", "to": "2026-11-19", "starts_at": "2026-11-17T16:00:00.000Z",
        "ends_at": "2026-11-19T16:00:00.000Z", "group_by": [],
        "rows": (expected := [{
            "currency": "USD", "calls": 3, "released_calls": 1, "input_tokens": 300, "cached_input_tokens": 40,
            "cache_write_tokens": 0, "cache_write_1h_tokens": 0, "output_tokens": 60, "reasoning_tokens": 5,
            "audio_input_tokens": 0, "audio_output_tokens": 0, "images": 0, "audio_ms": 0,
            "characters": 0, "cost_nanos": 111, "cost": "0.000000111",
        }]),
        "totals": expected,
    }  # fmt: skip
    assert await caller.costs("summary", "model", group_by="model", **span) == {
        "a": 101,
        "b": 10,
        "gpt-4o": 0,
    }
    assert await caller.costs("summary", "day", group_by="day", **span) == {
        "2026-11-18": 101,
        "2026-11-19": 10,
    }
    assert await caller.costs("summary", "key_id", group_by="key", **span) == {key_id: 11, second: 100}
    assert await caller.costs("summary", "user_id", group_by="user", **span) == {None: 1, user: 110}
    assert await caller.costs("summary", "team_id", group_by="team", **span) == {None: 1, team: 110}
    by_day = await caller.costs("daily", "day", "key_id", group_by="key", **span)
    assert by_day == {("2026-11-18", key_id): 1, ("2026-11-18", second): 100, ("2026-11-19", key_id): 10}
    for whose, nanos in ({"user_id": user}, 110), ({"team_id": team}, 110), ({"key_id": second}, 100):
        assert (await caller.get("summary", **whose, **span))["totals"][0]["cost_nanos"] == nanos
        assert (await admin.get("summary", **whose, **span))["account_id"] == account_id
    assert await admin.costs("daily", "day", "model", group_by="model", **span) == {
        ("2026-11-18", "a"): 1101, ("2026-11-18", "gpt-4o"): 0, ("2026-11-19", "b"): 10,
    }  # fmt: skip
    assert (await admin.get("summary", account_id=other_account, **span))["totals"][0]["cost_nanos"] == 1000
    assert await Reader(operator, other_secret).costs("summary", "key_id", group_by="key", **span) == {
        other_key: 1000
    }
    # A call of a key with two tags is in two groups, and in the totals once.
    body = await caller.get("summary", group_by="tag,model", **span)
    assert {(row["tag"], row["model"]): row["cost_nanos"] for row in body["rows"]} == {
        (None, "a"): 101, (None, "b"): 10, (None, "gpt-4o"): 0,
    }  # fmt: skip
    assert body["totals"][0]["cost_nanos"] == 111


async def test_the_tags_are_those_that_a_key_has_now(operator: Operator, pg: Pool, dsn: str) -> None:
    account_id, key_id, secret = await operator.account_with_key()
    await tag(dsn, key_id, ["red", "blue", "red"])
    at = ms("2026-11-18T02:00:00")
    own = {"account_id": account_id, "key_id": key_id}
    await book(
        pg,
        [
            call(call_id(at, 1), cost_nanos=1, **own),
            call(call_id(at, 2), cost_nanos=10, account_id=account_id, key_id=key_id + 1000),
        ],
    )
    caller = Reader(operator, secret)
    span: dict[str, str | int] = {"from_": "2026-11-18", "to": "2026-11-18", "group_by": "tag"}
    assert await caller.costs("summary", "tag", **span) == {"blue": 1, "red": 1, None: 10}
    assert (await caller.get("summary", **span))["totals"][0]["cost_nanos"] == 11
    await tag(dsn, key_id, ["green"])
    assert await caller.costs("summary", "tag", **span) == {"green": 1, None: 10}


async def tag(dsn: str, key_id: int, tags: list[str]) -> None:
    import asyncpg

    db = await asyncpg.connect(dsn)
    try:
        await db.execute("UPDATE api_keys SET tags = $2 WHERE id = $1", key_id, tags)
    finally:
        await db.close()


async def test_days_without_calls_are_there(operator: Operator) -> None:
    _, _, secret = await operator.account_with_key()
    caller = Reader(operator, secret)
    body = await caller.get("daily")
    assert len(body["rows"]) == 30  # of the last thirty days
    assert {(row["calls"], row["currency"], row["cost"]) for row in body["rows"]} == {
        (0, "USD", "0.000000000")
    }
    assert (await caller.get("daily", from_="2023-06-01", to="2024-05-31"))["rows"][273][
        "day"
    ] == "2024-02-29"
    assert (await caller.get("daily", group_by="model"))["rows"] == []


async def test_a_period_stands_beside_the_one_before(operator: Operator, pg: Pool) -> None:
    account_id, key_id, secret = await operator.account_with_key()
    caller = Reader(operator, secret)
    costs = {"2028-01-31": 3, "2028-02-01": 10, "2028-02-29": 20, "2028-03-01": 100}
    own = {"account_id": account_id, "key_id": key_id}
    await book(
        pg, [call(call_id(ms(f"{day}T04:00:00")), cost_nanos=nanos, **own) for day, nanos in costs.items()]
    )

    async def of(**query: str) -> tuple[Any, ...]:
        body = await caller.get("period", **query)
        spans = [body["current"], body["previous"]]
        days = [f"{span['from']}..{span['to']}" for span in spans]
        nanos = [sum(total["cost_nanos"] for total in span["totals"]) for span in spans]
        change = [(one["cost_nanos"], one["cost_ratio"]) for one in body["change"]]
        return (body["period"], *days, *nanos, change)

    assert await of(period="month", day="2028-02-15") == (
        "month", "2028-02-01..2028-02-29", "2028-01-01..2028-01-31", 30, 3, [(27, "10.0000")],
    )  # fmt: skip
    assert await of(day="2028-01-31") == (
        "month", "2028-01-01..2028-01-31", "2027-12-01..2027-12-31", 3, 0, [(3, None)],
    )  # fmt: skip
    assert await of(period="week", day="2028-03-05") == (
        "week", "2028-02-28..2028-03-05", "2028-02-21..2028-02-27", 120, 0, [(120, None)],
    )  # fmt: skip
    assert await of(from_="2028-03-01", to="2028-03-02") == (
        "days", "2028-03-01..2028-03-02", "2028-02-28..2028-02-29", 100, 20, [(80, "5.0000")],
    )  # fmt: skip
    rows = await caller.csv("period", period="month", day="2028-02-15")
    assert [(row["span"], row["from"], row["cost_nanos"]) for row in rows] == [
        ("previous", "2028-01-01", "3"), ("current", "2028-02-01", "30"),
    ]  # fmt: skip


async def test_csv_has_the_same_rows_and_no_formula(operator: Operator, pg: Pool) -> None:
    account_id, key_id, secret = await operator.account_with_key()
    caller = Reader(operator, secret)
    at = ms("2026-11-18T02:00:00")
    own = {"account_id": account_id, "key_id": key_id}
    await book(pg, [call(call_id(at, n), model=text, **own) for n, text in enumerate(NASTY)])
    span = {"from": "2026-11-18", "to": "2026-11-18"}
    rows = await caller.csv("summary", group_by="model", **span)
    assert sorted(row["model"] for row in rows) == sorted([f"'{text}" for text in NASTY[:5]] + NASTY[5:])
    assert {(row["cost_nanos"], row["cost"], row["input_tokens"]) for row in rows} == {
        ("7", "0.000000007", "100")
    }
    said = (await caller.get("summary", group_by="model", **span))["rows"]
    assert sorted(row["model"] for row in said) == sorted(NASTY)
    daily = await caller.csv("daily", **span)
    assert [(row["day"], row["calls"], row["cost_nanos"]) for row in daily] == [("2026-11-18", "8", "56")]


async def test_of_another_account_nothing_is_known(operator: Operator, pg: Pool, admin: Reader) -> None:
    account_id, key_id, secret = await operator.account_with_key()
    other_account, other_key, _ = await operator.account_with_key()
    other_user = (await operator.post("users", {"account_id": other_account, "name": "Bo"}))["id"]
    other_team = await pg.fetchval(
        "INSERT INTO teams (account_id, name) VALUES ($1, 't') RETURNING id", other_account
    )
    caller = Reader(operator, secret)
    others = {"account_id": other_account, "key_id": other_key, "user_id": other_user, "team_id": other_team}
    for path in ("daily", "summary", "period", "budget"):
        for field, value in others.items():
            assert await caller.refused(path, **{field: str(value)}) == (404, field)
        assert await admin.refused(path, account_id=str(account_id), key_id=str(other_key)) == (404, "key_id")
        assert await admin.refused(path, user_id="4000") == (404, "user_id")
    assert await caller.refused("overdraft", account_id=str(other_account)) == (404, "account_id")
    assert (await caller.get("summary", account_id=account_id))["account_id"] == account_id
    assert (await caller.get("budget"))["key_id"] == key_id
    nobody = Reader(operator, "wrong")
    for path in ("daily", "summary", "period", "budget", "overdraft"):
        assert (await nobody.get(path, status=401))["error"]["code"] == "invalid_api_key"


WRONG = [
    ("daily", {"from": "2026-02-30"}, "from"),
    ("daily", {"from": "20261118"}, "from"),
    ("daily", {"to": "2026-11-18T00:00:00Z"}, "to"),
    ("daily", {"to": "1969-12-31"}, "to"),
    ("daily", {"from": "9999-12-31"}, "from"),
    ("daily", {"from": "2026-11-19", "to": "2026-11-18"}, "from"),
    ("daily", {"from": "2025-11-18", "to": "2026-11-19"}, "from"),
    ("summary", {"from": "2025-11-18", "to": "2026-11-19"}, "from"),
    ("summary", {"timezone": "Mars/Olympus"}, "timezone"),
    ("summary", {"timezone": "+08:07"}, "timezone"),
    ("summary", {"timezone": "+15:00"}, "timezone"),
    ("summary", {"timezone": "../UTC"}, "timezone"),
    ("summary", {"timezone": ""}, "timezone"),
    ("summary", {"group_by": "colour"}, "group_by"),
    ("summary", {"group_by": "model,"}, "group_by"),
    ("summary", {"group_by": "key,key"}, "group_by"),
    ("summary", {"key_id": "0"}, "key_id"),
    ("summary", {"limit": "5"}, "limit"),
    ("summary", {"format": "xml"}, "format"),
    ("period", {"period": "year"}, "period"),
    ("period", {"period": "month", "from": "2026-11-18"}, "period"),
    ("period", {"day": "2026-11-18", "to": "2026-11-18"}, "day"),
    ("period", {"day": "1970-01-01"}, "day"),
    ("budget", {"timezone": "UTC"}, "timezone"),
    ("overdraft", {"after": "17"}, "after"),
    ("overdraft", {"limit": "1001"}, "limit"),
    ("overdraft", {"key_id": "1"}, "key_id"),
]


async def test_a_wrong_parameter_is_named(
    operator: Operator, admin: Reader, pg: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, key_id, secret = await operator.account_with_key()
    caller = Reader(operator, secret)
    for path, query, field in WRONG:
        assert await caller.refused(path, **query) == (400, field), (path, query)
    assert await admin.refused("summary", group_by="key") == (400, "group_by")
    assert await admin.refused("budget") == (400, "account_id")
    at = ms("2026-11-18T02:00:00")
    own = {"account_id": account_id, "key_id": key_id}
    await book(pg, [call(call_id(at, n), model=f"m{n}", **own) for n in range(4)])
    monkeypatch.setattr(reports_module, "JSON_ROWS_MAX", 3)
    span = {"from": "2026-11-18", "to": "2026-11-18", "group_by": "model"}
    assert await caller.refused("summary", **span) == (400, "group_by")
    assert len(await caller.csv("summary", **span)) == 4
