"""IP addresses and networks: which addresses a list of networks holds, and whose address a forwarded request has. Pure.

An IPv4 address that is written as an IPv6 one (::ffff:192.0.2.1, as sockets of both kinds show it) is the IPv4 address,
in lists too. What cannot be read is no address, and is in no list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAPPED_BITS: Final = 96  # of ::ffff:0:0/96, before the IPv4 address
HOPS_MAX: Final = 32  # of X-Forwarded-For that are looked at; a list of more trusted proxies is made up
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def network_of(text: str) -> Network:
    """A network in CIDR notation, or one address. Raises: ValueError saying what is wrong with it."""
    _, slash, bits = text.partition("/")
    if "%" in text or (slash and not (bits.isascii() and bits.isdigit())):
        raise ValueError(f"{text!r} is not in CIDR notation")
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFF_FFFF
        return IPv4Network((low, network.prefixlen - MAPPED_BITS))
    return network


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of some networks. The same callers ask again and again."""
    found = _address_of(address)
    return found is not None and any(found in network for network in _networks(networks))


def address_behind(peer: str, forwarded_for: Sequence[str], proxies: tuple[str, ...]) -> str | None:
    """Who sent a request that came from `peer`: `peer`, or where that is a trusted proxy the right-most address of
    X-Forwarded-For that is none, or the first one where all are. What stands left of it anybody may have written.

    forwarded_for: the values of that header, in order. Returns: None where no such address can be read.
    """
    if not proxies or not forwarded_for or not is_within(peer, proxies):
        return peer
    hops = ",".join(forwarded_for).rsplit(",", HOPS_MAX)
    if len(hops) > HOPS_MAX:
        hops[0] = ""  # what was not taken apart
    for hop in reversed(hops):
        address = _address_of(_without_port(hop.strip()))
        if address is None:
            return None
        if not is_within(str(address), proxies):
            break
    return str(address)


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(network_of(text) for text in texts)


def _address_of(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])  # an interface's name is no part of the address
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _without_port(hop: str) -> str:
    """Some proxies add the port: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def networks_listed(texts: str) -> tuple[str, ...]:
    """The networks of a list with commas, as they are compared. Raises: ValueError."""
    return tuple(str(network_of(text.strip())) for text in texts.split(",") if text.strip())
