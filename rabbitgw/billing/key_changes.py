"""Changes of a key after it was made: what it may do, and what is noted beside it.

Every change raises the key's generation in the same statement, so that a copy of before is known as one; the generation
is the version (ETag) by which two operators notice each other. key_push.py tells Redis afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from rabbitgw import statements
from rabbitgw.billing.accounts import checked_name
from rabbitgw.billing.key_fields import (
    checked_expiry,
    checked_metadata,
    checked_models,
    checked_models_denied,
    checked_networks,
    checked_scopes,
    checked_tags,
)
from rabbitgw.billing.keys import Key, get_key
from rabbitgw.billing.scopes import check_grant
from rabbitgw.billing.versions import check_version
from rabbitgw.errors import Conflict, PreconditionFailed
from rabbitgw.stores import Pool, transaction

# In the order of sql/keys/change.sql.
CHECKS: Final[Mapping[str, Any]] = {
    "name": checked_name,
    "models": checked_models,
    "models_denied": checked_models_denied,
    "scopes": checked_scopes,
    "ip_allowlist": checked_networks,
    "metadata": lambda metadata: orjson.dumps(checked_metadata(metadata)).decode(),
    "tags": checked_tags,
    "expires_at": checked_expiry,
}


async def change_key(
    pg: Pool,
    key_id: int,
    changes: Mapping[str, Any],
    *,
    generation: int | None = None,
    by_admin_key: bool = True,
) -> Key:
    """Change the fields that are named in `changes` (of CHECKS); None means there what it means for a new key.

    generation: that the key must still have; None: whatever it is, and the last change wins.
    Raises: RequestInvalid, ScopeMissing (scope admin, before or after, for another key), NotFound, Conflict (revoked),
    PreconditionFailed, PostgresUnavailable.
    """
    values = [check(changes[name]) if name in changes else None for name, check in CHECKS.items()]
    check_grant(changes.get("scopes"), by_admin_key=by_admin_key)
    if changes:
        async with transaction(pg) as db:
            row = await db.fetchrow(statements.keys.change, key_id, list(changes), generation, *values)
            if row is not None:
                check_grant(row["scopes"], by_admin_key=by_admin_key)
        if row is not None:
            return await get_key(pg, key_id)
    key = await get_key(pg, key_id)
    if key.revoked_at is not None:
        raise Conflict(f"key {key_id} is revoked; make a new one")
    check_version(f"key {key_id}", key.generation, generation)
    if changes:
        raise PreconditionFailed(f"key {key_id} was being changed; read it again")
    return key
