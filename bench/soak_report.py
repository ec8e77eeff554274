"""The soak's figures in words and as Markdown, from nothing but what a run tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIB = 1024 * 1024
Run = Mapping[str, Any]


def as_text(run: Run) -> str:
    """A few lines for the terminal."""
    (first, early), *_, (last, late) = run["resident_bytes"].items()
    lines = [
        f"a client that left: {run['gone']}; {run['streams']} streams, {run['rude']} of them rude,"
        f" {run['clients']} at a time, {run['seconds']} s, seed {run['seed']}",
        f"  seen: {_counts(run['saw'])}; bill lines: {_counts(run['bill_lines'])}; audit exit {run['audit_exit']}",
        f"  resident memory {_mib(early)} MiB after {first} streams, {_mib(late)} MiB after {last}:"
        f" {run['growth_bytes_per_stream']} bytes a stream (may pass: {run['growth_bytes_most']:.0f})",
        f"  open: {_counts(run['descriptors_after'])}; after the warm-up: {_counts(run['descriptors_before'])}",
    ]
    lines += [f"  BREACH: {breach}" for breach in run["breaches"]]
    return "\n".join([*lines, *(f"  | {row}" for row in run["log"])])


def as_markdown(results: Mapping[str, Any]) -> str:
    runs = results["runs"]
    settings = ", ".join(f"`{name}={value}`" for name, value in results["settings"].items())
    head = [
        "# Soak: streams in a row, a third of them rude",
        "",
        f"Made by `make soak`, {results['date']}, rabbitgw {results['version']}, Python {results['python']},"
        f" {results['cores']} cores. Settings beside the defaults: {settings}. The seed gives the same streams again."
        " Memory is what is resident after a collection of garbage.",
        "",
    ]
    rows = [
        ("a client that left", [run["gone"] for run in runs]),
        ("seed", [run["seed"] for run in runs]),
        ("streams", [run["streams"] for run in runs]),
        ("… of them rude", [run["rude"] for run in runs]),
        ("at a time", [run["clients"] for run in runs]),
        ("seconds", [run["seconds"] for run in runs]),
        ("clients saw", [_counts(run["saw"]) for run in runs]),
        ("bill lines", [_counts(run["bill_lines"]) for run in runs]),
        ("charged, nanos", [run["charged_nanos"] for run in runs]),
        *((f"left: {name}", [run["left"][name] for run in runs]) for name in runs[0]["left"]),
        ("descriptors after the warm-up", [_counts(run["descriptors_before"]) for run in runs]),
        ("descriptors at the end", [_counts(run["descriptors_after"]) for run in runs]),
        ("resident after the warm-up, MiB", [_mib(_resident(run)[0]) for run in runs]),
        ("resident at the end, MiB", [_mib(_resident(run)[-1]) for run in runs]),
        ("growth, bytes a stream", [run["growth_bytes_per_stream"] for run in runs]),
        ("… may pass", [run["growth_bytes_most"] for run in runs]),
        ("audit exit", [run["audit_exit"] for run in runs]),
        ("breaches", [len(run["breaches"]) for run in runs]),
    ]
    table = [_row(rows[0]), "|".join(["", "---", *["---:"] * len(runs), ""]), *map(_row, rows[1:])]
    breaches = [f"- {run['gone']}: {breach}" for run in runs for breach in run["breaches"]]
    return "\n".join([*head, *table, *(["", "## Breaches", "", *breaches] if breaches else [])]) + "\n"


def _row(row: tuple[str, list[Any]]) -> str:
    return "| " + " | ".join([row[0], *map(str, row[1])]) + " |"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "none"


def _resident(run: Run) -> list[int]:
    return list(run["resident_bytes"].values())


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"
