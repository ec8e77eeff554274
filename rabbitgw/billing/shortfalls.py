"""How a caller is told that money is short: of the wallet, or of a spend window, in numbers with their units."""

from __future__ import annotations

from rabbitgw.billing.keyring import KeyRecord
from rabbitgw.billing.windows import Span, WindowRule, named_span
from rabbitgw.errors import BalanceShort, WindowShort
from rabbitgw.money import units
from rabbitgw.replies import ExtendReply, ReserveReply


def balance_short(key: KeyRecord, available_nanos: int) -> BalanceShort:
    return BalanceShort(
        f"the wallet of account {key.account_id} has {units(available_nanos)} {key.currency} available, "
        "which does not cover this call",
        available_nanos=available_nanos,
    )


def allowance_closed(key: KeyRecord, available_nanos: int) -> BalanceShort:
    return BalanceShort(
        f"the wallet of account {key.account_id} has gone below zero ({units(available_nanos)} {key.currency}): its "
        "plan serves again when it is paid up, or when the day ends",
        available_nanos=available_nanos,
    )


def balance_taken(key: KeyRecord) -> BalanceShort:
    return BalanceShort(
        f"what the wallet of account {key.account_id} has is needed by calls under way; try again when they have ended",
        available_nanos=0,
    )


def window_short(
    rule: WindowRule, asked: Span, reply: ReserveReply | ExtendReply, *, by_plan: bool = False
) -> WindowShort:
    span, limit_nanos, remaining_nanos = (
        named_span(asked, reply.span),
        reply.limit_nanos,
        reply.remaining_nanos,
    )
    resets_at_s = span.end_ms // 1000 if span.end_ms else None
    when = f"; it resets at {resets_at_s} (epoch seconds)" if resets_at_s else ""
    return WindowShort(
        f"the {rule.kind} limit of {units(limit_nanos)} has {units(max(remaining_nanos, 0))} left, "
        f"which does not cover this call{when}",
        limit_nanos=limit_nanos,
        available_nanos=remaining_nanos,
        resets_at_s=resets_at_s,
        by_plan=by_plan,
    )
