"""What a key may be used for, by its scopes."""

from __future__ import annotations

import pytest

from rabbitgw.billing.key_fields import checked_scopes
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.scopes import ADMIN, BILLING, DATA, DATA_ROUTES, MODELS, SCOPES, check_scope
from rabbitgw.errors import RequestInvalid, ScopeMissing
from rabbitgw.proxy.dialects import ALL_DIALECTS


def allowed(scopes: tuple[str, ...] | None) -> set[str]:
    key = KeyRecord(1, 1, 0, "USD", 1, "k", None, (), None, False, scopes=scopes)
    found = set()
    for scope in (*DATA_ROUTES, BILLING, ADMIN):
        try:
            check_scope(scope, key)
        except ScopeMissing:
            continue
        found.add(scope)
    return found


def test_every_route_of_the_data_plane_has_a_scope_of_its_own() -> None:
    assert sorted([MODELS, *(dialect.scope for dialect in ALL_DIALECTS)]) == sorted(DATA_ROUTES)


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (None, {*DATA_ROUTES, BILLING}),
        ((DATA,), set(DATA_ROUTES)),
        (("chat", "count_tokens"), {"chat", "count_tokens"}),
        ((BILLING,), {BILLING}),
        ((ADMIN,), {ADMIN}),
        ((ADMIN, "messages"), {ADMIN, "messages"}),
        (SCOPES, {*DATA_ROUTES, BILLING, ADMIN}),
    ],
)
def test_a_key_may_what_its_scopes_say(scopes: tuple[str, ...] | None, may: set[str]) -> None:
    assert allowed(scopes) == may


def test_a_wrong_scope_is_named_with_those_that_there_are() -> None:
    assert checked_scopes(["chat", "chat", "billing"]) == ["chat", "billing"]
    for wrong in ([], ["Chat"], ["chat", "root"], ["x" * 9999]):
        with pytest.raises(RequestInvalid) as refused:
            checked_scopes(wrong)
        assert refused.value.field == "scopes"
        assert "count_tokens" in refused.value.message
        assert len(refused.value.message) < 400
