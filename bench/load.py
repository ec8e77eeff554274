"""The load generator: one process, keep-alive connections, raw asyncio protocols. Told by JSON, answers by JSON.

    python -m bench.load '{"mode": "closed", "port": 8080, "model": "stub-plain", "connections": 16, "requests": 4000}'

closed: each connection sends its next request when the last one is answered. Says what the watched processes used.
open:   requests are due at fixed moments, however long others take, and are timed from the moment they were due.
held:   opens streams, says so, and keeps them until a line comes on standard input.

An answer that is not whole (a status other than 200, too few chunks, a cut connection) is a failure, and is told.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httptools
import uvloop

from bench.figures import percentile
from bench.processes import cpu_ns

STAMP = b'"t='
STAMP_BYTES = 19
AFTERWORK_S = 0.1  # for what a candidate does after the last byte: settling, logging
TAIL_S = 30.0  # after the last moment of an open loop, for answers that are still under way
SYSTEM = (
    "You are a careful assistant of a shop that sells garden tools. Answer in the customer's language, in at most "
    "three sentences, and never promise a delivery date that the customer has not been told by the shop before."
)
QUESTION = "My hedge is three metres high and I have no ladder. Which of your trimmers reaches the top of it?"


@dataclass
class Job:
    """What to do; see the module."""

    mode: str
    port: int
    model: str
    key: str = "sk-bench"
    connections: int = 1
    requests: int = 1
    per_s: float = 100.0
    seconds: float = 1.0
    max_tokens: int | None = 1024
    keeps_ids: bool = False  # tell the gateway's ids of the whole answers
    keys_file: str = ""  # instead of `key`: one a line; requests take them in turn
    watch: dict[str, list[int]] = field(default_factory=dict)

    @property
    def chunks(self) -> int:
        """How many a whole answer has; 0 of a plain one."""
        return chunks_of(self.model)

    def each(self) -> Iterator[bytes]:
        """One after the other, without end."""
        keys = Path(self.keys_file).read_text("ascii").split() if self.keys_file else [self.key]
        head, tail = self.request("@@@").split(b"@@@")
        return itertools.cycle([head + key.encode() + tail for key in keys])

    def request(self, key: str) -> bytes:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
            "temperature": 0.7,
        }
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.chunks:
            body["stream"] = True
        text = json.dumps(body).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\n"
            "Accept: application/json\r\n"
            "User-Agent: bench\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        return head.encode() + text


def chunks_of(model: str) -> int:
    return 0 if model == "stub-plain" else int(model.split("-")[1])


@dataclass
class Seen:
    """What came back."""

    whole: int = 0
    chunks: int = 0
    reads: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    sample: str = ""  # the body of the first failure
    ids: list[str] = field(default_factory=list)
    answers_ns: list[int] = field(default_factory=list)
    first_bytes_ns: list[int] = field(default_factory=list)
    chunks_ns: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "whole": self.whole,
            "chunks": self.chunks,
            "reads": self.reads,
            "failures": dict(self.failures),
            "sample": self.sample,
            "ids": self.ids,
            "answer_us": summary(self.answers_ns),
            "first_byte_us": summary(self.first_bytes_ns),
            "chunk_us": summary(self.chunks_ns),
        }


def summary(values_ns: list[int]) -> dict[str, float]:
    """Percentiles in microseconds."""
    ordered = sorted(values_ns)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: percentile(ordered, share) / 1000 for name, share in shares.items()} if ordered else {}


class Link(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, seen: Seen, chunks: int, done: Callable[[Link], None]) -> None:
        self._seen = seen
        self._expected = chunks
        self._done = done
        self._busy = False
        self.on_chunk: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, due_ns: int = 0) -> None:
        self._busy = True
        self._due_ns = due_ns or time.monotonic_ns()
        self._first_ns = 0
        self._chunks = 0
        self._body = b""
        self._last = (
            b""  # bytes: a stream that the gateway ends with an error has all its chunks, and no [DONE]
        )
        self._cut = b""  # the end of a read that a stamp may have begun in
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._now_ns = time.monotonic_ns()
        self._seen.reads += 1
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        if not self._first_ns:
            self._first_ns = self._now_ns
        if len(self._body) < 400:
            self._body += data
        self._last = (self._last + data)[-32:]
        self._cut = data = self._cut + data
        at = data.find(STAMP)
        while 0 <= at <= len(data) - len(STAMP) - STAMP_BYTES:
            start = at + len(STAMP)
            self._seen.chunks_ns.append(self._now_ns - int(data[start : start + STAMP_BYTES]))
            self._chunks += 1
            self._cut = data[start + STAMP_BYTES :]
            at = data.find(STAMP, start)
        self._cut = b"" if self._cut.endswith(b"\n") else self._cut  # an event's end cuts no stamp
        if self.on_chunk is not None:
            self.on_chunk()

    def on_message_complete(self) -> None:
        seen, status = self._seen, self._parser.get_status_code()
        seen.chunks += self._chunks
        if status != 200:
            self._fail(f"status {status}")
        elif self._chunks != self._expected:
            self._fail(f"{self._chunks} of {self._expected} chunks")
        elif self._expected and b"[DONE]" not in self._last:
            self._fail("no [DONE]")
        else:
            seen.whole += 1
            seen.answers_ns.append(self._now_ns - self._due_ns)
            seen.first_bytes_ns.append(self._first_ns - self._due_ns)
        self._busy = False
        self._done(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy:
            self._busy = False
            self._fail("cut")
            self._done(self)

    def _fail(self, what: str) -> None:
        self._seen.failures[what] += 1
        self._seen.sample = self._seen.sample or self._body.decode("utf-8", "replace")[:400]


class IdLink(Link):
    """Keeps the gateway's ids of whole answers, by which their bill lines are found."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-rabbitgw-request-id":
            self._id = value.decode()

    def on_message_complete(self) -> None:
        before = self._seen.whole
        super().on_message_complete()
        if self._seen.whole > before:
            self._seen.ids.append(self._id)


