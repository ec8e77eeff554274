"""How far below zero a wallet can go, per class of calls that this deployment has really served.

A hold bounds what happens before the next one, so only what holds do not see can overspend:
  streamed      a stream's tokens are estimated without parsing: at most one slice and one piece of 64 KiB
  hidden        reasoning that was never shown, beyond what its assumed rate had held
  last_money    the one call per wallet that goes on a plain estimate of its input
  dense_input   input that counted as more tokens than its bytes were held for
  dense_output  streams, images and sound that came to more than was held for, what each cost beyond its hold
  tools         calls in which the provider ran tools of its own, in whole: how often it does is not ours to limit
  estimated     calls that were not streamed and stated no usage, in whole
  late          charges that came after their hold had expired with its worker's lease
  taken         what disputes, true-ups and refunds that nobody had set aside have taken out of a wallet, spent or not
  corrected     what re-ratings have added to the cost of calls that had ended
A call that is not streamed and states its usage has no class: its output is limited to what was held.
Knows no wallet; the audit compares.
"""

from __future__ import annotations

from typing import Final

from rabbitgw import statements
from rabbitgw.billing.hold_bounds import input_bound_nanos, output_slice_nanos
from rabbitgw.billing.price_book import load_version
from rabbitgw.billing.prices import MILLI, Price
from rabbitgw.config import Settings
from rabbitgw.stores import Pool, connection

PIECE_BYTES_MAX: Final = 65_536  # what is looked at at once (proxy/upstream_wire.py)
BYTES_PER_TOKEN: Final = 4  # of the running estimate


async def overspend_bounds(pg: Pool, settings: Settings) -> dict[str, int]:
    """The bound of each class, nanos per wallet; 0 for a class that never occurred.

    Raises: PostgresUnavailable.
    """
    async with connection(pg) as db:
        classes = await db.fetch(statements.audit.overspend_classes)
        dense = await db.fetch(statements.audit.dense_inputs)
        unbounded = await db.fetchrow(statements.audit.unbounded_charges)
        dense_output_nanos = await db.fetchval(statements.audit.dense_outputs)
        late_nanos = await db.fetchval(statements.audit.late_charges)
        taken_nanos = await db.fetchval(statements.audit.taken)
        corrected_nanos = await db.fetchval(statements.audit.corrected)
    assert unbounded is not None  # an aggregate over all rows
    prices: dict[int, Price] = {}
    for version in {row["price_version"] for row in [*classes, *dense]}:
        price = await load_version(pg, version)
        if price is not None:
            prices[version] = price
    bounds = dict.fromkeys(("streamed", "hidden", "last_money", "dense_input"), 0)
    for row in classes:
        price = prices.get(row["price_version"])
        bounds["last_money"] = max(bounds["last_money"], row["shortfall_nanos"])
        if price is None:
            continue
        if row["streamed"]:
            tokens = settings.slice_output_tokens + PIECE_BYTES_MAX // BYTES_PER_TOKEN
            bounds["streamed"] = max(bounds["streamed"], output_slice_nanos(price, tokens))
        if row["hidden"]:
            tokens = price.max_output_tokens or settings.output_tokens_default_max
            bounds["hidden"] = max(bounds["hidden"], output_slice_nanos(price, tokens))
    per_account: dict[int, int] = {}
    for row in dense:
        price = prices.get(row["price_version"])
        if price is not None:
            nanos = input_bound_nanos(price, row["tokens"], tokens_per_byte_milli=MILLI)
            per_account[row["account_id"]] = per_account.get(row["account_id"], 0) + nanos
    bounds["dense_input"] = max(per_account.values(), default=0)
    bounds |= {"dense_output": dense_output_nanos, "tools": unbounded["tools"]}
    bounds |= {"estimated": unbounded["estimated"], "late": late_nanos, "corrected": corrected_nanos}
    bounds["taken"] = taken_nanos
    return bounds
