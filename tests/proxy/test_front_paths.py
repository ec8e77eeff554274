"""Which path is whose. What is answered there, through the whole gateway, stands in tests/flows/test_bad_paths.py."""

from __future__ import annotations

import pytest

from rabbitgw.proxy.dialects import CHAT, DIALECTS, Dialect
from rabbitgw.proxy.front_paths import SHOWN_CHARS_MAX, place_of, shown


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_each_dialect_has_its_path_in_every_way_to_write_it(dialect: Dialect) -> None:
    path = dialect.path
    for target in (
        path,
        f"{path}?",
        f"{path}?a=/v1/admin#b",
        f"{path}#a?b",
        path.replace("/v1/", "/%76%31/"),
        f"http://x{path}",
        f"HTTPS://x:1{path}?a",
    ):
        place = place_of(target.encode())
        assert (target, place.kind, place.dialect) == (target, "call", dialect)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/v1/models", "models"),
        ("/v1/models/a", "models"),
        ("/v1/models/", "unsold"),
        ("/v1/models%2fa", "unsold"),
        ("/v1/", "unsold"),
        ("/v1//admin", "unsold"),
        ("/v1/chat/completions/", "unsold"),
        ("/v1/chat%2fcompletions", "unsold"),
        ("/v1/./admin", "unsold"),
        ("/v1/../v1/admin", "unsold"),
        ("/v1/adminx", "unsold"),
        ("/v1/Admin", "unsold"),
        ("/v1/admin%2faccounts", "unsold"),
        ("/v1/admin", "side"),
        ("/v1/admin?a", "side"),
        ("/v1/%61dmin/keys", "side"),
        ("/v1/usage/x", "side"),
        ("/v1/wallets", "side"),
        ("/v1/ledger", "side"),
        ("/v1/webhooks/stripe", "side"),
        ("/billing/credit-packages", "side"),
        ("/v1", "side"),
        ("/v1?/chat/completions", "side"),
        ("//v1/chat/completions", "side"),
        ("/V1/chat/completions", "side"),
        ("/", "side"),
        ("*", "side"),
        ("", "side"),
        ("http://x", "side"),
        ("http:///v1/files", "unsold"),
        ("x:443", "side"),
    ],
)
def test_a_path_is_what_it_says_and_not_what_it_looks_like(target: str, kind: str) -> None:
    assert place_of(target.encode()).kind == kind


def test_a_models_name_may_hold_anything() -> None:
    assert place_of(b"/v1/models/a%2Fb/c%20d?e").model == "a/b/c d"


@pytest.mark.parametrize("code", ["%", "%4", "%zz", "%4g", "%+4", "% 4", "%%", "%\xb2\xb2"])
def test_what_is_no_percent_code_stays(code: str) -> None:
    target = f"/v1/{code}"
    assert place_of(target.encode("latin-1")).path == target


def test_a_long_path_is_not_repeated_at_length() -> None:
    assert shown(CHAT.path) == CHAT.path
    assert len(shown("/v1/" + "x" * 9000)) == SHOWN_CHARS_MAX + 1
