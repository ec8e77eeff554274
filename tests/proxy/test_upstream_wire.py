"""A connection without a socket: random damage to responses, cut at random, ended at random."""

from __future__ import annotations

import asyncio
import gzip
import random

import pytest

from rabbitgw.proxy.upstream_exchange import Exchange
from rabbitgw.proxy.upstream_wire import PIECE_BYTES_MAX, Connection, Limits
from tests.proxy.upstream_client import CHUNKED, OK, Recorder

ZIPPED = gzip.compress(b"data: x\n\n" * 50)
WHOLE = [
    OK + b"content-type: text/plain\r\ncontent-length: 11\r\n\r\nhello world",
    CHUNKED + b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"x: y\r\n\r\nuntil the close",
    OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
    b"HTTP/1.1 204 No Content\r\n\r\n" + OK + b"content-length: 1\r\n\r\nx",
]
LIMITS = Limits(10, 10, 10, 0, 1.0, 1.0)


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Pool:
    def __init__(self) -> None:
        self.given_back: list[Connection] = []

    def give_back(self, connection: Connection) -> None:
        self.given_back.append(connection)

    def forget(self, connection: Connection) -> None: ...

    def try_again(self, exchange: Exchange) -> None:
        raise AssertionError("the connection is a fresh one")


def damaged(dice: random.Random) -> bytes:
    data = bytearray(dice.choice(WHOLE))
    for _ in range(dice.randrange(4)):
        at = dice.randrange(len(data))
        match dice.randrange(3):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(1, 9)]
            case _:
                data[at:at] = dice.choice(
                    [b"\r\n", b"0\r\n\r\n", b"\n", b":", b"HTTP/1.1 200 OK\r\n\r\n", b"9"]
                )
        data = data or bytearray(b"x")
    return bytes(data)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_the_sink_hears_exactly_one_end(seed: int) -> None:
    dice = random.Random(seed)

    async def body() -> None:
        for _ in range(200):
            pool, transport, sink = Pool(), Transport(), Recorder()
            connection = Connection(pool, LIMITS, asyncio.get_running_loop())
            connection.connection_made(transport)
            connection.send(Exchange(sink, b"head", b"body", head_only=False), reused=False)
            data = damaged(dice)
            while data and not transport.closing:
                size = dice.randrange(1, 1 + len(data))
                connection.data_received(data[:size])
                data = data[size:]
            if not transport.closing:
                connection.eof_received()
            connection.connection_lost(dice.choice([None, ConnectionResetError()]))
            assert sink.over  # the recorder itself refuses a second end, and anything after the first
            if pool.given_back:
                assert sink.ended

    asyncio.run(body())


def big(*, leave_after: int | None = None) -> tuple[Recorder, Pool]:
    """A read of 200 KiB of body, of which the sink takes so many pieces."""
    pool, sink = Pool(), Recorder()

    async def body() -> None:
        connection = Connection(pool, LIMITS, asyncio.get_running_loop())
        connection.connection_made(Transport())
        exchange = sink.exchange = Exchange(sink, b"head", b"body")
        connection.send(exchange, reused=False)

        def go_on(event: str) -> None:
            if event == "body" and len(sink.pieces) == leave_after:
                exchange.abort()

        sink.then = go_on
        connection.data_received(OK + b"content-length: 204800\r\n\r\n" + b"x" * 204_800)

    asyncio.run(body())
    return sink, pool


def test_a_large_read_is_given_in_pieces() -> None:
    sink, pool = big()
    assert max(map(len, sink.pieces)) <= PIECE_BYTES_MAX
    assert b"".join(sink.pieces) == b"x" * 204_800
    assert sink.ended
    assert len(pool.given_back) == 1


def test_a_sink_that_leaves_within_a_large_read_gets_no_more_of_it() -> None:
    sink, pool = big(leave_after=2)
    assert len(sink.pieces) == 2
    assert not sink.ended
    assert not pool.given_back
