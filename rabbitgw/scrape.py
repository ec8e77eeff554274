"""What a scrape of /metrics is answered with: the figures of every process that serves together, added up.

Owns the text, and the folder in which workers leave their figures for each other. Knows no metric by its meaning.
Each worker has a slot, and writes its figures there once a second, whole, by a rename. Whoever is asked writes its own
first and then adds up what stands in all slots, so no scrape ever shows less than an earlier one did. The next worker
in a slot goes on counting where the last one stopped: counters survive any death, and files do not pile up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client import exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import rabbitgw
from rabbitgw import clock, metrics, tally, telemetry
from rabbitgw.errors import SettingInvalid
from rabbitgw.tally import METRICS, Counter, Gauge, Labels, State

FOLDER: Final = "metrics"
LOCK: Final = "lock"
SUFFIX: Final = ".json"
TEXT: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"
EOF: Final = b"# EOF\n"  # of OpenMetrics
MERGES: Final[dict[str, Callable[[float, float], float]]] = {
    "sum": lambda a, b: a + b,
    "max": max,
    "min": min,
}

_STARTED_S = clock.now_ms() / 1000


class Board:
    """The folder of one set of workers, and one slot in it."""

    def __init__(self, folder: Path, slot: str) -> None:
        self._folder = folder
        self._path = folder / f"{slot}{SUFFIX}"
        self._failing = False
        self.slot = slot

    def publish(self, state: State) -> None:
        """Leave the figures for the others. A disk that fails is no reason to stop serving."""
        passing = self._path.with_suffix(".new")
        try:
            passing.write_bytes(orjson.dumps(state))
            passing.replace(self._path)
        except OSError as error:
            if not self._failing:
                telemetry.warn("metrics_unpublished", reason=str(error))
            self._failing = True
        else:
            self._failing = False

    def read(self) -> State | None:
        """What stands in this slot."""
        return _read(self._path)

    def read_all(self) -> list[State]:
        found = map(_read, sorted(self._folder.glob(f"*{SUFFIX}")))
        return [state for state in found if state is not None]

    def bury(self) -> None:
        """The process of this slot has ended: its counts stay, its states do not."""
        state = self.read()
        if state is not None:
            self.publish({**state, "gauge": {}})


class Boards:
    """The parent's side: a folder of its own, which goes when the parent does, or when the next one starts.

    Raises: SettingInvalid when the data directory cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        try:
            self._make(data_dir)
        except OSError as error:
            raise SettingInvalid(f"RABBITGW_DATA_DIR: cannot be used: {error}") from None

    def _make(self, data_dir: Path) -> None:
        home = data_dir.absolute() / FOLDER
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = home / clock.new_id()
        with _locked(
            home / LOCK
        ):  # or another parent could take a folder that has no lock yet for a dead one's
            self.folder.mkdir(mode=0o700)
            self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            for other in home.iterdir():
                if other != self.folder and other.is_dir() and not _is_locked(other / LOCK):
                    shutil.rmtree(other, ignore_errors=True)

    def board(self, slot: str) -> Board:
        return Board(self.folder, slot)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


class Scrape:
    """What one process shows. `sources` set gauges; they are called before each look, and must not wait."""

    def __init__(self, board: Board | None = None) -> None:
        self.sources: list[Callable[[], None]] = []
        self._board = board
        before = board.read() if board is not None else None
        if before is not None:
            tally.restore(before)

    def tick(self) -> None:
        """Once a second: let the other processes see the figures of this one."""
        if self._board is not None:
            self._board.publish(self._state())

    def states(self) -> list[State]:
        """The figures of every process that serves beside this one, and its own."""
        if self._board is None:
            return [self._state()]
        self.tick()
        return self._board.read_all()

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The figures in the form of Prometheus that a client prefers, and the content type.

        A thousand lines take milliseconds to write: between two metrics, streams go on.
        """
        encode, content_type = exposition.choose_encoder(_known_versions(accept))
        states = self.states()
        pieces = []
        for name in METRICS:
            pieces.append(encode(_Sheet(states, name)).removesuffix(EOF))
            await asyncio.sleep(0)
        if content_type.startswith(OPENMETRICS):
            pieces.append(EOF)
        return b"".join(pieces), content_type

    def _state(self) -> State:
        for source in self.sources:
            source()
        metrics.fold()
        look_at_process("0" if self._board is None else self._board.slot)
        return tally.state()


class _Sheet(Collector):
    """One metric, as the library takes it."""

    def __init__(self, states: Iterable[State], name: str) -> None:
        self._states = states
        self._name = name

    def collect(self) -> Iterator[Metric]:
        metric = METRICS[self._name]
        rows = added_up(self._states, self._name)
        if isinstance(metric, Counter):
            counter = CounterMetricFamily(self._name, metric.help, labels=metric.labels)
            for labels, value in rows.items():
                counter.add_metric(labels, value)
            yield counter
        elif isinstance(metric, Gauge):
            gauge = GaugeMetricFamily(self._name, metric.help, labels=metric.labels)
            for labels, value in rows.items():
                gauge.add_metric(labels, value)
            yield gauge
        else:
            histogram = HistogramMetricFamily(self._name, metric.help, labels=metric.labels)
            for labels, (counts, total) in rows.items():
                histogram.add_metric(labels, _buckets(metric.bounds, counts), total)
            yield histogram


def added_up(states: Iterable[State], name: str) -> dict[Labels, Any]:
    """One metric over all processes. Histograms come as [counts per bucket, total]."""
    metric = METRICS[name]
    found: dict[Labels, Any] = {}
    for state in states:
        for row_labels, value in state[metric.kind].get(name, ()):
            labels = tuple(row_labels)
            known = found.get(labels)
            if known is None:
                found[labels] = value
            elif isinstance(metric, Gauge):
                found[labels] = MERGES[metric.merge](known, value)
            elif isinstance(metric, Counter):
                found[labels] = known + value
            elif len(known[0]) == len(value[0]):  # else of another version, while it is being replaced
                counts = [ours + theirs for ours, theirs in zip(known[0], value[0], strict=True)]
                found[labels] = [counts, known[1] + value[1]]
    return found


def look_at_process(worker: str) -> None:
    """What the kernel says of this process. Where it has no /proc, memory and descriptors are left out."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    metrics.CPU.values[(worker,)] = used.ru_utime + used.ru_stime
    metrics.STARTED.set(_STARTED_S, worker)
    metrics.FDS_MAX.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0], worker)
    metrics.BUILD.set(1, rabbitgw.__version__, platform.python_version())
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        metrics.RESIDENT.set(pages * resource.getpagesize(), worker)
        # newer kernels tell the number by itself: a list of ten thousand streams' descriptors takes milliseconds
        metrics.FDS.set(os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")), worker)


def _buckets(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    ends = [*(repr(bound) for bound in bounds), "+Inf"]
    sums, so_far = [], 0
    for end, count in zip(ends, counts, strict=True):
        so_far += count
        sums.append((end, float(so_far)))
    return sums


def _known_versions(accept: str) -> str:
    """The Accept header without what the library would take over unseen, or fail at."""
    kept = []
    for choice in accept.split(","):
        parts = [part.strip() for part in choice.split(";")]
        wanted = [part for part in parts[1:] if part in ("version=0.0.4", "version=1.0.0")]
        if parts[0] in (TEXT, OPENMETRICS):
            kept.append(";".join([parts[0], *wanted[:1]]))
    return ",".join(kept)


def _read(path: Path) -> State | None:
    try:
        state: State = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return state


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
