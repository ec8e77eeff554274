"""The soak's clients: each carries out its plan on a socket of its own and says what it saw.

A polite one keeps its connection for its next stream, as SDKs do. Knows the gateway's port and a key, nothing else.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from bench.soak_plan import POLITE, Plan
from tests.flows.raw_client import Answer, RawClient, read_answer, request

STREAM_ENDS_WITHIN_S = 60.0
NOTHING_READ_S = 2.5  # how long a client that reads nothing stays: longer than the gateway bears it
GARBAGE_S = 1.0  # for an answer to what may be the beginning of something
SMALL = 4096
ENDS = (b"0\r\n\r\n", b"}")  # of a stream, and of an error


@dataclass
class Seen:
    """What a client has of its stream. `whole`: to its terminal frame, with no error in it."""

    plan: Plan
    status: int = 0
    whole: bool = False
    delta: bool = False
    hung: bool = False


@dataclass
class Crowd:
    """`count` clients that work off plans, one stream each at a time."""

    port: int
    secret: str
    count: int
    seen: list[Seen] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    async def carry_out(self, plans: Iterator[Plan]) -> None:
        await asyncio.gather(*(self._work(plans) for _ in range(self.count)))

    async def _work(self, plans: Iterator[Plan]) -> None:
        """One client after the other; those who are polite go by one connection."""
        kept: RawClient | None = None
        for plan in plans:
            seen = Seen(plan)
            self.seen.append(seen)
            try:
                async with asyncio.timeout(STREAM_ENDS_WITHIN_S):
                    if plan.client == POLITE:
                        kept = await self._polite(plan, seen, kept)
                    else:
                        await self._rude(plan, seen)
            except TimeoutError:
                seen.hung = True
            self.outcomes[_outcome(seen)] += 1
        if kept is not None:
            kept.leave()

    async def _connect(self, receive_buffer: int = 0) -> RawClient:
        return await RawClient.connect(self.port, self.secret, receive_buffer=receive_buffer)

    async def _polite(self, plan: Plan, seen: Seen, kept: RawClient | None) -> RawClient | None:
        """Returns the connection, if it can carry another stream."""
        client = kept or await self._connect()
        client.received = b""
        client.ask(plan.speech, plan.body(), f"x-request-id: {plan.name}")
        while True:
            piece = b""
            with suppress(ConnectionError):
                piece = await client.reader.read(65_536)
            client.received += piece
            if not piece or client.received.endswith(ENDS):
                answer = read_answer(client.received)[0] if b"\r\n\r\n" in client.received else None
                if not piece or (answer is not None and answer.whole):
                    break
        if answer is not None:
            _note(seen, answer)
        if piece and answer is not None and b"connection: close" not in answer.head:
            return client
        client.leave()
        return None

    async def _rude(self, plan: Plan, seen: Seen) -> None:
        small = SMALL if plan.client in ("reads slowly", "reads nothing") else 0
        client = await self._connect(small)
        try:
            with suppress(ConnectionError):
                await self._misbehave(plan, seen, client, random.Random(plan.upstream.seed + 1))
            if b"\r\n\r\n" in client.received:
                _note(seen, read_answer(client.received)[0])
        finally:
            client.leave("reset" if plan.client == "resets midway" else "close")

    async def _misbehave(self, plan: Plan, seen: Seen, client: RawClient, rng: random.Random) -> None:
        lines = (f"x-request-id: {plan.name}", "connection: close")
        whole = request(self.secret, plan.speech, plan.body(), *lines)
        head, mark, body = whole.partition(b"\r\n\r\n")
        write = client.writer.write
        match plan.client:
            case "leaves at once":
                write(whole)
                await client.writer.drain()
            case "leaves before the head":
                write(whole)
                await asyncio.sleep(rng.uniform(0.005, 0.05))
            case "leaves midway" | "resets midway":
                write(whole)
                await _read(client, rng.randint(1, 3_000))
            case "leaves at the end":
                write(whole)
                await _read_to(client, plan.speech.terminal[:-2])
            case "closes one half":
                write(whole)
                await asyncio.sleep(rng.uniform(0, 0.02))
                client.writer.write_eof()
                await client.rest()
            case "reads slowly":
                write(whole)
                while piece := await client.reader.read(512):
                    client.received += piece
                    await asyncio.sleep(0.002)
            case "reads nothing":
                write(whole)
                await asyncio.sleep(NOTHING_READ_S)
            case "speaks HTTP/1.0":
                write(request(self.secret, plan.speech, plan.body(), *lines, version="1.0"))
                await client.rest()
            case "asks ahead":
                write(request(self.secret, plan.speech, plan.body(), lines[0]) + whole)
                await client.rest()
            case "waits to go on":
                write(head + b"\r\nexpect: 100-continue" + mark)
                await _read_to(client, b"\r\n\r\n")
                client.received = b""
                write(body)
                await client.rest()
            case _:
                await _send_wrong(plan.client, client, whole, body, rng)


async def _send_wrong(how: str, client: RawClient, whole: bytes, body: bytes, rng: random.Random) -> None:
    """What is no whole request, or more than one."""
    garbage = rng.randbytes(rng.randint(1, 200)) + b"\r\n\r\n"
    if how == "sends half a body":
        client.writer.write(whole[: -rng.randrange(1, len(body))])
        await asyncio.sleep(0.01)
    elif how == "sends half a head":
        client.writer.write(whole[: rng.randrange(1, len(whole) - len(body) - 4)])
        await asyncio.sleep(0.01)
    else:
        client.writer.write(garbage if how == "sends garbage" else whole + garbage)
        with suppress(TimeoutError):  # outside of the timeout, which raises it
            async with asyncio.timeout(GARBAGE_S):
                await client.rest()


async def _read(client: RawClient, size: int) -> None:
    while len(client.received) < size and (piece := await client.reader.read(size)):
        client.received += piece


async def _read_to(client: RawClient, marker: bytes) -> None:
    while marker not in client.received and (piece := await client.reader.read(65_536)):
        client.received += piece


def _note(seen: Seen, answer: Answer) -> None:
    speech = seen.plan.speech
    seen.status = answer.status
    seen.delta = speech.delta in answer.body or b"x" * 10_000 in answer.body
    seen.whole = answer.whole and answer.status == 200 and answer.body.endswith(speech.terminal)


def _outcome(seen: Seen) -> str:
    if seen.hung:
        return "hung"
    if seen.whole:
        return "whole"
    if seen.status in (0, 200):
        return "nothing" if not seen.status else "part"
    return f"refused {seen.status}"
