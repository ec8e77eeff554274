"""Users: unique within an account, in it for life, and the end of all their keys while they are disabled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from rabbitgw import statements
from rabbitgw.billing import key_push
from rabbitgw.billing.accounts import Account, create_account
from rabbitgw.billing.key_push import push_key, push_keys_below, push_keys_once
from rabbitgw.billing.key_record import record_of_redis
from rabbitgw.billing.key_secret import new_secret, secret_sha256, visible_prefix
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.keys import NewKey, create_key, get_key, revoke_key, rotate_key
from rabbitgw.billing.users import (
    User,
    create_user,
    disable_user,
    enable_user,
    get_user,
    list_users,
    update_user,
)
from rabbitgw.errors import AuthError, Conflict, NotFound, RequestInvalid
from rabbitgw.keynames import KeyNames
from rabbitgw.scripts import Scripts

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


@pytest.fixture
async def account(pg: Pool) -> Account:
    return await create_account(pg, "Acme")


@pytest.fixture
async def ann(pg: Pool, account: Account) -> User:
    return await create_user(pg, account.id, " Ann ", email=" Ann@Example.COM ", external_id="crm-17")


async def test_a_user_is_kept_as_it_was_given_but_for_case_and_blanks(ann: User, pg: Pool) -> None:
    assert (ann.id, ann.name, ann.email, ann.external_id) == (1, "Ann", "ann@example.com", "crm-17")
    assert ann.disabled_at is None
    assert await get_user(pg, ann.id) == ann


async def test_lists_are_paged_and_kept_apart_by_account(pg: Pool, account: Account) -> None:
    other = await create_account(pg, "Other")
    ids = [(await create_user(pg, owner.id, "u")).id for owner in (account, other, account)]
    assert [user.id for user in await list_users(pg)] == ids
    assert [user.id for user in await list_users(pg, account.id)] == [ids[0], ids[2]]
    assert [user.id for user in await list_users(pg, after_id=ids[0], rows_max=1)] == [ids[1]]


async def test_addresses_and_outer_ids_are_unique_within_an_account_only(
    pg: Pool, account: Account, ann: User
) -> None:
    with pytest.raises(Conflict) as taken:
        await create_user(pg, account.id, "Twin", email="ANN@example.com")
    assert taken.value.field == "email"
    assert "ann" not in taken.value.message.lower()  # it is logged
    with pytest.raises(Conflict) as taken:
        await create_user(pg, account.id, "Twin", external_id="crm-17")
    assert taken.value.field == "external_id"
    bob = await create_user(pg, account.id, "Bob")
    with pytest.raises(Conflict):
        await update_user(pg, bob.id, email="ann@example.com")
    other = await create_account(pg, "Other")
    await create_user(pg, other.id, "Ann", email="ann@example.com", external_id="crm-17")
    await create_user(pg, account.id, "No address")
    await create_user(pg, account.id, "No address either")


async def test_a_change_touches_what_it_names_and_none_clears(pg: Pool, ann: User) -> None:
    renamed = await update_user(pg, ann.id, name="Ann B.")
    assert (renamed.name, renamed.email, renamed.external_id) == ("Ann B.", "ann@example.com", "crm-17")
    cleared = await update_user(pg, ann.id, email=None)
    assert (cleared.name, cleared.email, cleared.external_id) == ("Ann B.", None, "crm-17")
    assert (await update_user(pg, ann.id, external_id="crm-18", email="a@b.c")).external_id == "crm-18"
    assert (await update_user(pg, ann.id)).external_id == "crm-18"
    with pytest.raises(NotFound):
        await update_user(pg, 77, name="x")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"email": "ann"}, "email"),
        ({"email": "@example.com"}, "email"),
        ({"email": "ann@"}, "email"),
        ({"email": "an n@example.com"}, "email"),
        ({"email": "ann\x00@example.com"}, "email"),
        ({"email": "a" * 251 + "@b.c"}, "email"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x" * 256}, "external_id"),
        ({"external_id": "x\x00"}, "external_id"),
    ],
)
async def test_a_wrong_field_is_named(
    pg: Pool, account: Account, ann: User, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        await create_user(pg, account.id, **{"name": "Bob", **fields})
    assert refused.value.field == field
    with pytest.raises(RequestInvalid):
        await update_user(pg, ann.id, **fields)
    assert await list_users(pg) == [ann]


async def test_a_key_belongs_to_a_user_of_its_own_account(pg: Pool, account: Account, ann: User) -> None:
    made = await create_key(pg, NewKey(account.id, "k", user_id=ann.id))
    assert (await get_key(pg, made.id)).user_id == ann.id
    assert (await get_key(pg, (await create_key(pg, NewKey(account.id, "k"))).id)).user_id is None
    other = await create_account(pg, "Other")
    for user_id in (ann.id, 77):
        with pytest.raises(NotFound) as refused:
            await create_key(pg, NewKey(other.id, "k", user_id=user_id))
        assert refused.value.field == "user_id"
    with pytest.raises(NotFound) as refused:
        await create_key(pg, NewKey(77, "k", user_id=ann.id))
    assert refused.value.field == "account_id"
    await disable_user(pg, ann.id)
    with pytest.raises(Conflict, match="disabled"):
        await create_key(pg, NewKey(account.id, "k", user_id=ann.id))


async def test_not_even_by_hand_do_a_key_and_its_user_come_into_different_accounts(
    pg: Pool, dsn: str, account: Account, ann: User
) -> None:
    other = await create_account(pg, "Other")
    await create_key(pg, NewKey(account.id, "k", user_id=ann.id))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pg.execute("UPDATE users SET account_id = $1 WHERE id = $2", other.id, ann.id)
    owner = await asyncpg.connect(dsn)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await owner.execute("UPDATE users SET account_id = $1 WHERE id = $2", other.id, ann.id)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await owner.execute(
            "INSERT INTO api_keys (account_id, name, user_id) VALUES ($1, 'k', $2)", other.id, ann.id
        )
    await owner.close()


async def test_every_key_of_a_disabled_user_is_refused_everywhere_and_comes_back(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account, ann: User
) -> None:
    made = [await create_key(pg, NewKey(account.id, "k", user_id=ann.id)) for _ in range(3)]
    await revoke_key(pg, made[2].id)
    nobodys = await create_key(pg, NewKey(account.id, "k"))
    for key in (*made, nobodys):
        await push_key(pg, scripts, key.id)
    gateways = [Keyring(pg, scripts, link) for _ in range(2)]
    for gateway in gateways:
        for key in (*made[:2], nobodys):
            await gateway.find(key.secret)

    assert (await disable_user(pg, ann.id)).disabled_at is not None
    assert await push_keys_below(pg, scripts, ann.entity)
    for gateway in gateways:
        for key in made[:2]:
            # memory does not know yet: upon the next request the reserve script answers STALE, and it is asked anew
            with pytest.raises(AuthError, match="user of this API key is disabled"):
                await gateway.refresh(key.secret)
            assert gateway.cached(key.secret) is None
            with pytest.raises(AuthError, match="disabled"):
                await gateway.find(key.secret)
        assert await gateway.refresh(nobodys.secret)
    assert await generations(link, scripts, account, made[0].id, made[1].id) == [2, 2]

    assert (await enable_user(pg, ann.id)).disabled_at is None
    assert await push_keys_below(pg, scripts, ann.entity)
    for gateway in gateways:
        for key in made[:2]:
            assert (await gateway.find(key.secret)).user_id == ann.id
            assert gateway.cached(key.secret) is not None
        with pytest.raises(AuthError, match="revoked"):
            await gateway.refresh(made[2].secret)
    assert await generations(link, scripts, account, made[0].id, made[1].id) == [3, 3]


async def test_a_record_in_redis_says_so_while_postgres_is_away(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account, ann: User
) -> None:
    made = await create_key(pg, NewKey(account.id, "k", user_id=ann.id))
    await disable_user(pg, ann.id)
    await push_keys_below(pg, scripts, ann.entity)
    gateway = Keyring(pg, scripts, link)
    await pg.close()
    with pytest.raises(AuthError, match="disabled"):
        await gateway.find(made.secret)


def test_a_record_that_redis_kept_from_before_there_were_users_is_read() -> None:
    old = b"""5 {"key_id": 7, "account_id": 1, "partition": 1, "currency": "USD", "generation": 5, "name": "k",
        "models": null, "windows": [], "expires_at_ms": null, "revoked": false}"""
    record = record_of_redis(old)
    assert (record.key_id, record.user_id, record.user_disabled) == (7, None, False)


async def test_a_rotated_secret_stays_refused_when_the_user_comes_back(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account, ann: User
) -> None:
    made = await create_key(pg, NewKey(account.id, "k", user_id=ann.id))
    await disable_user(pg, ann.id)
    new = await rotate_key(pg, made.id)
    await enable_user(pg, ann.id)
    await push_keys_below(pg, scripts, ann.entity)
    gateway = Keyring(pg, scripts, link)
    assert await gateway.confirm(new.secret)
    with pytest.raises(AuthError, match="revoked"):
        await gateway.confirm(made.secret)


async def test_disabling_twice_changes_nothing_more(pg: Pool, account: Account, ann: User) -> None:
    made = await create_key(pg, NewKey(account.id, "k", user_id=ann.id))
    first = await disable_user(pg, ann.id)
    assert await disable_user(pg, ann.id) == first
    assert await generation(pg, made.id) == 2
    await enable_user(pg, ann.id)
    await enable_user(pg, ann.id)
    assert await generation(pg, made.id) == 3
    with pytest.raises(NotFound):
        await disable_user(pg, 77)


async def test_a_key_that_is_being_made_while_its_user_is_disabled_is_disabled_too(
    pg: Pool, dsn: str, account: Account, ann: User
) -> None:
    secret = new_secret()
    maker = await asyncpg.connect(dsn)
    async with maker.transaction():
        key_id = await maker.fetchval(
            statements.keys.create, account.id, "k", None, None, secret_sha256(secret), visible_prefix(secret),
            [], [], ann.id, None, None, None, "{}", [],
        )  # fmt: skip
        disabling = asyncio.create_task(disable_user(pg, ann.id))
        while not await waits_for_a_lock(maker):
            await asyncio.sleep(0.01)
        assert not disabling.done()
    await disabling
    await maker.close()
    # its record of before could be anywhere by now: only a greater generation makes it known as stale
    assert await generation(pg, key_id) == 2
    assert (await get_key(pg, key_id)).user_disabled


async def test_what_redis_did_not_hear_is_sent_again(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await create_key(pg, NewKey(account.id, "k", user_id=ann.id)) for _ in range(3)]
    await disable_user(pg, ann.id)
    present = scripts.names
    scripts.use(KeyNames(present.partitions, present.epoch + 1))  # another epoch: Redis takes nothing
    assert not await push_keys_below(pg, scripts, ann.entity)
    scripts.use(present)
    monkeypatch.setattr(key_push, "KEYS_PER_TURN", 2)
    assert not await push_keys_below(
        pg, scripts, ann.entity
    )  # more than a turn's: the worker brings the rest
    assert await push_keys_once(pg, scripts) == 1
    assert await generations(link, scripts, account, *(key.id for key in made)) == [2, 2, 2]
    assert await push_keys_below(pg, scripts, ann.entity)


async def generation(pg: Pool, key_id: int) -> int:
    return int(await pg.fetchval("SELECT generation FROM api_keys WHERE id = $1", key_id))


async def generations(link: RedisLink, scripts: Scripts, account: Account, *key_ids: int) -> list[int]:
    """As the reserve script compares them."""
    name = scripts.names.partition[account.partition].account(account.id)
    return [int(await link.call("HGET", name, f"g:{key_id}")) for key_id in key_ids]


async def waits_for_a_lock(connection: asyncpg.Connection) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database())"
        )
    )
