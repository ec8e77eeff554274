"""The figures of a run as tables, in text and in Markdown, from nothing but bench.json.

    python -m bench.report bench/results/bench.json

A cell is the median of the rounds and, where there is room, the lowest and highest of them. Ratios are taken round by
round against the peer's neighbour in time, then the median. Knows no process; plot.py draws from the same file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure

NGINX, LUA, OURS = "nginx", "nginx-lua", "rabbitgw"
CHUNK_TARGET = 2.0  # × plain nginx
REQUEST_TARGET = 2.2  # × nginx + Lua + Redis
JUDGED_AT = 16  # connections
NANOS_PER_UNIT = 1_000_000_000
NONE = "–"

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def figure(results: Results, candidate: str, name: str) -> Figure | None:
    """A figure of the run; None where it was not measured."""
    found = results["candidates"].get(candidate, {}).get("figures", {}).get(name)
    return Figure(tuple(found["rounds"])) if found else None


def ratio(results: Results, name: str, over: str, candidate: str = OURS) -> float | None:
    """How many times the peer's figure a candidate's is; None where one of them was not measured."""
    mine, theirs = figure(results, candidate, name), figure(results, over, name)
    return mine.over(theirs) if mine and theirs else None


def tables(results: Results) -> list[Table]:
    """What was measured, in the order in which it is read."""
    found = []
    if _measured(results, "chunk_cpu_us"):
        found += [_targets(results), _cpu(results), _requests(results)]
    if _measured(results, "added_chunk_p50_us"):
        found.append(_latency(results))
    if _measured(results, "stream_kib"):
        found.append(_memory(results))
    if results.get("money"):
        found += [_money(results["money"]), _bursts(results["money"])]
    return found


def _measured(results: Results, name: str) -> bool:
    return any(figure(results, candidate, name) for candidate in results["candidates"])


def _targets(results: Results) -> Table:
    rows = []
    for what, name, over, target in (
        ("CPU per streamed chunk", "chunk_cpu_us", NGINX, CHUNK_TARGET),
        (f"CPU per request, c={JUDGED_AT}", f"request_cpu_us_c{JUDGED_AT}", LUA, REQUEST_TARGET),
    ):
        times = ratio(results, name, over)
        state = NONE if times is None else "met" if times <= target else "not met"
        rows.append((what, f"≤ {target:g} × {over}", _times(times), state))
    return Table("Targets", ("what", "target", "measured", ""), rows)


def _cpu(results: Results) -> Table:
    rows = []
    request = f"request_cpu_us_c{JUDGED_AT}"
    for name in _names(results):
        rows.append(
            (
                name,
                _cell(results, name, request, 1),
                _times(ratio(results, request, NGINX, name)),
                _times(ratio(results, request, LUA, name)),
                _cell(results, name, f"request_redis_us_c{JUDGED_AT}", 1),
                _cell(results, name, "chunk_cpu_us", 2),
                _times(ratio(results, "chunk_cpu_us", NGINX, name)),
                _times(ratio(results, "chunk_cpu_us", LUA, name)),
                _cell(results, name, "stream_cpu_us", 0),
            )
        )
    head = (
        "candidate",
        "µs/request",
        "× nginx",
        "× nginx-lua",
        "Redis µs/request",
        "µs/chunk",
        "× nginx",
        "× nginx-lua",
        "µs/stream, without its chunks",
    )
    return Table(f"CPU of the gateway's process (requests: c={JUDGED_AT})", head, rows)


def _requests(results: Results) -> Table:
    ends = (1, 16, 64)
    head = ["candidate"]
    for end in ends:
        head += [f"req/s c={end}", f"µs/request c={end}", f"× nginx-lua c={end}"]
    rows = []
    for name in _names(results):
        row = [name]
        for end in ends:
            row.append(_cell(results, name, f"requests_per_s_c{end}", 0))
            row.append(_cell(results, name, f"request_cpu_us_c{end}", 1))
            row.append(_times(ratio(results, f"request_cpu_us_c{end}", LUA, name)))
        rows.append(row)
    return Table("Closed loop, not streamed", head, rows)


def _latency(results: Results) -> Table:
    names = [f"{what}_{share}_us" for what in ("answer", "first_byte", "chunk") for share in ("p50", "p99")]
    rows = [
        ("stub, absolute", *(_cell(results, "stub", name, 0) for name in names)),
        *(
            (candidate, *(_cell(results, candidate, f"added_{name}", 0) for name in names))
            for candidate in _names(results)
        ),
    ]
    head = (
        "adds, µs",
        "answer p50",
        "answer p99",
        "first byte p50",
        "first byte p99",
        "chunk p50",
        "chunk p99",
    )
    return Table("Open loop: what is added to going straight to the stub", head, rows)


def _memory(results: Results) -> Table:
    rows = [
        (name, _cell(results, name, "rss_mib", 1), _cell(results, name, "stream_kib", 1))
        for name in _names(results)
    ]
    head = ("candidate", "RSS before, MiB", "growth per open stream, KiB")
    return Table(f"Memory, {results['open_streams']} open streams", head, rows)


def _money(money: Results) -> Table:
    rows = [
        (
            "worst overspend of a wallet",
            units(money["worst_overspend_nanos"]),
            f"bound {units(money['overspend_bound_nanos'])}",
        ),
        ("holds left after the sweep", f"{money['holds_left']}", "0"),
        (
            "whole answers without a settled bill line",
            f"{money['unbilled_answers']} of {money['whole_answers']}",
            "0",
        ),
        ("nanos lost (whole answers against bill lines)", f"{money['lost_nanos']}", "0"),
        ("nanos charged beyond a call's price", f"{money['overcharged_nanos']}", "0"),
        ("… of answers cut short, whose input is estimated", f"{money['estimate_excess_nanos']}", NONE),
        ("nanos between bill lines and ledger", f"{money['ledger_gap_nanos']}", "0"),
        ("audits that found a breach", f"{money['audits_failed']} of {money['audits']}", "0"),
    ]
    kills = money["kills"]
    title = (
        f"Money: {len(money['bursts'])} bursts of 500 calls on a wallet for 100; SIGKILL of {kills['gateways']} "
        f"gateways, {kills['workers']} bookkeepers, {kills['redis']} Redis under load (seed {kills['seed']})"
    )
    return Table(title, ("what", "measured", "may be"), rows)


def _bursts(money: Results) -> Table:
    rows = [
        (
            one["name"],
            str(one["whole"]),
            str(one["refused"]),
            str(one["cut"] + one["other"]),
            units(one["overspend_nanos"]),
            f"{one['seconds']:.1f}",
        )
        for one in money["bursts"]
    ]
    head = ("burst", "whole", "refused", "cut", "overspend", "s")
    return Table("Bursts", head, rows)


def _names(results: Results) -> list[str]:
    return [name for name in results["candidates"] if name != "stub"]


def _cell(results: Results, candidate: str, name: str, digits: int) -> str:
    found = figure(results, candidate, name)
    if found is None:
        return NONE
    if len(found.rounds) == 1:
        return f"{found.median:.{digits}f}"
    return f"{found.median:.{digits}f} ({found.low:.{digits}f}–{found.high:.{digits}f})"


def _times(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} ×"


def units(nanos: int) -> str:
    """Nanos as units of the currency, exact."""
    whole, rest = divmod(nanos, NANOS_PER_UNIT)
    return f"{whole}.{rest:09d}"


def facts(results: Results) -> list[str]:
    """Where and when; and who was not run."""
    machine = results["machine"]
    lines = [
        f"{results['date']}, {machine['cores']} cores, {machine['cpu']}, Linux {machine['kernel']},"
        f" load before {machine['load_before']:.2f}{', QUICK' if results['quick'] else ''}",
        ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    ]
    lines += [f"{name}: {one['title']}" for name, one in results["candidates"].items() if one.get("figures")]
    return [*lines, *(f"{name}: {reason}" for name, reason in results["not_run"].items())]


def as_text(results: Results) -> str:
    blocks = ["\n".join(facts(results))]
    for table in tables(results):
        rows = [list(table.head), *map(list, table.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
        lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
        blocks.append("\n".join([table.title, "", lines[0], "-" * len(lines[0]), *lines[1:]]))
    return "\n\n".join(blocks) + "\n"


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = (
        (cell.ljust if not at else cell.rjust)(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return [first, *rest]


def as_markdown(results: Results) -> str:
    blocks = ["# Bench", "\n".join(f"- {fact}" for fact in facts(results)), "![figures](bench.svg)"]
    for table in tables(results):
        rule = ["---", *["---:"] * (len(table.head) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (table.head, rule, *table.rows)]
        blocks.append(f"## {table.title}\n\n" + "\n".join(lines))
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    print(as_text(json.loads(Path(sys.argv[1]).read_text("utf-8"))), end="")
