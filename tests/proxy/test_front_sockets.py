"""The front on real sockets and both event loops: halves that close, refusals that are seen, time."""

from __future__ import annotations

import asyncio
import socket
from unittest.mock import patch

import pytest

from rabbitgw.proxy import front as front_module
from rabbitgw.proxy.relay import Client
from tests.loops import on_both_loops, until
from tests.proxy.front_house import LAST, POST, Served, post, served, whole

MIB = 1024 * 1024


async def stream(client: Client, body: bytes) -> None:
    client.start(200, [], length=None)
    for _ in range(3):
        client.write(body)
        await asyncio.sleep(0.01)
    client.finish(b"last")


async def half_closing(house: Served, *sent: bytes) -> bytes:
    async with house.connection() as (reader, writer), asyncio.timeout(20):
        for piece in sent:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write_eof()
        return await reader.read()


@on_both_loops
async def test_a_client_that_closes_its_half_gets_every_answer_it_asked_for() -> None:
    async with served(stream) as house:
        said = await half_closing(house, post(b"one") + post(b"two"))
        assert said.count(b"4\r\nlast\r\n0\r\n\r\n") == 2
        assert house.service.bodies == [b"one", b"two"]
    async with served() as house:
        assert (await half_closing(house, post(b"abc"))).endswith(b"\r\n\r\n3")
        assert (await half_closing(house, post(b"abc"), post(b"abcd"))).endswith(b"\r\n\r\n4")


@on_both_loops
async def test_half_a_request_of_a_client_that_closed_its_half_is_not_answered() -> None:
    async with served() as house:
        for half in (
            b"",
            b"POST /v1",
            post(b"abc")[:-1],
            POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ):
            assert await half_closing(house, half) == b""
        assert (await half_closing(house, post(b"abc") + b"POST /v1")).count(b"HTTP/1.1 ") == 1
        await until(lambda: not house.front.connections)
        assert house.service.bodies == [b"abc"]


@on_both_loops
async def test_silence_after_the_end_of_what_a_client_sends_is_its_leaving() -> None:
    left = asyncio.Event()

    async def patient(client: Client, body: bytes) -> None:
        client.bind(lambda: None, left.set)
        client.start(200, [], length=None)
        client.write(b"one")
        await left.wait()

    async with served(patient, silence_s=0.2) as house:
        said = await half_closing(house, post(b"{}"))
        assert left.is_set()
        assert said.endswith(b"3\r\none\r\n")


@on_both_loops
async def test_who_is_written_to_has_not_left() -> None:
    async def dripping(client: Client, body: bytes) -> None:
        client.start(200, [], length=None)
        for _ in range(30):  # for longer than the silence
            client.write(b"x")
            await asyncio.sleep(0.02)
        assert not client.lost
        client.finish()

    async with served(dripping, silence_s=0.3) as house:
        assert (await half_closing(house, post(b"{}"))).endswith(b"1\r\nx\r\n0\r\n\r\n")


@on_both_loops
async def test_a_client_that_is_gone_is_noticed_by_the_write_that_fails() -> None:
    left = asyncio.Event()

    async def pouring(client: Client, body: bytes) -> None:
        client.bind(lambda: None, left.set)
        client.start(200, [], length=None)
        while not client.lost:
            client.write(b"x" * 100)
            await asyncio.sleep(0.005)
        for _ in range(10):  # nothing comes of these
            client.write(b"y")
        client.finish(b"z")

    async with served(pouring) as house:
        async with house.connection() as (reader, writer):
            writer.write(post(b"{}"))
            await reader.readuntil(b"x")
            writer.transport.abort()
        async with asyncio.timeout(20):
            await left.wait()
        await until(lambda: not house.front.connections)


