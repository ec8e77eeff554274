"""Model rules on accounts, teams and users: set, listed, removed, in PostgreSQL.

A rule says which models may be called below, by patterns that allow and patterns that deny; one in force per entity. A
call must pass those of its account, team and user and its key's own. A change raises the generation of the keys below
in its own transaction and holds from their next request. Nothing is deleted: a rule that was removed is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX
from rabbitgw.billing.entities import Entity, advance_keys_below, find_entity, lock_account
from rabbitgw.billing.model_patterns import checked_patterns
from rabbitgw.billing.versions import check_version
from rabbitgw.errors import NotFound, PreconditionFailed, RequestInvalid
from rabbitgw.stores import Pool, connection, transaction

RULE_PATTERNS_MAX: Final = 100  # to allow, and to deny: every key below carries them


@dataclass(frozen=True, slots=True)
class ModelRule:
    """`allow` None allows every model, `deny` None denies none."""

    id: int
    entity: Entity
    allow: list[str] | None
    deny: list[str] | None
    version: int
    created_at: datetime
    removed_at: datetime | None

    @property
    def account_id(self) -> int:
        return self.entity.account_id

    @property
    def entity_type(self) -> str:
        return self.entity.type

    @property
    def entity_id(self) -> int:
        return self.entity.id


async def set_rule(
    pg: Pool,
    entity_type: str,
    entity_id: int,
    *,
    allow: Sequence[str] | None = None,
    deny: Sequence[str] | None = None,
    version: int | None = None,
) -> ModelRule:
    """Make the rule of an account, a team or a user, or let the one in force say this instead.

    version: that the rule in force must have; None: whatever it is, and the last one wins.
    Raises:  RequestInvalid, NotFound (no such entity), PreconditionFailed, PostgresUnavailable.
    """
    allowed = checked_patterns(allow, "allow", most=RULE_PATTERNS_MAX, none_means="allow all")
    denied = checked_patterns(deny, "deny", most=RULE_PATTERNS_MAX, none_means="deny none")
    if allowed is None and denied is None:
        raise RequestInvalid("allow: give `allow`, `deny` or both; DELETE takes a rule away", field="allow")
    if entity_type == "key":
        raise RequestInvalid(
            "entity_type: a key has its own `models` and `models_denied`", field="entity_type"
        )
    async with transaction(pg) as db:
        entity = await find_entity(db, entity_type, entity_id)
        await lock_account(db, entity.account_id)
        row = await db.fetchrow(statements.model_rules.in_force, *entity.columns[:3])
        if version is not None and (row is None or row["version"] != version):
            said = "it has no model rule" if row is None else f'its ETag is "{row["version"]}"'
            raise PreconditionFailed(f"the model rule of {entity_type} {entity_id} has changed since: {said}")
        if row is None:
            row = await db.fetchrow(statements.model_rules.create, *entity.columns[:3], allowed, denied)
        else:
            row = await db.fetchrow(statements.model_rules.change, row["id"], allowed, denied)
        await advance_keys_below(db, entity)
    assert row is not None
    return _rule(row)


async def list_rules(
    pg: Pool, account_id: int | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[ModelRule]:
    """Rules in force by id, of one account or of all. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.model_rules.list, account_id, after_id, min(rows_max, PAGE_MAX))
    return [_rule(row) for row in rows]


async def remove_rule(pg: Pool, rule_id: int, *, version: int | None = None) -> ModelRule:
    """Take it out of force; again changes nothing. Raises: NotFound, PreconditionFailed, PostgresUnavailable."""
    async with transaction(pg) as db:
        row = await db.fetchrow(statements.model_rules.get, rule_id)
        if row is None:
            raise NotFound(f"model rule {rule_id} does not exist")
        await lock_account(db, row["account_id"])
        row = await db.fetchrow(statements.model_rules.get, rule_id)
        assert row is not None, "rules are never deleted"
        check_version(f"model rule {rule_id}", row["version"], version)
        removed = await db.fetchrow(statements.model_rules.remove, rule_id)
        if removed is None:
            return _rule(row)
        await advance_keys_below(db, _rule(removed).entity)
    return _rule(removed)


def _rule(row: asyncpg.Record) -> ModelRule:
    return ModelRule(
        id=row["id"],
        entity=Entity.of_columns(row["account_id"], row["team_id"], row["user_id"], None),
        allow=row["allow"],
        deny=row["deny"],
        version=row["version"],
        created_at=row["created_at"],
        removed_at=row["removed_at"],
    )
