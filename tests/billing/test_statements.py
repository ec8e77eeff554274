"""Every statement in sql/ prepares, says what it takes, and every name used in the code exists."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

import rabbitgw
from rabbitgw import statements
from rabbitgw.statements import MIGRATIONS_FOLDER, SQL_FOLDER, without_header

FILES = sorted(file for file in SQL_FOLDER.glob("*/*.sql") if file.parent != MIGRATIONS_FOLDER)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


def header_of(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(line for line in lines[: len(lines) - len(without_header(text).splitlines())])


async def test_every_statement_prepares_and_its_header_matches(connection: asyncpg.Connection) -> None:
    assert FILES
    problems = []
    for file in FILES:
        name = f"{file.parent.name}/{file.name}"
        text = file.read_text("utf-8")
        try:
            prepared = await connection.prepare(without_header(text))
        except asyncpg.PostgresError as error:
            problems.append(f"{name}: {error}")
            continue
        described = list(dict.fromkeys(re.findall(r"\$(\d+) \w+", header_of(text))))
        expected = [str(n + 1) for n in range(len(prepared.get_parameters()))]
        if described != expected:
            problems.append(f"{name}: header names ${described}, the statement takes ${expected}")
        if prepared.get_attributes() and "Returns" not in header_of(text):
            problems.append(f"{name}: header does not say what it returns")
    assert not problems, "\n".join(problems)


def test_every_statement_file_begins_with_a_header() -> None:
    for file in FILES:
        text = file.read_text("utf-8")
        assert text.startswith("-- "), f"{file}: begins without a header"
        assert without_header(text), f"{file}: nothing but comments"


def names_used(source: Path) -> set[tuple[str, str]]:
    """(group, name) of each `statements.<group>.<name>` in the code of a file."""
    return {
        (node.value.attr, node.attr)
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "statements"
    }


def test_every_statement_named_in_the_package_exists_and_is_used() -> None:
    used = set()
    for source in Path(rabbitgw.__file__).parent.rglob("*.py"):
        used |= names_used(source)
    existing = {(group, name) for group in statements.GROUPS for name in statements.GROUPS[group].names()}
    assert not {use for use in used if use not in existing}
    assert not existing - used, "statements that nothing uses"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match=r"no folder sql/nothing/"):
        statements.nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"no statement sql/deployment/nothing\.sql"):
        statements.deployment.nothing  # noqa: B018


def test_header_is_cut_and_inner_comments_stay() -> None:
    assert without_header("-- a\n--\n\nSELECT 1\n-- why\nFROM t\n") == "SELECT 1\n-- why\nFROM t"
