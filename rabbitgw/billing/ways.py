"""How the calls of a key may be taken under the plans above it: which windows count and bind, who pays, and by which
ways a call may go beyond a plan's limit.

Pure. The nearest plan with an allowance pays; every other limit caps. A way leaves out the limit of one plan and passes
all else that stands above the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rabbitgw.billing.overflow import ALLOWANCE, DEGRADE, GRACE, SPILL, Way
from rabbitgw.billing.plan_book import PlanLimit
from rabbitgw.billing.windows import WindowRule, span_of

OFF: Final = "off"
GATE_DEGRADE: Final = "degrade"
BINDS, COUNTS, LEFT_OUT = b"10-"  # per window, in the signs of reserve.lua


class Laid(NamedTuple):
    """`rules`: all windows that a call may count in; `enforce`, `how`, `borne`: as a call is taken that the limits
    cover, in the signs of reserve.lua."""

    rules: tuple[WindowRule, ...]
    enforce: bytes
    how: bytes = b""
    borne: bool = False
    ways: tuple[Way, ...] = ()
    plan_of: tuple[int | None, ...] = ()  # per rule: the plan whose limit it is


def laid(own: Sequence[WindowRule], limits: Iterable[PlanLimit], at_ms: int, gating: str) -> Laid:
    """`own`: the windows above the key that are no plan's; `limits`: the nearest plan first. `gating`: whether an
    account that went below zero today may go on by an allowance."""
    rules, enforce = list(own), bytearray(b"1" * len(own))
    plan_of: list[int | None] = [None] * len(own)
    places = []  # per limit: where its windows are
    for limit in limits:
        place = {}
        for name, rule, sign in (
            ("limit", limit.rule, COUNTS if limit.shadow else BINDS),
            (GRACE, limit.grace if GRACE in limit.overflow.tried else None, LEFT_OUT),
            (DEGRADE, limit.degrade if DEGRADE in limit.overflow.tried else None, LEFT_OUT),
        ):
            if rule is not None:
                place[name] = len(rules)
                rules.append(rule)
                enforce.append(sign)
                plan_of.append(limit.plan_id if name == "limit" else None)
        places.append((limit, place))
    bearer = next(
        (limit for limit, _ in places if limit.overflow.funding == ALLOWANCE and not limit.shadow), None
    )
    gate = b""
    if bearer is not None and gating != OFF:
        gate = b"^%d" % span_of(bearer.rule, at_ms).start_ms
    ways: list[Way] = []
    for limit, place in places:
        if not limit.shadow:
            ways += _ways(limit, place, bytes(enforce), bearer, gate, gating)
    how = b"" if bearer is None else b"~" + gate
    return Laid(tuple(rules), bytes(enforce), how, bearer is not None, tuple(ways), tuple(plan_of))


def _ways(
    limit: PlanLimit,
    place: dict[str, int],
    enforce: bytes,
    bearer: PlanLimit | None,
    gate: bytes,
    gating: str,
) -> Iterable[Way]:
    """Those of one plan, in the order of its policies."""
    is_bearer, overflow = limit is bearer, limit.overflow
    for policy in overflow.tried:
        signs = bytearray(enforce)
        signs[place["limit"]] = LEFT_OUT
        borne, passes = bearer is not None, gate
        if policy == GRACE:
            if GRACE not in place:
                continue
            signs[place[GRACE]] = BINDS
            borne = not overflow.grace_charged or (borne and not is_bearer)
        elif policy == DEGRADE:
            if DEGRADE in place:
                signs[place[DEGRADE]] = BINDS
            elif is_bearer:
                continue  # without a counter nothing would end it
            if gating == GATE_DEGRADE:
                passes = b""
                if is_bearer:  # an account below zero: degraded within the limit
                    yield Way(policy, enforce, b"~", True, overflow)
        elif policy == SPILL and is_bearer:
            borne = False
        yield Way(policy, bytes(signs), b"~" + passes if borne else b"", borne, overflow)
