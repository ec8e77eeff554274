"""The upstream client when all goes well: requests, ends, reuse. Every byte of the server is scripted."""

from __future__ import annotations

import ssl

import pytest

from rabbitgw.errors import (
    SettingInvalid,
    UpstreamConnectFailed,
    UpstreamOverloaded,
)
from rabbitgw.proxy.upstream import Upstream
from tests.fakes.raw_http import Connection, raw_server
from tests.loops import on_both_loops, until
from tests.proxy.upstream_client import (
    CHUNKED,
    OK,
    SOON_S,
    TLS_PEM,
    Recorder,
    answering,
    client,
    ending,
)

# -- the plain way --


@on_both_loops
async def test_a_request_goes_out_and_its_response_comes_in() -> None:
    answer = OK + b"Content-Type: application/json\r\ncontent-length: 7\r\n\r\n" + b'{"a":1}'
    async with client(answering(answer)) as c:
        sink = await c.whole(b'{"b":2}')
        assert (sink.status, sink.body, sink.ended) == (200, b'{"a":1}', True)
        assert sink.headers == [(b"content-type", b"application/json"), (b"content-length", b"7")]
        head, body = c.server.connections[0].requests[0]
        assert body == b'{"b":2}'
        assert head.startswith(b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % c.server.port)
        assert b"\r\naccept-encoding: identity\r\n" in head
        assert b"\r\nx-a: 1\r\n" in head


@on_both_loops
async def test_the_path_of_the_base_url_goes_first() -> None:
    async with raw_server(answering(OK + b"content-length: 0\r\n\r\n")) as server:
        upstream = Upstream(f"http://127.0.0.1:{server.port}/proxy/")
        sink = Recorder()
        await upstream.request(b"GET", b"/v1/models?x=1", [], b"", sink)
        await until(lambda: sink.over)
        await upstream.close()
        assert server.connections[0].requests[0][0].startswith(b"GET /proxy/v1/models?x=1 HTTP/1.1\r\n")


@on_both_loops
async def test_each_piece_reaches_the_sink_before_the_next_is_sent() -> None:
    sink = Recorder()

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(CHUNKED)
        for n in range(5):
            event = b"data: %d\n\n" % n
            await connection.send(b"%x\r\n%b\r\n" % (len(event), event))
            await until(lambda: len(sink.pieces) == n + 1)  # noqa: B023 (awaited here)
        await connection.send(b"0\r\n\r\n")

    async with client(script) as c:
        await c.post(to=sink)
        await until(lambda: sink.over)
        assert sink.pieces == [b"data: %d\n\n" % n for n in range(5)]
        assert sink.ended


@on_both_loops
async def test_the_chunks_of_one_read_are_one_piece() -> None:
    async with client(answering(CHUNKED + b"2\r\nab\r\n2;x=y\r\ncd\r\n0\r\nset-cookie: t\r\n\r\n")) as c:
        sink = await c.whole()
        assert (sink.pieces, sink.headers, sink.ended) == ([b"abcd"], [], True)


@on_both_loops
async def test_bytes_that_come_one_by_one_make_the_same_response() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"3;e\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n"
    async with client(answering(*[data[at : at + 1] for at in range(len(data))])) as c:
        for _ in range(2):
            sink = await c.whole()
            assert (sink.status, sink.body, sink.headers, sink.ended) == (200, b"abcde", [], True)
        assert len(c.server.connections) == 1


@on_both_loops
async def test_over_tls() -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(TLS_PEM)
    trusted = ssl.create_default_context(cafile=str(TLS_PEM))
    big = b"y" * 300_000
    answer = OK + b"content-length: %d\r\n\r\n" % len(big) + big
    async with client(answering(answer), tls=served, ssl_context=trusted) as c:
        for _ in range(2):
            sink = await c.whole(b"x" * 1_000_000)
            assert (sink.body == big, sink.ended) == (True, True)
        assert len(c.server.connections) == 1
        assert max(map(len, sink.pieces)) <= 65536


@on_both_loops
async def test_a_certificate_that_nobody_vouches_for_is_no_connection() -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(TLS_PEM)
    async with client(answering(), tls=served) as c:
        with pytest.raises(UpstreamConnectFailed):
            await c.post()


