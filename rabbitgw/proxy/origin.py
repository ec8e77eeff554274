"""Where a request came from: the address of its connection's peer, or the one that a trusted proxy has written down.

Made with each head and asked for keys with a list of addresses only: a system call and some parsing, once for all
requests with that head on that connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rabbitgw.addresses import address_behind


class Origin:
    """`forwarded_for`: values of X-Forwarded-For. `proxies`: networks that are believed to write it."""

    __slots__ = ("_address", "_forwarded_for", "_proxies", "_transport")

    def __init__(
        self, transport: asyncio.BaseTransport, forwarded_for: Sequence[str], proxies: tuple[str, ...]
    ) -> None:
        self._transport = transport
        self._forwarded_for = forwarded_for
        self._proxies = proxies
        self._address: str | None = None

    def address(self) -> str | None:
        """None where it cannot be told."""
        if self._address is None:
            peer = peer_of(self._transport)
            if peer is not None:
                self._address = address_behind(peer, self._forwarded_for, self._proxies)
        return self._address


def peer_of(transport: asyncio.BaseTransport | None) -> str | None:
    """The address at the other end; None of one that is gone, and of what is no connection over IP."""
    name = None if transport is None else transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else None
