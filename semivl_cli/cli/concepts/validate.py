"""`semivl concepts validate`: everything that is wrong with definition files; `--weights` alone loads a model."""

from __future__ import annotations

from dataclasses import asdict
from operator import attrgetter
from typing import Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, counted, print_json
from semivl_cli.cli.options import Json, definition_named
from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.problems import UNPARSABLE, Problem
from semivl_cli.concepts.sarif import to_sarif
from semivl_cli.concepts.validate import validate_file
from semivl_cli.errors import CheckFailed, InputError


def validate(
    file: Annotated[list[str], typer.Argument(metavar="FILE", help="Files or shipped names.")],
    dataset: Annotated[str | None, typer.Option(help="The classes must be this dataset's.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Also ask this CLIP what it confuses.", metavar="MODEL[:TAG]|FILE")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: Json = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code hosts.")] = False,
) -> None:
    """List everything that is wrong with definition files, with its lines.

    Exit code: 0 no errors, 1 errors (with --strict: or warnings), 2 a file could not be read or parsed.

    Example: semivl concepts validate definitions/voc.toml --dataset voc
             semivl concepts validate my.toml --weights ViT-B-16:openai
    """
    if as_json and as_sarif:
        raise InputError("--json and --sarif were both given: choose one")
    dataset_classes = None
    if dataset:
        from semivl_cli.data.registry import open_dataset, own_definition  # noqa: PLC0415 - only --dataset needs plugins

        dataset_classes = load_definition(own_definition(open_dataset(dataset))).names
    problems: list[Problem] = []
    for name in (str(definition_named(given)) for given in file):
        found = validate_file(name, dataset_classes)
        if weights is not None and not any(problem.severity == "error" for problem in found):
            from semivl_cli.engine.zero_shot.separability import indistinct_words  # noqa: PLC0415 - needs torch

            found += indistinct_words(name, weights=weights, dataset=dataset, reporter=ConsoleReporter())
        problems += sorted(found, key=attrgetter("line", "severity"))
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if as_json:
        print_json({"errors": errors, "warnings": warnings, "problems": [asdict(problem) for problem in problems]})
    elif as_sarif:
        print_json(to_sarif(problems))
    else:
        for problem in problems:
            where = f"{problem.file}:{problem.line}: {problem.severity}"
            typer.echo(f"{where}: {problem.message} ({problem.advice}) [{problem.code}]")
    unparsable = {problem.file for problem in problems if problem.code in UNPARSABLE}
    summary = f"{counted(errors, 'error')}, {counted(warnings, 'warning')} in {counted(len(file), 'file')}"
    if unparsable:
        raise InputError(f"{summary}; could not read or parse: {', '.join(sorted(unparsable))}")
    if errors or (strict and warnings):
        raise CheckFailed(summary)
    typer.echo(summary, err=True)
