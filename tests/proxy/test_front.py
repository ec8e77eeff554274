"""The front on raw sockets: framing, bodies of every kind, slow and vanishing clients, draining."""

from __future__ import annotations

import asyncio
import gzip
import logging
from contextlib import suppress

import pytest

from rabbitgw.proxy.relay import Client
from tests.loops import until
from tests.proxy.front_house import LAST, POST, Flood, post, served, slow_socket, whole


async def test_two_requests_at_once_on_one_connection_are_answered_in_order() -> None:
    async with served() as house:
        said = await house.exchange(post(b"abc"), post(b"abcdefgh", LAST))
    assert [part[:1] for part in said.split(b"\r\n\r\n")[1:]] == [b"3", b"8"]


async def test_a_chunked_body_is_read_whole() -> None:
    async with served() as house:
        said = await house.exchange(
            POST + LAST + b"\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"
        )
        assert house.service.bodies == [b"abcde"]
    assert said.endswith(b"\r\n\r\n5")


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"deflate", b"br", b"zstd", b"gzip, identity"])
async def test_a_compressed_body_is_refused_by_name(encoding: bytes) -> None:
    async with served() as house:
        said = await house.exchange(post(gzip.compress(b"hello"), b"content-encoding: " + encoding, LAST))
        assert house.service.bodies == []
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"param":"content-encoding"' in said


async def test_a_body_that_says_it_is_not_compressed_is_read() -> None:
    async with served() as house:
        await house.exchange(post(b"hello", b"content-encoding: identity", LAST))
        assert house.service.bodies == [b"hello"]


