"""Where a caller stands with their rates, in OpenAI's names and forms."""

from __future__ import annotations

import pytest

from rabbitgw.proxy.rate_headers import duration, rate_lines


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"), (20, "20ms"), (999, "999ms"), (1000, "1s"), (1500, "1.5s"), (1001, "1.001s"), (59_990, "59.99s"),
        (60_000, "1m0s"), (360_000, "6m0s"), (61_200, "1m1.2s"), (3_600_000, "1h0m0s"), (86_400_000, "24h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_openai_does(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def test_only_what_a_rule_limits_is_told() -> None:
    assert rate_lines((60, 59, 1000, 0, 0, 0)) == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
    )
    assert rate_lines((0, 0, 0, 500, 0, 61_000)) == (
        b"x-ratelimit-limit-tokens: 500\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1m1s\r\n"
    )
    assert rate_lines((0, 0, 0, 0, 0, 0)) == b"", "calls in parallel have no such header"
