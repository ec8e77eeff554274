"""What a plan does with a call that its daily limit does not cover: block, grace, degrade, spill, or a chain of them.

Owns what such a policy may say, and the ways of taking a call that come of it. Pure; which way is taken the reserve
script decides, in one call.
Grace, and degraded calls where they are capped, have counters of their own, beside that of the limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import orjson

from rabbitgw.billing.model_patterns import checked_pattern
from rabbitgw.errors import RequestInvalid
from rabbitgw.money import AMOUNT_NANOS_MAX, CENTS_MAX

BLOCK: Final = "block"
GRACE: Final = "grace"
DEGRADE: Final = "degrade"
SPILL: Final = "spill"
POLICIES: Final = (BLOCK, GRACE, DEGRADE, SPILL)
WALLET: Final = "wallet"
ALLOWANCE: Final = "allowance"
FUNDINGS: Final = (WALLET, ALLOWANCE)
DEGRADE_MAP_MAX: Final = 100
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Overflow:
    """`policies` are tried in this order; behind the last one, or `block`, a call is refused.

    funding: `wallet`, the limit caps what calls take from the wallet; `allowance`, calls within it cost the wallet
    nothing. shadow: the limit is counted and told of, and refuses nothing.
    degrade_nanos: what degraded calls may spend a day beyond the limit; None: as much as the limit where the plan pays
    for them, else all that the wallet has.
    """

    policies: tuple[str, ...] = (BLOCK,)
    grace_nanos: int = 0
    grace_charged: bool = False
    degrade_map: tuple[tuple[str, str], ...] = ()
    degrade_default: str | None = None
    degrade_nanos: int | None = None
    funding: str = WALLET
    shadow: bool = False

    def degraded(self, model: str) -> str | None:
        """The model that serves instead of another; None: none does. The exact name first, then the longest pattern."""
        found = best = None
        for pattern, name in self.degrade_map:
            if pattern == model:
                found = name
                break
            if (best is None or (-len(pattern), pattern) < best) and fnmatchcase(model, pattern):
                found, best = name, (-len(pattern), pattern)
        found = found or self.degrade_default
        return None if found == model else found

    @property
    def tried(self) -> tuple[str, ...]:
        """The policies that let a call pass, in their order."""
        return self.policies[: self.policies.index(BLOCK)] if BLOCK in self.policies else self.policies


USUAL: Final = Overflow()


class Way(NamedTuple):
    """One way of taking a call beyond a plan's limit, while the windows of its key are those of one desk."""

    policy: str
    enforce: bytes  # per window: '1' counts and binds, '0' counts, '-' does not count
    how: bytes  # as reserve.lua has it behind that
    borne: bool  # by the plan, not by the wallet
    overflow: Overflow


def checked_overflow(overflow: Overflow) -> Overflow:
    """Raises: RequestInvalid, naming the field of the route."""
    _check_policies(overflow)
    _check_amount("grace_cents", overflow.grace_nanos)
    _check_amount("degrade_cents", overflow.degrade_nanos or 0)
    if GRACE in overflow.tried:
        if not overflow.grace_nanos:
            raise RequestInvalid("grace_cents: say how much; grace lets that much pass", field="grace_cents")
    else:
        _only_with(GRACE, "grace_cents", overflow.grace_nanos)
        _only_with(GRACE, "grace_charged", overflow.grace_charged)
    if DEGRADE in overflow.tried:
        if not overflow.degrade_map and overflow.degrade_default is None:
            raise RequestInvalid(
                "degrade_map: say to which model, or give degrade_default", field="degrade_map"
            )
    else:
        _only_with(DEGRADE, "degrade_map", overflow.degrade_map)
        _only_with(DEGRADE, "degrade_default", overflow.degrade_default)
        _only_with(DEGRADE, "degrade_cents", overflow.degrade_nanos is not None)
    _check_models(overflow)
    return overflow


_FIELDS: Final = {
    GRACE: ("grace_nanos", "grace_charged"),
    DEGRADE: ("degrade_map", "degrade_default", "degrade_nanos"),
}


def unsaid(policies: Iterable[str]) -> dict[str, Any]:
    """The fields of the policies that are not among these, as they are where nothing is said."""
    gone = _FIELDS.keys() - set(policies)
    return {name: getattr(USUAL, name) for policy in gone for name in _FIELDS[policy]}


def overflow_of_row(row: Any) -> Overflow:
    """From the columns of plan_daily_limits."""
    return Overflow(
        policies=tuple(row["overflow"]),
        grace_nanos=row["grace_nanos"],
        grace_charged=row["grace_charged"],
        degrade_map=tuple(orjson.loads(row["degrade_map"]).items()),
        degrade_default=row["degrade_default"],
        degrade_nanos=row["degrade_nanos"],
        funding=row["funding"],
        shadow=row["shadow"],
    )


def targets(overflow: Overflow) -> list[tuple[str, str]]:
    """The models that serve instead of others, each with the field that says so."""
    named = [("degrade_map", name) for _, name in overflow.degrade_map]
    if overflow.degrade_default is not None:
        named.append(("degrade_default", overflow.degrade_default))
    return named


def _check_policies(overflow: Overflow) -> None:
    policies = overflow.policies
    for policy in policies:
        if policy not in POLICIES:
            raise RequestInvalid(
                f"overflow_policy: {policy!r} is none of {', '.join(POLICIES)}", field="overflow_policy"
            )
    if not policies or len(set(policies)) < len(policies):
        raise RequestInvalid(
            "overflow_policy: one policy, or a list without repetition", field="overflow_policy"
        )
    if BLOCK in policies[:-1]:
        raise RequestInvalid("overflow_policy: nothing comes after block", field="overflow_policy")
    if overflow.funding not in FUNDINGS:
        raise RequestInvalid(
            f"funding: {overflow.funding!r} is none of {', '.join(FUNDINGS)}", field="funding"
        )
    if SPILL in policies and overflow.funding != ALLOWANCE:
        raise RequestInvalid(
            "overflow_policy: spill goes on from an allowance to the wallet; set funding to allowance",
            field="overflow_policy",
        )


def _check_models(overflow: Overflow) -> None:
    if len(overflow.degrade_map) > DEGRADE_MAP_MAX:
        raise RequestInvalid(f"degrade_map: at most {DEGRADE_MAP_MAX} patterns", field="degrade_map")
    for pattern, _ in overflow.degrade_map:
        checked_pattern(pattern, "degrade_map")
    for field, name in targets(overflow):
        if not 1 <= len(name) <= 256 or not name.isprintable() or _WILD & set(name):
            raise RequestInvalid(f"{field}: {name!r} is no name of a model", field=field)
        seen, model = [name], overflow.degraded(name)
        while model is not None:
            if model in seen:
                way = " → ".join([*seen, model])
                raise RequestInvalid(f"{field}: it leads in a circle: {way}", field=field)
            seen.append(model)
            model = overflow.degraded(model)


def _check_amount(field: str, nanos: int) -> None:
    if not 0 <= nanos <= AMOUNT_NANOS_MAX:
        raise RequestInvalid(f"{field}: 0 to {CENTS_MAX}", field=field)


def _only_with(policy: str, field: str, given: object) -> None:
    if given:
        raise RequestInvalid(f"{field}: only with the policy {policy} in overflow_policy", field=field)
