"""What an account's hash holds after a load."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from rabbitgw.billing.accounts import Account, create_account
from rabbitgw.billing.key_push import push_key
from rabbitgw.billing.keys import CreatedKey, NewKey, create_key, revoke_key
from rabbitgw.billing.loading import AccountLoader, account_fields, load_account
from rabbitgw.errors import NotFound
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


@pytest.fixture
async def account(pg: Pool) -> Account:
    return await create_account(pg, "Acme")


@pytest.fixture
async def key(pg: Pool, account: Account) -> CreatedKey:
    return await create_key(pg, NewKey(account.id, "k", lifetime_limit_nanos=100, daily_limit_nanos=50))


async def hash_of(link: RedisLink, scripts: Scripts, account: Account) -> dict[str, str]:
    name = scripts.names.partition[account.partition].account(account.id)
    flat = await link.call("HGETALL", name)
    return {field.decode(): value.decode() for field, value in zip(flat[::2], flat[1::2], strict=True)}


async def test_all_facts_of_one_moment_are_loaded(
    dsn: str, pg: Pool, link: RedisLink, scripts: Scripts, account: Account, key: CreatedKey
) -> None:
    revoked = await create_key(pg, NewKey(account.id, "old"))
    await revoke_key(pg, revoked.id)
    life, day = [row["id"] for row in await pg.fetch("SELECT id FROM windows ORDER BY id")]
    spans = [(life, "life", 70), (day, "2026-11-19", 1), (day, "2026-11-20", 20), (day, "2026-11-21", 30)]
    owner = await asyncpg.connect(dsn)  # the application's role moves money through the books only
    await owner.executemany("INSERT INTO window_spans VALUES ($1, $2, $3)", spans)
    await owner.execute("UPDATE wallets SET balance_nanos = -3, worst_nanos = -8, credit_seq = 4")
    await owner.execute("UPDATE wallets SET below_since = '2026-11-21T00:00:00+08:00'")
    await owner.close()

    assert await load_account(pg, scripts, account.id) == "OK"
    assert await hash_of(link, scripts, account) == {
        "b:USD": "-3",
        "h:USD": "0",
        "s:USD": "4",
        "o:USD": "-8",
        "z:USD": "1795190400000",
        f"g:{key.id}": "1",
        f"w:{life}:life": "70",
        f"ws:{life}": "life",
        f"w:{day}:2026-11-20": "20",
        f"w:{day}:2026-11-21": "30",
        f"ws:{day}": "2026-11-21",
        f"wo:{day}": "2026-11-20",
    }


async def test_a_loaded_account_is_left_alone(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account
) -> None:
    await load_account(pg, scripts, account.id)
    name = scripts.names.partition[account.partition].account(account.id)
    await link.call("HINCRBY", name, "b:USD", "-5")
    assert await load_account(pg, scripts, account.id) == "LOADED"
    assert (await hash_of(link, scripts, account))["b:USD"] == "-5"


async def test_another_epoch_is_fenced_and_no_account_is_not_found(
    pg: Pool, scripts: Scripts, account: Account
) -> None:
    with pytest.raises(NotFound):
        await load_account(pg, scripts, 999)
    scripts.use(KeyNames(scripts.names.partitions, scripts.names.epoch + 1))
    assert await load_account(pg, scripts, account.id) == "FENCED"


async def test_many_loads_at_once_are_one(
    pg: Pool, scripts: Scripts, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = 0
    load = Scripts.load

    async def counted(self: Scripts, *args: object) -> object:
        nonlocal loads
        loads += 1
        return await load(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Scripts, "load", counted)
    loader = AccountLoader(pg, scripts)
    await asyncio.gather(*(loader.load(account.id) for _ in range(300)))
    assert loads == 1


async def test_a_revocation_is_not_lost_to_a_load_that_read_before_it(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account, key: CreatedKey
) -> None:
    async with pg.acquire() as connection:
        from rabbitgw import statements

        before = await connection.fetch(statements.accounts.snapshot, account.id)
    await revoke_key(pg, key.id)
    assert await push_key(pg, scripts, key.id)
    assert await scripts.load(account.partition, account.id, account_fields(before)) == "LOADED"
    assert (await hash_of(link, scripts, account))[f"g:{key.id}"] == "2"
