"""What upstream says a call cost it: read exactly, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from rabbitgw.proxy.upstream_cost import stated_cost_nanos


@pytest.mark.parametrize(
    ("stated", "nanos"),
    [
        (b"0.0123456789", 12_345_679),
        (b"1.5e-05", 15_000),
        (b"0.0", 0),
        (0.1 + 0.2, 300_000_000),  # 0.30000000000000004
        (2.85e-06, 2_850),
        (7, 7_000_000_000),
        (b"1000000", 10**15),
        *(
            (bad, None)
            for bad in (b"", b"None", b"nan", b"-0.1", b"1000001", b"Infinity", b"9" * 65, True, None, {})
        ),
    ],
)
def test_a_cost_is_exact_or_none(stated: Any, nanos: int | None) -> None:
    assert stated_cost_nanos(stated) == nanos
