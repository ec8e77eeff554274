"""What a word of reserve or extend by which a call gets no hold means, as an error. Decides nothing."""

from __future__ import annotations

from rabbitgw import telemetry
from rabbitgw.billing.desks import Desk
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.rate_rules import rate_limited
from rabbitgw.billing.shortfalls import allowance_closed, balance_short, window_short
from rabbitgw.billing.windows import Span, WindowRule
from rabbitgw.errors import Backlog, BudgetError, InvariantBroken, RedisUnavailable
from rabbitgw.replies import ExtendReply, ReserveReply


def reserve_error(key: KeyRecord, desk: Desk, reply: ReserveReply) -> Exception:
    match reply.word:
        case "SHORT":
            short = allowance_closed if desk.laid.borne else balance_short
            return short(key, reply.available_nanos)
        case "WINDOW":
            by_plan = desk.laid.plan_of[reply.window] is not None
            return window_short(*desk.windows[reply.window], reply, by_plan=by_plan)
        case "RATE":
            return rate_limited(desk.rates, reply)
        case "BACKLOG":
            telemetry.error("books_behind", partition=key.partition, events=reply.backlog)
            return Backlog("the books are behind; try again soon", retry_after_s=5)
        case "FENCED":
            return RedisUnavailable("the deployment's epoch has changed; this process must be restarted")
    return InvariantBroken(f"reserve answered {reply.word} for a fresh id")


def extend_error(
    key: KeyRecord, windows: tuple[tuple[WindowRule, Span], ...], reply: ExtendReply
) -> Exception:
    match reply.word:
        case "SHORT":
            return balance_short(key, reply.available_nanos)
        case "WINDOW":
            return window_short(*windows[reply.window], reply)
    # GONE, COLD, FENCED: the hold is no longer there to grow; what it charged is settled late
    return BudgetError("the hold of this call has ended; the answer stops here")
