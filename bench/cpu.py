"""CPU per request and per streamed chunk, of the gateway's processes and of its Redis; requests per second.

The machine is shared by load, stub, candidate and stores, so requests per second say how much of two cores a candidate
leaves to the others, and CPU time is what compares. A chunk costs the slope of a line through streams of several
lengths: what a stream costs to begin and to end is in none of its chunks. Candidates take turns, round by round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from bench.candidates import Candidate, Field
from bench.driver import load
from bench.figures import Figure, line

DELAY_MS = 5  # between the chunks of a stream: long enough that each is read by itself
STREAMS = 32


@dataclass(frozen=True)
class Plan:
    rounds: int
    requests: dict[int, int]  # connections → how many requests they share
    lengths: dict[int, int]  # chunks of a stream → how many streams each connection gets

    @classmethod
    def of(cls, *, quick: bool) -> Plan:
        if quick:
            return cls(3, {1: 500, 16: 2000, 64: 2000}, {10: 15, 200: 1})
        return cls(7, {1: 1000, 16: 4000, 64: 6000}, {10: 30, 200: 2, 400: 1})


Rounds = dict[str, dict[str, list[float]]]


async def measure(found: Field, plan: Plan, say: Callable[[str], None]) -> dict[str, dict[str, Figure]]:
    """Figures by candidate and name."""
    for candidate in found.candidates:
        await _warm_up(candidate)
    rounds: Rounds = defaultdict(lambda: defaultdict(list))
    for number in range(1, plan.rounds + 1):
        for candidate in found.candidates:
            for name, value in (await _one_round(candidate, plan)).items():
                rounds[candidate.name][name].append(value)
            row = rounds[candidate.name]
            requests = ", ".join(f"{row[f'request_cpu_us_c{c}'][-1]:.1f} at c={c}" for c in plan.requests)
            say(
                f"cpu, round {number} of {plan.rounds}: {candidate.name}, µs a request: {requests};"
                f" a chunk: {row['chunk_cpu_us'][-1]:.2f}"
            )
    return {
        candidate: {name: Figure(tuple(values)) for name, values in row.items()}
        for candidate, row in rounds.items()
    }


async def _warm_up(candidate: Candidate) -> None:
    await load(candidate, mode="closed", model="stub-plain", connections=64, requests=1000)
    await load(candidate, mode="closed", model=f"stub-50-{DELAY_MS}", connections=STREAMS, requests=STREAMS)


async def _one_round(candidate: Candidate, plan: Plan) -> dict[str, float]:
    figures: dict[str, float] = {}
    for connections, requests in plan.requests.items():
        said = await load(
            candidate, mode="closed", model="stub-plain", connections=connections, requests=requests
        )
        figures[f"requests_per_s_c{connections}"] = requests / said["seconds"]
        figures[f"request_cpu_us_c{connections}"] = said["cpu_ns"]["gateway"] / requests / 1000
        figures[f"request_p50_us_c{connections}"] = said["answer_us"]["p50"]
        if "redis" in said["cpu_ns"]:
            figures[f"request_redis_us_c{connections}"] = said["cpu_ns"]["redis"] / requests / 1000
    gateway, store, reads, chunks = [], [], 0, 0
    for length, streams in plan.lengths.items():
        said = await load(
            candidate,
            mode="closed",
            model=f"stub-{length}-{DELAY_MS}",
            connections=STREAMS,
            requests=STREAMS * streams,
        )
        gateway.append((length, said["cpu_ns"]["gateway"] / said["whole"] / 1000))
        store.append((length, said["cpu_ns"].get("redis", 0) / said["whole"] / 1000))
        reads, chunks = reads + said["reads"], chunks + said["chunks"]
    figures["chunk_cpu_us"], figures["stream_cpu_us"] = line(gateway)
    figures["chunk_redis_us"], figures["stream_redis_us"] = line(store)
    figures["client_reads_per_chunk"] = reads / chunks  # below 1, chunks were lumped together
    return figures
