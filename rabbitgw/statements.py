"""SQL by name: `statements.ledger.append_entries` is the text of sql/ledger/append_entries.sql.

Every file is read once, at import. Knows no connection. A name that has no file raises AttributeError; a test
looks for such names in the whole package, and prepares every statement on the real schema.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
# In a wheel the folder is inside the package; in a checkout it stands beside it.
SQL_FOLDER = _PACKAGE / "sql" if (_PACKAGE / "sql").is_dir() else _PACKAGE.parent / "sql"
MIGRATIONS_FOLDER = SQL_FOLDER / "migrations"


class StatementGroup:
    """The statements of one folder, as attributes."""

    __slots__ = ("_name", "_texts")

    def __init__(self, name: str, texts: dict[str, str]) -> None:
        self._name = name
        self._texts = texts

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(f"no statement sql/{self._name}/{name}.sql") from None

    def names(self) -> list[str]:
        return sorted(self._texts)


def without_header(text: str) -> str:
    """The statement without the comment lines on top, which are for readers and not for the server."""
    lines = text.splitlines()
    while lines and (lines[0].startswith("--") or not lines[0].strip()):
        lines.pop(0)
    return "\n".join(lines).strip().removesuffix(";")


def _load(folder: Path) -> dict[str, StatementGroup]:
    groups = {}
    for group in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        if group.name == MIGRATIONS_FOLDER.name:
            continue
        texts = {file.stem: without_header(file.read_text("utf-8")) for file in group.glob("*.sql")}
        groups[group.name] = StatementGroup(group.name, texts)
    return groups


GROUPS = _load(SQL_FOLDER)


def __getattr__(name: str) -> StatementGroup:
    try:
        return GROUPS[name]
    except KeyError:
        raise AttributeError(f"no folder sql/{name}/") from None
