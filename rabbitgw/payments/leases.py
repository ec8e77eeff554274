"""How long one process has a piece of work before others may, and when it is tried again: events and refunds."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

LEASE: Final = timedelta(minutes=5)  # longer than a provider's slowest answers take, retries and all
PAUSE_FIRST_S: Final = 1
PAUSE_MAX_S: Final = 3600


def pause_after(attempts: int) -> timedelta:
    """Doubled from try to try, from a second to an hour. `attempts`: how many there were, at least 1."""
    return timedelta(seconds=min(PAUSE_MAX_S, PAUSE_FIRST_S * 2 ** min(attempts - 1, 20)))
