"""Rates as a call meets them: which rules bind it, and how it is told that one refuses.

Pure. The rules of a key are its own and those of its user, team and account; one with a model pattern binds calls of
models that match it, which it counts together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from rabbitgw.errors import RateLimited
from rabbitgw.prepared import RateCheck
from rabbitgw.replies import ReserveReply

RATES_MAX: Final = 16  # above a call: what the reserve script reads and moves for it
_UNITS: Final = {"rpm": "requests a minute", "tpm": "tokens a minute", "parallel": "calls in parallel"}


@dataclass(frozen=True, slots=True)
class RateRule:
    """None: no limit of that kind. `model_pattern` (fnmatch) None: it binds calls of every model."""

    rate_id: int
    model_pattern: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None

    @property
    def check(self) -> RateCheck:
        """As reserve is given it."""
        return RateCheck(self.rate_id, self.rpm or 0, self.tpm or 0, self.parallel or 0)


def rate_rule(row: dict[str, Any]) -> RateRule:
    """From the column `rates` of the view key_records."""
    return RateRule(row["rate_id"], row["model_pattern"], row["rpm"], row["tpm"], row["parallel"])


def by_model(rules: tuple[RateRule, ...]) -> bool:
    """Whether the model decides which of them bind."""
    return any(rule.model_pattern is not None for rule in rules)


def binding(rules: tuple[RateRule, ...], model: str, *, free: bool) -> tuple[RateRule, ...]:
    """Those that bind a call. One that costs nothing, a count of tokens, is a request and no more."""
    found = [rule for rule in rules if rule.model_pattern is None or fnmatchcase(model, rule.model_pattern)]
    if free:
        found = [replace(rule, tpm=None, parallel=None) for rule in found if rule.rpm is not None]
    return tuple(found)


def rate_limited(rules: tuple[RateRule, ...], reply: ReserveReply) -> RateLimited:
    """A refusal by a rate."""
    refusal = reply.refusal
    assert refusal is not None
    rule = rules[refusal.rule]
    where = f" of models like {rule.model_pattern}" if rule.model_pattern is not None else ""
    limit = f"rate {rule.rate_id} allows {refusal.limit} {_UNITS[refusal.what]}{where}"
    standing = reply.standing or ()
    if refusal.wait_ms < 0:
        never = f"this call alone is estimated at more and can never pass; send less: {limit}"
        return RateLimited(never, what=refusal.what, retry_after_s=None, standing=standing)
    wait_s = refusal.wait_ms / 1000
    message = f"{limit}; try again in {wait_s:g} s"
    return RateLimited(message, what=refusal.what, retry_after_s=wait_s, standing=standing)
