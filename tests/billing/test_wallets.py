"""Credit: booked once per idempotency key, with its ledger lines and its number for Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rabbitgw.billing.accounts import Account, create_account
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.loading import load_account
from rabbitgw.billing.wallets import Wallet, booked_wallets, credit, live_wallets
from rabbitgw.errors import Conflict, RabbitError, RedisUnavailable, RequestInvalid
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

LIMIT = 9_000_000_000_000_000_000


@pytest.fixture
async def account(pg: Pool) -> Account:
    return await create_account(pg, "Acme")


async def give(pg: Pool, account: Account, amount_nanos: int, key: str) -> int:
    booked = await credit(pg, account, currency="USD", amount_nanos=amount_nanos, idempotency_key=key)
    return booked.balance_nanos


async def ledger_lines(pg: Pool) -> list[tuple[str, int | None, int]]:
    rows = await pg.fetch("SELECT * FROM ledger_entries ORDER BY transaction_id, line")
    return [(row["ledger_account"], row["account_id"], row["amount_nanos"]) for row in rows]


async def test_a_credit_is_two_lines_a_balance_and_a_number(pg: Pool, account: Account) -> None:
    assert await give(pg, account, 700, "a") == 700
    assert await give(pg, account, 1, "b") == 701
    assert await ledger_lines(pg) == [
        ("wallet", account.id, 700),
        ("credit:operator", None, -700),
        ("wallet", account.id, 1),
        ("credit:operator", None, -1),
    ]
    numbered = await pg.fetch("SELECT seq, amount_nanos, applied_at FROM wallet_credits ORDER BY seq")
    assert [tuple(row) for row in numbered] == [(1, 700, None), (2, 1, None)]
    assert await booked_wallets(pg, account.id) == [Wallet("USD", 701, 0)]


async def test_the_same_key_at_the_same_moment_books_once(pg: Pool, account: Account) -> None:
    balances = await asyncio.gather(*(give(pg, account, 5, "k") for _ in range(8)))
    assert balances == [5] * 8
    assert len(await ledger_lines(pg)) == 2


async def test_different_keys_at_the_same_moment_are_numbered_without_gaps(
    pg: Pool, account: Account
) -> None:
    await asyncio.gather(*(give(pg, account, 5, f"k{n}") for n in range(20)))
    assert await booked_wallets(pg, account.id) == [Wallet("USD", 100, 0)]
    numbers = await pg.fetch("SELECT seq FROM wallet_credits ORDER BY seq")
    assert [row["seq"] for row in numbers] == list(range(1, 21))


async def test_one_key_for_two_wallets_at_the_same_moment_credits_one(pg: Pool, account: Account) -> None:
    other = await create_account(pg, "Other")
    results = await asyncio.gather(
        *(give(pg, whose, 5, "k") for whose in (account, other) * 4), return_exceptions=True
    )
    assert results.count(5) == 4
    assert sum(isinstance(result, Conflict) for result in results) == 4
    assert len(await ledger_lines(pg)) == 2


async def test_a_wallet_has_a_limit(pg: Pool, account: Account) -> None:
    assert await give(pg, account, LIMIT, "a") == LIMIT
    with pytest.raises(RequestInvalid) as refused:
        await give(pg, account, 1, "b")
    assert refused.value.field == "amount_nanos"
    assert len(await ledger_lines(pg)) == 2
    assert await give(pg, account, LIMIT, "a") == LIMIT  # the first answer, again


async def test_a_refused_credit_leaves_its_key_free(pg: Pool, account: Account) -> None:
    for amount_nanos in (0, -1, LIMIT + 1):
        with pytest.raises(RabbitError):
            await give(pg, account, amount_nanos, "k")
    assert await give(pg, account, 3, "k") == 3


async def test_live_wallets_load_a_cold_account_and_follow_credits(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account
) -> None:
    async def live() -> list[Wallet]:
        return await live_wallets(pg, scripts, link, account_id=account.id, partition=account.partition)

    await give(pg, account, 10, "a")
    assert await live() == [Wallet("USD", 10, 0)]
    await give(pg, account, 5, "b")
    assert await Credits(pg, link).apply(account.id, "USD", account.partition) == 1
    assert await live() == [Wallet("USD", 15, 0)]
    present = scripts.names
    scripts.use(KeyNames(present.partitions, present.epoch + 1))
    with pytest.raises(RedisUnavailable, match="epoch"):
        await live()


async def test_a_load_carries_the_credits_that_it_saw(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account
) -> None:
    await give(pg, account, 10, "a")
    assert await load_account(pg, scripts, account.id) == "OK"
    await Credits(pg, link).run_once()
    name = scripts.names.partition[account.partition].account(account.id)
    assert await link.call("HMGET", name, "b:USD", "s:USD") == [b"10", b"1"]
