from __future__ import annotations

import ssl

import pytest

from rabbitgw.errors import SettingInvalid
from rabbitgw.redis_url import parse_redis_url


@pytest.mark.parametrize(
    ("url", "name", "greeting"),
    [
        ("redis://cache.internal", "cache.internal:6379", ()),
        ("redis://:pass%40word@h:7000/3", "h:7000", (("AUTH", "pass@word"), ("SELECT", "3"))),
        ("redis://rabbit:secret@h/0", "h:6379", (("AUTH", "rabbit", "secret"),)),
        ("redis://h:1?db=4", "h:1", (("SELECT", "4"),)),
        ("unix:///run/r.sock?db=2", "/run/r.sock", (("SELECT", "2"),)),
        ("unix://:secret@/run/r.sock", "/run/r.sock", (("AUTH", "secret"),)),
        ("redis://[::1]:7000", "::1:7000", ()),
    ],
)
def test_url_says_where_and_how_to_greet(url: str, name: str, greeting: tuple[tuple[str, ...], ...]) -> None:
    target = parse_redis_url(url)
    assert (target.name, target.greeting, target.tls) == (name, greeting, None)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://h",
        "redis+sentinel://:hunter2@h:26379/mymaster/0",
        "redis+cluster://:hunter2@h:7000",
        "rediss+cluster://:hunter2@h:7000",
        "unix://",
        "redis://:hunter2@h:notaport",
        "redis://:hunter2@h:99999",
        "redis://:hunter2@h/db0",
        "redis://:hunter2@h?db=-1",
        "redis://:hunter2@h?db=x",
        "redis://:hunter2@h?socket_timeout=3",
        "rediss://:hunter2@h?ssl_cert_reqs=optional",
        "rediss://:hunter2@h?ssl_ca_certs=/nowhere.pem",
    ],
)
def test_what_we_cannot_honour_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        parse_redis_url(url)
    assert str(refused.value).startswith("REDIS_URL: ")
    assert "hunter2" not in str(refused.value)


def test_tls_checks_the_certificate_unless_told_not_to() -> None:
    checked = parse_redis_url("rediss://h").tls
    unchecked = parse_redis_url("rediss://h?ssl_cert_reqs=none").tls
    assert checked is not None
    assert unchecked is not None
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)
