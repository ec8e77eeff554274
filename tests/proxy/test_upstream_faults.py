"""The upstream client when upstream breaks, lies, dies between requests or keeps silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rabbitgw.errors import (
    UpstreamConnectFailed,
    UpstreamCut,
    UpstreamGarbled,
    UpstreamTimeout,
)
from rabbitgw.proxy import upstream as upstream_module
from rabbitgw.proxy.upstream import Upstream
from tests.fakes.raw_http import Connection, RawServer
from tests.loops import on_both_loops, until
from tests.proxy.upstream_client import (
    CHUNKED,
    NEVER_S,
    OK,
    SOON_S,
    Recorder,
    answering,
    client,
    ending,
)

# -- upstream that breaks --


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ((), 0, b""),
        ((b"HTTP/1.1 20",), 0, b""),
        ((OK + b"content-le",), 0, b""),
        ((b"HTTP/1.1 100 Continue\r\n\r\n",), 0, b""),
        ((OK + b"content-length: 5\r\n\r\n",), 200, b""),
        ((OK + b"content-length: 5\r\n\r\nhel",), 200, b"hel"),
        ((CHUNKED, b"5\r\nhel"), 200, b"hel"),
        ((CHUNKED, b"5\r\nhello\r\n"), 200, b"hello"),
        ((CHUNKED, b"5\r\nhello\r\n0\r\n"), 200, b"hello"),
    ],
)
@on_both_loops
async def test_a_response_cut_short_fails_once_after_what_came(
    how: str, pieces: tuple[bytes, ...], status: int, body: bytes
) -> None:
    async with client(ending(*pieces, how=how)) as c:
        sink = await c.whole()
        assert isinstance(sink.error, UpstreamCut)
        assert (sink.status, sink.body) == (status, body)
        assert (sink.error.sent, sink.error.bytes_seen) == (True, len(b"".join(pieces)))
        assert len(c.server.connections) == 1


@on_both_loops
async def test_a_reset_is_no_end_of_a_body_that_lasts_until_close() -> None:
    async with client(ending(OK + b"\r\n", b"part", how="reset")) as c:
        sink = await c.whole()
        assert (sink.body, type(sink.error)) == (b"part", UpstreamCut)


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ((b"<html>busy</html>",), 0, b""),
        ((b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",), 0, b""),
        ((OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",), 0, b""),
        ((OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",), 0, b""),
        ((OK + b"content-encoding: br\r\ncontent-length: 3\r\n\r\nabc",), 0, b""),
        ((OK + b"a: b\r\n" * 101 + b"\r\n",), 0, b""),
        ((CHUNKED + b"2\r\nok\r\nzz\r\n",), 200, b"ok"),
        ((CHUNKED, b"2\r\nok\r\n", b"2\r\nok\r\nzz\r\n"), 200, b"okok"),
        ((CHUNKED, b"2\r\nokX"), 200, b"ok"),
        ((OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nplain",), 200, b""),
    ],
)
@on_both_loops
async def test_what_is_not_proper_http_fails_after_the_good_part(
    pieces: tuple[bytes, ...], status: int, body: bytes
) -> None:
    async with client(answering(*pieces)) as c:
        sink = await c.whole()
        assert isinstance(sink.error, UpstreamGarbled)
        assert (sink.status, sink.body) == (status, body)


# -- a reused connection that died --


def dying_when_reused(how: str, answer: bytes) -> Callable[[Connection], Any]:
    """The first connection serves one request, reads a second and dies; later connections answer on."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)
        if connection.number == 1:
            await connection.read_request()
            getattr(connection, how)()
            return
        await connection.wait_gone()

    return script


@pytest.mark.parametrize("how", ["end", "reset"])
@on_both_loops
async def test_a_reused_connection_that_dies_unheard_is_retried_on_a_new_one(how: str) -> None:
    async with client(dying_when_reused(how, OK + b"content-length: 2\r\n\r\nhi")) as c:
        await c.whole(b"first")
        sink = await c.whole(b"second")
        assert (sink.body, sink.ended) == (b"hi", True)
        assert [body for _, body in c.server.connections[0].requests] == [b"first", b"second"]
        assert [body for _, body in c.server.connections[1].requests] == [b"second"]


@on_both_loops
async def test_it_is_retried_once_only() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        if connection.number == 1:
            await connection.send(OK + b"content-length: 2\r\n\r\nhi")
            await connection.read_request()
        connection.reset()

    async with client(script) as c:
        await c.whole()
        sink = await c.whole()
        assert isinstance(sink.error, UpstreamCut)
        assert (sink.error.sent, sink.error.bytes_seen) == (True, 0)
        assert len(c.server.connections) == 2


