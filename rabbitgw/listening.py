"""Sockets that listen: opened once, shared by every process that is to answer on them, and closed without a loss.

A connection that the kernel has taken in belongs to the socket, not to a process: whichever accepts first has it. The
port closes when the last process closes its copy, and what has not been accepted by then is reset. So whoever closes
takes in first what waits.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from rabbitgw.errors import SettingInvalid

BACKLOG: Final = 1024  # connections that wait to be accepted while every process is busy


def bound(host: str, port: int, *, setting: str) -> list[socket.socket]:
    """A socket for every address of `host`, bound and not listening yet. Port 0 takes a free one.

    Raises: SettingInvalid, naming `setting`.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port_of(sockets), *address[2:]) if len(sockets) > 1 else address)
            one.setblocking(False)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        for one in sockets:
            one.close()
        raise SettingInvalid(f"{setting}: {port} on {host!r} cannot be used: {error}") from None
    return sockets


def port_of(sockets: Sequence[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1])


def inherited(fds: Sequence[int]) -> list[socket.socket]:
    """The sockets that a parent has bound."""
    return [socket.socket(fileno=fd) for fd in fds]


async def serve(
    protocol: Callable[[], asyncio.Protocol] | None, sockets: Sequence[socket.socket], *, setting: str
) -> Listener:
    """Listen on the sockets. `protocol` makes what serves a connection.

    Raises: SettingInvalid, naming `setting`, when another process has come to listen there first.
    """
    assert protocol is not None  # an application that is not set up has none
    listener = Listener(sockets, protocol)
    try:
        await listener.start()
    except OSError as error:
        port = port_of(sockets)
        await listener.close()
        raise SettingInvalid(f"{setting}: {port} cannot be used: {error}") from None
    return listener


class Listener:
    """Gives what comes in on some sockets to a server, until it is closed."""

    def __init__(self, sockets: Sequence[socket.socket], protocol: Callable[[], asyncio.Protocol]) -> None:
        self._protocol = protocol
        self._servers: list[asyncio.Server] = []
        # copies of our own, for the last look: the event loop closes the ones that it was given
        self._copies = [socket.socket(fileno=os.dup(one.fileno())) for one in sockets]
        self._sockets = list(sockets)

    async def start(self) -> None:
        """Raises: OSError when another process listens there, which may be known only now."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            server = await loop.create_server(self._protocol, sock=one, backlog=BACKLOG)
            self._servers.append(server)

    async def close(self) -> None:
        """Close the sockets, and take in what waits there. May be called again."""
        waiting = []
        for server, copy in zip(self._servers, self._copies, strict=False):
            with suppress(OSError):  # when nothing waits any more
                while True:
                    waiting.append(copy.accept()[0])
            server.close()
            copy.close()
        for unused in (*self._copies[len(self._servers) :], *self._sockets[len(self._servers) :]):
            unused.close()
        self._servers, self._copies, self._sockets = [], [], []
        loop = asyncio.get_running_loop()
        for connection in waiting:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)
