"""What an account has bought and got back, newest first, in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rabbitgw import statements
from rabbitgw.errors import RequestInvalid
from rabbitgw.stores import connection

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.stores import Pool

ROWS_MAX: Final = 1000


async def page(pg: Pool, account_id: int, *, after: str | None, rows_max: int) -> list[asyncpg.Record]:
    """Raises: RequestInvalid (no entry of this account is called `after`), PostgresUnavailable."""
    async with connection(pg) as db:
        created = None
        if after is not None:
            created = await db.fetchval(statements.payments.history_created, account_id, after)
            if created is None:
                raise RequestInvalid("after: no entry of this account", field="after")
        return await db.fetch(
            statements.payments.history, account_id, created, after, min(rows_max, ROWS_MAX)
        )
