"""Callers that keep a gateway busy, survive its end, and remember what they saw whole.

Each model has one answer and so one price, a literal. A caller takes an answer for whole when it has seen the last byte
of its terminal frame, whatever became of the connection after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.fakes.openai_upstream import Answer, FakeUpstream, usage

MESSAGES = [{"role": "user", "content": "Say hello."}]
DONE = b"data: [DONE]\n\n"
RETRY_S = 0.05


@dataclass(frozen=True)
class Kind:
    """One sort of call. `answer` is what upstream gives it."""

    model: str
    stream: bool
    answer: Answer
    cost_nanos: int
    asks: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        return {"model": self.model, "messages": MESSAGES, "stream": self.stream, **self.asks}


# 2 500 nanos per input token, 1 250 per cached one, 10 000 per output token (gpt-4o*); 1 000 and 1 000 000 (words*)
KINDS = (
    Kind("gpt-4o-plain", False, Answer(usage=usage(1500, 300, prompt_tokens_details={"cached_tokens": 1024})),
         5_470_000, {"max_tokens": 300}),
    Kind("gpt-4o-stream", True, Answer(usage=usage(19, 10)), 147_500),
    Kind("gpt-4o-slow", True, Answer(chunks=("tok ",) * 20, usage=usage(40, 20), delay_s=0.01), 300_000),
    # longer than a slice of 256 tokens, so that extensions are in flight too
    Kind("words-long", True, Answer(chunks=("tok ",) * 400, usage=usage(5, 400), delay_s=0.0005), 400_005_000),
)  # fmt: skip
COSTS = {kind.model: kind.cost_nanos for kind in KINDS}
PRICES_OF_KINDS = {
    "gpt-4o-*": {"input": "2.50", "output": "10", "cached_input": "1.25"},
    "words-*": {"input": "1", "output": "1000"},
}


def seeded() -> random.Random:
    """New chances at every run; FAULT_SEED repeats those of another."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    print(f"\nFAULT_SEED={seed}")
    return random.Random(seed)


@dataclass
class Seen:
    """What the callers saw."""

    whole: dict[str, Kind] = field(default_factory=dict)  # by our request id
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def served(self) -> int:
        return len(self.whole)


def script(upstream: FakeUpstream, kinds: tuple[Kind, ...] = KINDS) -> None:
    for kind in kinds:
        upstream.script(kind.model, kind.answer)


class Callers:
    """`count` callers, each with one call under way, until the block ends."""

    def __init__(
        self, base_url: str, secret: str, rng: random.Random, *, count: int, kinds: tuple[Kind, ...] = KINDS
    ) -> None:
        self.seen = Seen()
        self._url = f"{base_url}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {secret}"}
        self._rng = rng
        self._count = count
        self._kinds = kinds
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Callers:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._tasks = [asyncio.create_task(self._call_on()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._http.close()

    async def _call_on(self) -> None:
        while not self._stop.is_set():
            kind = self._rng.choice(self._kinds)
            outcome = await self._call(kind)
            self.seen.outcomes[outcome] += 1
            if outcome != "whole":
                await asyncio.sleep(RETRY_S)

    async def _call(self, kind: Kind) -> str:
        body = bytearray()
        request_id = ""
        status = 0
        ended = False
        with lost_connections():
            async with self._http.post(self._url, json=kind.body, headers=self._headers) as answer:
                status = answer.status
                request_id = answer.headers.get("x-rabbitgw-request-id", "")
                async for piece in answer.content.iter_any():
                    body += piece
                ended = True
        if status == 0:
            return "no answer"
        if status != 200:
            return f"refused {status}"
        if not (DONE in body if kind.stream else ended):
            return "cut"
        assert request_id
        self.seen.whole[request_id] = kind
        return "whole"


@contextlib.contextmanager
def lost_connections() -> Iterator[None]:
    """What a killed gateway looks like to its callers."""
    with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
        yield
