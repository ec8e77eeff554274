"""What a candidate adds to the way of a byte: to the first byte of an answer, and to every chunk of a stream.

Open loop: requests come at a fixed rate, whether or not earlier ones are answered, and each is timed from the moment it
was due. The same load goes straight to the stub in every round; what is added is a candidate's percentile less the
stub's, whose median over all rounds is taken: at the far end a single round of it is mostly chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from bench.candidates import Candidate, Field
from bench.cpu import Rounds
from bench.driver import load
from bench.figures import Figure

PLAIN_PER_S = 300.0  # low enough that none of them queues
STREAMS_PER_S = 80.0
STREAM = "stub-20-10"
CONNECTIONS = 64
SHARES = ("p50", "p99")


@dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float

    @classmethod
    def of(cls, *, quick: bool) -> Plan:
        return cls(2, 2.0) if quick else cls(7, 4.0)


async def measure(found: Field, plan: Plan, say: Callable[[str], None]) -> dict[str, dict[str, Figure]]:
    """Figures by candidate and name, in microseconds; the stub's own are absolute, a candidate's are added to them."""
    rounds: Rounds = defaultdict(lambda: defaultdict(list))
    for number in range(1, plan.rounds + 1):
        for one in (found.stub, *found.candidates):
            row = rounds[one.name]
            for name, value in (await _one_round(one, plan)).items():
                row[name].append(value)
            say(
                f"latency, round {number} of {plan.rounds}: {one.name}, p50: first byte of a stream after"
                f" {row['first_byte_p50_us'][-1]:.0f} µs, a chunk {row['chunk_p50_us'][-1]:.0f} µs under way"
            )
    direct = {name: Figure(tuple(values)) for name, values in rounds.pop(found.stub.name).items()}
    added = {
        candidate: {
            f"added_{name}": Figure(tuple(value - direct[name].median for value in values))
            for name, values in row.items()
        }
        for candidate, row in rounds.items()
    }
    return {found.stub.name: direct, **added}


async def _one_round(candidate: Candidate, plan: Plan) -> dict[str, float]:
    common = {"mode": "open", "connections": CONNECTIONS, "seconds": plan.seconds}
    plain = await load(candidate, **common, model="stub-plain", per_s=PLAIN_PER_S)
    streams = await load(candidate, **common, model=STREAM, per_s=STREAMS_PER_S)
    figures = {}
    for share in SHARES:
        figures[f"answer_{share}_us"] = plain["answer_us"][share]
        figures[f"first_byte_{share}_us"] = streams["first_byte_us"][share]
        figures[f"chunk_{share}_us"] = streams["chunk_us"][share]
    return figures