# -- where a response ends, and whether its connection is used again --


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 2\r\n\r\nhi",
        OK + b"content-length: 0\r\n\r\n",
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi",
    ],
)
@on_both_loops
async def test_a_clean_end_gives_the_connection_back(answer: bytes) -> None:
    async with client(answering(answer)) as c:
        for _ in range(3):
            assert (await c.whole()).ended
        assert len(c.server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"content-length: 2\r\n\r\nhi!", b"hi"),
        (OK + b"content-length: 2\r\n\r\nhi" + OK + b"content-length: 3\r\n\r\nbad", b"hi"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n\r\nH", b"hi"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n\r\n3\r\nbad\r\n0\r\n\r\n", b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\nbody", b""),
        (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
    ],
)
@on_both_loops
async def test_after_anything_else_it_is_not_used_again_and_nobody_sees_the_rest(
    answer: bytes, body: bytes
) -> None:
    async with client(answering(answer)) as c:
        for _ in range(2):
            sink = await c.whole()
            assert (sink.status // 100, sink.body, sink.ended) == (2, body, True)
        assert len(c.server.connections) == 2


@on_both_loops
async def test_bytes_that_come_while_idle_end_the_connection() -> None:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK + b"content-length: 2\r\n\r\nhi")
        await until(lambda: first.over)
        await connection.send(OK + b"content-length: 3\r\n\r\nbad")
        await connection.wait_gone()

    async with client(script) as c:
        first = Recorder()
        await c.post(to=first)
        await until(lambda: first.over and not c.upstream._open)
        await until(c.server.connections[0].reader.at_eof)
        c.server.script = answering(OK + b"content-length: 4\r\n\r\ngood")
        assert (await c.whole()).body == b"good"


@on_both_loops
async def test_a_head_request_ends_with_the_head() -> None:
    async with client(answering(OK + b"content-length: 100\r\ncontent-encoding: br\r\n\r\n")) as c:
        for _ in range(2):
            sink = await c.whole(b"", method=b"HEAD")
            assert (sink.status, sink.pieces, sink.ended) == (200, [], True)
            assert (b"content-length", b"100") in sink.headers
        assert len(c.server.connections) == 2


@on_both_loops
async def test_without_length_the_close_is_the_end() -> None:
    async with client(ending(OK + b"x: y\r\n\r\n", b"until ", b"close", how="end")) as c:
        sink = await c.whole()
        assert (sink.body, sink.ended) == (b"until close", True)
        assert (await c.whole()).ended
        assert len(c.server.connections) == 2


# -- no connection --


@on_both_loops
async def test_nobody_listening_raises_and_the_sink_hears_nothing() -> None:
    async with raw_server(answering()) as server:
        port = server.port
    upstream = Upstream(f"http://127.0.0.1:{port}")
    sink = Recorder()
    with pytest.raises(UpstreamConnectFailed) as failed:
        await upstream.request(b"POST", b"/", [], b"{}", sink)
    assert not failed.value.sent
    assert not sink.over
    await upstream.close()


@on_both_loops
async def test_a_handshake_that_never_ends_is_bounded_by_the_connect_timeout() -> None:
    async with raw_server(Connection.wait_gone) as server:
        upstream = Upstream(f"https://127.0.0.1:{server.port}", connect_timeout_s=SOON_S)
        with pytest.raises(UpstreamConnectFailed):
            await upstream.request(b"POST", b"/", [], b"{}", Recorder())
        await upstream.close()


@on_both_loops
async def test_too_many_connections_are_refused_here() -> None:
    async with client(Connection.wait_gone, connections_max=2) as c:
        await c.post()
        await c.post()
        with pytest.raises(UpstreamOverloaded):
            await c.post()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:4000",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:99999",
        "http://user:hunter2@h",
        "http://h?a=b",
        "http://bücher.example",
    ],
)
def test_a_wrong_base_url_names_the_setting(url: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^LITELLM_BASE_URL: ") as refused:
        Upstream(url)
    assert "hunter2" not in str(refused.value)
