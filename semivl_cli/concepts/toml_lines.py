"""Reads TOML, and tells on which line every table, key and list item of it stands, which `tomllib` does not."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Any

from semivl_cli.documents import tables_of

Path = tuple[str | int, ...]
"""Way to a value: `("class", 2, "concepts", 0)` is the first concept of the third class."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BETWEEN_ITEMS = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # up to two quotation marks may stand right before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_OTHER_VALUE = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]+|[^\s,\]}#]+")  # a date may have a space before its time


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML; raises as `tables_of`."""
    return tables_of(text.replace("\r\n", "\n"))


def lines_in(text: str) -> dict[Path, int]:
    """Return the line (from 1) of every table header, key and list item of text that is TOML."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


def line_of(path: Path, lines: dict[Path, int]) -> int:
    """Return the line of `path`, or of the nearest table or list around it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


class _Scanner:
    """Walks once over text that is known to be TOML, so it meets no mistakes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[Path, int] = {(): 1}
        self.tables_in: dict[Path, int] = {}  # how many `[[tables]]` each array of tables has so far

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self.take(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.take(_BLANK)
        return self.lines

    def header(self) -> Path:
        line = self.line()
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        *parents, last = self.keys()
        self.at += brackets
        path: Path = ()
        for key in parents:
            path = self.newest((*path, key))
            self.lines.setdefault(path, line)
        path = (*path, last)
        if brackets == 2:
            self.lines.setdefault(path, line)
            self.tables_in[path] = self.tables_in.get(path, 0) + 1
        path = self.newest(path)
        self.lines[path] = line
        return path

    def newest(self, path: Path) -> Path:
        return (*path, self.tables_in[path] - 1) if path in self.tables_in else path

    def pair(self, table: Path) -> None:
        line = self.line()
        path = table
        for key in self.keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self.take(_BLANK)
        self.value(path)

    def keys(self) -> list[str]:
        """Read `a . "b" . c` and the blanks around it."""
        found: list[str] = []
        while not found or self.text[self.at] == ".":
            self.at += bool(found)
            self.take(_BLANK)
            if self.text[self.at] in "\"'":
                found.append(tables_of(f"key = {self.take(_STRING)}")["key"])
            else:
                found.append(self.take(_BARE_KEY))
            self.take(_BLANK)
        return found

    def value(self, path: Path) -> None:
        self.lines.setdefault(path, self.line())
        first = self.text[self.at]
        if first in "\"'":
            self.take(_STRING)
        elif first in "[{":
            self.items(path, closing="]" if first == "[" else "}")
        else:
            self.take(_OTHER_VALUE)

    def items(self, path: Path, closing: str) -> None:
        self.at += 1
        self.take(_BLANK)
        index = 0
        while self.text[self.at] != closing:
            if closing == "]":
                self.value((*path, index))
            else:
                self.pair(path)
            index += 1
            self.take(_BETWEEN_ITEMS)
        self.at += 1

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match, f"not TOML at line {self.line()}"
        self.at = match.end()
        return match[0]

    def line(self) -> int:
        return bisect_left(self.newlines, self.at) + 1
