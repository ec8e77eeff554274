"""The upstream client under backpressure, with compressed bodies, and when somebody leaves."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from rabbitgw.errors import (
    UpstreamConnectFailed,
    UpstreamCut,
)
from rabbitgw.proxy.upstream import Exchange, Upstream
from rabbitgw.proxy.upstream_head import request_head
from tests.fakes.raw_http import Connection, raw_server
from tests.loops import on_both_loops, until
from tests.proxy.upstream_client import (
    CHUNKED,
    OK,
    Recorder,
    answering,
    client,
    ending,
)

# -- backpressure --


@on_both_loops
async def test_pause_stops_reading_and_resume_goes_on() -> None:
    size = 20_000_000
    sent = 0

    async def script(connection: Connection) -> None:
        nonlocal sent
        await connection.read_request()
        await connection.send(OK + b"content-length: %d\r\n\r\n" % size)
        while sent < size:
            await connection.send(b"x" * 100_000)
            sent += 100_000

    async with client(script) as c:
        sink = Recorder()

        def pause_at_first(event: str) -> None:
            if len(sink.pieces) == 1 and event == "body":
                assert sink.exchange is not None
                sink.exchange.pause()

        sink.then = pause_at_first
        await c.post(to=sink)
        await until(lambda: sink.pieces)
        before = -1
        while before != sent:  # until upstream is stuck
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size
        assert len(sink.body) <= 256 * 1024  # the read that was under way
        assert sink.exchange is not None
        sink.exchange.resume()
        await until(lambda: sink.over)
        assert (sink.ended, len(sink.body)) == (True, size)
        assert max(map(len, sink.pieces)) <= 65536


@on_both_loops
async def test_pausing_at_the_last_piece_does_not_stop_the_next_request() -> None:
    async with client(answering(OK + b"content-length: 2\r\n\r\nhi")) as c:
        for _ in range(3):
            sink = Recorder()
            sink.then = lambda event: sink.exchange.pause()  # type: ignore[union-attr]  # noqa: B023
            await c.post(to=sink)
            await until(lambda: sink.over)  # noqa: B023 (awaited here)
            assert sink.ended
        assert len(c.server.connections) == 1


@on_both_loops
async def test_a_slow_reader_gets_a_big_body_whole_and_we_hold_only_a_slice() -> None:
    body = bytes(range(256)) * 40_000
    go = asyncio.Event()

    async def script(connection: Connection) -> None:
        await go.wait()
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")

    async with client(script) as c:
        sink = await c.post(body)
        await asyncio.sleep(0.1)
        (connection,) = c.upstream._open
        assert connection._transport.get_write_buffer_size() <= 512 * 1024
        go.set()
        await until(lambda: sink.over)
        assert sink.ended
        assert c.server.connections[0].requests[0][1] == body


@on_both_loops
async def test_an_answer_before_the_body_was_sent_is_taken_and_the_connection_dropped() -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    async with client(script) as c:
        for _ in range(2):
            sink = await c.whole(b"x" * 20_000_000)
            assert (sink.status, sink.body, sink.ended) == (413, b"no", True)
        assert len(c.server.connections) == 2


# -- compressed although we asked for identity --


@on_both_loops
async def test_a_compressed_body_arrives_plain() -> None:
    data = gzip.compress(b"data: hello\n\n")
    for answer in (
        OK + b"content-encoding: gzip\r\ncontent-length: %d\r\nx: y\r\n\r\n" % len(data) + data,
        OK
        + b"content-encoding: gzip\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(data)
        + data
        + b"\r\n0\r\n\r\n",
    ):
        async with client(answering(*[answer[at : at + 9] for at in range(0, len(answer), 9)])) as c:
            for _ in range(2):
                sink = await c.whole()
                assert (sink.body, sink.headers, sink.ended) == (b"data: hello\n\n", [(b"x", b"y")], True)
            assert len(c.server.connections) == 1


@on_both_loops
async def test_a_compressed_body_that_ends_early_is_cut() -> None:
    data = gzip.compress(b"data: hello\n\n")[:-3]
    async with client(
        answering(OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
    ) as c:
        assert isinstance((await c.whole()).error, UpstreamCut)


@pytest.mark.parametrize("how", ["content-length", "close"])
@on_both_loops
async def test_a_paused_sink_is_given_no_more_of_a_bomb(how: str) -> None:
    size = 3_000_000
    data = gzip.compress(b"\0" * size)
    length = b"content-length: %d\r\n" % len(data) if how == "content-length" else b""
    script = ending(OK + b"content-encoding: gzip\r\n" + length + b"\r\n" + data, how="end")
    async with client(script) as c:
        sink = Recorder()

        def pause(event: str) -> None:
            if event == "body":
                assert sink.exchange is not None
                sink.exchange.pause()

        sink.then = pause
        await c.post(to=sink)
        pieces = 0
        while not sink.over:
            await until(lambda: len(sink.pieces) > pieces or sink.over)  # noqa: B023 (awaited here)
            await asyncio.sleep(0)
            assert len(sink.pieces) <= pieces + 1
            pieces = len(sink.pieces)
            assert len(sink.pieces[-1]) <= 65536
            assert sink.exchange is not None
            sink.exchange.resume()
        assert (sink.ended, len(sink.body)) == (True, size)


# -- leaving --


@pytest.mark.parametrize("at", ["head", "body"])
@on_both_loops
async def test_a_sink_that_aborts_hears_no_more_and_upstream_is_left(at: str) -> None:
    left = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(CHUNKED + b"2\r\nab\r\n0\r\n\r\n")
        await connection.wait_gone()
        left.set()

    async with client(script) as c:
        sink = Recorder()

        def abort(event: str) -> None:
            assert event in ("head", at)
            if event == at:
                assert sink.exchange is not None
                sink.exchange.abort()
                sink.exchange.abort()

        sink.then = abort
        await c.post(to=sink)
        await left.wait()
        assert not sink.over
        assert sink.exchange is not None
        assert sink.exchange.over
        assert not c.upstream._open


@on_both_loops
async def test_abort_while_waiting_for_the_head() -> None:
    async with client(Connection.wait_gone) as c:
        sink = await c.post()
        assert sink.exchange is not None
        sink.exchange.abort()
        await until(lambda: c.server.connections and c.server.connections[0].reader.at_eof())
        assert not sink.over


@on_both_loops
async def test_a_handle_that_outlived_its_response_does_not_touch_the_next() -> None:
    async with client(answering(OK + b"content-length: 2\r\n\r\nhi")) as c:
        first = await c.whole()
        second = await c.post()
        assert first.exchange is not None
        first.exchange.pause()
        first.exchange.abort()
        await until(lambda: second.over)
        assert second.ended
        assert len(c.server.connections) == 1


@on_both_loops
async def test_abort_while_a_retry_connects_sends_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await connection.read_request()
        if connection.number == 1:
            connection.reset()

    async with client(script) as c:
        await c.whole()
        connect, gate, waiting = c.upstream._connect, asyncio.Event(), asyncio.Event()

        async def slow_connect() -> Any:
            waiting.set()
            await gate.wait()
            return await connect()

        monkeypatch.setattr(c.upstream, "_connect", slow_connect)
        sink = await c.post()
        await waiting.wait()
        assert sink.exchange is not None
        sink.exchange.abort()
        gate.set()
        await until(lambda: not c.upstream._retries)
        monkeypatch.setattr(c.upstream, "_connect", connect)
        assert (await c.whole(b"next")).ended
        assert not sink.over
        assert [body for _, body in c.server.connections[1].requests] == [b"next"]


@on_both_loops
async def test_from_the_end_of_one_the_next_may_start_on_the_same_connection() -> None:
    async with client(answering(OK + b"content-length: 2\r\n\r\nhi")) as c:
        first, second = Recorder(), Recorder()

        def go_on(event: str) -> None:
            if event == "end":
                second.exchange = Exchange(second, head, b"{}")
                assert c.upstream.send_now(second.exchange)

        head = request_head(b"POST", b"/", b"h", [], 2)
        assert not c.upstream.send_now(Exchange(first, head, b"{}"))
        first.then = go_on
        await c.post(to=first)
        await until(lambda: second.over)
        assert second.ended
        assert second.exchange is not None
        assert len(c.server.connections) == 1


@on_both_loops
async def test_close_fails_what_is_under_way_and_takes_no_more() -> None:
    async with client(answering(CHUNKED, b"2\r\nab\r\n")) as c:
        sink = await c.post()
        await until(lambda: sink.pieces)
        await c.upstream.close()
        assert isinstance(sink.error, UpstreamCut)
        with pytest.raises(UpstreamConnectFailed):
            await c.post()
        await c.upstream.close()


@on_both_loops
async def test_a_request_cancelled_while_connecting_leaves_nothing_behind() -> None:
    async with raw_server(Connection.wait_gone) as server:
        upstream = Upstream(f"https://127.0.0.1:{server.port}")
        sink = Recorder()
        asking = asyncio.create_task(upstream.request(b"POST", b"/", [], b"{}", sink))
        await until(lambda: server.connections)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(server.connections[0].reader.at_eof)
        assert (upstream._dialing, len(upstream._open), sink.over) == (0, 0, False)
        await upstream.close()


@on_both_loops
async def test_close_while_a_retry_connects_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await connection.read_request()
        connection.reset()

    async with client(script) as c:
        await c.whole()
        waiting = asyncio.Event()

        async def hanging_connect() -> Any:
            waiting.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(c.upstream, "_connect", hanging_connect)
        sink = await c.post()
        await waiting.wait()
        await c.upstream.close()
        assert isinstance(sink.error, UpstreamCut)
        assert not sink.error.sent