@pytest.mark.parametrize(
    "sent",
    [
        post(b"this is no gzip at all", b"content-encoding: gzip", LAST),
        POST + LAST + b"\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ],
)
async def test_a_body_that_cannot_be_read_is_400(sent: bytes) -> None:
    async with served() as house:
        said = await house.exchange(sent)
        assert house.service.bodies == []
    assert said.split()[1] == b"400"
    assert said.count(b"HTTP/1.") == 1


async def test_a_length_beyond_the_limit_is_refused_before_the_body_comes() -> None:
    async with served(body_bytes_max=2000) as house, house.connection() as (reader, writer):
        writer.write(POST + b"content-length: 5000\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


async def test_continue_is_said_once_to_a_client_with_a_good_key_and_length() -> None:
    async with served() as house, house.connection() as (reader, writer):
        writer.write(POST + b"expect: 100-continue\r\ncontent-length: 3\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(20):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("key", "length", "status"), [(b"bad", 3, b"401"), (b"good", 5_000, b"413"), (b"", 3, b"401")]
)
async def test_continue_is_not_said_to_a_request_that_is_refused(
    key: bytes, length: int, status: bytes
) -> None:
    async with served(body_bytes_max=2000) as house, house.connection() as (reader, writer):
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (key, length)
        )
        async with asyncio.timeout(20):
            assert (await reader.readline()).split()[1] == status


async def test_another_expectation_fails() -> None:
    async with served() as house:
        said = await house.exchange(post(b"abc", b"expect: the-unexpected", LAST))
    assert said.startswith(b"HTTP/1.1 417 ")


@pytest.mark.parametrize("path", [b"/v1/models", b"/v1/chat/completions"])
async def test_head_is_refused_and_has_no_body_to_confuse_the_next_answer(path: bytes) -> None:
    async with served() as house:
        said = await house.exchange(
            b"HEAD %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\n\r\n" % path, post(b"abc", LAST)
        )
    first, second = said.split(b"\r\n\r\n", 1)
    assert first.startswith(b"HTTP/1.1 405 ")
    assert second.startswith(b"HTTP/1.1 200 ")


async def test_an_old_client_gets_bytes_without_chunks_and_a_close() -> None:
    async def stream(client: Client, body: bytes) -> None:
        client.start(200, [], length=None)
        client.write(b"one")
        client.write(b"two")
        client.finish()

    async with served(stream) as house:
        said = await house.exchange(post(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert said.endswith(b"\r\n\r\nonetwo")
    assert b"chunked" not in said


async def test_an_answer_that_was_cut_is_not_ended_for_the_client() -> None:
    async def broken(client: Client, body: bytes) -> None:
        client.start(200, [], length=None)
        client.write(b"one")
        client.cut()

    async with served(broken) as house:
        said = await house.exchange(post(b"{}"))
    assert said.endswith(b"3\r\none\r\n")


async def test_a_bug_in_the_middle_of_an_answer_puts_no_second_answer_behind_it() -> None:
    async def broken(client: Client, body: bytes) -> None:
        client.start(200, [], length=None)
        client.write(b"one")
        raise KeyError("a bug")

    async with served(broken) as house:
        said = await house.exchange(post(b"{}"))
    assert said.endswith(b"3\r\none\r\n")
    assert said.count(b"HTTP/1.1") == 1


async def test_a_client_that_leaves_is_told_of_while_the_call_runs_on() -> None:
    left, ended = asyncio.Event(), asyncio.Event()

    async def patient(client: Client, body: bytes) -> None:
        client.bind(lambda: None, left.set)
        await left.wait()
        client.start(200, [], length=None)
        client.write(b"nobody reads this")
        client.finish()
        ended.set()

    async with served(patient, silence_s=0.2) as house:
        async with house.connection() as (_, writer):
            writer.write(post(b"{}"))
            await until(lambda: house.service.bodies)
        async with asyncio.timeout(20):
            await ended.wait()


async def test_a_client_that_takes_nothing_has_left_and_its_bytes_are_not_kept() -> None:
    flood = Flood(64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    async with served(flood, client_stall_timeout_s=0.2) as house, slow_socket(house) as sock:
        await until(lambda: flood.lost)
        received = 0
        with suppress(ConnectionResetError):
            while piece := await loop.sock_recv(sock, 1 << 20):
                received += len(piece)
        assert received < 1024 * 1024  # what the kernel had; not what waited here


async def test_a_client_that_takes_little_at_a_time_is_waited_for() -> None:
    flood = Flood(64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    async with served(flood, client_stall_timeout_s=0.5) as house, slow_socket(house) as sock:
        for _ in range(100):  # for longer than the timeout, and slower than what waits here drains in it
            await loop.sock_recv(sock, 1024)
            await asyncio.sleep(0.02)
            assert not flood.lost
    await until(flood.done.is_set)


async def test_a_drain_waits_for_requests_that_come_on_open_connections() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    turns = iter(gates)

    async def gated(client: Client, body: bytes) -> None:
        await next(turns).wait()
        await whole(client, body)

    async with (
        served(gated) as house,
        house.connection() as (first, first_writer),
        house.connection() as (second, second_writer),
    ):
        first_writer.write(post(b"abc"))
        await until(lambda: len(house.service.bodies) == 1)
        draining = asyncio.create_task(house.front.drain(20.0))
        await asyncio.sleep(0.05)
        second_writer.write(post(b"abc"))
        await until(lambda: len(house.service.bodies) == 2)
        gates[0].set()
        assert (await first.readline()).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(0.05)
        assert not draining.done()
        gates[1].set()
        async with asyncio.timeout(20):
            await draining
            assert b"connection: close" in await second.read()


async def test_a_malformed_head_with_a_key_in_it_leaves_no_key_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served() as house:
        await house.exchange(
            b"POST /v1/chat/completions HTTP/1.1\r\nauthorization : Bearer rk-secret\r\n\r\n"
        )
    assert "rk-secret" not in caplog.text


async def test_answers_that_nobody_takes_do_not_pile_up() -> None:
    requests = b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    async with served() as house, slow_socket(house) as sock:
        loop = asyncio.get_running_loop()
        for _ in range(30):  # 1.2 MB, whose answers would be 9 MB
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await loop.sock_sendall(sock, requests)
        await asyncio.sleep(0.5)
        (connection,) = house.front.connections
        assert connection.transport.get_write_buffer_size() < 256 * 1024
        assert len(connection._buffer) < 512 * 1024
