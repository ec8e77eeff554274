"""How commands speak: a JSON object for programs, a table for people. Logs and errors go to standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from rabbitgw.money import units


def print_json(body: Mapping[str, Any]) -> None:
    print(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Left-aligned columns under their names; nothing is cut."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(name), *(len(row[n]) for row in cells)) if cells else len(name)
        for n, name in enumerate(columns)
    ]
    for line in ([name.upper() for name in columns], *cells):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def money(nanos: int | None, currency: str = "") -> str:
    """Decimal units for people: "12.345678900 USD"; "-" where there is no amount."""
    return "-" if nanos is None else f"{units(nanos)} {currency}".rstrip()


def note(text: str) -> None:
    """A remark beside the result."""
    print(text, file=sys.stderr)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(one) for one in value) or "-"
    return str(value)
