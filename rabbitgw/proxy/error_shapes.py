"""How an error of ours looks in each dialect, before the stream and inside it.

The same error must make the official SDKs raise the right class and retry only what is worth retrying: openai obeys
`x-should-retry` and `retry-after`; anthropic needs an `event:` line to notice a mid-stream error, and reads what the
openai client of responses reads from a flat event too.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from rabbitgw.billing.overflow import BLOCK
from rabbitgw.errors import (
    AuthError,
    Backlog,
    BalanceShort,
    BodyTooLarge,
    BudgetError,
    CallerError,
    InvariantBroken,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    RabbitError,
    RateLimited,
    StoreError,
    UpstreamBudget,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRefusedUs,
    UpstreamTimeout,
    WindowShort,
)
from rabbitgw.proxy.dialects import RESPONSES, Dialect

RETRY_AFTER_STORE_S = 1.0


def openai_type(error: RabbitError) -> str:
    if isinstance(error, BudgetError):
        return "insufficient_quota"
    if isinstance(error, RateLimited):
        return "tokens" if error.what == "tpm" else "requests"
    if isinstance(error, CallerError):
        return "invalid_request_error"
    if isinstance(error, UpstreamRateLimited):
        return "requests"
    return "server_error"


def anthropic_type(error: RabbitError) -> str:
    """Anthropic's own error types, by the class of ours."""
    for kind, name in (
        (AuthError, "authentication_error"),
        (BudgetError, "billing_error"),
        (NotFound, "not_found_error"),
        (BodyTooLarge, "request_too_large"),
        (UpstreamTimeout, "timeout_error"),
        (RateLimited, "rate_limit_error"),
        (UpstreamRateLimited, "rate_limit_error"),
        (UpstreamOverloaded, "overloaded_error"),
    ):
        if isinstance(error, kind):
            return name
    if isinstance(error, CallerError):
        return "permission_error" if error.http_status == 403 else "invalid_request_error"
    return "api_error"


def shown_message(error: RabbitError) -> str:
    """What a caller is told: nothing of the inside, which our own failures speak of."""
    if isinstance(error, InvariantBroken):
        return "an unexpected error; it has been logged"
    if isinstance(error, StoreError) and not isinstance(error, Backlog):
        return "a store of this gateway does not answer; try again soon"
    return error.message


def error_body(dialect: Dialect, error: RabbitError, request_id: str) -> bytes:
    """The JSON body of an error before the stream, in the caller's dialect."""
    return orjson.dumps(_document(dialect, error, request_id))


def error_event(dialect: Dialect, error: RabbitError, request_id: str) -> bytes:
    """The same error as an event inside a stream whose status has already left."""
    document = _document(dialect, error, request_id)
    if dialect is RESPONSES:  # the wire form nests the error, the SDK's type is flat: both are there
        document = {"type": "error", **document["error"], **document, "sequence_number": 0}
        document["type"] = "error"
    event = b"event: error\n" if dialect is RESPONSES or dialect.anthropic else b""
    return event + b"data: " + orjson.dumps(document) + b"\n\n"


def _document(dialect: Dialect, error: RabbitError, request_id: str) -> dict[str, Any]:
    if dialect.anthropic:
        return {
            "type": "error",
            "error": {"type": anthropic_type(error), "message": shown_message(error)},
            "request_id": request_id,
        }
    return {
        "error": {
            "message": shown_message(error),
            "type": openai_type(error),
            "param": "model" if isinstance(error, ModelNotFound) else error.field,
            "code": error.code,
        },
        "request_id": request_id,
    }


def error_status(dialect: Dialect, error: RabbitError, balance_status: int) -> int:
    if isinstance(error, BudgetError) and dialect.anthropic:
        return 402
    if isinstance(error, BalanceShort):
        return balance_status
    if isinstance(error, UpstreamOverloaded) and dialect.anthropic:
        return 529
    return error.http_status


def error_headers(error: RabbitError) -> list[tuple[str, str]]:
    """Headers that steer the SDKs' retries, say when a window opens again, or which method a path has."""
    headers: list[tuple[str, str]] = []
    if isinstance(error, BudgetError | UpstreamRefusedUs | UpstreamBudget | UpstreamTimeout):
        headers.append(("x-should-retry", "false"))
    if isinstance(error, RateLimited) and error.retry_after_s is None:
        headers.append(("x-should-retry", "false"))  # it would never pass
    if isinstance(error, MethodNotAllowed):
        headers.append(("allow", error.allowed))
    if isinstance(error, WindowShort):
        headers.append(("x-rabbitgw-window-limit-nanos", str(error.limit_nanos)))
        headers.append(("x-rabbitgw-window-remaining-nanos", str(max(error.available_nanos, 0))))
        if error.resets_at_s is not None:
            headers.append(("x-rabbitgw-window-reset", str(error.resets_at_s)))
        if error.by_plan:
            headers.append(("x-rabbitgw-overflow", BLOCK))
    retry_after_s = error.retry_after_s
    if retry_after_s is None and isinstance(error, StoreError | UpstreamOverloaded | UpstreamRateLimited):
        retry_after_s = RETRY_AFTER_STORE_S
    if retry_after_s is not None:
        headers.append(("retry-after", str(math.ceil(retry_after_s))))
        headers.append(("retry-after-ms", str(math.ceil(retry_after_s * 1000))))
    return headers
