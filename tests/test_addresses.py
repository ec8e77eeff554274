"""IP networks, and whose address a forwarded request has."""

from __future__ import annotations

import pytest

from rabbitgw.addresses import HOPS_MAX, address_behind, is_within, network_of, networks_listed
from rabbitgw.billing.key_fields import NETWORKS_MAX, checked_networks
from rabbitgw.config import Settings
from rabbitgw.errors import RequestInvalid, SettingInvalid

PROXIES = ("10.0.0.0/8", "2001:db8:1::/48")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.9", "203.0.113.9/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_has_one_form(text: str, network: str) -> None:
    assert str(network_of(text)) == network


@pytest.mark.parametrize(
    "text",
    ["", "x", "203.0.113.9/24", "203.0.113.0/33", "203.0.113.0/", "10.0.0.0/255.0.0.0", "fe80::1%eth0", "1.2.3", "/8",
     "010.0.0.0/8", "::/129", "1.2.3.4/-1", "1.2.3.4/२४", "1.2.3.4 /32", "9" * 5000],
)  # fmt: skip
def test_what_is_no_network_is_refused_by_field_and_value(text: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        checked_networks(["198.51.100.0/24", text])
    assert refused.value.field == "ip_allowlist"
    assert repr(text[:100]) in refused.value.message
    assert len(refused.value.message) < 400


def test_a_list_of_networks_has_a_limit() -> None:
    assert checked_networks(["10.0.0.1", "10.0.0.1/32"]) == ["10.0.0.1/32"]
    most = [f"10.0.{n}.0/24" for n in range(NETWORKS_MAX)]
    assert checked_networks(most) == most
    for wrong in ([], [*most, "10.1.0.0/24"]):
        with pytest.raises(RequestInvalid, match="1 to 100 networks"):
            checked_networks(wrong)


@pytest.mark.parametrize(
    ("address", "within"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::5", True),
        ("2001:db8::5%eth0", True),
        ("2001:db9::5", False),
        ("::192.0.2.7", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_an_address_is_in_a_network_or_not(address: str, within: bool) -> None:
    assert is_within(address, ("198.51.100.1/32", "192.0.2.0/24", "2001:db8::/32")) is within


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),  # no proxy of ours: it may say what it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.1", "203.0.113.9"], "203.0.113.9"),  # one list, however many headers
        ("10.0.0.1", ["192.0.2.1, 203.0.113.9 ,10.9.9.9,2001:db8:1::7"], "203.0.113.9"),
        ("10.0.0.1", ["10.2.2.2, 10.3.3.3"], "10.2.2.2"),  # a caller from inside
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", ["192.0.2.1, unknown"], None),
        ("10.0.0.1", ["192.0.2.1, "], None),
        ("10.0.0.1", [""], None),
        ("10.0.0.1", [", ".join(["192.0.2.1"] + ["10.0.0.1"] * (HOPS_MAX - 1))], "192.0.2.1"),
        ("10.0.0.1", [", ".join(["192.0.2.1"] + ["10.0.0.1"] * HOPS_MAX)], None),
    ],
)
def test_the_address_behind_trusted_proxies(peer: str, forwarded_for: list[str], address: str | None) -> None:
    assert address_behind(peer, forwarded_for, PROXIES) == address
    assert address_behind(peer, forwarded_for, ()) == peer


def test_trusted_proxies_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITGW_TRUSTED_PROXIES", " 10.0.0.0/8, ::1,")
    assert networks_listed(Settings.load().trusted_proxies) == ("10.0.0.0/8", "::1/128")
    monkeypatch.setenv("RABBITGW_TRUSTED_PROXIES", "10.0.0.1/8")
    with pytest.raises(SettingInvalid, match=r"RABBITGW_TRUSTED_PROXIES: .*10\.0\.0\.1/8"):
        Settings.load()
