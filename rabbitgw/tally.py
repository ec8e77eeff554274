"""The three kinds of figures, and the counts of this process: plain numbers in dicts, no lock and no text.

Owns counting, and taking the counts out as JSON and in again. Which figures there are is metrics.py's business.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final, Literal

Labels = tuple[str, ...]
State = dict[str, dict[str, list[Any]]]  # as JSON: kind -> name -> [[labels, value], ...]


class Counter:
    """Only grows. One that is `lasting` is of all processes together, and outlives the one that counted."""

    __slots__ = ("help", "labels", "lasting", "name", "values")
    kind: Final = "counter"

    def __init__(
        self, name: str, help: str, *labels: str, known: Iterable[str] = (), lasting: bool = True
    ) -> None:
        """`known`: values of a single label that are shown before anything was counted."""
        self.name, self.help, self.labels, self.lasting = name, help, labels, lasting
        self.values: dict[Labels, float] = {(one,): 0 for one in known} if labels else {(): 0}
        METRICS[name] = self

    def add(self, amount: float = 1, *labels: str) -> None:
        values = self.values
        values[labels] = values.get(labels, 0) + amount


class Gauge:
    """A state. `merge` says what several processes come to together."""

    __slots__ = ("help", "labels", "merge", "name", "values")
    kind: Final = "gauge"

    def __init__(
        self,
        name: str,
        help: str,
        *labels: str,
        known: Iterable[str] = (),
        merge: Literal["sum", "max", "min"] = "sum",
    ) -> None:
        self.name, self.help, self.labels, self.merge = name, help, labels, merge
        self.values: dict[Labels, float] = {(one,): 0 for one in known}
        METRICS[name] = self

    def set(self, value: float, *labels: str) -> None:
        self.values[labels] = value


class Cells:
    """One histogram of one set of labels: `counts` per bucket, not yet summed up; the last is past every bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram:
    __slots__ = ("bounds", "help", "labels", "name", "values")
    kind: Final = "histogram"

    def __init__(self, name: str, help: str, *labels: str, bounds: tuple[float, ...]) -> None:
        self.name, self.help, self.labels, self.bounds = name, help, labels, bounds
        self.values: dict[Labels, Cells] = {} if labels else {(): Cells(bounds)}
        METRICS[name] = self

    def cells(self, *labels: str) -> Cells:
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = Cells(self.bounds)
        return found


METRICS: dict[str, Counter | Gauge | Histogram] = {}


def state() -> State:
    """The figures of this process, ready for JSON."""
    said: State = {"counter": {}, "gauge": {}, "histogram": {}}
    for name, metric in METRICS.items():
        if isinstance(metric, Histogram):
            said["histogram"][name] = [
                [labels, [cells.counts, cells.total]] for labels, cells in metric.values.items()
            ]
        else:
            said[metric.kind][name] = [[labels, value] for labels, value in metric.values.items()]
    return said


def restore(before: State) -> None:
    """Go on counting where a process that has ended stopped. What is of the process itself begins anew."""
    for name, rows in before["counter"].items():
        counter = METRICS.get(name)
        if isinstance(counter, Counter) and counter.lasting:
            for labels, value in rows:
                counter.add(value, *labels)
    for name, rows in before["histogram"].items():
        histogram = METRICS.get(name)
        if isinstance(histogram, Histogram):
            for labels, (counts, total) in rows:
                cells = histogram.cells(*labels)
                if len(counts) == len(cells.counts):  # else it was another version, with other bounds
                    cells.counts = [ours + theirs for ours, theirs in zip(cells.counts, counts, strict=True)]
                    cells.total += total
