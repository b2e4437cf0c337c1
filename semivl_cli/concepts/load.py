"""Finds and opens definition files: shipped ones by name, others by path; alone opens `semivl_definitions`."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from semivl_cli.concepts.lines import parse_with_lines
from semivl_cli.concepts.schema import Definition
from semivl_cli.concepts.validate import validate
from semivl_cli.errors import InputError


def shipped() -> list[str]:
    """Return the names of the definitions that come with the package, sorted."""
    names = (item.name for item in files("semivl_definitions").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_definition(name_or_path: str | Path, base: Path | None = None) -> Definition:
    """Load a definition.

    Args:
        name_or_path: a shipped name ("voc") or a path to a `.toml` file.
        base: the folder of a plugin's package; a file of that name in it comes before shipped names and other paths.

    Raises:
        InputError: there is no such definition, or it has errors (warnings do not count).
    """
    return parse_definition(*read_definition(name_or_path, base))


def definition_text(name_or_path: str | Path, base: Path | None = None) -> str:
    """Return the exact text of the file that `load_definition` would load, with its line ends.

    Raises:
        InputError: there is no such definition, or it is not UTF-8.
    """
    content, source = read_definition(name_or_path, base)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 text: save it as UTF-8") from error


def read_definition(name_or_path: str | Path, base: Path | None = None) -> tuple[bytes, str]:
    """Return the bytes of a definition file, unchecked, and how to name it in messages.

    Raises:
        InputError: there is no such definition, or its file cannot be read.
    """
    name = str(name_or_path)
    path = base / name if base is not None and (base / name).is_file() else Path(name_or_path)
    if isinstance(name_or_path, str) and name in shipped() and path == Path(name):
        return files("semivl_definitions").joinpath(f"{name}.toml").read_bytes(), name
    if not path.is_file():
        raise InputError(_not_found(name))
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise InputError(f"the definition {path} cannot be read: {error.strerror}") from error


def parse_definition(text: str | bytes, source: str) -> Definition:
    """Turn the text of a definition file into a definition.

    Args:
        text: the content, with or without byte order mark, any line ends.
        source: how to name the file in an error.

    Raises:
        InputError: the text has errors; names the first and counts the others.
    """
    content = text.encode() if isinstance(text, str) else text
    errors = [problem for problem in validate(content, source) if problem.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InputError(
            f"{first.file}:{first.line}: {first.message}: {first.advice}{more}; "
            f"see all with: semivl concepts validate {source}"
        )
    values, _ = parse_with_lines(content.decode("utf-8-sig"))
    return Definition.model_validate(values)


def _not_found(name: str) -> str:
    names = shipped()
    near = difflib.get_close_matches(Path(name).stem, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "give one of these names or a path to a .toml file"
    return f"no such definition or file: {name!r}; shipped definitions are {', '.join(names)}: {hint}"
