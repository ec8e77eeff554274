"""What upstream's refusal means for the caller: LiteLLM's and providers' error bodies, mapped to our errors.

Upstream refusing *our* key is never the caller's 401: a customer would rotate a good key. LiteLLM states the HTTP
status as a string in `code`, answers its own budget with 422 (older ones 400 or 429) and a type of
`budget_exceeded`, and hides the provider's retry-after in `llm_provider-retry-after`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from rabbitgw.errors import (
    BodyTooLarge,
    CallerError,
    ModelNotFound,
    RabbitError,
    RequestInvalid,
    UpstreamBudget,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRefusedUs,
    UpstreamTimeout,
)
from rabbitgw.proxy.relay import Headers

MESSAGE_CHARS_MAX: Final = 2000
OVERLOADED: Final = "overloaded_error"
_LITELLM_HEAD: Final = re.compile(r"^litellm\.\w+: (?:litellm\.\w+: )?(?:\w+Exception - )?")
_LITELLM_TAIL: Final = re.compile(r"\n\nLiteLLM: |\. ?Received Model Group=|\nAvailable Model Group")
RETRY_AFTER_S_MAX: Final = 3600.0
OUR_KEY_TYPES: Final = frozenset(
    {"authentication_error", "auth_error", "expired_key", "token_not_found_in_db", "no_db_connection"}
)
# LiteLLM's budget; the operator's own account at a provider, of which the caller must not hear as of theirs.
OUR_MONEY_TYPES: Final = frozenset({"budget_exceeded", "insufficient_quota", "billing_error"})
OUR_MONEY_WORDS: Final = "credit balance is too low"  # Anthropic says it as an invalid request


def refusal(status: int, headers: Headers, body: bytes) -> RabbitError:
    """The error of ours for an upstream answer with an error status."""
    raw, kind, param = read_error(body)
    message = provider_words(raw)
    retry_after_s = retry_after(headers)
    if status in (401, 403) or kind in OUR_KEY_TYPES:
        return UpstreamRefusedUs("upstream refused the gateway's own credentials; the operator has been told")
    if status == 402 or kind in OUR_MONEY_TYPES or OUR_MONEY_WORDS in raw.lower():
        return UpstreamBudget("upstream's own budget is used up; the operator has been told")
    if status == 429:
        if "no deployments available" in raw.lower():
            return UpstreamOverloaded("upstream has no deployment available", retry_after_s=retry_after_s)
        return UpstreamRateLimited("upstream limits the rate of requests", retry_after_s=retry_after_s)
    if status in (408, 504):
        return UpstreamTimeout("upstream timed out")
    if status in (503, 529) or kind == OVERLOADED or OVERLOADED in raw:  # through LiteLLM a 529 comes as 500
        return UpstreamOverloaded("upstream is overloaded", retry_after_s=retry_after_s)
    if status == 404:
        return quoted(ModelNotFound(message or "upstream does not know this model", field="model"))
    if status == 413:
        return quoted(BodyTooLarge(message or "the body is larger than upstream takes"))
    if 400 <= status < 500:
        said = message or f"upstream refused the request with status {status}"
        return quoted(RequestInvalid(said, field=param))
    return UpstreamError(f"upstream failed with status {status}")


def provider_words(message: str) -> str:
    """A provider's own words, without what LiteLLM wraps around them: class names, model groups, fallbacks."""
    words = _LITELLM_TAIL.split(message, maxsplit=1)[0]
    words = _LITELLM_HEAD.sub("", words, count=1).strip()
    if words.startswith("{"):
        inner, _, _ = read_error(words.encode("utf-8", "replace"))
        words = inner or words
    return words or message


def quoted(error: CallerError) -> CallerError:
    """The message is upstream's own."""
    error.quotes_upstream = True
    return error


def read_error(body: bytes) -> tuple[str, str, str | None]:
    """(message, type, param) of an error body in any of the shapes met; empty where it says nothing."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", "", None
    if not isinstance(parsed, dict):
        return "", "", None
    error = parsed.get("error", parsed)
    if isinstance(error, str):
        return error[:MESSAGE_CHARS_MAX], "", None
    if not isinstance(error, dict):
        return "", "", None
    message = error.get("message") or error.get("detail") or ""
    param = error.get("param")
    return (
        str(message)[:MESSAGE_CHARS_MAX],
        str(error.get("type") or ""),
        param if isinstance(param, str) else None,
    )


def retry_after(headers: Headers) -> float | None:
    """Seconds that upstream, or the provider behind it, asks to wait; bounded, None when it says nothing usable."""
    for name, value in headers:
        if name in (b"retry-after", b"llm_provider-retry-after"):
            try:
                seconds = float(value)
            except ValueError:
                continue
            if 0 <= seconds <= RETRY_AFTER_S_MAX:
                return seconds
    return None
