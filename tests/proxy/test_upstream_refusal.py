"""What upstream's refusals mean for the caller."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.errors import (
    BodyTooLarge,
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
from rabbitgw.proxy.upstream_refusal import refusal


def said(message: str, kind: str = "x", **more: Any) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": "1", **more}})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, said("bad key", "authentication_error"), UpstreamRefusedUs),
        (403, said("no"), UpstreamRefusedUs),
        (400, said("no db", "no_db_connection"), UpstreamRefusedUs),
        (422, said("over budget", "budget_exceeded"), UpstreamBudget),
        (402, said("pay", "billing_error"), UpstreamBudget),
        (429, said("You exceeded your current quota", "insufficient_quota"), UpstreamBudget),
        (
            400,
            said("Your credit balance is too low to access the API", "invalid_request_error"),
            UpstreamBudget,
        ),
        (429, said("slow down", "throttling_error"), UpstreamRateLimited),
        (429, said("No deployments available for selected model"), UpstreamOverloaded),
        (408, b"", UpstreamTimeout),
        (504, b"", UpstreamTimeout),
        (503, b"<html>", UpstreamOverloaded),
        (529, b"", UpstreamOverloaded),
        (
            500,
            said('litellm.InternalServerError: {"type":"error","error":{"type":"overloaded_error"}}'),
            UpstreamOverloaded,
        ),
        (404, said("no such model"), ModelNotFound),
        (413, said("too big"), BodyTooLarge),
        (400, said("temperature"), RequestInvalid),
        (422, said("temperature"), RequestInvalid),
        (500, said("broke"), UpstreamError),
        (502, b"[]", UpstreamError),
    ],
)
def test_each_refusal_has_its_error(status: int, body: bytes, kind: type[RabbitError]) -> None:
    assert type(refusal(status, [], body)) is kind


def test_what_the_operator_has_to_mend_is_not_told_in_upstreams_words() -> None:
    for status, body in (
        (401, said("key sk-1234 is bad")),
        (402, said("card of ACME declined")),
        (500, said("db1")),
    ):
        message = refusal(status, [], body).message
        assert not any(word in message for word in ("sk-1234", "ACME", "db1"))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("temperature must be below 2", "temperature must be below 2"),
        (
            "litellm.BadRequestError: OpenAIException - temperature must be below 2",
            "temperature must be below 2",
        ),
        (
            "litellm.BadRequestError: AnthropicException - "
            '{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too large"}}'
            "\n\nLiteLLM: model group 'claude' failed. No fallback was attempted.",
            "max_tokens: too large",
        ),
        (
            "litellm.BadRequestError: OpenAIException - no. Received Model Group=fake-gpt\nAvailable Model Group x",
            "no",
        ),
        ("litellm.BadRequestError: OpenAIException - ", "litellm.BadRequestError: OpenAIException - "),
    ],
)
def test_a_callers_mistake_is_told_in_the_providers_words(message: str, words: str) -> None:
    error = refusal(400, [], said(message, param="temperature"))
    assert error.message == words
    assert error.quotes_upstream


def test_retry_after_is_the_providers_own_and_bounded() -> None:
    assert refusal(429, [(b"llm_provider-retry-after", b"7")], said("slow")).retry_after_s == 7
    assert refusal(429, [(b"retry-after", b"999999")], said("slow")).retry_after_s is None
    assert refusal(429, [(b"retry-after", b"soon")], said("slow")).retry_after_s is None
