"""How a stream's hold grows: by the way it was taken, and where a plan's limit stops that, by the next with room."""

from __future__ import annotations

from rabbitgw.billing.hold import Hold
from rabbitgw.billing.overflow import Way
from rabbitgw.billing.ways import BINDS
from rabbitgw.replies import ExtendReply
from rabbitgw.scripts import Scripts, WindowLimit


async def grow(
    scripts: Scripts, hold: Hold, wanted_nanos: int, delivered_nanos: int, now_ms: int
) -> ExtendReply:
    """Ask for a total of `wanted_nanos`, or what there is of it beyond the present amount; the hold learns of it.

    Returns: the reply by which it grew, or the first refusal. Raises: RedisUnavailable.
    """
    before_nanos = hold.granted_nanos
    reply = await _asked(scripts, hold, wanted_nanos, delivered_nanos, now_ms, None)
    if reply.word == "WINDOW" and hold.laid.ways:
        for way in hold.further_ways(reply.window):
            further = await _asked(scripts, hold, wanted_nanos, delivered_nanos, now_ms, way)
            if further.word == "OK":
                hold.go_on(way, before_nanos)
                reply = further
                break
    if reply.word == "OK":
        hold.granted_nanos = reply.granted_nanos
    return reply


async def _asked(
    scripts: Scripts, hold: Hold, wanted_nanos: int, delivered_nanos: int, now_ms: int, way: Way | None
) -> ExtendReply:
    signs = hold.enforce if way is None else way.enforce
    return await scripts.extend(
        hold.key.partition,
        hold.key.account_id,
        hold_id=hold.hold_id,
        new_total_nanos=wanted_nanos,
        least_total_nanos=min(hold.granted_nanos + 1, wanted_nanos),
        delivered_nanos=delivered_nanos,
        windows=[
            WindowLimit(rule.window_id, rule.limit_at(now_ms), int(sign == BINDS))
            for (rule, _), sign in zip(hold.windows, signs, strict=True)
        ],
        way=None if way is None else hold.part_text(way),
    )
