"""The soak's upstream: a process that reads from each prompt how it is to behave, and behaves so.

    python -m bench.soak_upstream PORT

`GET /open` answers how many other connections are open. Knows nothing of money.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

import uvloop

from bench.soak_plan import LARGE_BYTES, Told, told
from tests.flows.raw_client import CHUNKED, JSON_HEAD, LAST_CHUNK, SSE_HEAD, chunk
from tests.flows.speeches import SPEECHES, TEXT, Speech


class Act(Enum):
    """What is no bytes to send."""

    END = auto()
    RESET = auto()
    SILENCE = auto()  # until the gateway hangs up


Step = bytes | float | Act  # seconds to wait, where it is a float
HEAD = SSE_HEAD + CHUNKED
HTML = b"<html><h1>no</h1></html>"
HTML_BODY = b"content-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(HTML) + HTML
ERROR = b'{"error":{"message":"no","type":"server_error"}}'
ERROR_BODY = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ERROR) + ERROR
EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
NOISE = b": \x00\n\nevent: \x00\ndata: {not json \xff\n\ndata: [1]\n\n"
BY_PATH = {speech.path.encode(): speech for speech in SPEECHES}


def events_of(speech: Speech, plan: Told) -> list[bytes]:
    """The stream's parts, each to be a chunk."""
    parts = [speech.opening, *[speech.delta] * plan.deltas, speech.finish, speech.hidden, speech.terminal]
    return [part for part in parts if part]


def whole(speech: Speech, plan: Told) -> list[Step]:
    pause = [plan.pace_ms / 1000] if plan.pace_ms else []
    steps: list[Step] = [HEAD]
    for part in events_of(speech, plan):
        steps += [*pause, chunk(part)]
    return [*steps, LAST_CHUNK]


def broken(speech: Speech, plan: Told, act: Act) -> list[Step]:
    """Up to anywhere in the stream, then the act."""
    rng = random.Random(plan.seed)
    steps = whole(speech, plan)
    at = rng.randrange(len(steps))
    last = steps[at]
    return [*steps[:at], last[: rng.randrange(len(last))] if isinstance(last, bytes) else last, act]


def packed(speech: Speech, plan: Told) -> list[Step]:
    pack = zlib.compressobj(wbits=31)
    parts = [pack.compress(part) + pack.flush(zlib.Z_SYNC_FLUSH) for part in events_of(speech, plan)]
    return [
        SSE_HEAD + b"content-encoding: gzip\r\n" + CHUNKED,
        *map(chunk, [*parts, pack.flush()]),
        LAST_CHUNK,
    ]


def streamed(*parts: bytes) -> list[Step]:
    return [HEAD, *map(chunk, filter(None, parts)), LAST_CHUNK]


def with_length(speech: Speech, plan: Told, beyond: int, *after: Step) -> list[Step]:
    body = b"".join(events_of(speech, plan))
    return [SSE_HEAD + b"content-length: %d\r\n\r\n" % (len(body) + beyond) + body, *after]


def large(speech: Speech) -> bytes:
    return speech.delta.replace(TEXT.encode(), b"x" * LARGE_BYTES)


def lying(speech: Speech, plan: Told) -> list[Step]:
    parts = events_of(speech, plan)
    return streamed(*(part.replace(b":100", b":-1e30").replace(b":19", b':"19"') for part in parts))


Conduct = Callable[[Speech, Told], list[Step]]
CONDUCTS: dict[str, Conduct] = {
    "polite": whole,
    "ends before the head": lambda s, p: [Act.END],
    "resets before the head": lambda s, p: [Act.RESET],
    "is silent before the head": lambda s, p: [Act.SILENCE],
    "ends midway": lambda s, p: broken(s, p, Act.END),
    "resets midway": lambda s, p: broken(s, p, Act.RESET),
    "is silent midway": lambda s, p: broken(s, p, Act.SILENCE),
    "is silent at the end": lambda s, p: [*whole(s, p)[:-1], Act.SILENCE],
    "states a length beyond": lambda s, p: with_length(s, p, 999, Act.END),
    "states a length short of it": lambda s, p: with_length(s, p, -30),
    "states length and chunks": lambda s, p: [SSE_HEAD + b"content-length: 3\r\n" + CHUNKED + chunk(s.opening)],
    "sends html with 200": lambda s, p: [b"HTTP/1.1 200 OK\r\n" + HTML_BODY],
    "sends html with 502": lambda s, p: [b"HTTP/1.1 502 Bad Gateway\r\n" + HTML_BODY],
    "refuses with 429": lambda s, p: [b"HTTP/1.1 429 No\r\nretry-after: 1\r\n" + ERROR_BODY],
    "refuses with 500": lambda s, p: [b"HTTP/1.1 500 No\r\n" + ERROR_BODY],
    "sends interim heads": lambda s, p: [b"HTTP/1.1 100 Continue\r\n\r\n" + EARLY, *whole(s, p)],
    "sends gzip": packed,
    "sends brotli": lambda s, p: [SSE_HEAD + b"content-encoding: br\r\n" + CHUNKED + chunk(b"\x0b\x02\x80")],
    # in one write with the end: what comes later is met by whatever the connection carries by then
    "sends bytes behind": lambda s, p: [*whole(s, p)[:-1], LAST_CHUNK + b"\x00 and more"],
    "sends an answer behind": lambda s, p: [*whole(s, p)[:-1], LAST_CHUNK + JSON_HEAD + b"content-length: 2\r\n\r\n{}"],
    "ends without the terminal frame": lambda s, p: streamed(*events_of(s, p)[:-1]),
    "ends twice": lambda s, p: streamed(*events_of(s, p), s.terminal),
    "never ends its head": lambda s, p: [SSE_HEAD, b"x-filler: x\r\n" * 3_000, Act.SILENCE],
    "sends a large event": lambda s, p: streamed(s.opening, large(s), *events_of(s, p)[1:]),
    "breaks a large event": lambda s, p: [HEAD, chunk(s.opening + large(s)[:-20]), Act.END],
    "sends noise": lambda s, p: streamed(s.opening, NOISE, *events_of(s, p)[1:-1], NOISE, s.terminal),
    "lies about usage": lying,
    "sends a body for a stream": lambda s, p: [JSON_HEAD + b"content-length: %d\r\n\r\n" % len(s.plain) + s.plain],
}  # fmt: skip


class SoakUpstream:
    def __init__(self) -> None:
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False: the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b" ", 2)
        if method == b"GET":
            said = b"%d" % (self.open - 1)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said) + said)
            return True
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        plan = told(await reader.readexactly(length))
        for step in CONDUCTS[plan.conduct](BY_PATH[path], plan):
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await self._act(step, reader, writer)
                return False
        return True

    @staticmethod
    async def _act(act: Act, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if act is Act.SILENCE:
            await reader.read()
        elif act is Act.RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


async def main(port: int) -> None:
    server = await asyncio.start_server(SoakUpstream().serve, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
