"""Whose key is this: memory, Redis, PostgreSQL, and what each does when another is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw import clock
from rabbitgw.billing import keyring as keyring_module
from rabbitgw.billing.accounts import Account, create_account
from rabbitgw.billing.key_push import push_key
from rabbitgw.billing.key_secret import new_secret, secret_sha256
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.keys import CreatedKey, NewKey, create_key, revoke_key, rotate_key
from rabbitgw.errors import AuthError, PostgresUnavailable, RedisUnavailable
from rabbitgw.scripts import Scripts
from tests.scripted import LookingLink

if TYPE_CHECKING:
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


class CountingLink(LookingLink):
    """A link that can be away, and counts what it was asked."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.calls: list[str] = []
        self.away = False

    def call(self, *args: Any) -> Awaitable[Any]:
        self.calls.append(args[0] if isinstance(args[0], str) else args[0].decode())
        if self.away:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(RedisUnavailable("away"))
            return future
        return self.link.call(*args)


@pytest.fixture
def counting(link: RedisLink) -> CountingLink:
    return CountingLink(link)


@pytest.fixture
async def account(pg: Pool) -> Account:
    return await create_account(pg, "Acme")


@pytest.fixture
async def key(pg: Pool, account: Account) -> CreatedKey:
    return await create_key(pg, NewKey(account.id, "k"))


@pytest.fixture
def make(pg: Pool, scripts: Scripts, counting: CountingLink) -> Callable[..., Keyring]:
    """Keyrings of several processes: each has a memory of its own."""
    own = Scripts(counting, scripts.names)
    return lambda **limits: Keyring(pg, own, counting, **limits)  # type: ignore[arg-type]


async def close_pool(pg: Pool) -> None:
    """PostgreSQL is away: the pool answers with an error at once."""
    await pg.close()


async def test_a_key_is_found_once_in_postgres_and_then_in_memory(
    make: Callable[..., Keyring], key: CreatedKey, account: Account, counting: CountingLink
) -> None:
    keyring = make()
    assert keyring.cached(key.secret) is None
    record = await keyring.find(key.secret)
    assert (record.key_id, record.account_id) == (key.id, account.id)
    asked = len(counting.calls)
    assert keyring.cached(key.secret) is record
    assert await keyring.find(key.secret) is record
    assert len(counting.calls) == asked


async def test_a_restart_with_postgres_away_still_knows_its_keys(
    make: Callable[..., Keyring], key: CreatedKey, pg: Pool
) -> None:
    first = await make().find(key.secret)
    await close_pool(pg)
    assert await make().find(key.secret) == first
    assert await make().refresh(key.secret) == first
    with pytest.raises(PostgresUnavailable):
        await make().find(new_secret())


async def test_redis_away_leaves_postgres(
    make: Callable[..., Keyring], key: CreatedKey, counting: CountingLink
) -> None:
    counting.away = True
    keyring = make()
    assert (await keyring.find(key.secret)).key_id == key.id
    assert (await keyring.refresh(key.secret)).key_id == key.id
    assert (await keyring.confirm(key.secret)).key_id == key.id


async def test_ill_formed_keys_reach_no_store_and_unknown_ones_reach_them_once(
    make: Callable[..., Keyring], counting: CountingLink, pg: Pool
) -> None:
    keyring = make()
    for secret in ("", "rk-nonsense", "sk-ant-0000", new_secret()[:-1] + "!"):
        with pytest.raises(AuthError):
            await keyring.find(secret)
    assert counting.calls == []
    stranger = new_secret()
    with pytest.raises(AuthError):
        await keyring.find(stranger)
    asked = len(counting.calls)
    await close_pool(pg)
    for ask in (keyring.find, keyring.refresh, keyring.confirm):
        with pytest.raises(AuthError):
            await ask(stranger)
    assert len(counting.calls) == asked


async def test_many_who_ask_at_once_cause_one_lookup(
    make: Callable[..., Keyring], key: CreatedKey, counting: CountingLink
) -> None:
    keyring = make()
    found = await asyncio.gather(*(keyring.find(key.secret) for _ in range(200)))
    assert {record.key_id for record in found} == {key.id}
    assert counting.calls.count("GET") == 1


