"""Keeps the table of settings in README.md equal to rabbitgw/config.py.

python -m tests.readme           write the table anew
"""

from __future__ import annotations

from pathlib import Path

from rabbitgw.config import settings_table

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->\n"


def settings_markdown() -> str:
    """Every setting, in the order of the class."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, default, text in settings_table():
        meaning = text.replace("|", "\\|")
        lines.append(f"| `{name}` | {f'`{default}`' if default else 'empty'} | {meaning} |")
    return "\n".join(lines) + "\n"


def parts(text: str) -> tuple[str, str, str]:
    """README.md before the table, the table, and after it. Raises: ValueError when a marker is missing."""
    begin = text.index(BEGIN) + len(BEGIN)
    end = text.index(END, begin)
    return text[:begin], text[begin:end], text[end:]


def main() -> None:
    before, _, after = parts(README.read_text("utf-8"))
    README.write_text(before + settings_markdown() + after, "utf-8")


if __name__ == "__main__":
    main()
