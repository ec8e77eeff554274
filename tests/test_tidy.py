"""The style that no linter knows: sizes, headers, and things that may stand in one file only.

Each rule is a limit against the tail that spoils a codebase, not a wish about the middle. A breach names its file.
Words that are searched for here are put together from parts, so that this file does not find itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from rabbitgw import scripts

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rabbitgw"
LUA = PACKAGE / "billing" / "lua"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
PRELUDES = ("prologue", "amounts", "holds", "rates", "ends")
VAGUE = frozenset({"utils", "util", "helpers", "helper", "manager", "core", "base", "common", "misc"})

SQL = re.compile(
    r"\b(?:SELECT\s.+\sFROM\s|SELECT\s+\w+\(|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|(?:CREATE|ALTER|DROP)\s+(?:TABLE|INDEX|ROLE|DATABASE|FUNCTION|TYPE|VIEW|TRIGGER)\s"
    r"|TRUNCATE\s+\w|SET\s+ROLE\s+\w)",
    re.DOTALL,
)
CLOCK_MODULES = frozenset({"time"})  # datetime has the only other readers
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})

UNFINISHED = re.compile(
    r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b|Not" + r"ImplementedError"
    r"|\bpytest\.(?:mark\.)?(?:sk" + r"ip|sk" + r"ipif|xf" + r"ail|importorsk" + r"ip)\b"
)
# How this project came about is no part of it, and where it was built neither.
FOREIGN = re.compile(
    r"\.\./sha" + r"red|/wo" + r"rk/|\b[Ii]ss" + r"ue #?\d|\bDEC" + r"ISIONS?\b|\b(?:SP" + r"EC|DES" + r"IGN"
    r"|CONTR"
    + r"ACTS|DEPEND"
    + r"ENCIES)\.md|\bthe se"
    + r"eds\b|\bpy"
    + r"pi\.org|\bnpm"
    + r"js\.(?:com|org)"
)
TEXT_SUFFIXES = frozenset({".py", ".lua", ".sql", ".md", ".cfg", ".toml", ".json", ""})
TEXT_FOLDERS = ("rabbitgw", "sql", "tests", "bench", "docs", ".ci")
TEXT_FILES = (
    "README.md",
    "CHANGELOG.md",
    "Makefile",
    "setup.cfg",
    "pyproject.toml",
    "ruff.toml",
    ".gitignore",
)


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_files() -> list[Path]:
    return sorted([*python_files(), *LUA.glob("*.lua")])


def project_files() -> Iterator[Path]:
    """Every text that is ours to write: not the licence, not what was recorded elsewhere."""
    for name in TEXT_FILES:
        yield ROOT / name
    for folder in TEXT_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            ours = path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
            if ours and "fixtures" not in path.parts:
                yield path


@lru_cache(maxsize=512)
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def named(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """String constants with their lines; docstrings are prose and not among them."""
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def matches(pattern: re.Pattern[str], paths: Iterator[Path]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            match = pattern.search(line)
            if match is not None:
                found.append(f"{named(path, number)}: {match[0]}")
    return found


def test_no_file_is_too_long() -> None:
    sizes = {named(path): len(path.read_text("utf-8").splitlines()) for path in package_files()}
    assert not {name: lines for name, lines in sizes.items() if lines > FILE_LINES_MAX}


def test_no_function_is_too_long() -> None:
    long = {}
    for path in python_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{named(path, node.lineno)} {node.name}"] = lines
    assert not long


def test_every_module_says_what_it_owns() -> None:
    assert not [named(path) for path in python_files() if not ast.get_docstring(tree(path))]


def test_no_module_is_named_after_nothing() -> None:
    folders = {path.parent for path in python_files()}
    assert not [named(path) for path in (*python_files(), *folders) if path.stem in VAGUE]


def test_sql_stands_in_sql_only() -> None:
    found = [
        f"{named(path, line)}: {text[:60]!r}"
        for path in python_files()
        for line, text in strings(path)
        if SQL.search(text)
    ]
    assert not found


def test_key_names_are_made_in_one_file() -> None:
    prefix = "r" + "g:"
    found = [
        named(path, line)
        for path in python_files()
        if path.name != "keynames.py"
        for line, text in strings(path)
        if prefix in text
    ]
    found += [named(path) for path in LUA.glob("*.lua") if prefix in path.read_text("utf-8")]
    assert not found


def test_time_is_read_in_one_file() -> None:
    found = []
    for path in python_files():
        if path == PACKAGE / "clock.py":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                read = any(alias.name in CLOCK_MODULES for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                read = node.module in CLOCK_MODULES
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                read = (node.func.attr in CLOCK_CALLS and owner.split(".")[-1] in ("datetime", "date")) or (
                    node.func.attr == "time" and "loop" in owner
                )
            else:
                read = False
            if read:
                found.append(named(path, node.lineno))
    assert not found


def test_money_is_never_a_float() -> None:
    """An annotation says what a name holds; one that ends in _nanos never holds a float."""
    found = []
    for path in python_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.arg):
                name, annotation = node.arg, node.annotation
            elif isinstance(node, ast.AnnAssign):
                name, annotation = ast.unparse(node.target), node.annotation
            else:
                continue
            if name.endswith("_nanos") and annotation is not None and "float" in ast.unparse(annotation):
                found.append(f"{named(path, node.lineno)} {name}")
    assert not found


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_script_says_how_it_is_called(name: str) -> None:
    head = header(name)
    assert head.startswith(f"-- {name}: ")
    missing = [
        word
        for word in ("KEYS", "ARGV", "Replies", "Example")
        if not re.search(rf"^--\s+{word}\b", head, re.M)
    ]
    assert not missing


@pytest.mark.parametrize("name", PRELUDES)
def test_a_prelude_says_what_it_gives(name: str) -> None:
    head = header(name)
    assert head.startswith(f"-- {name}: ")
    assert re.search(r"^--\s+Gives\b", head, re.M)


def test_every_lua_file_is_a_script_or_a_prelude() -> None:
    assert {path.stem for path in LUA.glob("*.lua")} == {*scripts.NAMES, *PRELUDES}


def header(name: str) -> str:
    """The comment on top of a Lua file."""
    lines = (LUA / f"{name}.lua").read_text("utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:end])


def test_nothing_is_left_for_later() -> None:
    assert not matches(UNFINISHED, project_files())


def test_the_project_speaks_of_itself_only() -> None:
    """But for one line of .ci/run, which points at data of a third party where that is there."""
    found = matches(FOREIGN, project_files())
    assert len(found) <= 1
    assert all(one.startswith(".ci/run:") for one in found)
