"""The stock of codes: made, listed and retired by an operator. How they are used is codes.py's.

What a code is worth never changes; one that is wrong is retired, and a new one made. The texts of new codes leave here
once, and only their hashes are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from rabbitgw import statements
from rabbitgw.billing.accounts import NAME_CHARS_MAX, PAGE_MAX, checked_currency
from rabbitgw.billing.key_fields import checked_expiry
from rabbitgw.errors import NotFound, RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX
from rabbitgw.payments.code_text import code_sha256, new_code, prefix_of, read_code
from rabbitgw.payments.codes import BONUS, BONUS_PERCENT, CREDIT
from rabbitgw.stores import Pool, connection

KINDS: Final = (CREDIT, BONUS, BONUS_PERCENT)
CODES_AT_ONCE_MAX: Final = 1000
USES_MAX: Final = 1_000_000
PERCENT_MAX: Final = 1000
NOTE_CHARS_MAX: Final = NAME_CHARS_MAX


@dataclass(frozen=True, slots=True)
class Terms:
    """What codes are worth and how often. `amount_nanos` is of credit and bonus, `percent` of bonus_percent, which is
    also the only kind that may be of any currency (None)."""

    kind: str
    currency: str | None = None
    amount_nanos: int | None = None
    percent: int | None = None
    uses_max: int = 1
    uses_per_account_max: int = 1
    expires_at: datetime | None = None
    note: str | None = None

    def check(self) -> None:
        """Raises: RequestInvalid naming the field."""
        if self.kind not in KINDS:
            raise RequestInvalid(f"kind: of {', '.join(KINDS)}", field="kind")
        if self.currency is not None:
            checked_currency(self.currency)
        elif self.kind != BONUS_PERCENT:
            raise RequestInvalid(f"currency: a code of kind {self.kind} has one", field="currency")
        self._check_worth()
        for field, uses in (("uses_max", self.uses_max), ("uses_per_account_max", self.uses_per_account_max)):
            if not 1 <= uses <= USES_MAX:
                raise RequestInvalid(f"{field}: 1 to {USES_MAX}", field=field)
        checked_expiry(self.expires_at)
        note = self.note
        if note is not None and not (1 <= len(note) <= NOTE_CHARS_MAX and note.isprintable()):
            raise RequestInvalid(f"note: 1 to {NOTE_CHARS_MAX} printable characters", field="note")

    def _check_worth(self) -> None:
        given = {
            "amount_nanos": (self.amount_nanos, AMOUNT_NANOS_MAX),
            "percent": (self.percent, PERCENT_MAX),
        }
        wanted = "percent" if self.kind == BONUS_PERCENT else "amount_nanos"
        for field, (value, most) in given.items():
            if field != wanted and value is not None:
                raise RequestInvalid(f"{field}: a code of kind {self.kind} has {wanted}", field=field)
            if field == wanted and (value is None or not 1 <= value <= most):
                raise RequestInvalid(f"{field}: 1 to {most}; a code of kind {self.kind} has one", field=field)


@dataclass(frozen=True, slots=True)
class Code:
    """`prefix` is how its text begins. `uses`: reserved or used now."""

    id: int
    prefix: str
    kind: str
    currency: str | None
    amount_nanos: int | None
    percent: int | None
    uses_max: int
    uses_per_account_max: int
    uses: int
    expires_at: datetime | None
    note: str | None
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class MadeCode:
    """The only time that `text` is known to anyone but whom it is given to."""

    code: Code
    text: str


async def create_codes(pg: Pool, terms: Terms, count: int = 1) -> list[MadeCode]:
    """Raises: RequestInvalid, PostgresUnavailable."""
    terms.check()
    if not 1 <= count <= CODES_AT_ONCE_MAX:
        raise RequestInvalid(f"count: 1 to {CODES_AT_ONCE_MAX}", field="count")
    texts = {_sha256(text): text for text in (new_code() for _ in range(count))}
    async with connection(pg) as db:
        rows = await db.fetch(
            statements.codes.create,
            list(texts),
            [prefix_of(text) for text in texts.values()],
            terms.kind,
            terms.currency,
            terms.amount_nanos,
            terms.percent,
            terms.uses_max,
            terms.uses_per_account_max,
            terms.expires_at,
            terms.note,
        )
    return [MadeCode(_code(row), texts[row["code_sha256"]]) for row in rows]


async def list_codes(pg: Pool, *, after_id: int = 0, rows_max: int = PAGE_MAX) -> list[Code]:
    """By id, retired ones too. Raises: PostgresUnavailable."""
    async with connection(pg) as db:
        rows = await db.fetch(statements.codes.list, after_id, min(rows_max, PAGE_MAX))
    return [_code(row) for row in rows]


async def retire_code(pg: Pool, code_id: int) -> Code:
    """End it for good; again changes nothing. An order that has reserved it keeps it.

    Raises: NotFound, PostgresUnavailable.
    """
    async with connection(pg) as db:
        row = await db.fetchrow(statements.codes.retire, code_id)
    if row is None:
        raise NotFound(f"code {code_id} does not exist")
    return _code(row)


def _sha256(text: str) -> bytes:
    code = read_code(text)
    assert code is not None
    return code_sha256(code)


def _code(row: asyncpg.Record) -> Code:
    return Code(**{name: value for name, value in row.items() if name != "code_sha256"})
