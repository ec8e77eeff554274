"""How an error of ours looks in each dialect, before the stream and in it."""

from __future__ import annotations

import orjson
import pytest

from rabbitgw.errors import (
    AccessDenied,
    AuthError,
    BalanceShort,
    BodyTooLarge,
    InvariantBroken,
    IpNotAllowed,
    ModelNotFound,
    RabbitError,
    RedisUnavailable,
    RequestInvalid,
    RouteNotPriced,
    ScopeMissing,
    UpstreamBudget,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRefusedUs,
    UpstreamTimeout,
    WindowShort,
)
from rabbitgw.proxy.dialects import CHAT, COUNT_TOKENS, DIALECTS, MESSAGES, RESPONSES
from rabbitgw.proxy.error_shapes import error_body, error_event, error_headers, error_status

WINDOW = WindowShort(
    "the day's limit is used up", limit_nanos=5, available_nanos=-1, resets_at_s=1_800_000_000
)
ROWS = [
    # error, OpenAI: status, type, code; Anthropic: status, type
    (AuthError("x"), 401, "invalid_request_error", "invalid_api_key", 401, "authentication_error"),
    (AccessDenied("x"), 403, "invalid_request_error", "model_not_allowed", 403, "permission_error"),
    (IpNotAllowed("x"), 403, "invalid_request_error", "ip_not_allowed", 403, "permission_error"),
    (ScopeMissing("x"), 403, "invalid_request_error", "scope_missing", 403, "permission_error"),
    (ModelNotFound("x"), 404, "invalid_request_error", "model_not_found", 404, "not_found_error"),
    (RouteNotPriced("x"), 404, "invalid_request_error", "endpoint_not_priced", 404, "not_found_error"),
    (BalanceShort("x"), 429, "insufficient_quota", "insufficient_quota", 402, "billing_error"),
    (WINDOW, 429, "insufficient_quota", "budget_exceeded", 402, "billing_error"),
    (UpstreamRateLimited("x"), 429, "requests", "rate_limit_exceeded", 429, "rate_limit_error"),
    (BodyTooLarge("x"), 413, "invalid_request_error", "request_too_large", 413, "request_too_large"),
    (
        RequestInvalid("x", field="n"),
        400,
        "invalid_request_error",
        "invalid_request",
        400,
        "invalid_request_error",
    ),
    (RedisUnavailable("x"), 503, "server_error", "service_unavailable", 503, "api_error"),
    (UpstreamRefusedUs("x"), 502, "server_error", "upstream_error", 502, "api_error"),
    (UpstreamError("x"), 502, "server_error", "upstream_error", 502, "api_error"),
    (UpstreamBudget("x"), 503, "server_error", "upstream_budget", 503, "api_error"),
    (UpstreamTimeout("x"), 504, "server_error", "upstream_timeout", 504, "timeout_error"),
    (UpstreamOverloaded("x"), 503, "server_error", "overloaded", 529, "overloaded_error"),
    (InvariantBroken("inside"), 500, "server_error", "internal_error", 500, "api_error"),
]


@pytest.mark.parametrize(("error", "status", "kind", "code", "their_status", "their_kind"), ROWS)
def test_an_error_before_the_stream(
    error: RabbitError, status: int, kind: str, code: str, their_status: int, their_kind: str
) -> None:
    body = orjson.loads(error_body(CHAT, error, "r1"))
    assert (body["error"]["type"], body["error"]["code"], body["request_id"]) == (kind, code, "r1")
    assert error_status(CHAT, error, 429) == status
    body = orjson.loads(error_body(MESSAGES, error, "r1"))
    assert (body["type"], body["error"]["type"], body["request_id"]) == ("error", their_kind, "r1")
    assert error_status(MESSAGES, error, 429) == their_status


@pytest.mark.parametrize("error", [row[0] for row in ROWS])
def test_only_what_a_retry_can_mend_is_retried(error: RabbitError) -> None:
    headers = dict(error_headers(error))
    if isinstance(error, BalanceShort | WindowShort | UpstreamRefusedUs | UpstreamBudget | UpstreamTimeout):
        assert headers["x-should-retry"] == "false"
        assert "retry-after" not in headers
    elif isinstance(error, RedisUnavailable | UpstreamOverloaded | UpstreamRateLimited):
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("1", "1000")
    else:
        assert headers == {}


def test_a_window_says_when_it_opens_again() -> None:
    headers = dict(error_headers(WINDOW))
    assert headers["x-rabbitgw-window-limit-nanos"] == "5"
    assert headers["x-rabbitgw-window-remaining-nanos"] == "0"
    assert headers["x-rabbitgw-window-reset"] == "1800000000"


def test_the_inside_stays_inside() -> None:
    for dialect in DIALECTS:
        assert b"inside" not in error_body(dialect, InvariantBroken("inside"), "r1")
        assert b"inside" not in error_event(dialect, RedisUnavailable("inside"), "r1")


def test_an_error_in_the_stream_has_the_form_that_each_client_notices() -> None:
    error = RequestInvalid("no", field="n")
    event = error_event(CHAT, error, "r1")
    assert event.startswith(b'data: {"error":{')
    assert event.endswith(b"\n\n")
    for dialect in (MESSAGES, COUNT_TOKENS):
        assert error_event(dialect, error, "r1").startswith(b'event: error\ndata: {"type":"error",')
    event = error_event(RESPONSES, error, "r1")
    assert event.startswith(b"event: error\ndata: ")
    said = orjson.loads(event.removeprefix(b"event: error\ndata: "))
    assert (said["type"], said["code"], said["param"]) == ("error", "invalid_request", "n")
    assert said["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_request",
    }
