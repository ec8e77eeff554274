"""The soak in small: a few hundred streams, a third of them rude, leave no hold, no connection and no unbilled answer.

The seed is printed; SOAK_SEED repeats its streams. A failure is told with it, and is a fault of the program, however
rare. `make soak` runs ten thousand and measures what they leave in memory.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from bench.soak_report import as_text
from bench.soak_run import Job, soaking

STREAMS = 400


@pytest.mark.timeout(300)
async def test_streams_of_which_a_third_are_rude_leave_nothing_behind(
    dsn: str, redis_url: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(2**32))
    print(f"\nSOAK_SEED={seed}")
    job = Job(STREAMS, clients=40, seed=seed, gone=("cancel", "drain")[seed % 2], growth_counts=False)
    async with soaking(job, dsn, redis_url, tmp_path) as soak:
        told = await soak.run()
    print(as_text(told))
    assert told["breaches"] == []
    assert told["audit_exit"] == 0
    assert told["streams"] == STREAMS
    assert told["rude"] > STREAMS // 5
    assert told["saw"]["whole"] > STREAMS // 2
