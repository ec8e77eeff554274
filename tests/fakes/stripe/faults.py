"""What goes wrong on the way to an answer, on command: for the next requests of one method and path.

A fault acts before the work or after it, so that a test knows whether anything was done. Nothing here sleeps: a
request is held until the test lets it go.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

KINDS = ("status", "cut", "hold", "garbage", "bytes")


@dataclass
class Fault:
    """`hits` counts the requests it met, `met` is set by the first of them."""

    method: str  # "*": any
    path: re.Pattern[str]
    kind: str
    when: str
    left: int
    status: int
    keep: bool  # the idempotency key keeps a fault's status
    gate: asyncio.Event
    hits: int = 0
    met: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    def __init__(self) -> None:
        self.all: list[Fault] = []
        self._gates: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def add(
        self, method: str, path: str, kind: str, when: str, times: int, status: int, keep: bool | None,
        gate: asyncio.Event,
    ) -> Fault:  # fmt: skip
        """`path` is matched whole; `*` stands for one part of it, `**` for the rest."""
        if kind not in KINDS or when not in ("before", "after") or times < 1:
            raise ValueError(f"no such fault: {kind} {when} {times}")
        escaped = re.escape(path).replace(r"\*\*", ".*").replace(r"\*", "[^/]+")
        kept = when == "after" if keep is None else keep
        made = Fault(method.upper(), re.compile(escaped), kind, when, times, status, kept, gate)
        self.all.append(made)
        return made

    def take(self, method: str, path: str) -> Fault | None:
        for fault in self.all:
            if fault.left and fault.method in ("*", method) and fault.path.fullmatch(path):
                fault.left -= 1
                fault.hits += 1
                fault.met.set()
                return fault
        return None

    def clear(self) -> None:
        for fault in self.all:
            fault.left = 0

    def let_go(self) -> None:
        """Open every gate: at the end nobody waits."""
        for fault in self.all:
            fault.gate.set()
        for gate in self._gates.values():
            gate.set()
