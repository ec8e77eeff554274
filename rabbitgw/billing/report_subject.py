"""Of whom a report is: everybody, an account, or a team, user or key in it.

An id that does not exist and one of another account are the same to who asks: not found.
"""

from __future__ import annotations

from dataclasses import dataclass

from rabbitgw import statements
from rabbitgw.errors import NotFound
from rabbitgw.stores import PoolConnection

EVERYBODY = 0  # instead of an account's id, as the rollups have it


@dataclass(frozen=True, slots=True)
class Subject:
    """The ids are those asked for. `above`: the user and the team that the one asked for is in now."""

    account_id: int = EVERYBODY
    currency: str | None = None
    key_id: int | None = None
    user_id: int | None = None
    team_id: int | None = None
    above: tuple[int | None, int | None] = (None, None)

    @property
    def is_part(self) -> bool:
        """Whether it is less than an account."""
        return (self.key_id, self.user_id, self.team_id) != (None, None, None)


async def find_subject(
    db: PoolConnection,
    *,
    account_id: int | None,
    key_id: int | None = None,
    user_id: int | None = None,
    team_id: int | None = None,
) -> Subject:
    """The subject with these ids, all of one account. Raises: NotFound naming the field."""
    asked = {"account_id": account_id, "key_id": key_id, "user_id": user_id, "team_id": team_id}
    asked = {field: value for field, value in asked.items() if value is not None}
    if not asked:
        return Subject()
    found = {
        row["field"]: row
        for row in await db.fetch(statements.reports.owner, account_id, key_id, user_id, team_id)
    }
    owner = None
    for field, value in asked.items():
        row = found.get(field)
        if row is None or (owner is not None and row["account_id"] != owner["account_id"]):
            raise NotFound(f"{field}: {field.removesuffix('_id')} {value} does not exist", field=field)
        owner = owner or row
    assert owner is not None
    nearest = next(found[field] for field in ("key_id", "user_id", "team_id", "account_id") if field in found)
    return Subject(
        owner["account_id"],
        owner["currency"],
        key_id,
        user_id,
        team_id,
        (nearest["user_id"], nearest["team_id"]),
    )
