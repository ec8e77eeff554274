"""The arithmetic of the bench: percentiles, medians, spreads, slopes. Pure; knows no process and no unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed; of a sorted sequence.

    Raises: ValueError when there are no values.
    """
    if not sorted_values:
        raise ValueError("no values to take a percentile of")
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle. Raises: ValueError when there are none."""
    if not values:
        raise ValueError("no values to take a median of")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(slope, value at zero) of the least-squares line. Raises: ValueError with fewer than two different x."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / max(count, 1)
    mean_y = sum(y for _, y in points) / max(count, 1)
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread_x:
        raise ValueError("a line needs two different lengths")
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread_x
    return slope, mean_y - slope * mean_x


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over the rounds of a run: what each round gave, in order."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def low(self) -> float:
        return min(self.rounds)

    @property
    def high(self) -> float:
        return max(self.rounds)

    def over(self, other: Figure) -> float:
        """The median of the ratios round by round: neighbours in time share the machine's mood.

        Raises: ValueError when the rounds are not as many.
        """
        return median([mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=True)])

    def to_json(self, digits: int = 3) -> dict[str, float | list[float]]:
        return {
            "median": round(self.median, digits),
            "low": round(self.low, digits),
            "high": round(self.high, digits),
            "rounds": [round(value, digits) for value in self.rounds],
        }
