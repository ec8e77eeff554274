"""bench.svg: what matters of bench.json at a glance, one panel each, the same colour for the same candidate.

python -m bench.plot bench/results/bench.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from bench.figures import Figure
from bench.report import CHUNK_TARGET, JUDGED_AT, LUA, NGINX, REQUEST_TARGET, Results, figure

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLORS = {"nginx": "#8c8c8c", "nginx-lua": "#4c78a8", "aiohttp": "#b8a06a", "rabbitgw": "#d1495b"}
NO_METADATA = {"Date": None, "Creator": None}  # the same figures give the same file


@dataclass(frozen=True)
class Panel:
    """Bars by candidate. `limit`: a line at so many times a peer's figure; `per`: how many of the JSON's make one."""

    title: str
    name: str
    unit: str
    limit: tuple[str, float] | None = None
    per: int = 1


PANELS = (
    Panel(
        f"CPU per request, not streamed, c={JUDGED_AT}",
        f"request_cpu_us_c{JUDGED_AT}",
        "µs",
        (LUA, REQUEST_TARGET),
    ),
    Panel("CPU per streamed chunk", "chunk_cpu_us", "µs", (NGINX, CHUNK_TARGET)),
    Panel("Added to the first byte of a stream, p50", "added_first_byte_p50_us", "ms", per=1000),
    Panel("Added to the first byte of a stream, p99", "added_first_byte_p99_us", "ms", per=1000),
    Panel("Added to a chunk, p99", "added_chunk_p99_us", "ms", per=1000),
    Panel("Memory per open stream", "stream_kib", "KiB"),
)


def draw(results: Results, out: Path) -> None:
    """Write the picture; panels that were not measured are left out."""
    panels = [panel for panel in PANELS if any(figure(results, name, panel.name) for name in COLORS)]
    if not panels:
        return
    rows = (len(panels) + 1) // 2
    settings = {"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif", "font.size": 9}
    with mpl.rc_context(settings):
        sheet, axes = plt.subplots(rows, 2, figsize=(10, 2.1 * rows + 0.4), squeeze=False)
        places: Sequence[Axes] = axes.flatten().tolist()
        for place, panel in zip(places, panels, strict=False):
            _panel(place, panel, results)
        for place in places[len(panels) :]:
            place.set_visible(False)
        sheet.tight_layout(h_pad=1.6, w_pad=2.4)
        sheet.savefig(out, format="svg", metadata=NO_METADATA)
        plt.close(sheet)


def _panel(place: Axes, panel: Panel, results: Results) -> None:
    found = [
        (name, Figure(tuple(value / panel.per for value in one.rounds)))
        for name in COLORS
        if (one := figure(results, name, panel.name)) is not None
    ]
    for at, (name, one) in enumerate(found):
        spread = [[max(0.0, one.median - one.low)], [max(0.0, one.high - one.median)]]
        place.barh(
            at, one.median, color=COLORS[name], xerr=spread, error_kw={"ecolor": "#333333", "elinewidth": 0.8}
        )
        place.annotate(
            f"{one.median:.3g}" if abs(one.median) < 100 else f"{one.median:,.0f}",
            (max(one.high, 0.0), at),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    place.set_yticks(range(len(found)), [name for name, _ in found])
    place.invert_yaxis()
    place.set_title(f"{panel.title}, {panel.unit}", loc="left", fontsize=10)
    place.margins(x=0.2)
    place.set_xlim(left=min(0.0, place.get_xlim()[0]) if any(one.low < 0 for _, one in found) else 0.0)
    peer = figure(results, panel.limit[0], panel.name) if panel.limit else None
    if panel.limit and peer:
        limit = panel.limit[1] * peer.median / panel.per
        place.axvline(limit, color="#333333", linestyle=":", linewidth=1.2)
        place.annotate(
            f"target: {panel.limit[1]:g} × {panel.limit[0]}",
            (limit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            va="top",
            fontsize=8,
        )
    for side in ("top", "right"):
        place.spines[side].set_visible(False)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(json.loads(source.read_text("utf-8")), source.with_suffix(".svg"))
