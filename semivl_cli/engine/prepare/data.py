"""Serves `semivl prepare data`: lets the plugin make its files, writes a definition where none is, looks at it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semivl_cli.concepts.load import definition_text, parse_definition, shipped
from semivl_cli.concepts.propose import propose_definition
from semivl_cli.data.choose.index import find_root
from semivl_cli.data.choose.survey import Survey, survey
from semivl_cli.data.contract import Converts, FindsClasses, Prepares
from semivl_cli.data.registry import open_dataset, plugin_code
from semivl_cli.engine.assemble import read_definition
from semivl_cli.engine.precedence import configure
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import write_bytes
from semivl_cli.reporter import Reporter


def prepare_data(
    flags: Mapping[str, Any], sources: Sequence[Path], reporter: Reporter, *, download: bool = False
) -> Survey:
    """Let the plugin prepare its files where it does so, then read every image and mask once and say what is there.

    The plugin converts `sources`, files or folders, and may `download` what is missing.

    Raises:
        InputError: if there is no such dataset, its definition has errors, or a source is nothing that can be read.
        RunError: if files cannot be written.
    """
    config = configure(flags)
    dataset = open_dataset(config.dataset)
    root = find_root(dataset.name, config.data.root)
    reporter.note(f"looking at {dataset.name} in {root}")
    if config.data.definition is None and not dataset.definition and isinstance(dataset, FindsClasses):
        with plugin_code(dataset, "finding classes"):
            definition = parse_definition(*_proposed(dataset, root, sources, reporter))
    else:
        definition = parse_definition(*read_definition(config, dataset))
    if isinstance(dataset, Converts):
        dataset.options = _options(root, config.data.definition)
    if isinstance(dataset, Prepares):
        classes = tuple(zip(definition.names, definition.colors, strict=True))
        with plugin_code(dataset, "preparing"):
            dataset.prepare(root, sources, classes, download, reporter.note)
    elif download:
        raise InputError(f"dataset {dataset.name!r} has nothing to download: put its files into {root}")
    elif sources:
        raise InputError(f"dataset {dataset.name!r} converts nothing: --from is for those that do, such as folder")
    return survey(dataset, root, definition.names)


def _options(root: Path, definition: str | None) -> dict[str, str]:
    """Return the options of this call that hold wherever it is repeated."""
    if definition is not None and definition not in shipped():
        definition = str(Path(definition).absolute())
    return {"--root": str(root.absolute()), **({} if definition is None else {"--definition": definition})}


def _proposed(dataset: FindsClasses, root: Path, sources: Sequence[Path], reporter: Reporter) -> tuple[str, str]:
    """Return a definition and its path: the one that was proposed before, else a new one, which is written."""
    path = root / "definition.toml"
    if path.is_file():
        reporter.note(f"no --definition: taking {path}")
        return definition_text(path), str(path)
    found = dataset.find_classes(root, sources, reporter.note)
    text = propose_definition(f"Classes found in {root.name}", found.classes)
    parts = {path: text}
    if found.values:
        pairs = ", ".join(f"{value} = {number}" for number, value in enumerate(found.values))
        parts[root / "dataset.toml"] = f"# raw value of the masks = class id\nvalues = {{ {pairs} }}\n"
    for name, content in parts.items():
        if name.exists():
            continue
        try:
            root.mkdir(parents=True, exist_ok=True)
            write_bytes(name, content.encode())
        except OSError as error:
            raise RunError(
                f"{name}: cannot be written ({error.strerror or error}): write a definition elsewhere, and pass it: "
                "--definition FILE"
            ) from error
        reporter.note(f"wrote {name}: {len(found.classes)} classes, from what the files show; look at it")
    return text, str(path)
