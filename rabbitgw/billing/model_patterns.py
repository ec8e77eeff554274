"""Patterns of models: what is one, and what passes those that allow and those that deny. Pure.

A pattern is a model's name or matches several (fnmatch, case matters), in prices, rates, keys and rules alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from rabbitgw.errors import RequestInvalid

PATTERN_CHARS_MAX: Final = 256


def checked_pattern(pattern: Any, field: str = "pattern") -> str:
    """Raises: RequestInvalid naming the field."""
    if (
        not isinstance(pattern, str)
        or not 1 <= len(pattern) <= PATTERN_CHARS_MAX
        or not pattern.isprintable()
    ):
        raise RequestInvalid(
            f"{field}: a model's name or pattern has 1 to {PATTERN_CHARS_MAX} printable characters",
            field=field,
        )
    return pattern


def checked_patterns(
    patterns: Sequence[str] | None, field: str, *, most: int, none_means: str
) -> list[str] | None:
    """`none_means`: what leaving the field out does, for whoever sends an empty list. Raises: RequestInvalid."""
    if patterns is None:
        return None
    if not 1 <= len(patterns) <= most:
        raise RequestInvalid(f"{field}: 1 to {most} patterns; leave it out to {none_means}", field=field)
    return [checked_pattern(pattern, field) for pattern in patterns]


def passes(model: str, allow: Sequence[str] | None, deny: Sequence[str] | None) -> bool:
    """None allows every model, and denies none. What is denied is so whatever is allowed."""
    if deny is not None and any(fnmatchcase(model, one) for one in deny):
        return False
    return allow is None or any(fnmatchcase(model, one) for one in allow)
