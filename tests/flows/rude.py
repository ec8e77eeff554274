"""What the rude flows share: a client and an upstream on raw sockets, answers read as they came, what must be left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol
from unittest.mock import patch

from rabbitgw.proxy import front
from tests.fakes.raw_http import Connection, RawServer, raw_server
from tests.flows.house import House, until
from tests.flows.raw_client import WAIT_S, Answer, RawClient
from tests.flows.speeches import Speech

CREDIT_NANOS = 10_000_000_000


Step = bytes | asyncio.Event
Play = Callable[[Connection], Awaitable[None]]


def playing(*steps: Step, then: str = "") -> Play:
    """An upstream that takes these steps for each request: bytes to send, events to wait for. Then it goes on to the
    next, or hangs up: `end` by FIN, `reset` by RST."""

    async def play(connection: Connection) -> None:
        while True:
            await connection.read_request()
            for step in steps:
                if isinstance(step, bytes):
                    await connection.send(step)
                else:
                    await step.wait()
            if then:
                getattr(connection, then)()
                return

    return play


def in_turn(*answers: tuple[bytes, ...]) -> Play:
    """An upstream that answers each request with the next of these, in these pieces."""
    turns = iter(answers)

    async def play(connection: Connection) -> None:
        while True:
            await connection.read_request()
            await connection.send(*next(turns))

    return play


class Scene(NamedTuple):
    """A house, the upstream behind it, and `connect`, which makes clients of it."""

    house: House
    raw: RawServer
    connect: Connect


class Connect(Protocol):
    async def __call__(self, *, receive_buffer: int = 0) -> RawClient: ...


@contextlib.asynccontextmanager
async def rude_house(
    house_with: Any, play: Play, *, silence_s: float = 0.3, **changes: Any
) -> AsyncIterator[Scene]:
    """A house in front of an upstream whose every byte is the test's. Its clients are gone at the end.

    silence_s: after which a client that has closed its half, or its socket (which looks the same), has left.
    """
    clients: list[RawClient] = []
    with patch.object(front, "HALF_CLOSED_SILENCE_S", silence_s):
        async with _rude_house(house_with, play, clients, changes) as scene:
            yield scene


@contextlib.asynccontextmanager
async def _rude_house(
    house_with: Any, play: Play, clients: list[RawClient], changes: dict[str, Any]
) -> AsyncIterator[Scene]:
    async with (
        raw_server(play) as raw,
        house_with(upstream_url=f"http://127.0.0.1:{raw.port}", **changes) as house,
    ):

        async def connect(*, receive_buffer: int = 0) -> RawClient:
            clients.append(
                await RawClient.connect(house.gateway.port, house.secret, receive_buffer=receive_buffer)
            )
            return clients[-1]

        try:
            yield Scene(house, raw, connect)
        finally:
            for client in clients:
                client.leave()


def requests_at(raw: RawServer) -> int:
    """How many came to this upstream so far."""
    return sum(len(connection.requests) for connection in raw.connections)


async def hung_up(connection: Connection) -> None:
    """Wait until the gateway has closed this connection to upstream."""
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionError):
            await connection.wait_gone()


async def ask(scene: Scene, speech: Speech, body: bytes | None = None) -> Answer:
    """One call by a polite client that closes afterwards."""
    client = await scene.connect()
    client.ask(speech, body, "connection: close")
    return await client.answer()


async def assert_nothing_left(house: House) -> None:
    """No money held, no call running, no upstream connection that is not idle in the pool."""

    async def free() -> bool:
        return bool((await house.wallet())["held_nanos"] == 0)

    await until(free)
    await until(lambda: not house.gateway._front.running)
    pool = house.gateway._upstream
    assert pool._open == set(pool._idle)


def transport_at(house: House, client: RawClient) -> asyncio.Transport | None:
    """The gateway's end of a client's connection, while it is open."""
    for transport in [connection.transport for connection in house.gateway._front.connections]:
        if not transport.is_closing() and transport.get_extra_info("peername")[1] == client.port:
            return transport
    return None


async def let_go(house: House, client: RawClient) -> None:
    """Wait until the gateway has closed its end of a client's connection."""
    await until(lambda: transport_at(house, client) is None)
