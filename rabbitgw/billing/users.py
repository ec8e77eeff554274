"""Users: who calls, within an account. Made, listed, changed, disabled and enabled, in PostgreSQL.

A user stays in one account for life, and is in one of its teams or in none. While it is disabled none of its keys is
good: that raises the generation of each of them in the same transaction, and key_push.py tells Redis afterwards, as
with a revocation; enabling does the same, and so does a move to another team, whose limits then bind its keys.
An e-mail address is kept in lower case. It is a person's: it appears in no log and in no error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import PAGE_MAX, checked_name
from rabbitgw.billing.entities import Entity, advance_keys_below, lock_account
from rabbitgw.billing.rate_limits import check_rates_above
from rabbitgw.billing.spend_windows import check_windows_above
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.stores import Pool, connection, transaction

EMAIL_CHARS_MAX: Final = 254  # RFC 5321: a longer one cannot be delivered to
EXTERNAL_ID_CHARS_MAX: Final = 255

# The two unique indexes of users, by the field that they keep unique within an account.
_UNIQUE: Final = {"users_email": "email", "users_external_id": "external_id"}
_TEAM_OF_ACCOUNT: Final = (
    "users_team_of_account"  # the foreign key that keeps a user out of other accounts' teams
)


class Unchanged:
    """Says of a field that it is to stay as it is; None clears it."""


UNCHANGED: Final = Unchanged()


@dataclass(frozen=True, slots=True)
class User:
    id: int
    account_id: int
    name: str
    email: str | None
    external_id: str | None
    team_id: int | None
    disabled_at: datetime | None
    created_at: datetime

    @property
    def entity(self) -> Entity:
        return Entity("user", self.id, self.account_id)


async def create_user(
    pg: Pool,
    account_id: int,
    name: str,
    *,
    email: str | None = None,
    external_id: str | None = None,
    team_id: int | None = None,
) -> User:
    """Raises: RequestInvalid, NotFound (no such account, or in it no such team), Conflict (another user has the address
    or id), PostgresUnavailable."""
    fields = checked_name(name), _checked_email(email), _checked_external_id(external_id), team_id
    with _refusals(team_id):
        async with connection(pg) as db:
            row = await db.fetchrow(statements.users.create, account_id, *fields)
    if row is None:
        raise NotFound(f"account {account_id} does not exist", field="account_id")
    return _user(row)


async def list_users(
    pg: Pool, account_id: int | None = None, *, after_id: int = 0, rows_max: int = PAGE_MAX
) -> list[User]:
    """Users by id, of one account or of all; disabled ones too. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.users.list, account_id, after_id, min(rows_max, PAGE_MAX))
    return [_user(row) for row in rows]


async def find_user(pg: Pool, user_id: int) -> User | None:
    """Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        row = await db.fetchrow(statements.users.get, user_id)
    return None if row is None else _user(row)


async def get_user(pg: Pool, user_id: int) -> User:
    """Raises: NotFound, PostgresUnavailable."""
    user = await find_user(pg, user_id)
    if user is None:
        raise NotFound(f"user {user_id} does not exist")
    return user


async def update_user(
    pg: Pool,
    user_id: int,
    *,
    name: str | Unchanged = UNCHANGED,
    email: str | Unchanged | None = UNCHANGED,
    external_id: str | Unchanged | None = UNCHANGED,
    team_id: int | Unchanged | None = UNCHANGED,
) -> User:
    """Change what is said of a user, and who is above its keys. Raises: RequestInvalid, NotFound (also: no such team in
    its account), Conflict (also: too many windows above a key then), PostgresUnavailable."""
    moves_to = None if isinstance(team_id, Unchanged) else team_id
    fields = (
        None if isinstance(name, Unchanged) else checked_name(name),
        not isinstance(email, Unchanged),
        None if isinstance(email, Unchanged) else _checked_email(email),
        not isinstance(external_id, Unchanged),
        None if isinstance(external_id, Unchanged) else _checked_external_id(external_id),
        not isinstance(team_id, Unchanged),
        moves_to,
    )
    before = await get_user(pg, user_id)
    with _refusals(moves_to):
        async with transaction(pg) as db:
            if not isinstance(team_id, Unchanged):
                await lock_account(db, before.account_id)
            row = await db.fetchrow(statements.users.update, user_id, *fields)
            assert row is not None, "users are never deleted"
            user = _user(row)
            if not isinstance(team_id, Unchanged):
                await check_windows_above(db, user.entity)
                await check_rates_above(db, user.entity)
                await advance_keys_below(db, user.entity)
    return user


async def disable_user(pg: Pool, user_id: int) -> User:
    """Let none of a user's keys be good any more; again changes nothing. Raises: NotFound, PostgresUnavailable."""
    return await _set_disabled(pg, user_id, True)


async def enable_user(pg: Pool, user_id: int) -> User:
    """Let the user's keys be what they are by themselves. Raises: NotFound, PostgresUnavailable."""
    return await _set_disabled(pg, user_id, False)


async def _set_disabled(pg: Pool, user_id: int, disabled: bool) -> User:
    async with transaction(pg) as db:
        # The user first: a key that is being made for it is seen by the second statement, or waits and sees the first.
        account_id = await db.fetchval(statements.users.disable, user_id, disabled)
        if account_id is not None:
            await advance_keys_below(db, Entity("user", user_id, account_id))
    return await get_user(pg, user_id)


@contextmanager
def _refusals(team_id: int | None) -> Iterator[None]:
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        if error.constraint_name != _TEAM_OF_ACCOUNT:
            raise
        raise NotFound(f"team {team_id} is not in the account of this user", field="team_id") from None
    except asyncpg.UniqueViolationError as error:
        field = _UNIQUE.get(error.constraint_name or "")
        if field is None:
            raise
        raise Conflict(f"{field}: another user of this account has it", field=field) from None


def checked_email(email: str, field: str = "email") -> str:
    """An address without the blanks around it. Raises: RequestInvalid naming the field."""
    email = email.strip()
    local, _, domain = email.rpartition("@")
    plain = email.isprintable() and " " not in email and len(email) <= EMAIL_CHARS_MAX
    if not local or not domain or not plain:
        raise RequestInvalid(
            f"{field}: an address like ann@example.com, at most {EMAIL_CHARS_MAX} characters", field=field
        )
    return email


def _checked_email(email: str | None) -> str | None:
    return None if email is None else checked_email(email).lower()


def _checked_external_id(external_id: str | None) -> str | None:
    if external_id is None:
        return None
    external_id = external_id.strip()
    if not 1 <= len(external_id) <= EXTERNAL_ID_CHARS_MAX or not external_id.isprintable():
        raise RequestInvalid(
            f"external_id: 1 to {EXTERNAL_ID_CHARS_MAX} printable characters", field="external_id"
        )
    return external_id


def _user(row: asyncpg.Record) -> User:
    return User(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        email=row["email"],
        external_id=row["external_id"],
        team_id=row["team_id"],
        disabled_at=row["disabled_at"],
        created_at=row["created_at"],
    )
