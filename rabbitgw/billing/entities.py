"""What a limit may sit on: an account, one of its teams or users, or a key. All that is above a key binds its calls.

Owns finding one by its id, the lock under which what is above keys may change, and how many limits may be above one.
Knows no limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from rabbitgw import statements
from rabbitgw.errors import Conflict, NotFound
from rabbitgw.stores import PoolConnection

ENTITY_TYPES: Final = ("account", "team", "user", "key")
Columns = tuple[int, int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Entity:
    """One of ENTITY_TYPES by its id, and the account that it is in."""

    type: str
    id: int
    account_id: int

    @property
    def columns(self) -> Columns:
        """account_id, team_id, user_id, key_id, as tables name it: none but the account's and its own is there."""
        team, user, key = (self.id if self.type == name else None for name in ENTITY_TYPES[1:])
        return self.account_id, team, user, key

    @classmethod
    def of_columns(
        cls, account_id: int, team_id: int | None, user_id: int | None, key_id: int | None
    ) -> Entity:
        for name, entity_id in (("key", key_id), ("user", user_id), ("team", team_id)):
            if entity_id is not None:
                return cls(name, entity_id, account_id)
        return cls("account", account_id, account_id)


async def find_entity(db: PoolConnection, entity_type: str, entity_id: int) -> Entity:
    """Raises: NotFound."""
    account_id = await db.fetchval(statements.accounts.owner, entity_type, entity_id)
    if account_id is None:
        raise NotFound(f"{entity_type} {entity_id} does not exist", field="entity_id")
    return Entity(entity_type, entity_id, account_id)


async def lock_account(db: PoolConnection, account_id: int) -> None:
    """Until the transaction ends nobody else changes what is above the account's keys, or makes one: whoever raises the
    generation of the keys below an entity has them all."""
    await db.execute(statements.accounts.lock, account_id)


async def advance_keys_below(db: PoolConnection, entity: Entity) -> None:
    """Raise the generation of the keys below, in the transaction that changes what is above them; key_push.py tells
    Redis afterwards."""
    await db.execute(statements.keys.advance_below, *entity.columns)


async def check_number_above(
    db: PoolConnection, entity: Entity, kind: Literal["windows", "rates"], name: str, most: int
) -> None:
    """After a change that may have put more limits of a kind above keys; the account is locked. Raises: Conflict."""
    row = await db.fetchrow(statements.accounts.most_above, *entity.columns, kind)
    if row is not None and row["limits"] > most:
        place = Entity.of_columns(entity.account_id, row["team_id"], row["user_id"], row["key_id"])
        raise Conflict(
            f"{place.type} {place.id} would have {row['limits']} {name} at and above it; at most {most} may bind a call"
        )
