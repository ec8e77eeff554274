"""What the documents say is compared with the program: settings, commands, routes, events, errors, examples, links."""

from __future__ import annotations

import argparse
import ast
import asyncio
import configparser
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from rabbitgw import cli, errors
from rabbitgw.api.routes import SideDeps, side_routes
from rabbitgw.billing import bill_lines
from rabbitgw.billing.price_book import append_prices
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.config import Settings
from rabbitgw.dev.demo_upstream import start_demo_upstream
from rabbitgw.dev.run import DEMO_PRICES, sdk_variables
from rabbitgw.proxy.dialects import ALL_DIALECTS
from rabbitgw.proxy.front_paths import place_of
from rabbitgw.tally import METRICS
from tests.books import assert_books_balance
from tests.flows.house import house_settings, open_house
from tests.readme import parts, settings_markdown

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LOG_LEVELS = ("log", "warn", "error")
# What is another in every call: the README's bill is `make run`'s first, with its first user.
OF_THIS_CALL = frozenset(
    {"request_id", "id", "user_id", "price_version", "admitted_at", "first_byte_at", "finished_at"}
)
# Variables that are no settings of the program: the Makefile's.
OTHER_VARIABLES = frozenset({"RABBITGW_LITELLM_VENV", "RABBITGW_LOCALSTRIPE_VENV"})

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\w+=\S+ )*(?:\.venv/bin/)?rabbitgw (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FILE = re.compile(r"[\w/.-]*\w\.(?:py|lua|sql)\b")
PATH = re.compile(r"(?:rabbitgw|sql|tests|bench|docs)/[\w./-]*")
VARIABLE = re.compile(r"\b(?:RABBITGW|LITELLM|POSTGRES)_[A-Z_]+[A-Z]\b")


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def read(path: Path) -> str:
    return path.read_text("utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(read(path)) if kind == language]


def prose(path: Path) -> str:
    return BLOCK.sub("", read(path))


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Every line of a shell block that runs rabbitgw, as words."""
    for path in DOCS:
        for block in blocks(path, "sh"):
            for line in COMMAND.findall(block):
                yield path, shlex.split(line, comments=True)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def all_commands(parser: argparse.ArgumentParser, before: str = "rabbitgw") -> Iterator[str]:
    found = subcommands(parser)
    if not found:
        yield before
    for name, sub in found.items():
        yield from all_commands(sub, f"{before} {name}")


# -- settings --


def test_the_table_of_settings_is_the_programs() -> None:
    _, table, _ = parts(read(ROOT / "README.md"))
    assert table == settings_markdown(), "run: python -m tests.readme"


def test_every_variable_that_is_named_is_a_setting() -> None:
    known = {
        str(name)
        for field in Settings.model_fields.values()
        for name in cast(Any, field.validation_alias).choices
    }
    for path in DOCS:
        assert set(VARIABLE.findall(read(path))) <= known | OTHER_VARIABLES, path.name


# -- commands --


@pytest.mark.parametrize("words", [words for _, words in commands()], ids=" ".join)
def test_a_command_in_a_document_can_be_given(words: list[str]) -> None:
    cli.parser().parse_args(words)


def test_a_command_in_a_sentence_exists() -> None:
    for path in DOCS:
        for code in INLINE.findall(prose(path)):
            if not code.startswith("rabbitgw ") or "://" in code:
                continue
            parser = cli.parser()
            for word in code.split()[1:]:
                known = subcommands(parser)
                if not known:
                    break
                assert word in known, f"{path.name}: {code}"
                parser = known[word]


def test_every_command_stands_in_a_document() -> None:
    text = "\n".join(map(read, DOCS))
    missing = [command for command in all_commands(cli.parser()) if not _says(text, command)]
    assert not missing


def _says(text: str, command: str) -> bool:
    return re.search(rf"{re.escape(command)}\b", text) is not None


# -- routes, errors, bill lines, logs --


def test_every_route_stands_in_the_reference_and_no_other() -> None:
    nothing = cast(Any, argparse.Namespace(**dict.fromkeys(SideDeps.__dataclass_fields__)))
    ours = {f"{route.method} {re.sub(r':[^}]+}', '}', route.path)}" for route in side_routes(nothing)}
    calls = {dialect.path for dialect in ALL_DIALECTS}
    for path in (*calls, "/v1/models", "/v1/models/gpt-4o", "/v1/files", "/v1/", "/v1/adminx"):
        assert place_of(path.encode()).kind != "side", path
    for route in side_routes(nothing):
        assert place_of(route.path.encode()).kind == "side", route.path
    ours |= {f"POST {path}" for path in calls} | {"GET /v1/models", "GET /v1/models/{model}"}
    said = set(re.findall(r"`((?:GET|POST|DELETE) /[^`?]*)[`?]", read(ROOT / "docs/API.md")))
    assert said == ours


def test_every_error_code_stands_in_the_reference() -> None:
    text = read(ROOT / "docs/API.md")
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RabbitError)
    ]
    missing = {
        kind.code for kind in kinds if f"| {kind.http_status} | " not in text or f"`{kind.code}`" not in text
    }
    assert not missing


def test_every_field_of_a_bill_line_is_explained() -> None:
    tree = ast.parse(read(Path(bill_lines.__file__)))
    functions = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    fields: set[str] = {"request_id"}
    for name in ("booked_line", "_open_line"):
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Dict):
                fields |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
            elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
                fields |= {item.value for item in node.iter.elts if isinstance(item, ast.Constant)}
    text = read(ROOT / "docs/BILLING.md")
    assert len(fields) > 20, "the fields were not found"
    assert not {field for field in fields if f"`{field}`" not in text}


def test_every_log_event_is_explained() -> None:
    events = {event for path in (ROOT / "rabbitgw").rglob("*.py") for event in logged(ast.parse(read(path)))}
    text = read(ROOT / "docs/OPERATIONS.md")
    table = text[text.index("## Logs") :]
    assert len(events) > 20, "the events were not found"
    said = {
        code
        for line in table.splitlines()
        if line.startswith("| `")
        for code in INLINE.findall(line.split("|")[1])
    }
    assert said == events


def test_every_metric_is_explained_with_its_labels() -> None:
    text = read(ROOT / "docs/OPERATIONS.md")
    section = text[text.index("## Metrics") : text.index("## Logs")]
    said = {}
    for line in section.splitlines():
        if line.startswith(("| `rabbitgw_", "| `process_")):
            names, labels, *_ = line.strip("|").split("|")
            if re.fullmatch(r"(?: ?`\w+`,?)+ ", names):  # else it is an alert
                said |= {name: labels.strip() for name in INLINE.findall(names)}
    assert said == {name: ", ".join(metric.labels) for name, metric in METRICS.items()}


def logged(module: ast.Module) -> Iterator[str]:
    """The events that a module logs, by telemetry's functions or by a name that stands for one of them."""
    writers = {f"telemetry.{level}" for level in LOG_LEVELS}
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and any(writer in ast.unparse(node.value) for writer in writers):
            writers |= {ast.unparse(target) for target in node.targets}
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in writers:
            first = node.args[0]
            assert isinstance(first, ast.Constant), "an event is a literal"
            yield first.value


# -- examples and links --


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_python_in_a_document_compiles(path: Path) -> None:
    for block in blocks(path, "python"):
        compile(block, path.name, "exec")


async def test_the_examples_of_the_readme_are_answered_and_paid(
    dsn: str, redis_url: str, tmp_path: Path
) -> None:
    """As they stand there, by the official SDKs in processes of their own, told by the variables of dev.env."""
    openai_example, anthropic_example = blocks(ROOT / "README.md", "python")
    shown = json.loads(blocks(ROOT / "README.md", "json")[0])
    upstream = await start_demo_upstream()
    try:
        async with open_house(house_settings(dsn, redis_url, upstream.base_url, tmp_path)) as house:
            demo = [price_from_text(model, rates) for model, rates in DEMO_PRICES.items()]
            await append_prices(house.stores.pg, demo)
            await _sells(house, "demo-small")
            told = sdk_variables(house.base_url, house.secret)
            lines = (await _output(openai_example, told)).splitlines()
            assert lines[-2] == "11 tokens in, 48 out"
            bill = await house.bill(lines[-1].removeprefix("request "))
            assert bill["cost_nanos"] == 30_450
            assert (await house.wallet())["balance_nanos"] == 9_999_969_550
            assert list(bill) == list(shown)
            assert {name for name in bill if bill[name] != shown[name]} <= OF_THIS_CALL
            assert (await _output(anthropic_example, told)).split()[-1] == "48"
            assert (await house.wallet())["balance_nanos"] == 9_999_939_100
            await assert_books_balance(house)
    finally:
        await upstream.stop()


async def _output(example: str, variables: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def _sells(house: Any, model: str) -> None:
    async with asyncio.timeout(30):
        while model not in [one["id"] for one in (await house.get("/v1/models")).json()["data"]]:
            await asyncio.sleep(0.05)


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_file(), f"{path.name}: {target}"
        if fragment:
            assert fragment in {anchor(heading) for heading in HEADING.findall(BLOCK.sub("", read(file)))}, (
                target
            )


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = {code for code in INLINE.findall(prose(path)) if PATH.fullmatch(code)}
    assert not {name for name in named if not (ROOT / name).exists()}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_a_file_that_is_named_without_its_folder_exists(path: Path) -> None:
    """Also in the diagrams. `example.py` is the reader's own, and <name> stands for any."""
    ours = {
        file.name for folder in ("rabbitgw", "sql", "tests", "bench") for file in (ROOT / folder).rglob("*.*")
    }
    named = {
        Path(name).name for name in FILE.findall(read(path).replace("cli_*.py", "").replace("<name>.sql", ""))
    }
    assert named <= ours | {"example.py"}


# -- what stands in setup.cfg and the Makefile --


def test_the_layers_are_those_of_the_contract() -> None:
    text = read(ROOT / "docs/ARCHITECTURE.md")
    block = BLOCK.search(text, text.index("## Layers"))
    assert block is not None
    drawn = [name.strip() for name in re.split(r"[>|\s]+", block[2]) if name.strip()]
    layers = setup()["importlinter:contract:layers"]["layers"]
    assert drawn == [name.removeprefix("rabbitgw.") for name in re.split(r"[|\s]+", layers.strip())]


def test_every_dependency_has_its_reason() -> None:
    text = read(ROOT / "docs/ARCHITECTURE.md")
    table = text[text.index("## Dependencies") : text.index("## Why a migration runner")]
    config = setup()
    required = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    names = {line.partition("==")[0] for block in required for line in block.split("\n") if "==" in line}
    assert len(names) > 15, "the dependencies were not found"
    missing = {name for name in names if re.search(rf"\b{re.escape(name)}\b", table) is None}
    assert missing <= {"pytest-aiohttp", "pytest-asyncio", "pytest-timeout", "pytest-xdist"}  # named together
    rows = re.findall(r"^\| ([a-z][\w, -]*) \|", table, re.MULTILINE)
    said = {name for row in rows for name in row.split(", ")} - {"package"}
    assert said == {line.partition("==")[0].strip() for line in required[0].split("\n") if "==" in line}


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for path in DOCS:
        named = re.findall(r"\bmake ([a-z-]+)(?=[`\n ]*(?:`|#|$))", read(path), re.MULTILINE)
        assert set(named) <= targets, path.name
