"""Runs a `rabbitgw` command under a profiler that two signals steer.

    python -m bench.profiled samples|calls OUT serve

SIGUSR1 starts it, SIGUSR2 stops it and writes OUT. "samples" looks at the stack at every tick of the CPU clock (4 ms on
most kernels), and so shows where time goes with next to no weight of its own; what C does outside any Python function,
as the event loop, falls to the function that is entered next. "calls" is cProfile: exact counts, but small functions
look dearer than they are.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from rabbitgw import cli

INTERVAL_S = 0.001
CALLS_SHOWN = 60


class Samples:
    """Where the process was found: files, functions by themselves and with all they called, lines."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def start(self, *_: object) -> None:
        self._files: Counter[str] = Counter()
        self._own: Counter[str] = Counter()
        self._whole: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()
        self._count = 0
        self._times = os.times()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        now, before = os.times(), self._times
        said = {
            "count": self._count,
            "user_s": now.user - before.user,
            "system_s": now.system - before.system,
            "files": self._files.most_common(),
            "own": self._own.most_common(),
            "whole": self._whole.most_common(),
            "lines": self._lines.most_common(),
        }
        write(self._out, json.dumps(said))

    def _sample(self, _: int, frame: FrameType | None) -> None:
        self._count += 1
        if frame is not None:
            self._files[place_of(frame)] += 1
            self._own[name_of(frame)] += 1
            self._lines[f"{place_of(frame)}:{frame.f_lineno}"] += 1
        seen = set()
        while frame is not None:
            seen.add(name_of(frame))
            frame = frame.f_back
        self._whole.update(seen)


class Calls:
    """cProfile, as a table."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def start(self, *_: object) -> None:
        self._profile = cProfile.Profile()
        self._profile.enable()

    def stop(self, *_: object) -> None:
        self._profile.disable()
        with self._out.with_suffix(".part").open("w") as text:
            pstats.Stats(self._profile, stream=text).sort_stats("tottime").print_stats(CALLS_SHOWN)
        self._out.with_suffix(".part").replace(self._out)


def place_of(frame: FrameType) -> str:
    """The file, from its package on."""
    path = frame.f_code.co_filename
    for root in ("site-packages/", "lib/python3", "main/"):
        path = path.rpartition(root)[2]
    return path


def name_of(frame: FrameType) -> str:
    function = frame.f_code.co_qualname
    if frame.f_code.co_filename == "<string>":  # made by dataclasses and the like: whose is it?
        owner = frame.f_locals.get("self")
        return f"{type(owner).__module__}.{type(owner).__qualname__} {function.rpartition('.')[2]}"
    return f"{place_of(frame)} {function}"


def write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, "utf-8")
    part.replace(path)


def main() -> int:
    kind, out, *command = sys.argv[1:]
    profiler = {"samples": Samples, "calls": Calls}[kind](Path(out))
    signal.signal(signal.SIGUSR1, profiler.start)
    signal.signal(signal.SIGUSR2, profiler.stop)
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main())
