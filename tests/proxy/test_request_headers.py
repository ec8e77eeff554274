"""Who asks, by which id, and what of the headers upstream may see."""

from __future__ import annotations

import pytest

from rabbitgw.errors import AuthError, RequestInvalid
from rabbitgw.proxy.request_headers import Heard

BEARER = (b"Authorization", b"Bearer rk-1")


@pytest.mark.parametrize(
    "headers",
    [
        [BEARER],
        [(b"authorization", b"bearer  rk-1 ")],
        [(b"X-Api-Key", b" rk-1 ")],
        [BEARER, (b"x-api-key", b"rk-1")],
        [BEARER, BEARER],
        [BEARER, (b"x-api-key", b"")],
    ],
)
def test_a_key_comes_as_bearer_or_by_its_own_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert Heard(headers).credential() == "rk-1"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic abc")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"x-api-key", b"  ")],
        [(b"x-api-key", b"rk-1"), (b"authorization", b"rk-1")],
    ],
)
def test_no_key_is_no_credential(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(AuthError):
        Heard(headers).credential()


def test_two_different_keys_are_refused() -> None:
    for other in ((b"x-api-key", b"rk-2"), (b"authorization", b"Bearer rk-2")):
        with pytest.raises(RequestInvalid) as refused:
            Heard([BEARER, other]).credential()
        assert refused.value.field == "authorization"


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ((b"X-LiteLLM-Tags", b"x"), "x-litellm-tags"),
        ((b"x-litellm-customer-id", b"7"), "x-litellm-customer-id"),
        ((b"x-litellm-anything-new", b""), "x-litellm-anything-new"),
    ],
)
def test_headers_that_route_inside_upstream_are_refused_by_name(
    header: tuple[bytes, bytes], field: str
) -> None:
    fault = Heard([BEARER, header]).fault
    assert isinstance(fault, RequestInvalid)
    assert fault.field == field
    assert field in fault.message


@pytest.mark.parametrize("name", [b"content-type", b"x-request-id", b"anthropic-version"])
def test_what_can_be_said_once_is_refused_twice(name: bytes) -> None:
    assert Heard([BEARER, (name, b"a")]).fault is None
    fault = Heard([BEARER, (name, b"a"), (name.title(), b"a")]).fault
    assert fault is not None
    assert fault.field == name.decode()


def test_upstream_sees_the_versions_of_the_form_and_nothing_else() -> None:
    heard = Heard(
        [
            BEARER,
            (b"Anthropic-Version", b"2026-10-21"),
            (b"anthropic-beta", b"a"),
            (b"anthropic-beta", b"b"),
            (b"OpenAI-Beta", b"c"),
            (b"openai-organization", b"org"),
            (b"user-agent", b"x"),
            (b"cookie", b"x"),
            (b"x-forwarded-for", b"1.2.3.4"),
        ]
    )
    assert heard.fault is None
    assert heard.forwarded == [
        (b"anthropic-version", b"2026-10-21"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
        (b"openai-beta", b"c"),
    ]


@pytest.mark.parametrize(
    ("value", "request_id"),
    [
        (b"abc-1", "abc-1"),
        (b"", None),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, None),
        (b"a\x01", None),
        (b"\xe9", None),
    ],
)
def test_only_a_sane_request_id_is_taken(value: bytes, request_id: str | None) -> None:
    assert Heard([(b"x-request-id", value)]).request_id == request_id


@pytest.mark.parametrize(
    "value", [None, b"application/json", b"Application/JSON; charset=utf-8", b"application/x+json"]
)
def test_json_is_what_is_said_or_nothing(value: bytes | None) -> None:
    Heard([] if value is None else [(b"content-type", value)]).check_json()


@pytest.mark.parametrize(
    "value", [b"text/plain", b"multipart/form-data; boundary=x", b"application/jsonx", b"json"]
)
def test_another_kind_of_body_is_refused(value: bytes) -> None:
    with pytest.raises(RequestInvalid) as refused:
        Heard([(b"content-type", value)]).check_json()
    assert refused.value.field == "content-type"
