"""Heads without sockets: what is a request, how its body is framed, what a memo of it is."""

from __future__ import annotations

import pytest

from rabbitgw.errors import HeadTooLarge
from rabbitgw.proxy.front_head import (
    FIELDS_MAX,
    HEAD_BYTES_MAX,
    LENGTH_DIGITS_MAX,
    HeadRefused,
    bad_beginning,
    memo_of,
    read_head,
)

LINE = b"POST /v1/responses HTTP/1.1\r\n"
HOST = b"Host: x\r\n"


def head(*lines: bytes, line: bytes = LINE, host: bytes = HOST) -> bytes:
    return line + host + b"".join(one + b"\r\n" for one in lines) + b"\r\n"


def refusal(raw: bytes) -> HeadRefused:
    with pytest.raises(HeadRefused) as refused:
        read_head(raw)
    return refused.value


def test_a_head_says_what_is_asked_and_how_the_body_is_framed() -> None:
    read = read_head(head(b"Content-Length:  12 ", b"X-A: B \t", b"Expect: 100-Continue"))
    assert (read.method, read.target, read.length, read.chunked) == (b"POST", b"/v1/responses", 12, False)
    assert (read.keep_alive, read.modern, read.expect) == (True, True, b"100-continue")
    assert (b"x-a", b"B") in read.fields


@pytest.mark.parametrize(
    ("value", "kept"),
    [(b"close", False), (b"Close", False), (b"x, close", False), (b"keep-alive", True), (b"closed", True)],
)
def test_close_is_a_word_of_connection(value: bytes, kept: bool) -> None:
    assert read_head(head(b"connection: " + value)).keep_alive is kept


def test_close_counts_wherever_it_stands() -> None:
    assert not read_head(head(b"connection: close, keep-alive")).keep_alive
    assert not read_head(head(b"connection: close", b"connection: keep-alive")).keep_alive


def test_an_old_request_needs_no_host_is_not_kept_alive_and_expects_nothing() -> None:
    old = LINE.replace(b"1.1", b"1.0")
    read = read_head(head(b"connection: keep-alive", b"expect: 100-continue", line=old, host=b""))
    assert (read.modern, read.keep_alive, read.expect) == (False, False, b"")


UPGRADES = [
    [b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ", b"Connection: Upgrade, HTTP2-Settings"],
    [b"connection: upgrade, keep-alive", b"UPGRADE: websocket"],
    [b"upgrade:", b"connection:upgrade"],
]


@pytest.mark.parametrize("lines", UPGRADES)
def test_a_request_to_speak_another_protocol_is_a_plain_one(lines: list[bytes]) -> None:
    read = read_head(head(*lines, b"content-length: 3"))
    assert (read.length, read.keep_alive) == (3, True)
    assert not {b"upgrade", b"http2-settings"} & {name for name, _ in read.fields}


def test_close_beside_an_upgrade_still_counts() -> None:
    assert not read_head(head(b"connection: upgrade, close", b"upgrade: h2c")).keep_alive


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: 5", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b"content-length: 5"],
        [b"content-length: 5", b"content-length: 5"],
        [b"content-length: 5", b"Content-Length: 6"],
        [b"content-length: 5, 5"],
        [b"content-length: +5"],
        [b"content-length: -5"],
        [b"content-length: 0x5"],
        [b"content-length: 5 5"],
        [b"content-length:"],
        [b"content-length: " + b"9" * 30],
        [b"content-length : 5"],
        [b"transfer-encoding: gzip"],
        [b"transfer-encoding: gzip, chunked"],
        [b"transfer-encoding: chunked, chunked"],
        [b"transfer-encoding: chunked", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b"transfer-encoding: identity"],
        [b"transfer-encoding: identity"],
        [b"transfer-encoding:"],
        [b"transfer-encoding : chunked"],
        [b"transfer-encoding: \x0bchunked"],
        [b"x: y\n", b"content-length: 5"],
        [b"x: y\ncontent-length: 5"],
        [b"x: y\rcontent-length: 5"],
        [b"x: y", b" content-length: 5"],
        [b"x: y", b"\tcontent-length: 5"],
        [b"upgrade: h2c", b" x: y"],
        [b"Upgrade : h2c", b"content-length: 5"],
        [b"x: \x00"],
        [b"x\x00: y"],
        [b"x: \x7f"],
        [b": y"],
        [b"x"],
        [b"host: y"],
    ],
)
def test_what_two_parties_could_read_in_two_ways_is_refused(lines: list[bytes]) -> None:
    error = refusal(head(*lines)).error
    assert (error.http_status, error.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/responses HTTP/1.2\r\n",
        b"POST /v1/responses HTTP/2.0\r\n",
        b"POST /v1/responses HTTP/1.1 \r\n",
        b"POST /v1/responses\r\n",
        b"POST  /v1/responses HTTP/1.1\r\n",
        b"POST /v1/a b HTTP/1.1\r\n",
        b"POST\t/v1/responses\tHTTP/1.1\r\n",
        b"POST /v1/\xc3\xa9 HTTP/1.1\r\n",
        b"POST /v1/\x00 HTTP/1.1\r\n",
        b"post /v1/responses HTTP/1.1\r\n",
        b"FROB /v1/responses HTTP/1.1\r\n",
        b"CONNECT x:443 HTTP/1.1\r\n",
        b"CONNECT /v1/responses HTTP/1.1\r\n",
        b"GET /v1/responses RTSP/1.0\r\n",
        b" POST /v1/responses HTTP/1.1\r\n",
        b"\x16\x03\x01\r\n",
    ],
)
def test_a_line_that_asks_for_nothing_is_refused(line: bytes) -> None:
    assert refusal(head(line=line)).error.http_status == 400


