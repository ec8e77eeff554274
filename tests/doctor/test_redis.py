"""Redis, broken one way at a time."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from rabbitgw.billing.epoch import read_names
from rabbitgw.dev.ports import free_port
from rabbitgw.findings import State
from rabbitgw.redis_link import RedisLink
from tests.billing import test_scripts_keys
from tests.doctor.conftest import ADMIN_KEY, Deployment

cluster_link = test_scripts_keys.cluster_link  # the fixture


@pytest.mark.parametrize(
    ("setting", "check", "state", "part"),
    [
        ("maxmemory-policy allkeys-lru", "redis.eviction", State.FAILED, "allkeys-lru"),
        ("appendonly no", "redis.persistence", State.FAILED, "append-only"),
        ("appendfsync no", "redis.persistence", State.WARNING, "appendfsync no"),
        ("maxmemory 100kb", "redis.memory", State.FAILED, "of 0 MiB used"),
        ("maxmemory 1gb", "redis.memory", State.OK, "of 1024 MiB used"),
    ],
)
async def test_a_redis_that_may_forget(
    deployment: Deployment, setting: str, check: str, state: State, part: str
) -> None:
    await deployment.link.call("CONFIG", "SET", *setting.split())
    found = (await deployment.look())[check]
    assert found.state is state
    assert part in found.found


async def test_a_redis_of_another_deployment(deployment: Deployment) -> None:
    names = await read_names(deployment.pg)
    await deployment.link.call("DEL", names.partition[7].epoch_key)
    found = await deployment.unusual()
    assert found["redis.epoch"].state is State.WARNING
    assert found["redis.epoch"].found.startswith("1 of 64 partitions")
    assert await deployment.link.call("EXISTS", names.partition[7].epoch_key) == 0, "a look changes nothing"
    await deployment.link.call("SET", names.partition[7].epoch_key, "9")
    found = await deployment.unusual()
    assert found["redis.epoch"].state is State.FAILED
    assert "epoch 9, PostgreSQL in 1" in found["redis.epoch"].found


async def test_redis_away_is_one_finding(deployment: Deployment) -> None:
    away = f"redis://:{ADMIN_KEY}@127.0.0.1:{free_port()}/0"
    found = await deployment.look(redis_url=SecretStr(away))
    assert [name for name in found if name.startswith("redis.")] == ["redis.reachable"]
    assert found["redis.reachable"].state is State.FAILED
    assert "books.backlog" not in found
    assert found["postgres.role"].state is found["prices.missing"].state is State.OK


async def test_a_wrong_password_of_redis_is_told_and_not_shown(deployment: Deployment) -> None:
    url = deployment.redis.url.replace(deployment.redis.password, "Wrong-password-8")
    found = await deployment.look(redis_url=SecretStr(url))
    assert found["redis.reachable"].state is State.FAILED
    assert "Wrong-password-8" not in str(found)


async def test_a_user_who_may_not_load_scripts(deployment: Deployment) -> None:
    await deployment.link.call("ACL", "SETUSER", "narrow", "on", ">Pw-of-narrow", "~*", "+@all", "-script")
    url = f"redis://narrow:Pw-of-narrow@127.0.0.1:{deployment.redis.port}/0"
    found = await deployment.unusual(redis_url=SecretStr(url))
    assert found["redis.scripts"].state is State.FAILED
    assert "Pw-of-narrow" not in str(found)


async def test_a_replica_takes_no_writes(deployment: Deployment) -> None:
    await deployment.link.call("REPLICAOF", "127.0.0.1", free_port())
    found = (await deployment.unusual())["redis.topology"]
    assert (found.state, found.found) == (State.FAILED, "Redis is a replica: it takes no writes")


async def test_a_cluster_is_refused(deployment: Deployment, cluster_link: RedisLink) -> None:
    _, port = await cluster_link.call("CONFIG", "GET", "port")
    found = await deployment.unusual(redis_url=SecretStr(f"redis://127.0.0.1:{int(port)}/0"))
    assert found["redis.topology"].state is State.FAILED
    assert found["redis.topology"].found == "Redis runs in cluster mode"
