from __future__ import annotations

import pytest

from rabbitgw.errors import RequestInvalid, UpstreamGarbled
from rabbitgw.proxy.upstream_head import Headers, ResponseHead, request_head
from rabbitgw.proxy.upstream_head import read_response_head as read


def read_head(status: int, http_version: str, headers: Headers, *, head_only: bool) -> ResponseHead:
    return read(status, lambda: http_version, headers, head_only=head_only)


def test_the_request_head_is_whole() -> None:
    head = request_head(b"POST", b"/v1/x?a=b", b"h:4000", [(b"x-a", b"1"), (b"x-b", b"")], 12)
    assert head == (
        b"POST /v1/x?a=b HTTP/1.1\r\nhost: h:4000\r\naccept-encoding: identity\r\n"
        b"x-a: 1\r\nx-b: \r\ncontent-length: 12\r\n\r\n"
    )


def test_a_get_without_body_has_no_length_but_a_post_has() -> None:
    assert b"content-length" not in request_head(b"GET", b"/", b"h", [], 0)
    assert b"content-length: 0\r\n" in request_head(b"POST", b"/", b"h", [], 0)


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (b"/a b", (b"x", b"y")),
        (b"/a\r\nx: y", (b"x", b"y")),
        (b"/", (b"x", b"y\r\nz: w")),
        (b"/", (b"x", b"y\nz: w")),
        (b"/", (b"x", b"y\rz")),
        (b"/", (b"x\r\ny", b"z")),
        (b"/", (b"x", b"\0")),
    ],
)
def test_what_would_break_out_of_its_line_is_refused(target: bytes, field: tuple[bytes, bytes]) -> None:
    with pytest.raises(RequestInvalid):
        request_head(b"POST", target, b"h", [field], 1)


def test_fields_of_the_connection_are_not_passed_on() -> None:
    head = read_head(
        200,
        "1.1",
        [
            (b"connection", b"keep-alive, X-Hop"),
            (b"keep-alive", b"timeout=5"),
            (b"x-hop", b"1"),
            (b"set-cookie", b"a"),
            (b"set-cookie", b"b"),
            (b"upgrade", b"h2c"),
            (b"trailer", b"x"),
            (b"transfer-encoding", b"Chunked"),
        ],
        head_only=False,
    )
    assert head.headers == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert (head.has_body, head.until_close, head.inflater) == (True, False, None)


def test_length_and_coding_of_a_body_that_is_inflated_are_gone() -> None:
    fields = [(b"content-encoding", b"gzip"), (b"content-length", b"20"), (b"etag", b"e")]
    head = read_head(200, "1.1", fields, head_only=False)
    assert head.headers == [(b"etag", b"e")]
    assert head.inflater is not None


@pytest.mark.parametrize(("status", "head_only"), [(204, False), (304, False), (200, True)])
def test_without_a_body_nothing_is_inflated_or_hidden(status: int, head_only: bool) -> None:
    fields = [(b"content-encoding", b"br"), (b"content-length", b"20")]
    head = read_head(status, "1.1", fields, head_only=head_only)
    assert sorted(head.headers) == sorted(fields)
    assert (head.has_body, head.until_close, head.inflater) == (False, False, None)


def test_without_length_or_chunks_the_body_lasts_until_close() -> None:
    assert read_head(200, "1.1", [], head_only=False).until_close
    assert not read_head(200, "1.1", [(b"content-length", b"0")], head_only=False).until_close


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("1.1", [(b"transfer-encoding", b"gzip, chunked")]),
        ("1.1", [(b"transfer-encoding", b"gzip")]),
        ("1.1", [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")]),
        ("1.0", [(b"transfer-encoding", b"chunked")]),
        ("1.1", [(b"content-encoding", b"br"), (b"content-length", b"3")]),
        ("1.1", [(b"content-encoding", b"gzip"), (b"content-encoding", b"gzip")]),
    ],
)
def test_framing_that_we_do_not_read_is_upstreams_fault(
    version: str, fields: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(UpstreamGarbled):
        read_head(200, version, fields, head_only=False)
