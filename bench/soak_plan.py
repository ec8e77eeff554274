"""What each stream of the soak is to be: its dialect, its length, how its client behaves and how its upstream does.

Drawn from one seed, so that a run can be had again. The upstream's part travels in the prompt (`told` reads it there).
Says what a bill line may be for each; knows no socket.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.flows.speeches import INPUT_NANOS, OUTPUT_NANOS, SPEECHES, STATED_NANOS, Speech

POLITE = "polite"
# By weight: what takes as long as a timeout is drawn less often.
RUDE_CLIENTS = {
    "leaves at once": 3,
    "leaves before the head": 3,
    "leaves midway": 6,
    "resets midway": 6,
    "leaves at the end": 4,
    "closes one half": 3,
    "reads slowly": 3,
    "reads nothing": 1,
    "speaks HTTP/1.0": 3,
    "asks ahead": 3,
    "waits to go on": 3,
    "sends half a body": 2,
    "sends half a head": 2,
    "sends garbage": 2,
    "sends garbage behind": 2,
}
RUDE_UPSTREAMS = {
    "ends before the head": 3,
    "resets before the head": 3,
    "is silent before the head": 1,
    "ends midway": 6,
    "resets midway": 6,
    "is silent midway": 1,
    "is silent at the end": 1,
    "states a length beyond": 2,
    "states a length short of it": 2,
    "states length and chunks": 2,
    "sends html with 200": 2,
    "sends html with 502": 2,
    "refuses with 429": 2,
    "refuses with 500": 2,
    "sends interim heads": 2,
    "sends gzip": 3,
    "sends brotli": 2,
    "sends bytes behind": 2,
    "sends an answer behind": 2,
    "ends without the terminal frame": 2,
    "ends twice": 2,
    "never ends its head": 2,
    "sends a large event": 2,
    "breaks a large event": 1,
    "sends noise": 3,
    "lies about usage": 2,
    "sends a body for a stream": 2,
}
# Their streams come whole and state what they used.
FAIR = frozenset(
    {
        POLITE,
        "sends interim heads",
        "sends gzip",
        "sends bytes behind",
        "sends an answer behind",
        "ends twice",
    }
    | {"sends noise", "sends a large event"}
)
NEVER_ASK = frozenset({"sends half a body", "sends half a head", "sends garbage"})
# Gone, or given up, before it was read, or not.
MAY_ASK = frozenset({"leaves at once", "leaves before the head", "closes one half", "sends garbage behind"})
LARGE_BYTES = 200_000
PROMPT_TOKENS_MOST = 40  # of any plan's prompt, estimated
_PLAN = re.compile(rb"soak\|([A-Za-z0-9/. -]+)\|(\d+)\|(\d+)\|(\d+)")


@dataclass(frozen=True)
class Told:
    """The upstream's part of a plan."""

    conduct: str
    deltas: int
    pace_ms: int
    seed: int


@dataclass(frozen=True)
class Plan:
    number: int
    speech: Speech
    client: str
    upstream: Told

    @property
    def name(self) -> str:
        """The caller's request id, by which its bill line is found."""
        return f"soak-{self.number}"

    @property
    def rude(self) -> bool:
        return (self.client, self.upstream.conduct) != (POLITE, POLITE)

    @property
    def fair(self) -> bool:
        """Upstream's stream comes whole and states its usage."""
        return self.upstream.conduct in FAIR

    @property
    def lines(self) -> range:
        """How many bill lines it may have: `in` it."""
        if self.client in NEVER_ASK:
            return range(1)
        if self.client == "asks ahead":
            return range(2, 3) if self.fair else range(1, 3)  # the second goes with a connection that was cut
        return range(0 if self.client in MAY_ASK else 1, 2)

    @property
    def most_nanos(self) -> int:
        """No line of it may cost more: all that can have been delivered, or what was stated."""
        large = LARGE_BYTES // 4 if "large" in self.upstream.conduct else 0
        tokens = self.upstream.deltas * 10 + large + 120  # which is more than any of them states
        return max(PROMPT_TOKENS_MOST * INPUT_NANOS + tokens * OUTPUT_NANOS, STATED_NANOS)

    def body(self) -> bytes:
        told = self.upstream
        prompt = f"soak|{told.conduct}|{told.deltas}|{told.pace_ms}|{told.seed}"
        asks: dict[str, Any] = {"input": prompt}
        if "messages" in self.speech.asks:
            asks = {"messages": [{"role": "user", "content": prompt}]}
        return self.speech.body(**asks)


def told(body: bytes) -> Told:
    """Upstream's part, from the body of a request."""
    found = _PLAN.search(body)
    assert found is not None, body
    return Told(found[1].decode(), *(int(number) for number in found.groups()[1:]))


def plans(rng: random.Random, count: int) -> Iterator[Plan]:
    """A third of them rude: the client, the upstream, or (one in seven of those) both."""
    for number in range(count):
        client = upstream = POLITE
        if rng.random() < 1 / 3:
            who = rng.choices(("client", "upstream", "both"), (3, 3, 1))[0]
            if who != "upstream":
                client = _drawn(rng, RUDE_CLIENTS)
            if who != "client":
                upstream = _drawn(rng, RUDE_UPSTREAMS)
        deltas = rng.choices((rng.randint(0, 10), rng.randint(300, 400)), (19, 1))[0]
        pace_ms = rng.choice((0, 0, 1, 3)) if deltas < 300 else 0
        yield Plan(
            number, rng.choice(SPEECHES), client, Told(upstream, deltas, pace_ms, rng.randrange(2**31))
        )


def _drawn(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