async def test_a_caller_who_leaves_does_not_stop_the_lookup_of_the_others(
    make: Callable[..., Keyring], key: CreatedKey
) -> None:
    keyring = make()
    first = asyncio.ensure_future(keyring.find(key.secret))
    second = asyncio.ensure_future(keyring.find(key.secret))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key_id == key.id


async def test_revocation_is_seen_by_refresh_and_confirm_at_once(
    make: Callable[..., Keyring], key: CreatedKey, pg: Pool, scripts: Scripts
) -> None:
    keyrings = [make() for _ in range(3)]
    for keyring in keyrings:
        await keyring.find(key.secret)
    await revoke_key(pg, key.id)
    assert await push_key(pg, scripts, key.id)
    # Memory does not know yet; the reserve script would answer STALE, upon which the gateway refreshes.
    assert keyrings[0].cached(key.secret) is not None
    with pytest.raises(AuthError, match="revoked"):
        await keyrings[0].refresh(key.secret)
    with pytest.raises(AuthError, match="revoked"):
        await keyrings[1].confirm(key.secret)
    assert keyrings[0].cached(key.secret) is None
    with pytest.raises(AuthError, match="revoked"):
        await keyrings[0].find(key.secret)
    # With PostgreSQL away the record in Redis says the same.
    await close_pool(pg)
    with pytest.raises(AuthError, match="revoked"):
        await keyrings[2].refresh(key.secret)


async def test_a_rotated_secret_is_refused_and_the_new_one_taken(
    make: Callable[..., Keyring], key: CreatedKey, pg: Pool, scripts: Scripts
) -> None:
    keyring = make()
    await keyring.find(key.secret)
    new = await rotate_key(pg, key.id)
    await push_key(pg, scripts, key.id)
    with pytest.raises(AuthError, match="revoked"):
        await keyring.confirm(key.secret)
    assert (await keyring.find(new.secret)).generation == 2


async def test_refresh_tells_redis_of_a_key_it_never_heard_of(
    make: Callable[..., Keyring], key: CreatedKey, pg: Pool, scripts: Scripts, link: RedisLink
) -> None:
    other = await create_key(pg, NewKey((await create_account(pg, "Other")).id, "k"))
    await push_key(pg, scripts, other.id)  # its account is loaded now
    record = await make().find(other.secret)
    third = await create_key(pg, NewKey(record.account_id, "k"))
    account_name = scripts.names.partition[record.partition].account(record.account_id)
    assert await link.call("HGET", account_name, f"g:{third.id}") is None
    assert (await make().refresh(third.secret)).generation == 1
    assert await link.call("HGET", account_name, f"g:{third.id}") == b"1"
    assert await link.call("GET", scripts.names.key_record(secret_sha256(third.secret).hex())) is not None


async def test_a_key_expires_while_it_is_in_memory(
    make: Callable[..., Keyring], pg: Pool, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create_key(pg, NewKey(account.id, "k", expires_at=datetime.now(UTC) + timedelta(hours=1)))
    keyring = make()
    assert await keyring.find(made.secret) is keyring.cached(made.secret)
    later_ms = clock.now_ms() + 3_600_001
    monkeypatch.setattr(keyring_module, "now_ms", lambda: later_ms)
    assert keyring.cached(made.secret) is None
    with pytest.raises(AuthError, match="expired"):
        await keyring.find(made.secret)


async def test_memory_is_bounded(make: Callable[..., Keyring], pg: Pool, account: Account) -> None:
    keyring = make(records_max=2)
    keys = [await create_key(pg, NewKey(account.id, f"k{n}")) for n in range(3)]
    for made in keys[:2]:
        await keyring.find(made.secret)
    assert keyring.cached(keys[0].secret) is not None  # used again, so the other is the oldest
    await keyring.find(keys[2].secret)
    assert [keyring.cached(made.secret) is not None for made in keys] == [True, False, True]
    await keyring.find(keys[1].secret)
    for made in keys:
        keyring.cached(made.secret)
        assert len(keyring._digests) <= 2
