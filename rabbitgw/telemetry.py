"""Logs: one JSON object per line.

`log` writes the line itself, for the standard library takes 25 us to format and flush one; lines of one moment leave
together, LINGER_S later at most, and before any warning.

Never logged: prompts, answers, keys, secrets. Ids of ours and of callers, amounts, types of errors are.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from rabbitgw import clock

LINGER_S = 0.05
WRITE_BYTES_MAX = 4096  # workers share a pipe, which keeps a write whole up to here
_log = logging.getLogger("rabbitgw")
_about: ContextVar[dict[str, Any] | None] = ContextVar("about", default=None)
_count: list[Callable[[str, str], None]] = []  # told the level and the event of each warning and error


class _Lines:
    """Lines that wait to be written together."""

    __slots__ = ("_due", "_second", "_second_ms", "_waiting", "wanted")

    def __init__(self) -> None:
        self.wanted = False  # once configured for INFO or less
        self._waiting: list[bytes] = []
        self._due = False
        self._second_ms = 0
        self._second = b""  # how a line of this second begins

    def add(self, event: str, fields: dict[str, Any]) -> None:
        now_ms = clock.now_ms()
        milli = now_ms - self._second_ms
        if not 0 <= milli < 1000:
            milli = now_ms % 1000
            self._second_ms = now_ms - milli
            text = datetime.fromtimestamp(self._second_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = b'{"time":"' + text.encode()
        # The fields are dumped alone, and what stands before them is filled in: a dict of all would be made twice.
        line = orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)
        begun = b'%b.%03d+00:00","level":"INFO","event":"%b"' % (self._second, milli, event.encode())
        self._waiting.append(begun + (b"," + line[1:] if fields else b"}\n"))
        if not self._due:
            try:
                asyncio.get_running_loop().call_later(LINGER_S, self.flush)
                self._due = True
            except RuntimeError:  # no loop runs: nobody would come by later
                self.flush()

    def flush(self) -> None:
        self._due = False
        waiting, self._waiting = self._waiting, []
        start = size = 0
        for at, line in enumerate(waiting):
            if size and size + len(line) > WRITE_BYTES_MAX:
                _write(waiting[start:at])
                start, size = at, 0
            size += len(line)
        if waiting:
            _write(waiting[start:])


def _write(lines: list[bytes]) -> None:
    with suppress(OSError, ValueError):  # a full disk, a closed pipe: nothing of a call may depend on it
        sys.stderr.write(b"".join(lines).decode())
        sys.stderr.flush()


_lines = _Lines()
atexit.register(_lines.flush)


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "event", ...fields, "error"?}`; numbers stay numbers."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(level: str) -> None:
    """Send every log of the process to standard error as JSON lines. Called once, at start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _lines.wanted = _log.isEnabledFor(logging.INFO)


def count_by(count: Callable[[str, str], None]) -> None:
    """Have warnings and errors counted: `count` is called with the level and the event."""
    _count[:] = [count]


def about(**fields: Any) -> None:
    """Have each line that this task logs from now on, and those that it starts, say this too."""
    _about.set(fields)


def log(event: str, **fields: Any) -> None:
    known = _about.get()
    if known is not None:
        fields = {**known, **fields}
    if _lines.wanted:
        _lines.add(event, fields)
    else:
        _log.info(event, extra={"fields": fields})


def warn(event: str, **fields: Any) -> None:
    for count in _count:
        count("warning", event)
    _lines.flush()
    _log.warning(event, extra={"fields": {**(_about.get() or {}), **fields}})


def error(event: str, *, exc: BaseException | None = None, **fields: Any) -> None:
    for count in _count:
        count("error", event)
    _lines.flush()
    _log.error(event, exc_info=exc, extra={"fields": {**(_about.get() or {}), **fields}})
