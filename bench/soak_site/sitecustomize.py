"""Imported by Python at its start where this folder is on PYTHONPATH: SIGUSR1 collects garbage, and a byte says it did.

Reference cycles wait for the collector's oldest generation, which runs seldom, and look like a leak until then. What is
resident after a collection is what cannot be freed.
"""

import gc
import os
import signal
from typing import Any


def collect(*_: Any) -> None:
    gc.collect()
    with open(os.environ["SOAK_COLLECTED"], "ab") as said:
        said.write(b".")


if "SOAK_COLLECTED" in os.environ:
    signal.signal(signal.SIGUSR1, collect)
