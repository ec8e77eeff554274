"""Calls that ended, as rows of usage: written as the consumer writes them, without the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from rabbitgw import statements
from rabbitgw.billing.events import payload, ticket
from rabbitgw.billing.usage import Usage
from rabbitgw.billing.usage_rows import StreamId, as_records, read_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rabbitgw.stores import Pool


ENDED = ("upstream_model", "error_code", "excess_nanos", "upstream_cost_nanos")


def call_id(ms: int, number: int = 0) -> str:
    """A UUIDv7 of a moment."""
    return str(UUID(int=ms << 80 | 0x7 << 76 | 0x2 << 62 | number))


def call(hold_id: str, **facts: Any) -> dict[str, Any]:
    """A call of account 1 that cost 7 nanos; `facts` are other things that are true of it."""
    return {"id": hold_id, "account_id": 1, "key_id": 1, "status": "settled", "cost_nanos": 7, **facts}


async def book(pg: Pool, calls: Iterable[dict[str, Any]]) -> None:
    rows = []
    for number, given in enumerate(calls):
        one = dict(given)
        values = {
            "id": one.pop("id"), "s": one.pop("status"), "n": str(one.pop("cost_nanos")), "x": "0",
            "a": str(one.pop("account_id")), "c": "USD", "w": "",
        }  # fmt: skip
        ended = {name: one.pop(name) for name in ENDED if name in one}
        usage = Usage(input_tokens=100, output_tokens=20, **one.pop("usage", {}))
        facts = ticket(
            **{"caller_request_id": None, "model": "gpt-4o", "dialect": "openai-chat", "price_version": 3,
               "admitted_ms": 1_795_000_000_123, **one}
        )  # fmt: skip
        said = payload(facts, usage, attempts=1, first_byte_ms=None, finished_ms=1_795_000_001_000, **ended)
        event = {name.encode(): value.encode() for name, value in values.items()} | {b"p": said}
        row, problem = read_event(1, StreamId(1, number), event)
        assert problem is None, problem
        rows.append(row)
    async with pg.acquire() as db:
        await db.execute(statements.usage.book, 1, as_records(rows))
