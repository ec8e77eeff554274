from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rabbitgw.dev import redis as embedded
from rabbitgw.dev.redis import RedisServer, start_redis
from rabbitgw.errors import RedisUnavailable, SettingInvalid
from tests.dev.conftest import alive


def client_of(server: RedisServer) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(server.url, decode_responses=True, protocol=2)


async def test_it_keeps_what_it_acknowledges_and_evicts_nothing(server_folder: Path) -> None:
    server = await start_redis(server_folder)
    try:
        async with client_of(server) as client:
            assert await client.config_get("appendonly") == {"appendonly": "yes"}
            assert await client.config_get("appendfsync") == {"appendfsync": "everysec"}
            assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert await client.config_get("bind") == {"bind": "127.0.0.1"}
    finally:
        await server.stop()
    assert not alive(server.pid)


async def test_without_the_password_nothing_is_answered(server_folder: Path) -> None:
    server = await start_redis(server_folder)
    try:
        async with redis.asyncio.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await stranger.get("balance")
        assert (server_folder / "redis.password").stat().st_mode & 0o777 == 0o600
        assert (server_folder / "redis" / "redis.conf").stat().st_mode & 0o777 == 0o600
    finally:
        await server.stop()


async def test_the_unix_socket_answers(server_folder: Path) -> None:
    server = await start_redis(server_folder)
    try:
        async with redis.asyncio.Redis(unix_socket_path=str(server.path), password=server.password) as client:
            assert await client.ping()
    finally:
        await server.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_data_port_and_password_survive(end: str, server_folder: Path) -> None:
    first = await start_redis(server_folder)
    async with client_of(first) as client:
        await client.hincrby("account", "balance", 7)
    await (first.stop() if end == "stop" else first.kill())
    second = await start_redis(server_folder)
    try:
        assert second.url == first.url
        async with client_of(second) as client:
            assert await client.hgetall("account") == {"balance": "7"}
    finally:
        await second.stop()


async def test_a_second_run_on_one_data_directory_gets_one_line(server_folder: Path) -> None:
    server = await start_redis(server_folder)
    try:
        with pytest.raises(SettingInvalid, match=rf"^RABBITGW_DATA_DIR: .* \(pid {os.getpid()}\)[^\n]*$"):
            await start_redis(server_folder)
        assert server.child.running
    finally:
        await server.stop()


async def test_a_lost_port_is_replaced(server_folder: Path) -> None:
    server = await start_redis(server_folder)
    await server.stop()
    squatter = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", server.port)
    try:
        again = await start_redis(server_folder)
        await again.stop()
        assert again.port != server.port
    finally:
        squatter.close()
        await squatter.wait_closed()


async def test_a_taken_port_that_was_asked_for_is_an_error_with_the_log(server_folder: Path) -> None:
    squatter = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    try:
        with pytest.raises(RedisUnavailable, match=r"(?s)ended with status .*bind"):
            await start_redis(server_folder, port=squatter.sockets[0].getsockname()[1])
    finally:
        squatter.close()
        await squatter.wait_closed()


async def test_an_older_server_does_not_start_empty_over_newer_data(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server_folder / "redis" / "appendonlydir").mkdir(parents=True)
    monkeypatch.setattr(embedded, "find_redis", lambda: (Path("/usr/bin/redis-server"), (6, 2)))
    with pytest.raises(SettingInvalid, match=r"^REDIS_URL: [^\n]*install Redis >= 7$"):
        await start_redis(server_folder)


def test_without_a_binary_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingInvalid, match=r"^REDIS_URL: [^\n]*apt-get install redis-server[^\n]*$"):
        embedded.find_redis()


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.7 sha=00000000:0 malloc=libc bits=64'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    binary, version = embedded.find_redis()
    assert binary != old
    assert version >= (6, 2)