@on_both_loops
async def test_a_refusal_is_seen_by_a_client_that_is_still_sending() -> None:
    """Not the reset that closing over unread bytes would be."""
    cases = [
        (POST + b"content-length: %d\r\n\r\n" % (8 * MIB), b"x" * 8 * MIB, b"413"),
        (POST + b"transfer-encoding: chunked\r\n\r\n", (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 100, b"413"),
        (POST + b"x: ", b"y" * 8 * MIB, b"431"),
        (POST + b"x: y\r\n" * 101 + b"\r\n", b"y" * 8 * MIB, b"431"),
        (b"nonsense\r\n\r\n", b"y" * 8 * MIB, b"400"),
    ]
    async with served(body_bytes_max=MIB) as house:
        for head, rest, status in cases:
            async with house.connection() as (reader, writer), asyncio.timeout(20):
                writer.write(head)
                writer.write(rest)
                await writer.drain()
                said = await reader.read()
                assert said.split()[1] == status
                assert b"\r\nconnection: close\r\n" in said
        assert house.service.bodies == []


@on_both_loops
async def test_a_body_that_stops_coming_is_given_up() -> None:
    async with served(client_stall_timeout_s=0.2) as house:
        for part in (post(b"abc")[:-1], POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"):
            async with house.connection() as (reader, writer), asyncio.timeout(20):
                writer.write(part)
                said = await reader.read()
                assert said.startswith(b"HTTP/1.1 400 ")
                assert b"the body stopped coming: nothing for 0.2 s" in said
        assert house.service.bodies == []


@on_both_loops
async def test_a_body_that_comes_slowly_is_waited_for() -> None:
    async with served(client_stall_timeout_s=0.4) as house, house.connection() as (reader, writer):
        writer.write(post(b"x" * 30, LAST)[:-30])
        for _ in range(30):  # for longer than the timeout
            await asyncio.sleep(0.03)
            writer.write(b"x")
        async with asyncio.timeout(20):
            assert (await reader.read()).endswith(b"\r\n\r\n30")


@pytest.mark.parametrize("begun", [b"", b"POST /v1", post(b"abc") + b"POST"])
async def test_who_brings_no_head_is_let_go(begun: bytes) -> None:
    with patch.object(front_module, "IDLE_TIMEOUT_S", 0.3), patch.object(front_module, "TICK_S", 0.1):
        async with served() as house, house.connection() as (reader, writer), asyncio.timeout(20):
            writer.write(begun)
            assert (await reader.read()).count(b"HTTP/1.1 ") == begun.count(b"abc")


async def test_a_client_that_waits_to_hear_go_on_may_send_without_it() -> None:
    async with served() as house:
        said = await house.exchange(post(b"abc", b"expect: 100-continue", LAST))
        assert said.startswith(b"HTTP/1.1 200 ")


async def test_an_old_client_is_not_told_to_go_on() -> None:
    async with served() as house, house.connection() as (reader, writer), asyncio.timeout(20):
        head, _, body = post(b"abc", b"expect: 100-continue").replace(b"1.1", b"1.0").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_a_request_that_was_refused_before_it_was_told_to_go_on_is_the_last() -> None:
    """Whether its body comes or the next request, nobody can know."""
    async with served() as house, house.connection() as (reader, writer), asyncio.timeout(20):
        writer.write(
            post(b"", b"expect: 100-continue").replace(b"length: 0", b"length: 9").replace(b"good", b"bad")
        )
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nconnection: close\r\n" in said


@on_both_loops
async def test_a_front_that_drains_says_so_in_each_answer_and_closes_in_the_end() -> None:
    gate = asyncio.Event()

    async def gated(client: Client, body: bytes) -> None:
        await gate.wait()
        await whole(client, body)

    async with (
        served(gated) as house,
        house.connection() as (idle, _),
        house.connection() as (reader, writer),
    ):
        writer.write(post(b"abc"))
        await until(lambda: house.service.bodies)
        draining = asyncio.create_task(house.front.drain(20.0))
        await asyncio.sleep(0.02)
        assert not draining.done()
        gate.set()
        async with asyncio.timeout(20):
            await draining
            said = await reader.read()
            assert b"\r\nconnection: close\r\n" in said
            assert len(house.front.connections) == 1
            await house.front.close()
            assert await idle.read() == b""
        assert not house.front.connections


async def test_a_front_that_closes_lets_what_was_written_be_taken() -> None:
    async def large(client: Client, body: bytes) -> None:
        client.start(200, [], length=4 * MIB)
        client.finish(b"x" * 4 * MIB)

    async with served(large) as house:
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", house.port))
            await loop.sock_sendall(sock, post(b"abc"))
            await until(lambda: house.service.bodies and not house.front.running)
            closing = asyncio.create_task(house.front.close())
            received = 0
            async with asyncio.timeout(20):
                while piece := await loop.sock_recv(sock, MIB):
                    received += len(piece)
                await closing
            assert received > 4 * MIB
