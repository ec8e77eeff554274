"""What must become of every situation: the exception in each SDK with the number of requests, and what was answered.

Literal data. An exception of an SDK is named alone; one that the SDK lets through is named with its library, and what
is outside of both, the caller's code must catch as that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# As cases.VERSIONS has them.
COLUMNS = ("openai 3.52.0", "openai 1.109.1", "anthropic 2.11.0", "anthropic 0.125.0")


class Forms(NamedTuple):
    """Where a plain call and a stream end differently."""

    plain: str
    stream: str


class Said(NamedTuple):
    """An error as the gateway states it. Status None: inside a stream, whose status was 200."""

    status: int | None
    type: str | None
    code: str | None = None
    param: str | None = None


def same(outcome: str) -> tuple[str, str, str, str]:
    return (outcome, outcome, outcome, outcome)


RETRIED = "InternalServerError (3)"
ONCE = "InternalServerError (1)"
NO_MONEY = ("RateLimitError (1)", "RateLimitError (1)", "PaymentRequiredError (1)", "APIStatusError (1)")
BROKEN_OFF = ("APIError (1)", "APIError (1)", "APIStatusError (1)", "APIStatusError (1)")
BAD_REQUEST = same("BadRequestError (1)")

OUTCOMES: dict[str, tuple[str | Forms | None, ...]] = {
    "no-key": same("AuthenticationError (1)"),
    "unknown-key": same("AuthenticationError (1)"),
    "revoked-key": same("AuthenticationError (1)"),
    "expired-key": same("AuthenticationError (1)"),
    "two-keys": BAD_REQUEST,
    "model-not-allowed": same("PermissionDeniedError (1)"),
    "unknown-model": same("NotFoundError (1)"),
    "unpriced-model": same("PermissionDeniedError (1)"),
    "routing-field": BAD_REQUEST,
    "litellm-header": BAD_REQUEST,
    "unsold-path": same("NotFoundError (1)"),
    "background": (*BAD_REQUEST[:2], None, None),
    "previous-response": (*BAD_REQUEST[:2], None, None),
    "body-too-large": (
        "APIStatusError (1)", "APIStatusError (1)", "ContentTooLargeError (1)", "RequestTooLargeError (1)",
    ),
    "no-balance": NO_MONEY,
    "no-balance-402": ("APIStatusError (1)", "APIStatusError (1)", *NO_MONEY[2:]),
    "day-used": NO_MONEY,
    "money-ends": BROKEN_OFF,
    "no-store": (RETRIED, RETRIED, "ServiceUnavailableError (3)", RETRIED),
    "upstream-invalid": BAD_REQUEST,
    "upstream-rate": same("RateLimitError (3)"),
    "upstream-key": same(ONCE),
    "upstream-budget": (ONCE, ONCE, "ServiceUnavailableError (1)", ONCE),
    "upstream-overloaded": (RETRIED, RETRIED, "OverloadedError (3)", "OverloadedError (3)"),
    "upstream-fails": same(RETRIED),
    "upstream-html": same(RETRIED),
    "upstream-hangs-up": same(RETRIED),
    "upstream-timeout": (ONCE, ONCE, "GatewayTimeoutError (1)", ONCE),
    "stream-error": BROKEN_OFF,
    "stream-cut": BROKEN_OFF,
    "stream-torn": (
        "APIConnectionError (1)", "httpx.RemoteProtocolError (1)",
        "httpx2.RemoteProtocolError (1)", "httpx.RemoteProtocolError (1)",
    ),
    "caller-timeout": (
        Forms("APITimeoutError (3)", "APITimeoutError (1)"), Forms("APITimeoutError (3)", "httpx.ReadTimeout (1)"),
        Forms("APITimeoutError (3)", "httpx2.ReadTimeout (1)"), Forms("APITimeoutError (3)", "httpx.ReadTimeout (1)"),
    ),
}  # fmt: skip

_INVALID = "invalid_request_error"
_BAD_KEY = (Said(401, _INVALID, "invalid_api_key"), Said(401, "authentication_error"))
_OUT_OF_MONEY = Said(402, "billing_error")
_UPSTREAM_FAILED = (Said(502, "server_error", "upstream_error"), Said(502, "api_error"))


def _invalid(param: str | None) -> tuple[Said, Said]:
    return Said(400, _INVALID, "invalid_request", param), Said(400, _INVALID)


# On OpenAI's routes, and on Anthropic's. Absent: nothing of the gateway's reaches the caller.
SAID: dict[str, tuple[Said, Said]] = {
    "no-key": _BAD_KEY,
    "unknown-key": _BAD_KEY,
    "revoked-key": _BAD_KEY,
    "expired-key": _BAD_KEY,
    "two-keys": _invalid("authorization"),
    "model-not-allowed": (Said(403, _INVALID, "model_not_allowed", "model"), Said(403, "permission_error")),
    "unknown-model": (Said(404, _INVALID, "model_not_found", "model"), Said(404, "not_found_error")),
    "unpriced-model": (Said(403, _INVALID, "model_not_priced", "model"), Said(403, "permission_error")),
    "routing-field": _invalid("api_base"),
    "litellm-header": _invalid("x-litellm-tags"),
    "unsold-path": (Said(404, _INVALID, "endpoint_not_priced"), Said(404, "not_found_error")),
    "background": _invalid("background"),
    "previous-response": _invalid("previous_response_id"),
    "body-too-large": (Said(413, _INVALID, "request_too_large"), Said(413, "request_too_large")),
    "no-balance": (Said(429, "insufficient_quota", "insufficient_quota"), _OUT_OF_MONEY),
    "no-balance-402": (Said(402, "insufficient_quota", "insufficient_quota"), _OUT_OF_MONEY),
    "day-used": (Said(429, "insufficient_quota", "budget_exceeded"), _OUT_OF_MONEY),
    "money-ends": (Said(None, "insufficient_quota", "insufficient_quota"), Said(200, "billing_error")),
    "no-store": (Said(503, "server_error", "service_unavailable"), Said(503, "api_error")),
    "upstream-invalid": _invalid(None),
    "upstream-rate": (Said(429, "requests", "rate_limit_exceeded"), Said(429, "rate_limit_error")),
    "upstream-key": _UPSTREAM_FAILED,
    "upstream-budget": (Said(503, "server_error", "upstream_budget"), Said(503, "api_error")),
    "upstream-overloaded": (Said(503, "server_error", "overloaded"), Said(529, "overloaded_error")),
    "upstream-fails": _UPSTREAM_FAILED,
    "upstream-html": _UPSTREAM_FAILED,
    "upstream-hangs-up": _UPSTREAM_FAILED,
    "upstream-timeout": (Said(504, "server_error", "upstream_timeout"), Said(504, "timeout_error")),
    "stream-cut": (Said(None, "server_error", "upstream_error"), Said(200, "api_error")),
}

# What the caller had read of an answer that broke.
TEXT_SO_FAR = {"stream-error": "Hello there", "stream-cut": "Hello there", "stream-torn": ""}

# How a version sends its key, and the version of Anthropic's API that it asks for.
CREDENTIALS = ("Authorization: Bearer", "Authorization: Bearer", "Authorization: Bearer", "X-Api-Key")
API_VERSIONS = (None, None, "2026-10-21", "2023-06-01")


def outcome(situation: str, version: str, *, streamed: bool) -> str | None:
    expected: Any = OUTCOMES[situation][COLUMNS.index(version)]
    return expected[streamed] if isinstance(expected, Forms) else expected