class Load:
    """Links to one port, and what they have seen."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seen = Seen()
        self._loop = asyncio.get_running_loop()
        self._requests = job.each()
        self._links: list[Link] = []

    async def run(self) -> dict[str, Any]:
        try:
            return await {"closed": self._closed, "open": self._open, "held": self._held}[self.job.mode]()
        finally:
            for link in self._links:
                link.transport.abort()

    async def _connect(self, done: Callable[[Link], None], count: int) -> list[Link]:
        kind = IdLink if self.job.keeps_ids else Link

        def link() -> Link:
            return kind(self.seen, self.job.chunks, done)

        made = [
            (await self._loop.create_connection(link, "127.0.0.1", self.job.port))[1] for _ in range(count)
        ]
        self._links += made
        return made

    async def _closed(self) -> dict[str, Any]:
        job, ended = self.job, self._loop.create_future()
        left, busy = job.requests, 0

        def on_done(link: Link) -> None:
            nonlocal left, busy
            if left > 0 and not link.transport.is_closing():
                left -= 1
                link.send(next(self._requests))
            else:
                busy -= 1
                if not busy:
                    ended.set_result(None)

        links = await self._connect(on_done, job.connections)
        before = {name: cpu_ns(pids) for name, pids in job.watch.items()}
        began_ns = time.monotonic_ns()
        busy = len(links)
        for link in links:
            left -= 1
            link.send(next(self._requests))
        await ended
        took_ns = time.monotonic_ns() - began_ns
        await asyncio.sleep(AFTERWORK_S)
        used = {name: cpu_ns(pids) - before[name] for name, pids in job.watch.items()}
        return {**self.seen.to_json(), "seconds": took_ns / 1e9, "cpu_ns": used}

    async def _open(self) -> dict[str, Any]:
        job, ended = self.job, asyncio.Event()
        idle: list[Link] = []
        busy = 0
        count = int(job.per_s * job.seconds)

        def on_done(link: Link) -> None:
            nonlocal busy
            busy -= 1
            if not link.transport.is_closing():
                idle.append(link)
            if not busy:
                ended.set()

        async def on_new_link(due_ns: int) -> None:
            (await self._connect(on_done, 1))[0].send(next(self._requests), due_ns)

        def on_due(due_ns: int) -> None:
            nonlocal busy
            busy += 1
            ended.clear()
            while idle:
                link = idle.pop()
                if not link.transport.is_closing():
                    link.send(next(self._requests), due_ns)
                    return
            connecting.add(asyncio.ensure_future(on_new_link(due_ns)))

        connecting: set[asyncio.Future[None]] = set()
        idle.extend(await self._connect(on_done, job.connections))
        pacer = threading.Thread(target=self._pace, args=(count, on_due), daemon=True)
        pacer.start()
        await asyncio.to_thread(pacer.join)
        async with asyncio.timeout(TAIL_S):
            await asyncio.gather(*connecting)
            while busy:
                await ended.wait()
        return {**self.seen.to_json(), "due": count}

    def _pace(self, count: int, on_due: Callable[[int], None]) -> None:
        """In a thread: the loop's own timers are a millisecond coarse, which is more than what is measured."""
        start_ns = time.monotonic_ns() + 50_000_000
        for number in range(count):
            due_ns = start_ns + int(number * 1e9 / self.job.per_s)
            wait_s = (due_ns - time.monotonic_ns()) / 1e9
            if wait_s > 0:
                time.sleep(wait_s)
            self._loop.call_soon_threadsafe(on_due, due_ns)

    async def _held(self) -> dict[str, Any]:
        opened = asyncio.Event()
        count = 0

        def on_first(link: Link) -> None:
            nonlocal count
            link.on_chunk = None
            count += 1
            if count == self.job.connections:
                opened.set()

        links = await self._connect(lambda link: None, self.job.connections)
        for link in links:
            link.on_chunk = lambda link=link: on_first(link)  # type: ignore[misc]
            link.send(next(self._requests))
        async with asyncio.timeout(TAIL_S):
            await opened.wait()
        print(json.dumps({"open": count}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return {"open": count, "failures": dict(self.seen.failures)}


async def main() -> None:
    gc.disable()  # nothing here makes cycles that matter, and a pause of ours would look like theirs
    print(json.dumps(await Load(Job(**json.loads(sys.argv[1]))).run()), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