@on_both_loops
async def test_one_byte_heard_and_it_is_not_retried() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await connection.read_request()
        await connection.send(b"H")
        connection.end()

    async with client(script) as c:
        await c.whole()
        sink = await c.whole()
        assert isinstance(sink.error, UpstreamCut)
        assert sink.error.bytes_seen == 1
        assert len(c.server.connections) == 1


@on_both_loops
async def test_one_that_had_time_to_work_on_it_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "REUSE_RACE_S", 0.0)

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await connection.read_request()
        await asyncio.sleep(0.3)
        connection.end()

    async with client(script, silence_timeout_s=0.2) as c:  # which makes the tick 0.05 s
        await c.whole()
        assert isinstance((await c.whole()).error, UpstreamCut)
        assert len(c.server.connections) == 1


@on_both_loops
async def test_a_retry_that_cannot_connect_fails_through_the_sink() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await connection.read_request()
        listener.close()
        connection.reset()

    raw = RawServer(script)
    listener = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    upstream = Upstream(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", idle_timeout_s=NEVER_S)
    for expected in (type(None), UpstreamConnectFailed):
        sink = Recorder()
        await upstream.request(b"POST", b"/", [], b"{}", sink)
        await until(lambda: sink.over)  # noqa: B023 (awaited here)
        assert type(sink.error) is expected
    assert sink.error is not None
    assert not sink.error.sent
    await upstream.close()
    await raw.stop()


@on_both_loops
async def test_a_big_body_that_met_a_dead_connection_is_sent_whole_on_the_new_one() -> None:
    body = bytes(range(256)) * 40_000

    async def script(connection: Connection) -> None:
        if connection.number == 1:
            await connection.read_request()
            await connection.send(OK + b"content-length: 2\r\n\r\nhi")
            await connection.reader.readuntil(b"\r\n\r\n")
            connection.reset()
            return
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")

    async with client(script) as c:
        await c.whole()
        assert (await c.whole(body)).ended
        assert c.server.connections[1].requests[0][1] == body


# -- time --


@on_both_loops
async def test_no_answer_in_time_is_a_timeout_even_if_a_head_trickles() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        for byte in OK + b"x: " + b"y" * 10_000:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.01)

    async with client(script, first_byte_timeout_s=SOON_S) as c:
        sink = await c.whole()
        assert isinstance(sink.error, UpstreamTimeout)
        assert sink.status == 0
        assert len(c.server.connections) == 1


@on_both_loops
async def test_silence_in_the_middle_is_a_timeout() -> None:
    async with client(answering(CHUNKED, b"2\r\nab\r\n"), silence_timeout_s=SOON_S) as c:
        sink = await c.whole()
        assert isinstance(sink.error, UpstreamTimeout)
        assert sink.error.bytes_seen == len(CHUNKED) + 7
        assert sink.body == b"ab"


@on_both_loops
async def test_a_stream_that_goes_on_is_never_silent() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(CHUNKED)
        for _ in range(20):
            await connection.send(b"2\r\nab\r\n")
            await asyncio.sleep(0.05)
        await connection.send(b"0\r\n\r\n")

    async with client(script, silence_timeout_s=0.5, first_byte_timeout_s=0.5) as c:
        assert (await c.whole()).ended


@on_both_loops
async def test_silence_while_we_are_not_reading_is_not_upstreams() -> None:
    async with client(answering(CHUNKED, b"2\r\nab\r\n"), silence_timeout_s=SOON_S) as c:
        sink = await c.post()
        await until(lambda: sink.pieces)
        assert sink.exchange is not None
        sink.exchange.pause()
        await asyncio.sleep(4 * SOON_S)
        assert not sink.over
        sink.exchange.resume()
        await until(lambda: sink.over)
        assert isinstance(sink.error, UpstreamTimeout)


@on_both_loops
async def test_an_idle_connection_is_closed_in_time() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await connection.wait_gone()

    async with client(script, idle_timeout_s=SOON_S) as c:
        await c.whole()
        await until(c.server.connections[0].reader.at_eof)
        assert (await c.whole()).ended
        assert len(c.server.connections) == 2


@on_both_loops
async def test_no_more_are_kept_idle_than_the_pool_may_hold() -> None:
    async with client(answering(OK + b"content-length: 2\r\n\r\nhi"), pool_max=2) as c:
        await asyncio.gather(*[c.whole() for _ in range(5)])
        assert len(c.upstream._open) == 2
