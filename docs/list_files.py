"""Writes the list of files in docs/architecture.md from their first lines: `python docs/list_files.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
HEADING = "## Every file and what it is for\n"
ROOMS = ("cli", "engine", "data", "model", "concepts", "report", "recipes")


def main() -> None:
    """Rewrite what stands below the heading."""
    PAGE.write_text(with_list(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_list(page: str) -> str:
    """Return the page with the list of today's files."""
    return page[: page.index(HEADING)] + HEADING + "".join(map(_section, _folders()))


def _folders() -> Iterator[Path]:
    """Every package, in the order of the staircase, each room before its sub-rooms."""
    package = ROOT / "semivl_cli"
    yield package
    for top in (*(package / room for room in ROOMS), ROOT / "plugins", ROOT / "definitions"):
        yield from sorted(path.parent for path in top.rglob("__init__.py"))


def _section(folder: Path) -> str:
    rows = [f"| `{path.name}` | {_purpose(path)} |\n" for path in sorted(folder.glob("*.py"))]
    return f"\n### `{folder.relative_to(ROOT).as_posix()}/`\n\n| file | is for |\n| --- | --- |\n{''.join(rows)}"


def _purpose(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text, f"{path} does not say what it is for"
    return text.splitlines()[0].replace("|", r"\|")


if __name__ == "__main__":
    main()
