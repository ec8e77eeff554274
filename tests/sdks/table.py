"""Writes docs/SDKS.md from what a run of the matrix saw.

    python -m tests.sdks.table            from the last run, which tests/sdks/test_matrix.py left behind

A cell of the table stands for many of the matrix: where these differ (plain or streamed, sync or async, by dialect),
it says so; that they are as they must be is for the tests to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.sdks.cases import CHECKOUT, VERSIONS
from tests.sdks.features import FEATURES, Feature
from tests.sdks.matrix import Cell
from tests.sdks.situations import SITUATIONS

DOCUMENT = CHECKOUT / "docs" / "SDKS.md"
LAST_RUN = CHECKOUT / ".cache" / "sdks-last-run.json"
NOTHING = "–"


@dataclass(frozen=True)
class Shown:
    """Of a cell, what the document shows."""

    version: str
    mode: str
    dialect: str
    form: str
    row: str
    outcome: str
    answer: str  # status, type and code as the gateway stated them; empty: it stated none
    credential: str

    @classmethod
    def of(cls, cell: Cell) -> Shown:
        case = cell.case
        return cls(
            str(case.version),
            "sync" if case.sync else "async",
            case.call.dialect,
            "stream" if case.streamed else "plain",
            case.row.name,
            cell.outcome,
            answer_of(cell),
            credential_of(cell),
        )


def answer_of(cell: Cell) -> str:
    said = cell.said
    if said is None:
        return ""
    status = "in the stream" if cell.case.streamed and said.status in (None, 200) else str(said.status)
    return " ".join([status, *(f"`{word}`" for word in (said.type, said.code) if word)])


def credential_of(cell: Cell) -> str:
    if not cell.sent:
        return ""
    headers = cell.sent[0].headers
    return (
        "X-Api-Key"
        if "x-api-key" in headers
        else "Authorization: Bearer"
        if "authorization" in headers
        else ""
    )


def save(cells: Iterable[Cell]) -> None:
    LAST_RUN.parent.mkdir(exist_ok=True)
    LAST_RUN.write_text(json.dumps([asdict(Shown.of(cell)) for cell in cells]))


def load() -> list[Shown]:
    return [Shown(**one) for one in json.loads(LAST_RUN.read_text())]


# The document


def render(shown: Sequence[Shown]) -> str:
    return "\n".join(
        [
            *introduction(shown),
            "",
            "## Refusals and failures",
            "",
            "In brackets: the requests that came of one call. Where nothing else is said, sync and async, plain and"
            " streamed, and all routes agree.",
            "",
            *refusals(shown),
            "",
            *after_refusals(),
            "",
            "## What works",
            "",
            *features(shown),
            "",
        ]
    )


def introduction(shown: Sequence[Shown]) -> list[str]:
    lines = [
        "# The official SDKs",
        "",
        "The official Python SDKs of OpenAI and Anthropic are test clients of this gateway: the newest of each, and an"
        " old major. Each runs unchanged, sync and async, against a real gateway on real"
        f" stores. This page is written from such a run of {len(shown)} cells by `python -m tests.sdks.table`, and a"
        " test compares the two.",
        "",
        "| SDK | sends the key as | cells |",
        "|---|---|---|",
    ]
    for version in map(str, VERSIONS):
        cells = [one for one in shown if one.version == version]
        sent = sorted({one.credential for one in cells if one.row == "plain"})
        lines.append(f"| {version} | {', '.join(f'`{name}`' for name in sent)} | {len(cells)} |")
    return [
        *lines,
        "",
        "The old ones are the far ends: other exceptions, another HTTP library, for Anthropic another header for the"
        " key, which the gateway takes either way on every route. The majors between were tried by hand: openai 2.54.0"
        " did all as 1.109.1 does, and anthropic 1.17.0 as 0.125.0, with httpx2 for httpx.",
    ]


def refusals(shown: Sequence[Shown]) -> list[str]:
    openai, openai_old, anthropic, anthropic_old = map(str, VERSIONS)
    lines = [
        f"| situation | OpenAI's routes answer | {openai} | {openai_old}"
        f" | Anthropic's routes answer | {anthropic} | {anthropic_old} |",
        "|---|---|---|---|---|---|---|",
    ]
    for situation in SITUATIONS:
        row = [one for one in shown if one.row == situation.name]
        cells = [situation.text]
        for newest, old in ((openai, openai_old), (anthropic, anthropic_old)):
            stated = [one for one in row if one.version in (newest, old)]
            cells.append(merged(stated, lambda one: one.answer or "nothing"))
            for version in (newest, old):
                cells.append(merged([one for one in row if one.version == version], exception))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def exception(one: Shown) -> str:
    name, _, requests = one.outcome.partition(" ")
    return f"`{name}` {requests}" if name != "answer" else f"an answer {requests}"


def merged(cells: Sequence[Shown], text: Callable[[Shown], str]) -> str:
    """One text for all, or one for each of the kinds by which they differ."""
    if not cells:
        return NOTHING
    kinds: tuple[Callable[[Shown], str], ...] = (
        lambda _: "",
        lambda one: one.form,
        lambda one: one.mode,
        lambda one: one.dialect,
        lambda one: f"{one.dialect} {one.form} {one.mode}",
    )
    for kind in kinds:
        found: dict[str, set[str]] = {}
        for one in cells:
            found.setdefault(kind(one), set()).add(text(one))
        if all(len(texts) == 1 for texts in found.values()):
            return "; ".join(f"{', '.join(names)}: {said}" if names != [""] else said
                             for said, names in by_text(found).items())  # fmt: skip
    return "; ".join(sorted({text(one) for one in cells}))


def by_text(found: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """The kinds that say the same, together."""
    together: dict[str, list[str]] = {}
    for name, (said,) in found.items():
        together.setdefault(said, []).append(name)
    return together


def after_refusals() -> list[str]:
    return [
        "An SDK retries twice of its own accord. It does not where the gateway says `x-should-retry: false`: no money,"
        " a window that is used up, our credentials, upstream's own budget, a timeout that may have been billed. Where"
        " a retry may help, `retry-after-ms` and `retry-after` say when. Nothing is retried once a stream has begun.",
        "",
        "Every request that goes on to upstream has a hold and a bill line of its own, a retry too: the SDKs send"
        " nothing by which two of them could be known for one. What upstream refused is released. A caller whose own"
        " timeout is shorter than the answer takes pays for each of the three plain answers that it did not wait for;"
        " a stream that its caller leaves is cancelled upstream and charged as far as it came.",
        "",
        "A name with a library before it is no exception of the SDK's own: it lets the one of its HTTP library"
        " through. Programs that stream should catch both.",
    ]


def features(shown: Sequence[Shown]) -> list[str]:
    versions = list(map(str, VERSIONS))
    lines = [
        f"| what | routes | {' | '.join(versions)} |",
        f"|---|---|{'---|' * len(versions)}",
    ]
    for name, text in {feature.name: feature.text for feature in FEATURES}.items():
        row = [one for one in shown if one.row == name]
        cells = [merged([one for one in row if one.version == version], worked) for version in versions]
        lines.append(f"| {text} | {routes(name)} | {' | '.join(cells)} |")
    return lines


def worked(one: Shown) -> str:
    name, _, requests = one.outcome.partition(" ")
    return f"✓ {requests}" if name == "answer" else f"`{name}` {requests}"


def routes(name: str) -> str:
    """The paths, those together that are tried in the same forms."""
    found: dict[tuple[bool, ...], list[str]] = {}
    by_path: dict[str, list[Feature]] = {}
    for feature in FEATURES:
        if feature.name == name:
            by_path.setdefault(feature.call.path, []).append(feature)
    for path, tried in by_path.items():
        found.setdefault(tuple(sorted({one.streamed for one in tried})), []).append(f"`{path}`")
    forms = {(False,): "plain", (True,): "streamed", (False, True): "plain and streamed"}
    return "; ".join(f"{', '.join(paths)} {forms[kind]}" for kind, paths in found.items())


def main() -> None:
    if not LAST_RUN.is_file():
        raise SystemExit("no run is kept: run `.venv/bin/python -m pytest tests/sdks` first")
    DOCUMENT.write_text(render(load()), "utf-8")


if __name__ == "__main__":
    main()
