"""What a re-rating changes, or would: the sums, the largest changes, and the calls that are left as they are.

Owns the bounds of what is told: sums are of everything, lists are cut. Knows no store.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from rabbitgw.billing.corrections import Sums
from rabbitgw.billing.recosting import REASONS, Change

ACCOUNTS_SHOWN: Final = 1_000
LARGEST_SHOWN: Final = 20
EXAMPLES_SHOWN: Final = 5


class Moved:
    """What was charged, and what is right. Above zero the difference is paid by the account, below it is given back."""

    __slots__ = ()
    old_nanos: int
    new_nanos: int

    @property
    def difference_nanos(self) -> int:
        return self.new_nanos - self.old_nanos


@dataclass(frozen=True, slots=True)
class AccountChange(Moved):
    """The change of one account."""

    account_id: int
    calls: int
    old_nanos: int
    new_nanos: int


@dataclass(frozen=True, slots=True)
class CallChange(Moved):
    """The change of one call."""

    id: str
    account_id: int
    old_nanos: int
    new_nanos: int


@dataclass(frozen=True, slots=True)
class RefusedCalls:
    """Calls that cannot be costed anew, and the ids of a few."""

    code: str
    reason: str
    calls: int
    examples: list[str]


@dataclass(frozen=True, slots=True)
class RerateReport(Moved):
    """`calls`, `accounts_count` and the sums are of all calls; `accounts` and `largest` are the largest changes.

    done: False when there is more to do: the same request goes on.
    to_version: None where the right price was given by fields and is not stored yet.
    left_out: accounts whose wallets would go below zero; their calls are in no sum of a run that was applied.
    """

    rerate_id: int | None
    dry_run: bool
    done: bool
    price_version: int
    to_version: int | None
    currency: str
    calls: int
    accounts_count: int
    old_nanos: int
    new_nanos: int
    accounts: list[AccountChange]
    largest: list[CallChange]
    refused: list[RefusedCalls]
    left_out: list[int]
    left_out_count: int


@dataclass(slots=True)
class Refusals:
    """Calls that were left as they are, by reason; kept with a run as JSON."""

    by_code: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, code: str, usage_id: UUID) -> None:
        kept = self.by_code.setdefault(code, {"calls": 0, "examples": []})
        kept["calls"] += 1
        if len(kept["examples"]) < EXAMPLES_SHOWN:
            kept["examples"].append(str(usage_id))

    def shown(self) -> list[RefusedCalls]:
        return [
            RefusedCalls(code, REASONS[code], kept["calls"], kept["examples"])
            for code, kept in sorted(self.by_code.items())
        ]


@dataclass(slots=True)
class Tally:
    """What a dry run has seen so far: a sum per account, the largest changes, the refusals."""

    sums: dict[int, Sums] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    _largest: list[Change] = field(default_factory=list)

    def add(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.sums.setdefault(change.account_id, Sums()).add(change)
        self._largest = heapq.nlargest(LARGEST_SHOWN, [*self._largest, *changes], key=_size)

    def accounts(self) -> list[AccountChange]:
        largest = heapq.nsmallest(
            ACCOUNTS_SHOWN, self.sums, key=lambda one: (-abs(self.sums[one].difference_nanos), one)
        )
        return [
            AccountChange(
                account_id,
                self.sums[account_id].calls,
                self.sums[account_id].old_nanos,
                self.sums[account_id].new_nanos,
            )
            for account_id in largest
        ]

    def largest(self) -> list[CallChange]:
        return [
            CallChange(str(change.usage_id), change.account_id, change.old_nanos, change.new_nanos)
            for change in self._largest
        ]


def _size(change: Change) -> tuple[int, int]:
    """Largest first, of equal ones the earliest."""
    return abs(change.difference_nanos), -change.usage_id.int


def largest_of_rows(rows: Iterable[Any]) -> list[CallChange]:
    return [
        CallChange(str(row["usage_id"]), row["account_id"], row["old_nanos"], row["new_nanos"])
        for row in rows
    ]


def accounts_of_rows(rows: Iterable[Any]) -> list[AccountChange]:
    return [
        AccountChange(row["account_id"], row["calls"], int(row["old_nanos"]), int(row["new_nanos"]))
        for row in rows
    ]