def test_host_is_given_once() -> None:
    assert refusal(head(host=b"")).error.http_status == 400


def test_chunks_are_not_of_the_old_http() -> None:
    old = LINE.replace(b"1.1", b"1.0")
    assert refusal(head(b"transfer-encoding: chunked", line=old)).error.http_status == 400


def test_a_refusal_says_where_it_was_asked_and_quotes_nothing() -> None:
    refused = refusal(head(b"authorization: Bearer rk-secret", b"x-rk-secret : y"))
    assert refused.target == b"/v1/responses"
    assert "secret" not in refused.error.message


def test_a_head_has_so_many_fields_and_bytes_and_no_more() -> None:
    fields = [b"x: y"] * (FIELDS_MAX - 1)
    assert len(read_head(head(*fields)).fields) == FIELDS_MAX
    assert isinstance(refusal(head(*fields, b"x: y")).error, HeadTooLarge)
    room = HEAD_BYTES_MAX - len(head(b"x: "))
    assert read_head(head(b"x: " + b"y" * room)).fields[-1] == (b"x", b"y" * room)
    assert isinstance(refusal(head(b"x: " + b"y" * (room + 1))).error, HeadTooLarge)


def test_what_no_end_could_mend_is_seen_before_it_comes() -> None:
    whole = head(b"content-length: 5")
    assert [bad_beginning(whole[:count]) for count in range(1, len(whole))] == [None] * (len(whole) - 1)
    for begun in (b"\x16\x03\x01", b"{", b" ", b"p", b"GET / HTTP/1.1\nHost"):
        error = bad_beginning(begun)
        assert error is not None
        assert error.http_status == 400
    assert isinstance(bad_beginning(LINE.ljust(HEAD_BYTES_MAX, b"x")), HeadTooLarge)


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: 12"],
        [b"Content-Length:12", b"x: y"],
        [b"x: content-length: 7", b"CONTENT-LENGTH: \t 12 ", b"x-content-length: 9"],
        [b"upgrade: h2c", b"content-length: 007"],
    ],
)
def test_a_memo_is_a_head_without_the_digits_of_its_length(lines: list[bytes]) -> None:
    raw = head(*lines)
    parts = memo_of(raw)
    assert parts is not None
    prefix, suffix = parts
    read = read_head(raw)
    for length in (0, 5, 12, 10**LENGTH_DIGITS_MAX - 1):
        again = read_head(prefix + b"%d" % length + suffix)
        assert again.length == length
        same = [field for field in read.fields if field[0] != b"content-length"]
        assert [field for field in again.fields if field[0] != b"content-length"] == same
    assert not suffix[:1].isdigit()
    assert suffix.count(b"\r\n\r\n") == 1
    assert b"\r\n\r\n" not in prefix


def test_there_is_no_memo_of_a_head_without_a_length_or_of_a_long_one() -> None:
    assert memo_of(head(b"x: y")) is None
    assert memo_of(head(b"content-length: 5", b"x: " + b"y" * 5000)) is None
