"""Every stream of the soak against its bill lines: how many there may be, and what they may say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.soak_clients import Seen
from bench.soak_plan import POLITE
from tests.flows.speeches import STATED_NANOS

ENDED = frozenset({"settled", "partial", "released"})
SHOWN = 20  # breaches that are told one by one


@dataclass(frozen=True, slots=True)
class Line:
    name: str  # the caller's request id
    status: str
    usage_source: str | None
    charge_nanos: int


def breaches_of(seen: Sequence[Seen], lines: Iterable[Line]) -> list[str]:
    """What is wrong, in words; empty when every stream is accounted for."""
    by_name: dict[str, list[Line]] = {}
    for line in lines:
        by_name.setdefault(line.name, []).append(line)
    found = [
        f"{_told(one)}: {wrong}" for one in seen for wrong in _wrong(one, by_name.pop(one.plan.name, []))
    ]
    found += [f"a line for {name}, which nobody asked for" for name in by_name]
    return [*found[:SHOWN], *([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]


def _told(seen: Seen) -> str:
    plan = seen.plan
    told = plan.upstream
    return (
        f"{plan.name} ({plan.speech.dialect}, the client {plan.client}, upstream {told.conduct},"
        f" {told.deltas} deltas, seed {told.seed}; status {seen.status}, whole {seen.whole})"
    )


def _wrong(seen: Seen, lines: list[Line]) -> list[str]:
    plan = seen.plan
    found = []
    if seen.hung:
        found.append("never came to an end")
    if len(lines) not in plan.lines:
        found.append(f"has {len(lines)} bill lines")
    if plan.client == POLITE and plan.fair and not seen.whole:
        found.append("was not whole")
    for line in lines:
        if line.status not in ENDED:
            found.append(f"ended as {line.status}")
        if not 0 <= line.charge_nanos <= plan.most_nanos:
            found.append(f"was charged {line.charge_nanos}, at most {plan.most_nanos} can be due")
        if (line.charge_nanos == 0) != (line.status == "released"):
            found.append(f"is {line.status} and was charged {line.charge_nanos}")
    due = Counter((line.status, line.charge_nanos) for line in lines)
    if seen.whole and plan.fair and due[("settled", STATED_NANOS)] < 1:
        found.append(f"was seen whole, and is billed {dict(due)}")
    if seen.delta and not any(line.charge_nanos for line in lines):
        found.append(f"was given output, and is billed {dict(due)}")
    return found
