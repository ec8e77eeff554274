"""The bench's arithmetic."""

from __future__ import annotations

import pytest

from bench.figures import Figure, line, median, percentile


def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.01, 0.5, 0.99, 1.0)] == [1, 1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_median_is_the_middle_or_between_the_two_in_the_middle() -> None:
    assert median([9, 1, 5]) == 5
    assert median([9, 1, 5, 6]) == 5.5
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_a_line_separates_what_a_stream_costs_from_what_a_chunk_costs() -> None:
    assert line([(10, 80 + 10 * 12), (200, 80 + 200 * 12), (400, 80 + 400 * 12)]) == pytest.approx((12, 80))


def test_a_line_through_scattered_points_is_the_least_squares_one() -> None:
    assert line([(0, 1), (1, 3), (2, 2)]) == pytest.approx((0.5, 1.5))


def test_a_line_needs_two_lengths() -> None:
    with pytest.raises(ValueError, match="two different lengths"):
        line([(10, 1), (10, 2)])


def test_a_ratio_is_taken_round_by_round() -> None:
    # the third round met a busy machine, and both sides of it did
    ours, theirs = Figure((20, 30, 80)), Figure((10, 10, 40))
    assert ours.over(theirs) == 2  # of 2, 3 and 2
    with pytest.raises(ValueError, match="zip"):
        ours.over(Figure((1, 2)))


def test_a_figure_tells_its_spread() -> None:
    figure = Figure((3.00049, 1.0, 2.0))
    assert figure.to_json() == {"median": 2.0, "low": 1.0, "high": 3.0, "rounds": [3.0, 1.0, 2.0]}
