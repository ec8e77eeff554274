"""GET /v1/ledger and GET /v1/wallets: whose they are, in which order, in pages that lose and repeat nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api.routes import SideDeps
from rabbitgw.billing import ledger, ledger_list
from rabbitgw.billing.ledger_list import Place, Wanted
from rabbitgw.billing.moves import put
from rabbitgw.stores import transaction
from tests.api.conftest import ADMIN_KEY, Operator
from tests.books import Shop, assert_books_balance

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

Ask = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]
Shown = tuple[int, int, str, str]


@pytest.fixture
def ask(client: TestClient[Any, Any]) -> Ask:
    async def get(path: str, secret: str = ADMIN_KEY, **query: str) -> tuple[int, dict[str, Any]]:
        async with client.get(path, params=query, headers={"x-api-key": secret}) as answer:
            return answer.status, await answer.json()

    return get


async def credit(operator: Operator, account_id: int, amount_nanos: int, ref: str) -> None:
    body = {"account_id": account_id, "currency": "USD", "amount_nanos": amount_nanos}
    await operator.post("wallets/credit", {**body, "idempotency_key": ref})


async def transfer(deps: SideDeps, account_id: int) -> None:
    """Two lines of one wallet in one transaction: -5 and +3."""
    lines = ledger.charge_lines(account_id, "USD", charged_nanos=5, returned_nanos=3)
    async with transaction(deps.pg) as db:
        await put(
            db,
            account_id=account_id,
            currency="USD",
            amount_nanos=-2,
            lines=lines,
            kind="transfer",
            ref="r1",
        )


async def history(operator: Operator, deps: SideDeps) -> tuple[int, str, int, list[Shown]]:
    """An account, its key, another account, and what stands in the first one's ledger."""
    mine, _, secret = await operator.account_with_key()
    other, _, _ = await operator.account_with_key()
    await credit(operator, mine, 100, "a")
    await credit(operator, other, 70, "b")
    await transfer(deps, mine)
    await credit(operator, mine, 50, "c")
    return mine, secret, other, [
        (mine, 50, "credit", "c"), (mine, 3, "transfer", "r1"), (mine, -5, "transfer", "r1"),
        (mine, 100, "credit", "a"),
    ]  # fmt: skip


def lines(body: dict[str, Any]) -> list[Shown]:
    return [(one["account_id"], one["amount_nanos"], one["kind"], one["ref"]) for one in body["entries"]]


async def pages(ask: Ask, secret: str, **query: str) -> tuple[list[Shown], list[int]]:
    """All lines, by `next`, and how many each page had."""
    found: list[Shown] = []
    sizes: list[int] = []
    while True:
        status, body = await ask("/v1/ledger", secret, **query)
        assert status == 200, body
        found += lines(body)
        sizes.append(len(body["entries"]))
        if body["next"] is None:
            return found, sizes
        query["after"] = body["next"]


async def test_a_caller_sees_their_own_lines_newest_first_in_pages(
    operator: Operator, ask: Ask, deps: SideDeps
) -> None:
    _, secret, _, expected = await history(operator, deps)
    _, whole = await ask("/v1/ledger", secret)
    assert (lines(whole), whole["next"]) == (expected, None)
    first = whole["entries"][0]
    assert set(first) == {"id", "account_id", "currency", "amount_nanos", "kind", "ref", "created_at"}
    ids = [one["id"] for one in whole["entries"]]
    assert ids[1].split("-") == [ids[2].split("-")[0], "3"]
    assert ids[2].split("-")[1] == "1"
    assert await pages(ask, secret, limit="1") == (expected, [1, 1, 1, 1, 0])
    assert await pages(ask, secret, limit="3") == (expected, [3, 1])
    for place, after in enumerate(ids, 1):
        assert lines((await ask("/v1/ledger", secret, after=after))[1]) == expected[place:]
    await assert_books_balance(Shop(deps.pg, deps.link, deps.scripts))


async def test_the_operator_sees_every_account_or_one(operator: Operator, ask: Ask, deps: SideDeps) -> None:
    mine, secret, other, expected = await history(operator, deps)
    everyone = [*expected[:3], (other, 70, "credit", "b"), expected[3]]
    assert await pages(ask, ADMIN_KEY) == (everyone, [5])
    assert await pages(ask, ADMIN_KEY, limit="2") == (everyone, [2, 2, 1])
    assert await pages(ask, ADMIN_KEY, account_id=str(mine)) == (expected, [4])
    assert await pages(ask, ADMIN_KEY, account_id=str(mine), currency="EUR") == ([], [0])
    assert (await ask("/v1/ledger", account_id="77"))[0] == 404
    status, refused = await ask("/v1/ledger", secret, account_id=str(mine))
    assert (status, refused["error"]["field"]) == (400, "account_id")


