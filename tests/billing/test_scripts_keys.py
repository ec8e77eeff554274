"""No script touches a key that it did not declare: what lets one partition live on one node of a cluster.

Shown three ways: by Redis, which lets the caller touch the declared keys and no other; by a cluster node, which wants
all keys of a call in one slot; by the text of each file.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rabbitgw.dev.ports import PORT_LAST, free_port, is_free
from rabbitgw.dev.redis import RedisServer, find_redis
from rabbitgw.errors import RedisUnavailable
from rabbitgw.keynames import SLOTS
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import NAMES, load_scripts
from tests.billing.money_world import ACCOUNT, KEY, LEASE_MS, PARTITION, World, day, life, offer
from tests.scripted import LookingLink

SECRET_HASH = "ab" * 32
READY_TRIES = 400
BUS_OFFSET = 10_000  # of a cluster node's second port


async def every_branch(world: World) -> None:
    """Every script, down every way that writes."""
    windows = [life(5000), day(5000)]
    last = offer(9000, 1, last=1, enforce="11")
    await world.scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=2)
    await world.scripts.key_record_put(SECRET_HASH, generation=1, record=b"{}")
    await world.scripts.key_record_put(SECRET_HASH, generation=2, record=b"{}")
    await world.scripts.load(PARTITION, 99, {"b:USD": 1})
    await world.credit(1, 5)
    for hold_id in ("settled", "released", "expired", "again"):
        reply = await world.reserve(offer(100, enforce="11"), hold_id=hold_id, windows=windows, generation=2)
        assert reply.word == "OK"
        assert (await world.extend(120, delivered=30, hold_id=hold_id)).word == "OK"
    assert (await world.reserve(last, hold_id="last", windows=windows, generation=2)).word == "OK"
    assert (await world.reserve(last, hold_id="last", windows=windows, generation=2)).word == "HELD"
    assert (await world.reserve(last, hold_id="none", windows=windows, generation=2)).word == "SHORT"
    assert (await world.settle(2000, hold_id="settled")).word == "OK"
    assert (await world.settle(2000, hold_id="settled")).word == "DONE"
    assert (await world.settle(1, hold_id="unheard-of")).word == "UNKNOWN"
    assert (await world.release(hold_id="released")).word == "OK"
    assert (await world.release(hold_id="tombstone")).word == "TOMBSTONE"
    assert (await world.expire(hold_id="expired")).word == "ALIVE"
    world.advance(LEASE_MS)
    assert (await world.expire(hold_id="expired")).word == "OK"
    assert (await world.settle(45, hold_id="expired")).word == "LATE"
    assert (await world.expire(hold_id="expired")).word == "GONE"
    await world.lease(0)
    await world.credit(2, 5000)
    for number in (1, 2, 3):
        world.clocked.now_ms = day(1, number).start_ms
        assert (
            await world.reserve(
                offer(1, enforce="11"),
                hold_id=f"{number}",
                windows=[life(5000), day(5000, number)],
                generation=2,
            )
        ).word == "OK"
    assert (await world.scripts.snapshot(PARTITION, [ACCOUNT, 99, 98])).word == "OK"


class LimitedLink(LookingLink):
    """Runs every script as a user who may touch the keys that its call declares, and no other."""

    USER = "declared-keys-only"
    PASSWORD = "declared"

    def __init__(self, admin: RedisLink, limited: RedisLink) -> None:
        self._admin = admin
        self._limited = limited

    async def call(self, *args: Any) -> Any:
        if args[0] not in (b"EVALSHA", b"EVAL"):
            return await self._admin.call(*args)
        keys = args[3 : 3 + int(args[2])]
        await self._admin.call("ACL", "SETUSER", self.USER, "resetkeys", *(b"~" + key for key in keys))
        return await self._limited.call(*args)


@pytest.fixture
async def limited(link: RedisLink, redis_server: RedisServer) -> AsyncIterator[LimitedLink]:
    user, password = LimitedLink.USER, LimitedLink.PASSWORD
    await link.call("ACL", "SETUSER", user, "on", f">{password}", "+@all")
    own = await RedisLink.connect(f"redis://{user}:{password}@127.0.0.1:{redis_server.port}/0")
    yield LimitedLink(link, own)
    await own.close()
    await link.call("ACL", "DELUSER", user)


async def test_a_user_who_may_touch_the_declared_keys_only_can_do_everything(limited: LimitedLink) -> None:
    await every_branch(await World(limited).open())  # type: ignore[arg-type]


async def test_that_user_could_not_touch_another_key(limited: LimitedLink) -> None:
    """The test above would see it."""
    with pytest.raises(RedisUnavailable, match=r"can't access at least one of the keys|NOPERM"):
        await limited.call(b"EVAL", "return redis.call('GET', 'undeclared')", 1, b"declared")


@pytest.fixture
async def cluster_link(server_folder: Path) -> AsyncIterator[RedisLink]:
    """A cluster of one node that has all slots."""
    port = cluster_port()
    binary, _ = find_redis()
    with (server_folder / "cluster.log").open("wb") as log:
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(server_folder)]
        how = ["--cluster-enabled", "yes", "--save", "", "--appendonly", "no"]
        node = subprocess.Popen([binary, *where, *how], stdout=log, stderr=log)
    try:
        link = await connected(f"redis://127.0.0.1:{port}/0")
        await link.call("CLUSTER", "ADDSLOTS", *range(SLOTS))
        for _ in range(READY_TRIES):
            if b"cluster_state:ok" in await link.call("CLUSTER", "INFO"):
                break
            await asyncio.sleep(0.05)
        yield link
        await link.close()
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait()


def cluster_port() -> int:
    """A free port whose bus port (10 000 above) is free too, and no port that clients are given at random."""
    while True:
        port = free_port()
        if port + BUS_OFFSET <= PORT_LAST and is_free(port + BUS_OFFSET):
            return port


async def connected(url: str) -> RedisLink:
    for _ in range(READY_TRIES):
        try:
            return await RedisLink.connect(url)
        except RedisUnavailable:
            await asyncio.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")


async def test_every_script_works_on_a_cluster(cluster_link: RedisLink) -> None:
    await every_branch(await World(cluster_link).open())


async def test_keys_of_two_slots_are_refused_by_a_cluster(cluster_link: RedisLink) -> None:
    """So that the test above would see it."""
    with pytest.raises(RedisUnavailable, match="CROSSSLOT"):
        await cluster_link.call("EVAL", "return 1", 2, "{a}x", "{b}x")


CALL = re.compile(r"redis\.p?call\(")
KEY_ARGUMENT = re.compile(r"redis\.call\('(\w+)', ([\w\[\]]+)")
XINFO = re.compile(r"redis\.call\('XINFO', 'STREAM', (KEYS\[\d\])\)")
LOCALS = re.compile(r"^local ([\w, ]+) = (KEYS\[\d\](?:, KEYS\[\d\])*)", re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_names_a_declared_key(name: str) -> None:
    source = load_scripts()[name].source.decode()
    code = re.sub(r"--.*", "", source)
    declared = {
        variable
        for names, keys in LOCALS.findall(code)
        for variable, _ in zip(names.split(", "), keys.split(", "), strict=False)
    }
    commands = XINFO.findall(code) + [
        key for command, key in KEY_ARGUMENT.findall(code) if command != "XINFO"
    ]
    assert len(commands) == len(CALL.findall(code)) - code.count("redis.call('TIME')")
    assert [key for key in commands if not key.startswith("KEYS[") and key not in declared] == []
