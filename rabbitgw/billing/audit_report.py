"""What an audit says: the seven invariants, how much of each was checked, and the first breaches by name.

Owns wording and shape (the JSON is an outside interface). Checks nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

BREACHES_SHOWN: Final = 5  # per invariant; the count tells the rest

NAMES: Final[Mapping[int, str]] = {
    1: "nothing is forwarded without a hold",
    2: "a hold ends once, and a late settle charges once",
    3: "a charge and its usage row go together",
    4: "every ledger transaction sums to zero, and stays",
    5: "Redis balance = ledger - unbooked charges - unapplied credits",
    6: "a window's counter = settled usage + open holds",
    7: "overspend is within its bound",
}


@dataclass(frozen=True, slots=True)
class Invariant:
    id: int
    name: str
    ok: bool
    checked: int
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`overspend_bounds` is per class of call; None where nobody gave bounds, and then they are not judged."""

    invariants: tuple[Invariant, ...]
    overspend_bounds: Mapping[str, int] | None
    worst_overspend_nanos: int

    @property
    def ok(self) -> bool:
        return all(invariant.ok for invariant in self.invariants)

    @property
    def overspend_bound_nanos(self) -> int:
        return sum((self.overspend_bounds or {}).values())

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "invariants": [
                {"id": one.id, "name": one.name, "ok": one.ok, "checked": one.checked, "detail": one.detail}
                for one in self.invariants
            ],
            "overspend_bound_nanos": self.overspend_bound_nanos,
            "overspend_bounds_nanos": dict(self.overspend_bounds or {}),
            "worst_overspend_nanos": self.worst_overspend_nanos,
        }


@dataclass(slots=True)
class Tally:
    """What the checks of one invariant have found so far."""

    checked: int = 0
    breaches: int = 0
    shown: list[str] = field(default_factory=list)

    def breach(self, text: str) -> None:
        self.breaches += 1
        if len(self.shown) < BREACHES_SHOWN:
            self.shown.append(text)

    def compare(self, what: str, expected: int, found: int) -> None:
        """One check: the two numbers must be equal."""
        self.checked += 1
        if expected != found:
            self.breach(f"{what}: expected {expected}, found {found}, off by {found - expected} nanos")


class Findings:
    """The tallies of all seven."""

    __slots__ = ("tallies",)

    def __init__(self) -> None:
        self.tallies = {number: Tally() for number in NAMES}

    def __getitem__(self, number: int) -> Tally:
        return self.tallies[number]

    def report(self, overspend_bounds: Mapping[str, int] | None, worst_overspend_nanos: int) -> AuditReport:
        invariants = []
        for number, tally in self.tallies.items():
            detail = "; ".join(tally.shown)
            if tally.breaches > len(tally.shown):
                detail += f"; and {tally.breaches - len(tally.shown)} more"
            invariants.append(Invariant(number, NAMES[number], not tally.breaches, tally.checked, detail))
        return AuditReport(tuple(invariants), overspend_bounds, worst_overspend_nanos)
