"""Side routes behind the front: what comes out at the other side, and back; on both event loops."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
from aiohttp import web

from rabbitgw.proxy.front_inner import BODY_BYTES_MAX
from tests.flows.raw_client import read_answer
from tests.loops import on_both_loops, until
from tests.proxy.front_house import post, served, slow_socket

LAST = b"connection: close\r\n"


def side(
    method: bytes, *lines: bytes, body: bytes = b"", path: bytes = b"/side", last: bytes = LAST
) -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: here\r\n%b%b\r\n" % (
        method,
        path,
        b"".join(line + b"\r\n" for line in lines),
        last,
    )
    return head + body


async def echoed(sent: bytes) -> dict[str, Any]:
    async with served() as house:
        answer, rest = read_answer(await house.exchange(sent))
    assert (answer.status, answer.whole, rest) == (201, True, b"")
    assert answer.field(b"x-inner") == b"yes"
    said = json.loads(answer.body)  # which reads lone surrogates
    assert isinstance(said, dict)
    return said


@on_both_loops
async def test_a_request_comes_out_as_it_went_in() -> None:
    body = b'{"a": 1}'
    said = await echoed(
        side(
            b"PATCH",
            b"X-Some: \xe9 thing",
            b"accept-encoding: gzip",
            b"content-length: %d" % len(body),
            path=b"/side?a=%20b&c",
            body=body,
        )
    )
    assert (said["method"], said["path"], said["body"]) == ("PATCH", "/side?a=%20b&c", body.decode())
    assert said["field host"] == "here"
    assert said["field accept-encoding"] == "gzip"
    assert said["field x-some"] in ("é thing", "\udce9 thing")
    assert said["field content-length"] == "8"
    assert "field connection" not in said


@on_both_loops
async def test_what_belongs_to_the_connection_stays_in_front() -> None:
    said = await echoed(
        side(
            b"POST",
            b"transfer-encoding: chunked",
            b"upgrade: h2c",
            b"http2-settings: AAMAAABkAAQ",
            b"te: trailers",
            b"expect: 100-continue",
            b"X-Rabbitgw-Peer: 203.0.113.9",
            body=b"3\r\nabc\r\n0\r\n\r\n",
        ).replace(LAST, b"connection: close, upgrade, http2-settings\r\n")
    )
    assert (said["body"], said["field content-length"]) == ("abc", "3")
    kept = {name for name in said if name.startswith("field ")}
    assert kept == {"field host", "field content-length", "field x-rabbitgw-peer"}
    assert said["field x-rabbitgw-peer"] == "127.0.0.1"  # the front's word, once


@on_both_loops
async def test_connections_are_kept_on_both_sides() -> None:
    async with served() as house, house.connection() as (reader, writer), asyncio.timeout(20):
        for _ in range(3):
            writer.write(side(b"GET", last=b""))
            said = await reader.readuntil(b"}")
            assert said.startswith(b"HTTP/1.1 201 Created\r\n")
        assert house.front._inner.open == 1
        assert house.front.requests == 3


async def test_an_old_client_gets_its_answer_and_a_close() -> None:
    async with served() as house:
        said = await house.exchange(b"GET /side HTTP/1.0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 201 ")
    assert b"\r\nconnection: close\r\n" in said
    assert b"chunked" not in said


async def test_head_has_the_length_and_no_body() -> None:
    async with served() as house:
        said = await house.exchange(side(b"HEAD", last=b"") + side(b"GET"))
    first, _, second = said.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: " in first
    assert second.startswith(b"HTTP/1.1 201 ")


async def test_an_answer_without_a_body_has_none() -> None:
    async def nothing(request: web.Request) -> web.Response:
        return web.Response(status=204)

    async with served(side=lambda app: app.router.add_get("/nothing", nothing)) as house:
        said = await house.exchange(side(b"GET", path=b"/nothing", last=b"") + side(b"GET", path=b"/nothing"))
    assert said.count(b"HTTP/1.1 204 No Content\r\n") == 2
    assert b"chunked" not in said
    assert said.count(b"\r\n\r\n") == 2


async def test_what_aiohttp_refuses_comes_back_as_it_says() -> None:
    async with served() as house:
        answer, _ = read_answer(await house.exchange(side(b"GET", path=b"/elsewhere")))
    assert (answer.status, answer.body) == (404, b"404: Not Found")


async def test_a_body_beyond_what_side_routes_take_is_refused_in_their_shape() -> None:
    big = b"x" * (BODY_BYTES_MAX + 1)
    async with served() as house:
        for sent in (
            side(b"POST", b"content-length: %d" % len(big), body=big),
            side(b"POST", b"transfer-encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(big), big)),
        ):
            answer, _ = read_answer(await house.exchange(sent))
            document = orjson.loads(answer.body)
            assert (answer.status, document["error"]["code"]) == (413, "request_too_large")
            assert set(document) == {"error", "request_id"}
        exact = b"x" * BODY_BYTES_MAX
        answer, _ = read_answer(
            await house.exchange(side(b"POST", b"content-length: %d" % len(exact), body=exact))
        )
        assert answer.status == 201


@on_both_loops
async def test_a_long_answer_waits_for_a_slow_client() -> None:
    written = 0

    async def long(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x" * 65536)
            written += 65536
        return response

    async with served(side=lambda app: app.router.add_get("/long", long)) as house:
        async with slow_socket(house, side(b"GET", path=b"/long")) as sock:
            await until(lambda: written)
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.2)
            assert written < 100 * 65536
            loop = asyncio.get_running_loop()
            received = bytearray()
            async with asyncio.timeout(60):
                while piece := await loop.sock_recv(sock, 1 << 20):
                    received += piece
        answer, rest = read_answer(bytes(received))
        assert (answer.whole, rest) == (True, b"")
        assert len(answer.body) == written == 200 * 65536


@on_both_loops
async def test_a_handler_hears_that_its_client_left() -> None:
    begun, heard = asyncio.Event(), asyncio.Event()

    async def writing(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                begun.set()
                await asyncio.sleep(0.005)
        except ConnectionError:
            heard.set()
            raise

    async with served(side=lambda app: app.router.add_get("/writing", writing)) as house:
        async with house.connection() as (_, writer):
            writer.write(side(b"GET", path=b"/writing"))
            await begun.wait()
        async with asyncio.timeout(20):
            await heard.wait()
        await until(lambda: not house.front.running)
        assert not house.front.connections
        assert house.front._inner.open == 0


async def test_side_routes_and_calls_take_turns_on_one_connection() -> None:
    async with served() as house:
        said = await house.exchange(post(b"abc") + side(b"GET", last=b"") + post(b"abcd") + side(b"GET"))
    statuses = [part.split()[0] for part in said.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"201", b"200", b"201"]


async def test_an_inner_server_that_is_gone_is_said_to_be() -> None:
    async with served() as house:
        await house.front._inner.close()
        answer, _ = read_answer(await house.exchange(side(b"GET")))
    assert answer.status == 502
    assert set(orjson.loads(answer.body)) == {"error", "request_id"}
