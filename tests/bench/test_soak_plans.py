"""The verdict of the soak of many keys, and the load generator's keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import Job
from bench.soak_plans import GROWTH_BYTES_MOST, added, as_text, breaches


def test_requests_take_the_keys_of_a_file_in_turn(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("rk-one\nrk-two")
    each = Job("open", 80, "stub-plain", keys_file=str(file)).each()
    keys = [next(each).partition(b"Bearer ")[2].partition(b"\r\n")[0] for _ in range(3)]
    assert keys == [b"rk-one", b"rk-two", b"rk-one"]
    assert next(Job("open", 80, "stub-plain", key="rk-three").each()).count(b"Bearer rk-three\r\n") == 1


@pytest.mark.parametrize(
    ("busy", "grown", "found"), [(3.5, 0, 0), (5.0, 0, 1), (3.5, GROWTH_BYTES_MOST + 1, 1), (9.0, 10**12, 2)]
)
def test_two_milliseconds_and_the_memory_are_judged(busy: float, grown: int, found: int) -> None:
    rounds = added([3.0, 90.0, 3.0], [busy, 91.0, busy + 1])  # the median of the rounds' differences
    results = {
        "keys": 1, "plans": 1, "changes": 1, "added_ms": {"steady p99": rounds}, "all_keys_called_in_s": 1.0,
        "resident_bytes_before": 1, "resident_bytes_after": 1 + grown,
    }  # fmt: skip
    results["breaches"] = breaches(results)
    assert len(results["breaches"]) == found
    assert as_text(results).count("BREACH") == found
