"""The commands `semivl concepts ...`: they check, show and compare class definitions without loading a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from semivl_cli.concepts.diff import diff as changes_between
from semivl_cli.concepts.load import load_definition, read_definition
from semivl_cli.concepts.prompts import Variant, prompts, texts
from semivl_cli.concepts.sarif import to_sarif
from semivl_cli.concepts.schema import Definition
from semivl_cli.concepts.validate import UNPARSABLE, Problem
from semivl_cli.concepts.validate import validate as problems_of
from semivl_cli.errors import CheckFailed, InputError

app = typer.Typer(
    no_args_is_help=True,
    help="Check, show and compare class definitions (the words of a guideline).",
    epilog="Example: semivl concepts validate my.toml",
)

File = Annotated[str, typer.Argument(metavar="FILE", help="A .toml file, or the name of a shipped definition.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def validate(
    file: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, or names of shipped definitions.")],
    dataset: Annotated[str | None, typer.Option(help="Check that the classes are those of this dataset.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: Json = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code hosts.")] = False,
) -> None:
    """List everything that is wrong with definition files, each problem with its line.

    Exit code: 0 no errors, 1 errors (with --strict: or warnings), 2 a file could not be read or parsed.

    Example: semivl concepts validate definitions/voc.toml --dataset voc
    """
    if as_json and as_sarif:
        raise InputError("--json and --sarif were both given: choose one")
    dataset_classes = _classes_of(dataset) if dataset else None
    problems = [problem for name in file for problem in _problems_in(name, dataset_classes)]
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if as_json:
        _print_json({"errors": errors, "warnings": warnings, "problems": [asdict(problem) for problem in problems]})
    elif as_sarif:
        _print_json(to_sarif(problems, version("semivl")))
    else:
        for problem in problems:
            place = f"{problem.file}:{problem.line}: {problem.severity}"
            typer.echo(f"{place}: {problem.message} ({problem.advice}) [{problem.code}]")
    unparsable = {problem.file for problem in problems if problem.code in UNPARSABLE}
    found = f"{_count(errors, 'error')}, {_count(warnings, 'warning')} in {_count(len(file), 'file')}"
    if unparsable:
        raise InputError(f"{found}; could not read or parse: {', '.join(sorted(unparsable))}")
    if errors or (strict and warnings):
        raise CheckFailed(found)
    typer.echo(found, err=True)


@app.command()
def show(file: File, as_json: Json = False) -> None:
    """Show the classes of a definition: colours, concepts, what they exclude, prompts.

    Example: semivl concepts show voc
    """
    definition = load_definition(file)
    if as_json:
        _print_json(_with_prompts(definition))
    else:
        Console().print(_tree(definition))


@app.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="A", help="The definition before: a file or a shipped name.")],
    new: Annotated[str, typer.Argument(metavar="B", help="The definition after: a file or a shipped name.")],
    as_json: Json = False,
) -> None:
    """Tell what changed in meaning from A to B: classes, concepts that moved, colours, ids.

    Example: semivl concepts diff voc my-voc.toml
    """
    changes = changes_between(load_definition(old), load_definition(new))
    if as_json:
        _print_json([asdict(change) | {"sentence": change.sentence} for change in changes])
    else:
        typer.echo("\n".join(change.sentence for change in changes) or "nothing changed in meaning")


def _classes_of(dataset: str) -> tuple[str, ...]:
    from semivl_cli.data.registry import find_package_file, open_dataset  # noqa: PLC0415 - only --dataset needs plugins

    plugin = open_dataset(dataset)
    return load_definition(find_package_file(plugin, plugin.definition) or plugin.definition).names


def _problems_in(name: str, dataset_classes: tuple[str, ...] | None) -> list[Problem]:
    try:
        content, source = read_definition(name)
    except InputError as error:
        advice = "check the name"
        return [Problem(file=name, line=1, severity="error", code="unreadable", message=str(error), advice=advice)]
    return problems_of(content, source, dataset_classes=dataset_classes)


def _with_prompts(definition: Definition) -> dict[str, object]:
    """Return the definition as its file has it, with each class's id and prompts by variant."""
    shown = definition.model_dump(mode="json", by_alias=True)
    for class_id, item in enumerate(shown["class"]):
        item["id"] = class_id
        item["color"] = f"#{bytes(item['color']).hex()}"
        item["prompts"] = {kind: _prompts_of(definition, class_id, kind) for kind in ("name", "guideline", "concepts")}
    return shown


def _prompts_of(definition: Definition, class_id: int, variant: Variant) -> list[str]:
    found = texts(definition, variant)
    mine = (text for text, owner in zip(found.texts, found.class_of_text, strict=True) if owner == class_id)
    return [prompt for text in mine for prompt in prompts(text, definition.templates)]


def _tree(definition: Definition) -> Tree:
    tree = Tree(Text(f"{definition.title} ({len(definition.classes)} classes)", style="bold"))
    for class_id, item in enumerate(definition.classes):
        swatch = Text("██ ", style=f"#{bytes(item.color).hex()}")
        branch = tree.add(swatch + Text(f"{class_id} {item.name}", style="bold"))
        branch.add(Text(f"concepts: {', '.join(item.concepts)}"))
        if item.excludes:
            branch.add(Text(f"excludes: {', '.join(item.excludes)}"))
        if item.guideline:
            branch.add(Text(f"guideline: {item.guideline}"))
        branch.add(Text(f"prompts: {' | '.join(_prompts_of(definition, class_id, 'concepts'))}", style="dim"))
    return tree


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
