"""The tables of a run, from a bench.json that is written here."""

from __future__ import annotations

from typing import Any

import pytest

from bench.figures import Figure
from bench.report import as_markdown, as_text, tables, units
from bench.run import PARTS, RESULTS, breaches, options


def results(**changes: Any) -> dict[str, Any]:
    """Two rounds: ours costs 2.5 and 1.5 times a chunk of nginx, and three times a request of nginx-lua."""
    found: dict[str, Any] = {
        "date": "2026-01-02T03:04:05+00:00",
        "quick": False,
        "machine": {"cores": 2, "cpu": "a CPU", "kernel": "6.1", "load_before": 0.25},
        "versions": {"nginx": "1.22.1"},
        "open_streams": 1000,
        "candidates": {
            "nginx": candidate(chunk_cpu_us=(10, 12), request_cpu_us_c16=(20, 20)),
            "nginx-lua": candidate(chunk_cpu_us=(20, 20), request_cpu_us_c16=(80, 90)),
            "rabbitgw": candidate(chunk_cpu_us=(25, 18), request_cpu_us_c16=(240, 270), stream_kib=(26.25,)),
        },
        "not_run": {},
        "money": None,
    }
    return found | changes


def candidate(**figures: tuple[float, ...]) -> dict[str, Any]:
    return {
        "title": "a title",
        "version": "1",
        "figures": {name: Figure(rounds).to_json() for name, rounds in figures.items()},
    }


def money(**changes: int) -> dict[str, Any]:
    zeros = (
        *("holds_left", "unbilled_answers", "lost_nanos"),
        *("overcharged_nanos", "estimate_excess_nanos", "ledger_gap_nanos"),
    )
    burst = {"name": "short", "whole": 99, "refused": 400, "cut": 1, "other": 0, "seconds": 1.5}
    return {
        **dict.fromkeys(zeros, 0),
        "worst_overspend_nanos": 1_500_000_000,
        "overspend_bound_nanos": 2_000_000_000,
        "whole_answers": 99,
        "audits": 3,
        "audits_failed": 0,
        "bursts": [{**burst, "overspend_nanos": 1_500_000_000}],
        "kills": {"gateways": 2, "workers": 2, "redis": 2, "seed": 7},
        **changes,
    }


def rows(found: dict[str, Any], title: str) -> dict[str, list[str]]:
    (table,) = (table for table in tables(found) if table.title.startswith(title))
    return {row[0]: list(row[1:]) for row in table.rows}


def test_targets_are_judged_by_ratios_of_the_same_rounds() -> None:
    said = rows(results(), "Targets")
    assert said["CPU per streamed chunk"] == ["≤ 2 × nginx", "2.00 ×", "met"]
    assert said["CPU per request, c=16"] == ["≤ 2.2 × nginx-lua", "3.00 ×", "not met"]


def test_a_peer_that_was_not_run_is_named_and_nothing_is_judged_by_it() -> None:
    left = {name: one for name, one in results()["candidates"].items() if name == "rabbitgw"}
    found = results(candidates=left, not_run={"nginx": "not run here: apt-get install nginx-light"})
    assert rows(found, "Targets")["CPU per streamed chunk"] == ["≤ 2 × nginx", "–", "–"]
    assert "nginx: not run here: apt-get install nginx-light" in as_text(found)


def test_a_cell_shows_the_median_and_the_spread_of_its_rounds() -> None:
    assert rows(results(), "CPU of")["rabbitgw"][4] == "21.50 (18.00–25.00)"
    assert rows(results(), "Memory")["rabbitgw"] == ["–", "26.2"]


def test_what_was_not_measured_has_no_table() -> None:
    assert [table.title.split()[0] for table in tables(results(candidates={}))] == []
    assert [table.title.split()[0] for table in tables(results(candidates={}, money=money()))] == [
        "Money:",
        "Bursts",
    ]


def test_text_and_markdown_say_the_same() -> None:
    found = results(money=money())
    text, markdown = as_text(found), as_markdown(found)
    for cell in ("21.50 (18.00–25.00)", "not met", "1.500000000", "bound 2.000000000", "seed 7"):
        assert cell in text
        assert cell in markdown
    assert "| CPU per request, c=16 | ≤ 2.2 × nginx-lua | 3.00 × | not met |" in markdown


def test_nanos_are_shown_exactly() -> None:
    assert units(234_391_235_001) == "234.391235001"
    assert units(7) == "0.000000007"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"lost_nanos": 3}, ["lost_nanos is 3"]),
        ({"holds_left": 1}, ["holds_left is 1"]),
        ({"worst_overspend_nanos": 2_000_000_001}, ["a wallet was overspent beyond the bound"]),
    ],
)
def test_money_that_was_lost_or_overspent_fails_the_run(changes: dict[str, int], said: list[str]) -> None:
    assert breaches(results(money=money(**changes))) == said


def test_only_a_whole_run_replaces_the_results() -> None:
    assert options([]).out == RESULTS
    assert options(["--quick"]).out == RESULTS
    assert options(["--only", "cpu"]).out is None
    assert options(["--only", *PARTS]).out == RESULTS
    assert options(["--candidates", "rabbitgw"]).out is None
