"""The billing cycles of an assignment, as they stand in the books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX
from rabbitgw.errors import NotFound
from rabbitgw.stores import Pool, connection

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cycle:
    """What is None is not known before the cycle is closed; of one without a commitment it never is."""

    number: int
    currency: str
    starts_at: datetime
    ends_at: datetime
    grant_nanos: int
    grant_transaction_id: int | None
    commit_nanos: int
    ended_at: datetime | None
    due_nanos: int | None
    spent_nanos: int | None
    true_up_nanos: int | None
    true_up_transaction_id: int | None
    closed_at: datetime | None


async def cycles_of(pg: Pool, assignment_id: int, *, after: int = 0, rows_max: int = PAGE_MAX) -> list[Cycle]:
    """In order. Raises: NotFound, PostgresUnavailable."""
    async with connection(pg) as db:
        if await db.fetchrow(statements.plans.assignment, assignment_id) is None:
            raise NotFound(f"assignment {assignment_id} does not exist")
        rows = await db.fetch(statements.cycles.list, assignment_id, after, min(rows_max, PAGE_MAX))
    cycles = []
    for row in rows:
        fields = {name: row[name] for name in Cycle.__slots__}
        if fields["spent_nanos"] is not None:
            fields["spent_nanos"] = min(int(fields["spent_nanos"]), _INT64_MAX)
        cycles.append(Cycle(**fields))
    return cycles
