"""The walk over response bytes, without sockets: whatever the reads, the facts are the same."""

from __future__ import annotations

import pytest

from rabbitgw.proxy.upstream_head import HEAD_BYTES_MAX
from rabbitgw.proxy.upstream_walk import FRAMING_BYTES_MAX, ResponseWalk

OK = b"HTTP/1.1 200 OK\r\n"

Facts = tuple[int, list[tuple[bytes, bytes]], bytes, bool, bool, bool]


def walked(*reads: bytes) -> Facts:
    """What a reader has seen by the end: status, head, body, complete, faulty, keep-alive."""
    walk = ResponseWalk()
    body = b""
    for read in reads:
        walk.feed(memoryview(read))
        if walk.status:
            body += walk.take()
        if walk.ended:
            break
    return walk.status, walk.head, body, walk.complete, bool(walk.fault), walk.keep_alive


CASES = {
    "length": (
        OK + b"Content-Type: text/plain\r\nX-Empty:\r\ncontent-length: 5\r\n\r\nhello",
        (
            200,
            [(b"content-type", b"text/plain"), (b"x-empty", b""), (b"content-length", b"5")],
            b"hello",
            True,
            False,
            True,
        ),
    ),
    "chunks with extensions and trailers": (
        OK
        + b'transfer-encoding: chunked\r\n\r\n5;a="b;c"\r\nhello\r\n1\r\n!\r\n0;z\r\nset-cookie: t\r\nx:\r\n\r\n',
        (200, [(b"transfer-encoding", b"chunked")], b"hello!", True, False, True),
    ),
    "payload that looks like an end": (
        OK + b"transfer-encoding: chunked\r\n\r\n7\r\n0\r\n\r\nOK\r\n0\r\n\r\n",
        (200, [(b"transfer-encoding", b"chunked")], b"0\r\n\r\nOK", True, False, True),
    ),
    "interim heads": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        + OK
        + b"content-length: 1\r\n\r\nx",
        (200, [(b"content-length", b"1")], b"x", True, False, True),
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", (204, [(b"x", b"y")], b"", True, False, True)),
    "not modified": (
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
        (304, [(b"content-length", b"10")], b"", True, False, True),
    ),
    "connection close": (
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi",
        (200, [(b"connection", b"close"), (b"content-length", b"2")], b"hi", True, False, False),
    ),
    "http 1.0": (
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        (200, [(b"content-length", b"2")], b"hi", True, False, False),
    ),
    "until close": (OK + b"x: y\r\n\r\nhello", (200, [(b"x", b"y")], b"hello", False, False, False)),
}


@pytest.mark.parametrize("name", list(CASES))
def test_any_split_gives_the_same_facts(name: str) -> None:
    data, facts = CASES[name]
    assert walked(data) == facts
    assert walked(*[data[at : at + 1] for at in range(len(data))]) == facts
    for at in range(1, len(data)):
        assert walked(data[:at], data[at:]) == facts, at


@pytest.mark.parametrize(
    "beyond",
    [
        b"x",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
        b"\r\nHTTP/1.1 200 OK\r\n\r\nbad",
        b"0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("name", [name for name in CASES if name != "until close"])
def test_bytes_beyond_the_end_are_a_fault_and_no_body(name: str, beyond: bytes) -> None:
    data, (status, head, body, *_) = CASES[name]
    assert walked(data + beyond)[:5] == (status, head, body, True, True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"<html>",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        OK + b"content-length: +3\r\n\r\nabc",
        OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        OK + b"x : y\r\n\r\n",
        OK + b"x: a\rb\r\n\r\n",
        OK + b"x: a\r\n folded\r\n\r\n",
        OK + b"x: a\0b\r\n\r\n",
        OK + b"x: y\r\n" * 101 + b"\r\n",
        OK + b"x: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n",
        OK + b"x: " + b"y" * (HEAD_BYTES_MAX + 1),
        OK + b"x: y\r\n" * 10_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    ],
)
def test_no_head_comes_of_what_is_no_proper_head(data: bytes) -> None:
    status, _, body, _, faulty, _ = walked(data)
    assert (status, body, faulty) == (0, b"", True)
    status, _, body, _, faulty, _ = walked(*[data[at : at + 7] for at in range(0, len(data), 7)])
    assert (status, body, faulty) == (0, b"", True)


@pytest.mark.parametrize(
    "rest",
    [b"x\r\n", b"2\r\nabX", b"ffffffffffffffffff\r\n", b"2\nab\n", b"-1\r\n", b"0\r\nbad trailer\r\n\r\n"],
)
def test_broken_framing_is_a_fault_after_the_good_payload(rest: bytes) -> None:
    status, _, body, complete, faulty, _ = walked(
        OK + b"transfer-encoding: chunked\r\n\r\n4\r\ngood\r\n", rest
    )
    assert (status, complete, faulty) == (200, False, True)
    assert body in (b"good", b"goodab")


@pytest.mark.parametrize("rest", [b"4;" + b"x" * 1000, b"0\r\n" + b"x: y\r\n" * 500])
def test_framing_without_payload_is_bounded(rest: bytes) -> None:
    head = OK + b"transfer-encoding: chunked\r\n\r\n"
    more = (rest[-6:] * 100) if rest.startswith(b"0") else b"x" * 600
    reads = [more] * (FRAMING_BYTES_MAX // len(more) + 2)
    assert walked(head, rest, *reads)[4]
    assert not walked(head, rest)[4]


def test_the_walk_serves_one_response_after_the_other() -> None:
    walk = ResponseWalk()
    for word in (b"one", b"two", b"six"):
        walk.feed(OK + b"content-length: 3\r\n\r\n" + word)
        assert (walk.status, walk.take(), walk.complete, walk.fault) == (200, word, True, "")
        walk.restart()
    walk.stop()
    walk.feed(OK)
    assert walk.fault
