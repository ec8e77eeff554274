"""Sockets that are shared, and closed without losing what waits on them."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest
import uvloop

from rabbitgw.dev.ports import free_port
from rabbitgw.errors import SettingInvalid
from rabbitgw.listening import Listener, bound, port_of

LOOPS = pytest.mark.parametrize(
    "loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"hello")
        transport.close()


def inherited_copies(sockets: list[socket.socket]) -> list[socket.socket]:
    """As another process has them."""
    return [one.dup() for one in sockets]


@LOOPS
def test_what_waits_when_a_socket_is_closed_is_still_served(loop: object) -> None:
    async def scenario() -> None:
        sockets = bound("127.0.0.1", 0, setting="RABBITGW_PORT")
        port = port_of(sockets)
        listener = Listener(sockets, Greeter)
        await listener.start()
        # the loop does not turn between these lines: nothing is accepted before the close
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        await listener.close()
        await listener.close()
        for caller in callers:
            caller.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(caller, 16) == b"hello"
            caller.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(scenario())


@LOOPS
def test_the_port_is_open_until_the_last_has_closed_it(loop: object) -> None:
    async def scenario() -> None:
        sockets = bound("127.0.0.1", 0, setting="RABBITGW_PORT")
        port = port_of(sockets)
        first, second = (
            Listener(inherited_copies(sockets), Greeter),
            Listener(inherited_copies(sockets), Greeter),
        )
        for one in sockets:  # the parent's
            one.close()
        await first.start()
        await second.start()
        await first.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"hello"
        writer.close()
        await second.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(scenario())


async def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            SettingInvalid, match=f"RABBITGW_METRICS_PORT: {port} on '127.0.0.1' cannot be used"
        ):
            bound("127.0.0.1", port, setting="RABBITGW_METRICS_PORT")


@pytest.mark.parametrize("host", ["no such host", "a..b", "192.0.2.1"])
def test_an_address_that_is_not_here_is_named(host: str) -> None:
    with pytest.raises(SettingInvalid, match="RABBITGW_PORT: "):
        bound(host, free_port(), setting="RABBITGW_PORT")


def test_all_addresses_of_a_name_get_one_port() -> None:
    sockets = bound("", 0, setting="RABBITGW_PORT")
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
    finally:
        for one in sockets:
            one.close()
