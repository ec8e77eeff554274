"""Codes over HTTP: made, redeemed once however many ask, refused by one clear error each, guessed in vain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from rabbitgw.api.routes import SideDeps
from tests.api.conftest import Operator
from tests.books import Shop, assert_books_balance

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.stores import Pool

PATH = "credit-codes"
CREDIT = {"kind": "credit", "currency": "USD", "amount_nanos": 5_000_000_000}

Answer = tuple[int, dict[str, Any]]
Redeem = Callable[[str, str], Awaitable[Answer]]


@pytest.fixture
def redeem(client: TestClient[Any, Any]) -> Redeem:
    async def ask(secret: str, code: str) -> Answer:
        async with client.post(
            "/billing/redeem", json={"code": code}, headers={"x-api-key": secret}
        ) as answer:
            return answer.status, {**await answer.json(), "retry-after": answer.headers.get("retry-after")}

    return ask


async def made(operator: Operator, **fields: Any) -> list[dict[str, Any]]:
    return list((await operator.post(PATH, {**CREDIT, **fields}))["codes"])


async def bonus_lines(pg: Pool) -> list[tuple[str, str, int, int | None, int]]:
    rows = await pg.fetch(
        """SELECT t.kind, t.ref, e.transaction_id, e.account_id, e.amount_nanos
        FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id
        ORDER BY e.transaction_id, e.line"""
    )
    return [tuple(row) for row in rows]


async def test_of_two_hundred_redeems_at_once_one_wins(
    operator: Operator, redeem: Redeem, deps: SideDeps
) -> None:
    callers = [await operator.account_with_key() for _ in range(20)]
    (code,) = await made(operator)
    answers = await asyncio.gather(*(redeem(secret, code["code"]) for _, _, secret in callers * 10))
    assert Counter(status for status, _ in answers) == {200: 1, 409: 199}
    said = Counter(body["error"]["message"] for status, body in answers if status == 409)
    assert said == {"code: your account has used it already": 9, "code: it has been used": 190}
    (won,) = [body for status, body in answers if status == 200]
    assert won.items() >= {
        "currency": "USD", "credits_added_nanos": 5_000_000_000, "balance_nanos": 5_000_000_000, "balance": 5,
    }.items()  # fmt: skip
    balances = [
        (await operator.get("wallets", account_id=str(account_id)))["wallets"][0]["balance_nanos"]
        for account_id, _, _ in callers
    ]
    assert sorted(balances) == [0] * 19 + [5_000_000_000]
    winner = callers[balances.index(5_000_000_000)][0]
    transaction_id = won["ledger_transaction_id"]
    assert await bonus_lines(deps.pg) == [
        ("redeem", f"code:{code['id']}", transaction_id, winner, 5_000_000_000),
        ("redeem", f"code:{code['id']}", transaction_id, None, -5_000_000_000),
    ]
    (listed,) = (await operator.get(PATH))["codes"]
    assert listed == {**{name: code[name] for name in code if name != "code"}, "uses": 1}
    await assert_books_balance(Shop(deps.pg, deps.link, deps.scripts))


async def test_a_code_for_many_is_used_as_often_as_it_says(
    operator: Operator, redeem: Redeem, deps: SideDeps
) -> None:
    (code,) = await made(operator, uses_max=5, uses_per_account_max=2)
    callers = [await operator.account_with_key() for _ in range(3)]
    answers = await asyncio.gather(*(redeem(secret, code["code"]) for _, _, secret in callers * 3))
    assert Counter(status for status, _ in answers) == {200: 5, 409: 4}
    balances = [
        (await operator.get("wallets", account_id=str(account_id)))["wallets"][0]["balance_nanos"]
        for account_id, _, _ in callers
    ]
    assert sorted(balances) == [5_000_000_000, 10_000_000_000, 10_000_000_000]
    await assert_books_balance(Shop(deps.pg, deps.link, deps.scripts))


async def test_a_code_is_understood_as_people_type_it(operator: Operator, redeem: Redeem, pg: Pool) -> None:
    first, second = await made(operator, count=2)
    text = first["code"]
    assert (len(text), text.count("-"), first["prefix"]) == (24, 4, text[:4])
    _, _, secret = await operator.account_with_key()
    typed = text.replace("-", " ").lower().replace("0", "o").replace("1", "l")
    assert (await redeem(secret, f" {typed} "))[0] == 200
    assert (await redeem(secret, second["code"].replace("-", "")))[1]["balance_nanos"] == 10_000_000_000
    stored = "".join(str(dict(row)) for row in await pg.fetch("SELECT * FROM credit_codes"))
    assert text.replace("-", "")[4:] not in stored
    assert text[5:] not in stored


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"kind": "bonus"}, 409, "code: it is a bonus on a purchase: give it when you buy"),
        (
            {"kind": "bonus_percent", "amount_nanos": None, "percent": 10, "currency": None},
            409,
            "code: it is a bonus on a purchase: give it when you buy",
        ),
        ({"currency": "EUR"}, 409, "code: it is worth EUR, and this is paid in USD"),
        (
            {"amount_nanos": 9 * 10**18},
            409,
            "code: the wallet would hold more than its limit of 9000000000000000000 nanos",
        ),
    ],
)
async def test_what_cannot_be_redeemed_says_why(
    operator: Operator, redeem: Redeem, fields: dict[str, Any], status: int, message: str
) -> None:
    account_id, _, secret = await operator.account_with_key()
    credit = {"account_id": account_id, "currency": "USD", "amount_nanos": 1, "idempotency_key": "a"}
    await operator.post("wallets/credit", credit)
    (code,) = await made(operator, **fields)
    answered, body = await redeem(secret, code["code"])
    assert (answered, body["error"]["message"], body["error"]["field"]) == (status, message, "code")
    (listed,) = (await operator.get(PATH))["codes"]
    assert listed["uses"] == 0


async def test_an_expired_or_retired_code_is_no_longer_good(
    operator: Operator, redeem: Redeem, dsn: str
) -> None:
    _, _, secret = await operator.account_with_key()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    (expired,), (retired,) = [await made(operator, expires_at=soon), await made(operator, note="fair")]
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute("UPDATE credit_codes SET expires_at = now() WHERE id = $1", expired["id"])
    finally:
        await owner.close()
    first = await operator.post(f"{PATH}/{retired['id']}/retire")
    assert (first["note"], first["retired_at"] is None) == ("fair", False)
    assert (await operator.post(f"{PATH}/{retired['id']}/retire"))["retired_at"] == first["retired_at"]
    for code, message in ((expired, "code: it has expired"), (retired, "code: it is no longer good")):
        status, body = await redeem(secret, code["code"])
        assert (status, body["error"]["message"]) == (409, message)
    await operator.post(f"{PATH}/77/retire", status=404)


async def test_guessing_is_bounded_and_a_right_code_does_not_count(
    operator: Operator, redeem: Redeem
) -> None:
    _, _, guesser = await operator.account_with_key()
    _, _, other = await operator.account_with_key()
    good, last = await made(operator, count=2)
    wrong = "0000-0000-0000-0000-0000"
    assert (await redeem(guesser, "nonsense"))[1]["error"]["message"] == "code: there is no such code"
    assert (await redeem(guesser, good["code"]))[0] == 200
    tries = await asyncio.gather(*(redeem(guesser, wrong) for _ in range(40)))
    assert Counter(status for status, _ in tries) == {404: 19, 429: 21}
    status, body = await redeem(guesser, last["code"])
    assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 3500 <= int(body["retry-after"]) <= 3600
    assert (await redeem(other, last["code"]))[0] == 200


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "gift"}, "kind"),
        ({"currency": None}, "currency"),
        ({"currency": "usd"}, "currency"),
        ({"amount_nanos": None}, "amount_nanos"),
        ({"amount_nanos": 0}, "amount_nanos"),
        ({"percent": 5}, "percent"),
        ({"kind": "bonus_percent"}, "amount_nanos"),
        ({"kind": "bonus_percent", "amount_nanos": None, "percent": 1001}, "percent"),
        ({"count": 0}, "count"),
        ({"count": 1001}, "count"),
        ({"uses_max": 0}, "uses_max"),
        ({"uses_per_account_max": 1_000_001}, "uses_per_account_max"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"note": ""}, "note"),
        ({"code": "MINE"}, "code"),
    ],
)
async def test_a_wrong_field_is_named(operator: Operator, fields: dict[str, Any], field: str) -> None:
    refused = await operator.post(PATH, {**CREDIT, **fields}, status=400)
    assert refused["error"]["field"] == field
    assert (await operator.get(PATH))["codes"] == []
