"""Heads of HTTP/1.1 both ways: writes the request's, and reads from the response's how its body is framed.

Owns the fields that belong to a connection and not to a message; whoever asks never sees or sets them.
Knows no socket. httptools has checked the syntax before anything comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rabbitgw.errors import RequestInvalid, UpstreamGarbled
from rabbitgw.proxy.upstream_inflate import Inflater, inflater_for

Headers = list[tuple[bytes, bytes]]

HEAD_BYTES_MAX = 32 * 1024
HEAD_FIELDS_MAX = 100

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_LOOKED_AT = _HOP_BY_HOP | {b"content-length", b"content-encoding"}
_OF_CONNECTIONS = frozenset({b"close", b"keep-alive"})
_NO_BODY_STATUSES = frozenset({204, 304})
_NO_BODY_METHODS = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})


def head_start(method: bytes, target: bytes, host: bytes, headers: Headers) -> bytes:
    """A request's head up to where its other fields and its length follow. Host and Accept-Encoding (identity) are
    written here, nowhere else.

    Raises: RequestInvalid when a field or the target would break out of its line.
    """
    start = b"%b %b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n" % (method, target, host)
    if start.count(b"\n") != 3 or start.count(b"\r") != 3 or b"\0" in start or b" " in target:
        raise _breaks_out()
    return start + field_lines(headers)


def field_lines(headers: Headers) -> bytes:
    """Raises: RequestInvalid when a field would break out of its line."""
    lines = b"".join([b"%b: %b\r\n" % field for field in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise _breaks_out()
    return lines


def request_head(method: bytes, target: bytes, host: bytes, headers: Headers, body_bytes: int) -> bytes:
    """A request's head, whole. Raises: as `head_start`."""
    length = b"" if not body_bytes and method in _NO_BODY_METHODS else b"content-length: %d\r\n" % body_bytes
    return b"%b%b\r\n" % (head_start(method, target, host, headers), length)


def _breaks_out() -> RequestInvalid:
    return RequestInvalid("a header or the path has a character that HTTP does not allow there")


class ResponseHead(NamedTuple):
    """`headers` without the hop-by-hop ones; of a body that we inflate also without its length and coding."""

    headers: Headers
    inflater: Inflater | None
    has_body: bool
    until_close: bool  # only the end of the connection ends the body


def read_response_head(
    status: int, http_version: Callable[[], str], headers: Headers, *, head_only: bool
) -> ResponseHead:
    """Raises: UpstreamGarbled for framing or a coding that we do not read."""
    kept: Headers = []
    transfer = length = coding = None
    dropped: set[bytes] | None = None
    for field in headers:
        name, value = field
        if name not in _LOOKED_AT:
            kept.append(field)
        elif name == b"content-length":
            length = field
        elif name == b"content-encoding":
            coding = value if coding is None else coding + b"," + value
        elif name == b"transfer-encoding":
            transfer = value if transfer is None else transfer + b"," + value
        elif name == b"connection":
            dropped = (dropped or set()).union(token.strip() for token in value.lower().split(b","))
    if transfer is not None and (transfer.strip().lower() != b"chunked" or http_version() != "1.1"):
        raise UpstreamGarbled(f"upstream: transfer-encoding {transfer[:40]!r} in HTTP/{http_version()}")
    if dropped and not dropped <= _OF_CONNECTIONS:
        dropped -= _OF_CONNECTIONS
        kept = [field for field in kept if field[0] not in dropped]
    has_body = not head_only and status not in _NO_BODY_STATUSES
    inflater = inflater_for(coding) if coding is not None and has_body else None
    if coding is not None and not has_body:
        kept.append((b"content-encoding", coding))
    if length is not None and inflater is None:
        kept.append(length)
    return ResponseHead(kept, inflater, has_body, has_body and transfer is None and length is None)
