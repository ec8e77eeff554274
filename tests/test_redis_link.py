"""The link on a real Redis, and on a scripted one for what a real one cannot be made to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rabbitgw import redis_wire
from rabbitgw.errors import RedisReplyError, RedisTimeout, RedisUnavailable, SettingInvalid
from rabbitgw.redis_link import RedisLink
from tests.fakes.scripted_redis import scripted_redis
from tests.loops import on_both_loops, until

SOON_S = 0.1  # a timeout for tests in which it must run out


@asynccontextmanager
async def linked(url: str, **options: Any) -> AsyncIterator[RedisLink]:
    options.setdefault("timeout_s", 10.0)
    link = await RedisLink.connect(url, **options)
    try:
        yield link
    finally:
        await link.close()


def echo(command: list[bytes]) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(command[1]), command[1])


# -- a real Redis --


@on_both_loops
async def test_replies_come_as_hiredis_makes_them(redis_url: str) -> None:
    async with linked(redis_url) as link:
        assert await link.call("SET", b"k", 12) == b"OK"
        assert await link.call("INCRBY", "k", 30) == 42
        assert await link.call("GET", "absent") is None
        assert await link.call("EVAL", "return {'OK', 7, {ARGV[1]}}", 0, b"\x00\xff") == [
            b"OK",
            7,
            [b"\x00\xff"],
        ]


@on_both_loops
async def test_many_callers_each_get_their_own_reply(redis_url: str) -> None:
    async with linked(redis_url) as link:

        async def caller(number: int) -> None:
            for turn in range(10):
                word = b"%d:%d" % (number, turn) * (1 + number % 50)
                assert await link.call("ECHO", word) == word

        await asyncio.gather(*map(caller, range(300)))


@on_both_loops
async def test_an_error_reply_is_raised_with_its_kind_and_disturbs_nobody(redis_url: str) -> None:
    async with linked(redis_url) as link:
        before, wrong, after = (
            link.call("ECHO", "before"),
            link.call("EVALSHA", "0" * 40, 0),
            link.call("ECHO", "after"),
        )
        with pytest.raises(RedisReplyError) as error:
            await wrong
        assert error.value.kind == "NOSCRIPT"
        assert (await before, await after) == (b"before", b"after")


@on_both_loops
async def test_the_database_of_the_url_is_selected(redis_url: str) -> None:
    async with linked(redis_url) as zero, linked(redis_url.removesuffix("/0") + "/5") as five:
        await five.call("SET", "k", "five")
        assert await zero.call("GET", "k") is None
        assert await five.call("GET", "k") == b"five"


@on_both_loops
async def test_a_wrong_password_is_said_at_connect(redis_url: str) -> None:
    address = redis_url.rpartition("@")[2]
    with pytest.raises(RedisReplyError) as error:
        await RedisLink.connect(f"redis://:wrong@{address}")
    assert error.value.kind == "WRONGPASS"


@on_both_loops
async def test_a_wrong_url_is_a_setting_that_is_wrong() -> None:
    with pytest.raises(SettingInvalid, match=r"^REDIS_URL: "):
        await RedisLink.connect("redis+sentinel://h:26379/mymaster")


@on_both_loops
async def test_nobody_there_is_said_at_connect() -> None:
    async with scripted_redis() as server:
        url = server.url
    with pytest.raises(RedisUnavailable):
        await RedisLink.connect(url)
    with pytest.raises(RedisUnavailable):
        await RedisLink.connect("unix:///nowhere/r.sock")


@on_both_loops
async def test_a_killed_connection_fails_what_was_in_flight_and_heals(redis_url: str) -> None:
    seen: list[str] = []
    async with linked(redis_url, on_connected=seen.append) as link:
        my_id = await link.call("CLIENT", "ID")
        assert await link.call("SET", "k", "v") == b"OK"
        async with linked(redis_url) as other:
            assert await other.call("CLIENT", "KILL", "ID", my_id) == 1
        await until(lambda: len(seen) == 2)
        assert await link.call("GET", "k") == b"v"
    assert seen[0] == seen[1] == link.server_run_id
    assert len(seen[0]) == 40


# -- coalescing --


@on_both_loops
async def test_the_commands_of_a_turn_leave_in_one_write() -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        server.answer = echo
        reads = server.reads
        calls = [link.call("ECHO", str(n)) for n in range(200)]
        assert await asyncio.gather(*calls) == [str(n).encode() for n in range(200)]
        assert server.reads - reads <= 2  # the first, which had nobody to wait for, and the rest


@on_both_loops
async def test_replies_may_come_in_any_pieces() -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        server.answer = lambda command: None
        calls = [link.call("A"), link.call("B"), link.call("C")]
        await until(lambda: len(server.commands) == 3)
        for byte in b"*2\r\n$3\r\na\r\n\r\n:7\r\n-ERR no\r\n$-1\r\n":
            server.say(bytes([byte]))
            await asyncio.sleep(0)
        assert await calls[0] == [b"a\r\n", 7]
        with pytest.raises(RedisReplyError, match="ERR no"):
            await calls[1]
        assert await calls[2] is None


def test_an_argument_that_resp_cannot_carry_is_refused_alone(redis_url: str) -> None:
    async def body() -> None:
        async with linked(redis_url) as link:
            with pytest.raises(TypeError):
                link.call("SET", "k", None)  # type: ignore[arg-type]
            assert await link.call("ECHO", "still here") == b"still here"

    asyncio.run(body())


# -- deadlines --


@on_both_loops
async def test_late_replies_are_dropped_and_the_next_ones_still_match() -> None:
    async with scripted_redis() as server, linked(server.url, timeout_s=SOON_S) as link:
        server.answer = lambda command: None
        slow, slower = link.call("ECHO", "slow"), link.call("ECHO", "slower")
        for call in (slow, slower):
            with pytest.raises(RedisTimeout):
                await call
        next_call = link.call("ECHO", "next")
        server.say(b"$4\r\nslow\r\n$6\r\nslower\r\n$4\r\nnext\r\n")
        assert await next_call == b"next"
        assert server.connections == 1


@on_both_loops
async def test_a_cancelled_caller_leaves_a_placeholder() -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        server.answer = lambda command: None
        left, stays = link.call("ECHO", "left"), link.call("ECHO", "stays")
        left.cancel()
        server.say(b"$4\r\nleft\r\n$5\r\nstays\r\n")
        assert await stays == b"stays"


@on_both_loops
async def test_a_connection_gone_silent_is_replaced() -> None:
    async with scripted_redis() as server, linked(server.url, timeout_s=SOON_S) as link:
        server.answer = lambda command: None
        with pytest.raises(RedisTimeout):
            await link.call("ECHO", "a")
        await until(lambda: server.connections == 2 and link.connected)
        server.answer = echo
        assert await link.call("ECHO", "b") == b"b"


@on_both_loops
async def test_an_idle_link_is_left_alone() -> None:
    async with scripted_redis() as server, linked(server.url, timeout_s=0.02) as link:
        await asyncio.sleep(0.02 * (redis_wire.SILENCE_TIMEOUTS + 3))
        assert await link.call("PING") == b"OK"
        assert server.connections == 1


# -- loss and healing --


@on_both_loops
async def test_what_is_in_flight_when_the_connection_dies_fails_as_unknown() -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        server.answer = lambda command: None
        calls = [link.call("ECHO", "a") for _ in range(3)]
        await until(lambda: len(server.commands) == 3)
        server.hang_up()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RedisUnavailable] * 3


@on_both_loops
async def test_while_down_calls_fail_at_once_and_a_patient_caller_may_wait() -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        await server.stop()
        await until(lambda: not link.connected)
        refused = link.call("PING")
        assert refused.done()
        with pytest.raises(RedisUnavailable):
            await refused
        with pytest.raises(RedisUnavailable):
            await link.wait_connected(0.01)
        await server.listen()
        await link.wait_connected(20.0)
        assert await link.call("PING") == b"OK"


@on_both_loops
async def test_another_process_behind_the_address_is_seen_by_its_run_id() -> None:
    seen: list[str] = []
    async with scripted_redis() as server, linked(server.url, on_connected=seen.append) as link:
        server.run_id = "b" * 40
        server.hang_up()
        await until(lambda: link.server_run_id == "b" * 40)
    assert seen == ["a" * 40, "b" * 40]


@on_both_loops
async def test_calls_pass_only_after_the_run_id_is_known() -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        server.greeting = lambda command: None
        server.hang_up()
        await until(lambda: server.connections == 2)
        refused = link.call("PING")
        assert refused.done()
        with pytest.raises(RedisUnavailable):
            await refused
        assert server.commands == []


@pytest.mark.parametrize("lie", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b":1\r\n:2\r\n:3\r\n"])
@on_both_loops
async def test_a_server_that_talks_nonsense_is_left(lie: bytes) -> None:
    async with scripted_redis() as server, linked(server.url) as link:
        server.answer = lambda command: lie
        await asyncio.gather(link.call("A"), return_exceptions=True)
        await until(lambda: server.connections == 2 and link.connected)
        server.answer = echo
        assert await link.call("ECHO", "ok") == b"ok"


@on_both_loops
async def test_a_greeting_that_never_comes_is_bounded() -> None:
    async with scripted_redis() as server:
        server.greeting = lambda command: None
        with pytest.raises(RedisUnavailable):
            await RedisLink.connect(server.url, timeout_s=SOON_S)


# -- bounds --


@on_both_loops
async def test_too_many_in_flight_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_wire, "IN_FLIGHT_MAX", 5)
    async with scripted_redis() as server, linked(server.url) as link:
        server.answer = lambda command: None
        calls = [link.call("ECHO", "a") for _ in range(5)]
        with pytest.raises(RedisUnavailable, match="too many"):
            await link.call("ECHO", "b")
        await until(lambda: len(server.commands) == 5)
        server.say(b"+OK\r\n" * 5)
        await asyncio.gather(*calls)
        server.answer = echo
        assert await link.call("ECHO", "c") == b"c"


@on_both_loops
async def test_a_redis_that_does_not_read_bounds_what_we_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_wire, "UNSENT_BYTES_MAX", 1_000_000)
    async with scripted_redis() as server, linked(server.url) as link:
        server.may_read.clear()
        big = b"x" * 200_000
        calls: list[asyncio.Future[Any]] = []
        for _ in range(500):
            calls.append(link.call("ECHO", big))
            await asyncio.sleep(0)
            if calls[-1].done():
                break
        with pytest.raises(RedisUnavailable, match="too many"):
            await calls.pop()
        server.answer = lambda command: b"+OK\r\n"
        server.may_read.set()
        assert set(await asyncio.gather(*calls)) == {b"OK"}
        assert await link.call("ECHO", "again") == b"OK"


# -- the end --


@on_both_loops
async def test_close_waits_for_the_replies_under_way() -> None:
    async with scripted_redis() as server:
        link = await RedisLink.connect(server.url, timeout_s=10.0)
        server.answer = lambda command: None
        call = link.call("ECHO", "a")
        closing = asyncio.create_task(link.close())
        await until(lambda: server.commands)
        assert link.call("ECHO", "b").exception() is not None
        server.say(b"$1\r\na\r\n")
        assert await call == b"a"
        await closing
        await link.close()


@on_both_loops
async def test_close_fails_what_redis_does_not_answer() -> None:
    async with scripted_redis() as server:
        link = await RedisLink.connect(server.url, timeout_s=SOON_S)
        server.answer = lambda command: None
        call = link.call("ECHO", "a")
        await link.close()
        with pytest.raises(RedisUnavailable):
            await call


@on_both_loops
async def test_close_while_down_stops_the_healing() -> None:
    async with scripted_redis() as server:
        link = await RedisLink.connect(server.url)
        await server.stop()
        await until(lambda: not link.connected)
        await link.close()
        await server.listen()
        connections = server.connections
        await asyncio.sleep(0.1)
        assert server.connections == connections
        assert isinstance(link.call("PING").exception(), RedisUnavailable)
