"""Finds and opens definition files: shipped ones by name, others by path; alone opens `semivl_definitions`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from semivl_cli.concepts.checks import check
from semivl_cli.concepts.problems import Finding, Problem, Refused, visible
from semivl_cli.concepts.schema import Definition
from semivl_cli.concepts.toml_lines import line_of, lines_in, parse_toml
from semivl_cli.errors import InputError

Fidelity = Literal["paper", "published"]


def shipped() -> list[str]:
    """Return the names of the definitions that come with the package, sorted."""
    names = (item.name for item in files("semivl_definitions").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_definition(name_or_path: str | Path, fidelity: Fidelity = "paper") -> Definition:
    """Load a definition: a shipped name ("voc") or a path to a `.toml` file; `fidelity` as `parse_definition` takes it.

    Raises:
        InputError: there is no such definition, or it has errors (warnings do not count).
    """
    return parse_definition(*definition_bytes(name_or_path), fidelity)


def definition_text(name_or_path: str | Path) -> str:
    """Return the exact text of the file that `load_definition` would load, with its line ends.

    Raises:
        InputError: there is no such definition, or it is not UTF-8.
    """
    content, source = definition_bytes(name_or_path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 text: save it as UTF-8") from error


def definition_bytes(name_or_path: str | Path) -> tuple[bytes, str]:
    """Return the bytes of a definition file, unchecked, and how to name it in messages.

    Raises:
        InputError: there is no such definition, or its file cannot be read.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if isinstance(name_or_path, str) and name in shipped():
        return files("semivl_definitions").joinpath(f"{name}.toml").read_bytes(), name
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, shipped(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "give one of these names or a path to a .toml file"
        names = ", ".join(shipped())
        raise InputError(f"no such definition or file: {name!r}; shipped definitions are {names}: {hint}")
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise InputError(f"the definition {path} cannot be read: {error.strerror}") from error


def parse_definition(content: str | bytes, source: str, fidelity: Fidelity = "paper") -> Definition:
    """Turn the content of a definition file, with or without byte order mark, any line ends, into a definition.

    `source`: how to name the file in an error. `fidelity`: whose spelling of the words is taken, the file's own or that
    of its table `[published]`.

    Raises:
        InputError: there are errors; names the first and counts the others.
    """
    file = parse_file(content, source)
    definition, errors = check(file.values)
    if definition is None or errors:
        raise Refused(file.problems(errors))
    return definition.respelled() if fidelity == "published" else definition


@dataclass(frozen=True, kw_only=True)
class DefinitionFile:
    """A file that is TOML, whatever else is wrong with it."""

    source: str
    text: str
    values: dict[str, Any]

    def problems(self, findings: Sequence[Finding]) -> list[Problem]:
        """Put findings at their lines, in the order of these."""
        lines = lines_in(self.text) if findings else {}
        problems = [finding.at(self.source, line_of(finding.path, lines)) for finding in findings]
        return sorted(problems, key=attrgetter("line", "severity"))


def _remedy(lines: Sequence[str]) -> str:
    """Say how the line that is no TOML is written, if it only lacks quotation marks."""
    pair = re.match(r"\s*([\w-]+)\s*=\s*(.*?)\s*$", "".join(lines))
    key, value = pair.groups() if pair else ("", "")
    if value.startswith("#"):
        return f'# begins a comment: write {key} = "..." with quotation marks'
    if set(value) & set("\u201c\u201d\u201e\u00ab\u00bb"):
        return 'write straight quotation marks: "'
    if re.match(r"\[\s*[^\W\d]", value):
        return "write each text of the list in quotation marks"
    if re.match(r"[^\W\d][^\"']*$", value):
        return visible(f'write quotation marks: {key} = "{value[:80]}"')
    return "see https://toml.io for how TOML is written"


def parse_file(content: str | bytes, source: str) -> DefinitionFile:
    """Parse a file without looking at what it says.

    Raises:
        Refused: it is not UTF-8, or no TOML.
    """

    def refused(line: int, code: str, message: str, advice: str) -> Refused:
        return Refused([Finding((), code, message, advice).at(source, line)])

    try:
        text = (content if isinstance(content, str) else content.decode()).removeprefix("\ufeff")
        return DefinitionFile(source=source, text=text, values=parse_toml(text))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"byte {error.object[error.start]:#04x} is no UTF-8"
        raise refused(line, "encoding", message, "save the file as UTF-8") from error
    except ValueError as error:
        end = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(end[1]) if end and end[1] else text.rstrip().count("\n") + 1
        message = visible(str(error)[: end.start()] if end else str(error))
        raise refused(line, "syntax", message, _remedy(text.splitlines()[line - 1 : line])) from error
    except RecursionError as error:
        raise refused(1, "syntax", "lists are nested without end", "concepts are a plain list of texts") from error
