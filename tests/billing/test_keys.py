"""Keys in PostgreSQL, and what Redis learns of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rabbitgw.billing.accounts import Account, create_account
from rabbitgw.billing.key_push import push_key, push_keys_once
from rabbitgw.billing.key_record import record_of_redis
from rabbitgw.billing.key_secret import secret_sha256, well_formed
from rabbitgw.billing.keys import NewKey, create_key, get_key, list_keys, revoke_key, rotate_key
from rabbitgw.billing.windows import WindowRule
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

NEXT_YEAR = datetime.now(UTC) + timedelta(days=365)


@pytest.fixture
async def account(pg: Pool) -> Account:
    return await create_account(pg, "Acme")


async def generation_in_redis(link: RedisLink, scripts: Scripts, account: Account, key_id: int) -> int | None:
    name = scripts.names.partition[account.partition].account(account.id)
    value = await link.call("HGET", name, f"g:{key_id}")
    return None if value is None else int(value)


async def record_in_redis(link: RedisLink, scripts: Scripts, secret: str) -> bytes | None:
    return await link.call("GET", scripts.names.key_record(secret_sha256(secret).hex()))


async def test_accounts_take_partitions_in_turn(pg: Pool) -> None:
    made = [await create_account(pg, f"account {n}") for n in range(3)]
    assert [account.partition for account in made] == [account.id % 64 for account in made]
    assert len({account.partition for account in made}) == 3


async def test_a_key_is_stored_hashed_and_listed_by_its_prefix(pg: Pool, account: Account) -> None:
    made = await create_key(
        pg,
        NewKey(
            account.id,
            " main ",
            models=["gpt-*", "claude-?"],
            lifetime_limit_nanos=5_000_000_000,
            daily_limit_nanos=0,
            expires_at=NEXT_YEAR,
        ),
    )
    assert well_formed(made.secret)
    (key,) = await list_keys(pg, account.id)
    assert key == await get_key(pg, made.id)
    assert (key.id, key.name, key.prefix) == (made.id, "main", made.secret[:10])
    assert key.models == ("gpt-*", "claude-?")
    assert (key.lifetime_limit_nanos, key.daily_limit_nanos) == (5_000_000_000, 0)
    assert key.expires_at == NEXT_YEAR
    assert key.revoked_at is None
    stored = await pg.fetch("SELECT * FROM key_secrets")
    assert [row["secret_sha256"] for row in stored] == [secret_sha256(made.secret)]
    assert made.secret not in str(stored)


async def test_lists_are_paged_and_kept_apart_by_account(pg: Pool, account: Account) -> None:
    other = await create_account(pg, "Other")
    ids = [(await create_key(pg, NewKey(owner.id, "k"))).id for owner in (account, other, account)]
    assert [key.id for key in await list_keys(pg)] == ids
    assert [key.id for key in await list_keys(pg, account.id)] == [ids[0], ids[2]]
    assert [key.id for key in await list_keys(pg, after_id=ids[0], rows_max=1)] == [ids[1]]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"models": []}, "models"),
        ({"models": [""]}, "models"),
        ({"models": ["x" * 257]}, "models"),
        ({"lifetime_limit_nanos": -1}, "lifetime_limit_nanos"),
        ({"daily_limit_nanos": 9 * 10**18 + 1}, "daily_limit_nanos"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": datetime(2099, 1, 1)}, "expires_at"),  # noqa: DTZ001
    ],
)
async def test_a_wrong_field_is_named(
    pg: Pool, account: Account, wrong: dict[str, object], field: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        await create_key(pg, NewKey(**{"account_id": account.id, "name": "k", **wrong}))  # type: ignore[arg-type]
    assert refused.value.field == field
    assert await list_keys(pg) == []


async def test_unknown_ids_are_not_found(pg: Pool) -> None:
    with pytest.raises(NotFound):
        await create_key(pg, NewKey(999, "k"))
    for change in (revoke_key, rotate_key, get_key):
        with pytest.raises(NotFound):
            await change(pg, 999)


async def test_revoking_twice_keeps_the_first_moment(pg: Pool, account: Account) -> None:
    made = await create_key(pg, NewKey(account.id, "k"))
    first = await revoke_key(pg, made.id)
    assert first.revoked_at is not None
    assert await revoke_key(pg, made.id) == first
    with pytest.raises(Conflict):
        await rotate_key(pg, made.id)


async def test_a_pushed_key_has_its_record_and_generation_in_redis(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account
) -> None:
    made = await create_key(pg, NewKey(account.id, "k", models=["m"], daily_limit_nanos=7))
    assert await push_key(pg, scripts, made.id)
    stored = await record_in_redis(link, scripts, made.secret)
    assert stored is not None
    record = record_of_redis(stored)
    assert (record.key_id, record.account_id, record.partition) == (made.id, account.id, account.partition)
    assert (record.generation, record.models, record.revoked) == (1, ("m",), False)
    assert record.windows == (WindowRule(record.windows[0].window_id, "day", 7, "+08:00", "00:00"),)
    assert await generation_in_redis(link, scripts, account, made.id) == 1
    assert await push_keys_once(pg, scripts) == 0


async def test_rotation_revokes_the_old_secret_and_keeps_the_key(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account
) -> None:
    old = await create_key(pg, NewKey(account.id, "k", lifetime_limit_nanos=3))
    await push_key(pg, scripts, old.id)
    middle = await rotate_key(pg, old.id)
    new = await rotate_key(pg, old.id)
    assert old.id == middle.id == new.id
    assert await push_key(pg, scripts, new.id)
    revoked = []
    for secret in (old.secret, middle.secret, new.secret):
        stored = await record_in_redis(link, scripts, secret)
        assert stored is not None
        assert stored.startswith(b"3 ")
        revoked.append(record_of_redis(stored).revoked)
    assert revoked == [True, True, False]
    assert await generation_in_redis(link, scripts, account, new.id) == 3
    assert (await get_key(pg, new.id)).prefix == new.secret[:10]
    assert (await get_key(pg, new.id)).lifetime_limit_nanos == 3


async def test_what_redis_did_not_take_is_pushed_later(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account
) -> None:
    made = [await create_key(pg, NewKey(account.id, f"k{n}")) for n in range(3)]
    await revoke_key(pg, made[1].id)
    present = scripts.names
    scripts.use(KeyNames(present.partitions, present.epoch + 1))  # Redis answers FENCED
    assert not await push_key(pg, scripts, made[0].id)
    assert await push_keys_once(pg, scripts) == 0
    scripts.use(present)
    assert await push_keys_once(pg, scripts, keys_max=2) == 2
    assert await push_keys_once(pg, scripts) == 1
    assert await push_keys_once(pg, scripts) == 0
    assert [await generation_in_redis(link, scripts, account, key.id) for key in made] == [1, 2, 1]
