"""What the callers saw against what the books say. Counts; asserts nothing, for a bench tells what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rabbitgw.stores import Pool


@dataclass(frozen=True, slots=True)
class Reckoning:
    """Nanos by which the three accounts of the same calls differ."""

    whole: int  # answers that callers saw whole
    lines: int  # bill lines
    unbilled: int  # of the whole answers, those without a settled line
    lost_nanos: int  # what whole answers cost and their lines do not have
    overcharged_nanos: int  # what lines have beyond the price of their call
    estimate_excess_nanos: (
        int  # the same of answers that were cut: upstream stated nothing, their input is estimated
    )
    ledger_gap_nanos: int  # credits less lines less balance, as far from zero as it is

    def __add__(self, other: Reckoning) -> Reckoning:
        return Reckoning(
            self.whole + other.whole,
            self.lines + other.lines,
            self.unbilled + other.unbilled,
            self.lost_nanos + other.lost_nanos,
            self.overcharged_nanos + other.overcharged_nanos,
            self.estimate_excess_nanos + other.estimate_excess_nanos,
            self.ledger_gap_nanos + other.ledger_gap_nanos,
        )


NOTHING = Reckoning(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Line:
    """A bill line, as far as money goes."""

    id: str
    model: str
    status: str
    charge_nanos: int


def reckon(
    whole: Mapping[str, str],
    costs: Mapping[str, int],
    lines: Sequence[Line],
    paid_nanos: int,
    left_nanos: int,
) -> Reckoning:
    """`whole`: request id → model, as the callers saw; `costs`: model → the price of a whole answer.

    Units: `paid_nanos` is all credit, `left_nanos` the balance in the ledger.
    """
    by_id = {one.id: one for one in lines}
    lost_nanos = unbilled = 0
    for request_id, model in whole.items():
        found = by_id.get(request_id)
        settled = found is not None and found.status == "settled"
        unbilled += not settled
        lost_nanos += max(0, costs[model] - (found.charge_nanos if found is not None else 0))
    excess_nanos = {True: 0, False: 0}
    for one in lines:
        excess_nanos[one.status == "partial"] += max(0, one.charge_nanos - costs[one.model])
    return Reckoning(
        whole=len(whole),
        lines=len(lines),
        unbilled=unbilled,
        lost_nanos=lost_nanos,
        overcharged_nanos=excess_nanos[False],
        estimate_excess_nanos=excess_nanos[True],
        ledger_gap_nanos=abs(paid_nanos - sum(one.charge_nanos for one in lines) - left_nanos),
    )


async def of_account(
    pg: Pool, account_id: int, whole: Mapping[str, str], costs: Mapping[str, int], paid_nanos: int
) -> Reckoning:
    """The same, with the books read; to be asked when everything is booked."""
    rows = await pg.fetch(
        "SELECT id::text AS id, model, status, charge_nanos FROM usage WHERE account_id = $1", account_id
    )
    left_nanos = await pg.fetchval(
        "SELECT balance_nanos FROM wallets WHERE account_id = $1 AND currency = 'USD'", account_id
    )
    lines = [Line(row["id"], row["model"], row["status"], row["charge_nanos"]) for row in rows]
    return reckon(whole, costs, lines, paid_nanos, left_nanos)
