"""Logs: one JSON object per line. Field and metric names stand here, so that they are the same everywhere.

Never logged: prompts, answers, keys, secrets. Ids of ours and of callers, amounts, types of errors are.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

_log = logging.getLogger("rabbitgw")


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


def log(event: str, **fields: Any) -> None:
    _log.info(event, extra={"fields": fields})


def warn(event: str, **fields: Any) -> None:
    _log.warning(event, extra={"fields": fields})


def error(event: str, *, exc: BaseException | None = None, **fields: Any) -> None:
    _log.error(event, exc_info=exc, extra={"fields": fields})