async def test_filters_choose_and_times_are_from_and_before(
    operator: Operator, ask: Ask, deps: SideDeps
) -> None:
    mine, secret, other, expected = await history(operator, deps)
    transfers = expected[1:3]
    assert await pages(ask, secret, kind="transfer") == (transfers, [2])
    assert await pages(ask, secret, kind="refund") == ([], [0])
    assert await pages(ask, ADMIN_KEY, kind="credit", currency="USD", limit="1") == (
        [expected[0], (other, 70, "credit", "b"), expected[3]],
        [1, 1, 1, 0],
    )
    at = [
        str(int(row["created_at"].timestamp() * 1000))
        for row in await deps.pg.fetch(
            "SELECT created_at FROM ledger_transactions WHERE account_id = $1 ORDER BY id", mine
        )
    ]
    assert expected[3] not in (await pages(ask, secret, **{"from": str(int(at[0]) + 1)}))[0]
    assert await pages(ask, secret, **{"from": at[0], "to": "9999-01-01T00:00:00Z"}) == (expected, [4])
    assert await pages(ask, secret, to=at[0]) == ([], [0])
    assert await pages(ask, secret, **{"from": "2099-01-01T00:00:00Z"}) == ([], [0])
    for query, field in (
        ({"from": "2", "to": "1"}, "from"), ({"kind": "Credit"}, "kind"), ({"limit": "1001"}, "limit"),
        ({"after": "12"}, "after"), ({"currency": "usd"}, "currency"), ({"user_id": "1"}, "user_id"),
    ):  # fmt: skip
        status, refused = await ask("/v1/ledger", secret, **query)
        assert (status, refused["error"]["field"]) == (400, field)


async def test_what_is_rare_is_looked_for_in_bounded_looks(
    operator: Operator, ask: Ask, deps: SideDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_list, "SCAN_ROWS", 2)
    monkeypatch.setattr(ledger_list, "SCANS_PER_PAGE", 2)
    mine, _, secret = await operator.account_with_key()
    await transfer(deps, mine)
    for number in range(10):
        await credit(operator, mine, 1 + number, str(number))
    await transfer(deps, mine)
    expected = [(mine, 3, "transfer", "r1"), (mine, -5, "transfer", "r1")]
    assert await pages(ask, secret, kind="transfer") == (expected * 2, [2, 0, 0, 2])
    assert await pages(ask, ADMIN_KEY, currency="EUR") == ([], [0, 0, 0, 0])
    assert await pages(ask, secret, kind="transfer", limit="1") == (expected * 2, [1, 1, 0, 0, 1, 1, 0])


def test_whole_months_are_looked_at() -> None:
    def utc(*when: int) -> datetime:
        return datetime(*when, tzinfo=UTC)

    always = (utc(1970, 1, 1), utc(9999, 12, 1))
    assert Wanted().months == always
    assert Wanted(at_or_after=utc(2026, 11, 30, 23)).months == (utc(2026, 11, 1), always[1])
    assert Wanted(before=utc(2026, 12, 31, 23)).months == (always[0], utc(2027, 1, 1))
    assert Wanted(before=utc(2027, 1, 31)).months == (always[0], utc(2027, 2, 1))
    assert Wanted(at_or_after=utc(9999, 12, 31), before=utc(9999, 12, 31)).months == (utc(9999, 12, 1),) * 2
    assert Place.read("1841-12") == (1841, 12)


async def test_the_operator_asks_for_wallets_by_account_or_by_user(operator: Operator, ask: Ask) -> None:
    mine, _, secret = await operator.account_with_key()
    other, _, _ = await operator.account_with_key()
    user_id = (await operator.post("users", {"account_id": other, "name": "Ann"}))["id"]
    await credit(operator, other, 70, "b")
    status, own = await ask("/v1/wallets", secret)
    assert (status, own["account_id"], own["wallets"][0]["balance_nanos"]) == (200, mine, 0)
    for query in ({"account_id": str(other)}, {"user_id": str(user_id)}):
        status, body = await ask("/v1/wallets", **query)
        assert (status, body["account_id"], body["wallets"][0]["balance_nanos"]) == (200, other, 70)
        assert (await ask("/v1/wallets", secret, **query))[0] == 400
    assert (await ask("/v1/wallets", account_id="77"))[0] == 404
    assert (await ask("/v1/wallets", user_id="77"))[0] == 404
    assert (await ask("/v1/wallets"))[0] == 400
    assert (await ask("/v1/wallets", account_id=str(other), user_id=str(user_id)))[0] == 400
