"""Teams in PostgreSQL, who is in them, and what a move does to the keys of who moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from rabbitgw.billing.accounts import Account, create_account
from rabbitgw.billing.entities import Entity, advance_keys_below, find_entity, lock_account
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.keys import NewKey, create_key
from rabbitgw.billing.teams import Team, create_team, list_teams
from rabbitgw.billing.users import create_user, get_user, update_user
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.stores import connection, transaction
from tests.billing.test_users import generation, waits_for_a_lock

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.scripts import Scripts
    from rabbitgw.stores import Pool


@pytest.fixture
async def account(pg: Pool) -> Account:
    return await create_account(pg, "Acme")


@pytest.fixture
async def team(pg: Pool, account: Account) -> Team:
    return await create_team(pg, account.id, " Sales ")


async def test_teams_are_listed_by_account_in_pages(pg: Pool, account: Account, team: Team) -> None:
    other = await create_account(pg, "Other")
    more = [await create_team(pg, owner.id, "x") for owner in (other, account)]
    assert (team.account_id, team.name) == (account.id, "Sales")
    assert await list_teams(pg) == [team, *more]
    assert await list_teams(pg, account.id) == [team, more[1]]
    assert await list_teams(pg, after_id=team.id, rows_max=1) == more[:1]
    with pytest.raises(NotFound):
        await create_team(pg, 77, "x")
    with pytest.raises(RequestInvalid):
        await create_team(pg, account.id, " ")


async def test_a_user_is_in_a_team_of_its_own_account_only(pg: Pool, account: Account, team: Team) -> None:
    ann = await create_user(pg, account.id, "Ann", team_id=team.id)
    assert (ann.team_id, (await get_user(pg, ann.id)).team_id) == (team.id, team.id)
    foreign = await create_team(pg, (await create_account(pg, "Other")).id, "x")
    for team_id in (foreign.id, 77):
        for refused in (
            create_user(pg, account.id, "Bob", team_id=team_id),
            update_user(pg, ann.id, team_id=team_id, name="x"),
        ):
            with pytest.raises(NotFound) as error:
                await refused
            assert error.value.field == "team_id"
    assert await get_user(pg, ann.id) == ann
    assert (await update_user(pg, ann.id, team_id=None)).team_id is None


async def test_a_move_makes_the_records_of_a_users_keys_stale(
    pg: Pool, link: RedisLink, scripts: Scripts, account: Account, team: Team
) -> None:
    ann = await create_user(pg, account.id, "Ann")
    hers = await create_key(pg, NewKey(account.id, "hers", user_id=ann.id))
    nobodys = await create_key(pg, NewKey(account.id, "nobody's"))
    gateway = Keyring(pg, scripts, link)
    assert (await gateway.find(hers.secret)).team_id is None
    ann = await update_user(pg, ann.id, name="Ann B.")
    assert [await generation(pg, key.id) for key in (hers, nobodys)] == [1, 1]
    ann = await update_user(pg, ann.id, team_id=team.id)
    assert [await generation(pg, key.id) for key in (hers, nobodys)] == [2, 1]
    assert await push_keys_below(pg, scripts, ann.entity)
    record = await gateway.refresh(hers.secret)
    assert (record.team_id, record.generation) == (team.id, 2)


async def test_an_entity_has_the_keys_below_it(pg: Pool, account: Account, team: Team) -> None:
    ann = await create_user(pg, account.id, "Ann", team_id=team.id)
    bob = await create_user(pg, account.id, "Bob")
    keys = [
        (await create_key(pg, NewKey(account.id, "k", user_id=user_id))).id
        for user_id in (ann.id, bob.id, None)
    ]
    for name, entity_id, raised in (
        ("key", keys[2], [1, 1, 2]),
        ("user", bob.id, [1, 2, 2]),
        ("team", team.id, [2, 2, 2]),
        ("account", account.id, [3, 3, 3]),
    ):
        async with transaction(pg) as db:
            entity = await find_entity(db, name, entity_id)
            assert entity == Entity(name, entity_id, account.id) == Entity.of_columns(*entity.columns)
            await advance_keys_below(db, entity)
        assert [await generation(pg, key_id) for key_id in keys] == raised
    async with connection(pg) as db:
        for name in ("key", "user", "team", "account"):
            with pytest.raises(NotFound):
                await find_entity(db, name, 77)


async def test_a_key_that_is_made_while_its_account_is_locked_waits(
    pg: Pool, dsn: str, account: Account
) -> None:
    """Else it could be read as it was before a change whose author has not seen it."""
    watching = await asyncpg.connect(dsn)
    async with transaction(pg) as db:
        await lock_account(db, account.id)
        making = asyncio.create_task(create_key(pg, NewKey(account.id, "k")))
        while not await waits_for_a_lock(watching):
            await asyncio.sleep(0.01)
        assert not making.done()
    await making
    await watching.close()
