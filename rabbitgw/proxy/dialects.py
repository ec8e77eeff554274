"""The API shapes that callers speak: which path is which dialect, and how an error looks in each.

The same error of ours must make the official SDKs raise the right class and retry only what is worth retrying:
openai obeys `x-should-retry` and `retry-after`; anthropic needs an `event:` line to notice a mid-stream error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson

from rabbitgw.errors import (
    AuthError,
    Backlog,
    BalanceShort,
    BodyTooLarge,
    BudgetError,
    CallerError,
    InvariantBroken,
    ModelNotFound,
    NotFound,
    RabbitError,
    StoreError,
    UpstreamBudget,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRefusedUs,
    UpstreamTimeout,
    WindowShort,
)

OPENAI_CHAT = "openai-chat"
RETRY_AFTER_STORE_S = 1.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """One data-plane route: its path, where its output limit stands, and what its stream ends with."""

    name: str
    path: str
    output_limit_fields: tuple[str, ...]  # any of these limits the output; the last is set when none is there
    anthropic: bool = False


CHAT = Dialect(OPENAI_CHAT, "/v1/chat/completions", ("max_tokens", "max_completion_tokens"))
DIALECTS = (CHAT,)
ANTHROPIC_SHAPE = Dialect(
    "anthropic-messages", "/v1/messages", ("max_tokens",), anthropic=True
)  # of errors only
# What the providers' APIs have below /v1 and we do not sell.
UNSOLD_PATHS = (
    "assistants",
    "audio",
    "batches",
    "completions",
    "embeddings",
    "files",
    "fine_tuning",
    "images",
    "messages",
    "moderations",
    "realtime",
    "rerank",
    "responses",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
)


def openai_type(error: RabbitError) -> str:
    if isinstance(error, BudgetError):
        return "insufficient_quota"
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
    if dialect.anthropic:
        shape: dict[str, object] = {
            "type": "error",
            "error": {"type": anthropic_type(error), "message": shown_message(error)},
            "request_id": request_id,
        }
        return orjson.dumps(shape)
    param = "model" if isinstance(error, ModelNotFound) else error.field
    return orjson.dumps(
        {
            "error": {
                "message": shown_message(error),
                "type": openai_type(error),
                "param": param,
                "code": error.code,
            },
            "request_id": request_id,
        }
    )


def error_event(dialect: Dialect, error: RabbitError, request_id: str) -> bytes:
    """The same error as an event inside a stream whose status has already left."""
    body = error_body(dialect, error, request_id)
    if dialect.anthropic:
        return b"event: error\ndata: " + body + b"\n\n"
    return b"data: " + body + b"\n\n"


def error_status(dialect: Dialect, error: RabbitError, balance_status: int) -> int:
    if isinstance(error, BudgetError) and dialect.anthropic:
        return 402
    if isinstance(error, BalanceShort):
        return balance_status
    if isinstance(error, UpstreamOverloaded) and dialect.anthropic:
        return 529
    return error.http_status


def error_headers(error: RabbitError) -> list[tuple[str, str]]:
    """Headers that steer the SDKs' retries, and say when a window opens again."""
    headers: list[tuple[str, str]] = []
    if isinstance(error, BudgetError | UpstreamRefusedUs | UpstreamBudget | UpstreamTimeout):
        headers.append(("x-should-retry", "false"))
    if isinstance(error, WindowShort):
        headers.append(("x-rabbitgw-window-limit-nanos", str(error.limit_nanos)))
        headers.append(("x-rabbitgw-window-remaining-nanos", str(max(error.available_nanos, 0))))
        if error.resets_at_s is not None:
            headers.append(("x-rabbitgw-window-reset", str(error.resets_at_s)))
    retry_after_s = error.retry_after_s
    if retry_after_s is None and isinstance(error, StoreError | UpstreamOverloaded | UpstreamRateLimited):
        retry_after_s = RETRY_AFTER_STORE_S
    if retry_after_s is not None:
        headers.append(("retry-after", str(math.ceil(retry_after_s))))
        headers.append(("retry-after-ms", str(math.ceil(retry_after_s * 1000))))
    return headers
