"""What callers saw against bill lines and ledger, in literal nanos."""

from __future__ import annotations

from bench.bursts import SHAPES, Shape
from bench.reckoning import NOTHING, Line, Reckoning, reckon

COSTS = {"a": 100, "b": 30}


def test_books_that_agree_differ_by_nothing() -> None:
    lines = [Line("1", "a", "settled", 100), Line("2", "b", "settled", 30), Line("3", "b", "partial", 12)]
    found = reckon({"1": "a", "2": "b"}, COSTS, lines, paid_nanos=1000, left_nanos=858)
    assert found == Reckoning(2, 3, 0, 0, 0, 0, 0)


def test_a_whole_answer_without_a_line_is_lost() -> None:
    found = reckon({"1": "a", "2": "b"}, COSTS, [Line("2", "b", "settled", 30)], 1000, 970)
    assert (found.unbilled, found.lost_nanos) == (1, 100)


def test_a_whole_answer_that_is_billed_for_a_part_is_unbilled_and_the_rest_lost() -> None:
    found = reckon({"1": "a"}, COSTS, [Line("1", "a", "expired", 40)], 1000, 960)
    assert (found.unbilled, found.lost_nanos) == (1, 60)


def test_an_answer_that_was_cut_may_be_estimated_above_its_price() -> None:
    found = reckon({}, COSTS, [Line("2", "b", "partial", 45)], 1000, 955)
    assert (found.overcharged_nanos, found.estimate_excess_nanos, found.ledger_gap_nanos) == (0, 15, 0)


def test_a_line_above_its_price_is_overcharged_and_makes_up_for_no_other() -> None:
    lines = [Line("1", "a", "settled", 90), Line("2", "b", "settled", 45)]
    found = reckon({"1": "a"}, COSTS, lines, 1000, 865)
    assert (found.lost_nanos, found.overcharged_nanos, found.ledger_gap_nanos) == (10, 15, 0)


def test_a_ledger_that_fell_by_more_or_less_than_the_lines_has_a_gap() -> None:
    lines = [Line("1", "a", "settled", 100)]
    assert reckon({"1": "a"}, COSTS, lines, 1000, 899).ledger_gap_nanos == 1
    assert reckon({"1": "a"}, COSTS, lines, 1000, 901).ledger_gap_nanos == 1


def test_reckonings_add_up() -> None:
    assert NOTHING + Reckoning(1, 2, 3, 4, 5, 6, 7) + Reckoning(1, 1, 1, 1, 1, 1, 1) == Reckoning(
        2, 3, 4, 5, 6, 7, 8
    )


def test_the_price_of_a_shape_is_what_the_stub_states() -> None:
    # 19 tokens in at 1 000 nanos; out at 1 000 000
    assert Shape("", "stub-300-2").cost_nanos == 300_019_000
    assert Shape("", "stub-100-2-6").cost_nanos == 600_019_000
    assert Shape("", "stub-plain").cost_nanos == 50_019_000
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
