"""`GET /v1/usage`: whose bill lines are seen by whom, in pages and as CSV."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest

from rabbitgw.api import usage_list as usage_list_module
from rabbitgw.api.bill_views import BookedLine
from rabbitgw.api.usage_csv import COLUMNS, cell
from rabbitgw.api.usage_list import prefers_csv
from rabbitgw.billing import usage_list
from rabbitgw.billing.usage_list import UsageList
from rabbitgw.errors import PostgresUnavailable
from tests.api.conftest import ADMIN_KEY, Operator
from tests.billing.usage_history import book, call, call_id

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.stores import Pool

T0 = 1_795_000_000_000  # 2026-11-18T11:06:40Z


@dataclass
class Reader:
    """A credential and what it sees."""

    client: TestClient[Any, Any]
    secret: str
    account_id: int = 0
    key_id: int = 0

    def ask(self, query: str = "", **headers: str) -> Any:
        return self.client.get(f"/v1/usage?{query}", headers={"x-api-key": self.secret, **headers})

    async def page(self, query: str = "", status: int = 200) -> dict[str, Any]:
        async with self.ask(query) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == status, body
            return body

    async def ids(self, query: str = "") -> list[str]:
        return [line["id"] for line in (await self.page(query))["usage"]]

    async def csv(self, query: str = "", **headers: str) -> list[dict[str, str]]:
        async with self.ask(query, **headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "text/csv"
            return table(await answer.text())

    def call(self, hold_id: str, **facts: Any) -> dict[str, Any]:
        return call(hold_id, **{"account_id": self.account_id, "key_id": self.key_id, **facts})


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
async def caller(operator: Operator) -> Reader:
    account_id, key_id, secret = await operator.account_with_key()
    return Reader(operator.client, secret, account_id, key_id)


@pytest.fixture
async def other(operator: Operator) -> Reader:
    account_id, key_id, secret = await operator.account_with_key()
    return Reader(operator.client, secret, account_id, key_id)


@pytest.fixture
def admin(client: TestClient[Any, Any]) -> Reader:
    return Reader(client, ADMIN_KEY)


async def test_a_line_is_the_bill_line_of_its_call(caller: Reader, pg: Pool) -> None:
    facts = {"caller_request_id": "mine", "user_id": 6, "upstream_model": "gpt-4o-2026", "cost_nanos": 1234}
    usage = {"cached_input_tokens": 40, "server_tools": {"web_search_requests": 2}}
    await book(pg, [caller.call(call_id(T0), usage=usage, **facts)])
    page = await caller.page()
    (line,) = page["usage"]
    async with caller.client.get(f"/v1/usage/{line['id']}", headers={"x-api-key": caller.secret}) as answer:
        assert await answer.json() == line
    expected = {
        "request_id": call_id(T0),
        "account_id": caller.account_id,
        "key_id": caller.key_id,
        "user_id": 6,
        "caller_request_id": "mine",
        "status": "settled",
        "input_tokens": 100,
        "cached_input_tokens": 40,
        "cost_nanos": 1234,
        "upstream_model": "gpt-4o-2026",
        "tools": {"web_search_requests": 2},
    }
    assert line.items() >= expected.items()
    assert "error_code" not in line
    assert page["next"] is None


async def test_a_key_sees_the_calls_of_its_account_and_no_other(
    caller: Reader, other: Reader, admin: Reader, pg: Pool
) -> None:
    own, colleague, foreign = (call_id(T0, n) for n in (1, 2, 3))
    await book(
        pg, [caller.call(own), caller.call(colleague, key_id=caller.key_id + 100), other.call(foreign)]
    )
    assert await caller.ids() == [colleague, own]
    assert await caller.ids(f"key_id={caller.key_id}") == [own]
    assert await caller.ids(f"key_id={other.key_id}") == []
    assert await other.ids() == [foreign]
    assert [line["id"] for line in await other.csv("format=csv")] == [foreign]
    for account_id in (other.account_id, caller.account_id):
        refused = await caller.page(f"account_id={account_id}", status=400)
        assert refused["error"]["field"] == "account_id"
    assert await admin.ids() == [foreign, colleague, own]
    assert await admin.ids(f"account_id={other.account_id}") == [foreign]
    assert await admin.ids("account_id=77") == []


async def test_who_is_nobody_sees_nothing(client: TestClient[Any, Any], caller: Reader) -> None:
    for secret in ("", "wrong", caller.secret + "x", ADMIN_KEY[:-1]):
        refused = await Reader(client, secret).page(status=401)
        assert refused["error"]["code"] == "invalid_api_key"


async def test_pages_go_on_from_next_or_from_the_last_id(caller: Reader, pg: Pool) -> None:
    ids = [call_id(T0 + n) for n in range(250)]
    await book(pg, [caller.call(one) for one in ids])
    assert await caller.ids() == ids[:149:-1]  # a hundred, if it is not said
    seen: list[str] = []
    after = ""
    while True:
        page = await caller.page(f"limit=60{after}")
        seen += [line["id"] for line in page["usage"]]
        if page["next"] is None:
            break
        assert page["next"] == page["usage"][-1]["id"]
        after = f"&after={page['next']}"
    assert seen == ids[::-1]
    assert len(await caller.ids("limit=1000")) == 250


async def test_filters_and_times_come_from_the_query(caller: Reader, pg: Pool) -> None:
    first, second, third = (call_id(T0 + n * 1000) for n in range(3))
    await book(
        pg,
        [
            caller.call(first, model="claude-5", dialect="anthropic-messages", user_id=6),
            caller.call(second, status="partial", caller_request_id="a/b c", error_code="upstream_error"),
            caller.call(third),
        ],
    )
    assert await caller.ids("model=claude-*") == [first]
    assert await caller.ids("model=claude-5&status=settled&user_id=6") == [first]
    assert await caller.ids("status=partial") == [second]
    assert await caller.ids("dialect=anthropic-messages") == [first]
    assert await caller.ids(f"request_id={quote('a/b c', safe='')}") == [second]
    assert await caller.ids(f"from={T0 + 1000}") == [third, second]
    assert await caller.ids(f"to={T0 + 1000}") == [first]
    assert await caller.ids("from=2026-11-18T11:06:41Z&to=2026-11-18T11:06:42.000Z") == [second]
    shifted = quote("2026-11-18T19:06:41+08:00")
    assert await caller.ids(f"from={shifted}&to={T0 + 2000}") == [second]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=2", "page"),
        ("group_by=model", "group_by"),
        ("from_=1", "from_"),
        ("from=2026-11-18", "from"),
        ("from=2026-11-18T11:06:41", "from"),
        ("from=2026-11-18T19:06:41+08:00", "from"),  # the + is a blank here
        ("from=yesterday", "from"),
        ("from=-1", "from"),
        ("to=1e3", "to"),
        ("to=" + "9" * 5000, "to"),
        ("from=1969-01-01T00:00:00Z", "from"),
        ("from=2&to=1", "from"),
        ("from=", "from"),
        ("model=", "model"),
        ("model=" + "x" * 257, "model"),
        ("key_id=x", "key_id"),
        ("user_id=9223372036854775808", "user_id"),
        ("status=open", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1001&format=json", "limit"),
        ("limit=100001&format=csv", "limit"),
        ("after=x", "after"),
        ("format=xml", "format"),
        ("model=a&model=b", "model"),
        ("model=%00", "model"),
        ("request_id=", "request_id"),
    ],
)
async def test_a_wrong_parameter_is_named(caller: Reader, query: str, field: str) -> None:
    for accept in ("application/json", "text/csv"):
        if "limit=1001" in query and accept == "text/csv" and "format" not in query:
            continue
        async with caller.ask(query, accept=accept) as answer:
            body = await answer.json()
            assert (answer.status, body["error"]["field"]) == (400, field), body
            assert field in body["error"]["message"]


# -- CSV --


def test_the_columns_are_the_fields_of_a_bill_line() -> None:
    assert list(COLUMNS) == [name for name in BookedLine.model_fields if name != "request_id"]


async def test_csv_has_the_same_lines(caller: Reader, pg: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 7)
    calls = [caller.call(call_id(T0 + n), cost_nanos=n, caller_request_id=f"r{n}") for n in range(100)]
    await book(pg, calls)
    lines = (await caller.page("limit=1000"))["usage"]
    rows = await caller.csv("format=csv")
    assert len(rows) == 100
    for line, row in zip(lines, rows, strict=True):
        assert list(row) == list(COLUMNS)
        said = {
            name: str(value) for name, value in line.items() if value is not None and name != "request_id"
        }
        assert {name: text for name, text in row.items() if text} == said
    part = await caller.csv("format=csv&limit=11&from=" + str(T0 + 50))
    assert part == rows[:11]
    rest = await caller.csv(f"after={part[-1]['id']}", accept="text/csv")
    assert rest == rows[11:]


async def test_csv_is_a_file_with_the_ids_of_its_request(caller: Reader, pg: Pool) -> None:
    await book(pg, [caller.call(call_id(T0))])
    async with caller.ask("format=csv", **{"x-request-id": "mine-1"}) as answer:
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
        assert answer.headers["x-request-id"] == "mine-1"
        assert answer.headers["x-rabbitgw-request-id"]
        text = await answer.text()
        assert text.count("\r\n") == text.count("\n") == 2
    async with caller.client.head("/v1/usage?format=csv", headers={"x-api-key": caller.secret}) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "text/csv", b"")
    nothing = await caller.csv("format=csv&status=released")
    assert nothing == []


NASTY = [
    '=HYPERLINK("http://x")',
    "+1+1",
    "-2",
    "@SUM(A1)",
    "＝1+1",
    'a "quoted", and; comma\r\nand line',
    "a;=1+1",
    "plain=1",
]


async def test_no_cell_is_a_formula_and_none_breaks_out(caller: Reader, pg: Pool) -> None:
    calls = [caller.call(call_id(T0, n), model=text, upstream_model="\t=1") for n, text in enumerate(NASTY)]
    await book(pg, calls)
    rows = await caller.csv("format=csv")
    assert [row["model"] for row in rows[::-1]] == [f"'{text}" for text in NASTY[:5]] + NASTY[5:]
    assert {row["upstream_model"] for row in rows} == {"'\t=1"}
    assert {row["cost_nanos"] for row in rows} == {"7"}
    async with caller.ask("format=csv&limit=2") as answer:
        assert '"plain=1"' in (text := await answer.text())
        assert '"a;=1+1"' in text  # in quotes: one cell also to a program that splits at semicolons
    # in JSON every text is as it was sent
    assert [line["model"] for line in (await caller.page())["usage"]][::-1] == NASTY


def test_a_number_is_left_as_it_is() -> None:
    assert cell(-5) == -5
    assert cell(None) is None
    assert cell({"web_search_requests": 2}) == '{"web_search_requests":2}'


@pytest.mark.parametrize(
    ("accept", "as_csv"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv", True),
        ("Text/CSV; charset=utf-8", True),
        ("text/csv, */*;q=0.1", True),
        ("text/*", True),
        ("application/json, text/csv", False),
        ("application/json;q=0.5, text/csv", True),
        ("text/csv;q=0", False),
        ("text/csv;q=x", False),
        ("text/csv;q=²", False),
        (",;,", False),
    ],
)
def test_the_accept_header(accept: str, as_csv: bool) -> None:
    assert prefers_csv(accept) is as_csv


async def test_format_goes_before_accept(caller: Reader) -> None:
    async with caller.ask("format=json", accept="text/csv") as answer:
        assert answer.content_type == "application/json"
    async with caller.ask("format=csv", accept="application/json") as answer:
        assert answer.content_type == "text/csv"


async def test_a_long_csv_is_read_while_it_is_taken(
    caller: Reader, pg: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads nothing stops the reading; one that is gone ends it."""
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 10)
    await book(
        pg, [caller.call(call_id(T0 + n), model="m" * 256, upstream_model="u" * 256) for n in range(3000)]
    )
    batches = 0
    batch = UsageList.batch

    async def counted(self: UsageList, *args: Any) -> usage_list.Batch:
        nonlocal batches
        batches += 1
        return await batch(self, *args)

    monkeypatch.setattr(UsageList, "batch", counted)
    answer: aiohttp.ClientResponse = await caller.ask("format=csv")
    head = await answer.content.readexactly(1000)
    assert head.startswith(b'"id","account_id"')
    answer.close()
    before = -1
    while before != batches:  # until the reading has met the end of its client
        before = batches
        await asyncio.sleep(0.2)
    assert batches < 300
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 100)
    assert len(await caller.csv("format=csv")) == 3000


async def test_a_store_that_goes_away_midway_cuts_the_answer(
    caller: Reader, pg: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 10)
    await book(pg, [caller.call(call_id(T0 + n)) for n in range(100)])
    batch = UsageList.batch
    left = 3

    async def failing(self: UsageList, *args: Any) -> usage_list.Batch:
        nonlocal left
        left -= 1
        if left < 0:
            raise PostgresUnavailable("away")
        return await batch(self, *args)

    monkeypatch.setattr(UsageList, "batch", failing)
    async with caller.ask("format=csv") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert left == -1
    left = 0
    async with caller.ask("format=csv") as answer:  # at the first batch nothing is sent yet
        assert (answer.status, answer.content_type) == (503, "application/json")


async def test_a_csv_ends_at_its_limit(caller: Reader, pg: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_list_module, "CSV_ROWS_MAX", 25)
    monkeypatch.setattr(usage_list, "BATCH_ROWS", 10)
    await book(pg, [caller.call(call_id(T0 + n)) for n in range(40)])
    assert len(await caller.csv("format=csv")) == 25
    assert len(await caller.csv("format=csv&limit=20")) == 20
