"""`semivl prepare data`: looks at a dataset, or lists all datasets; converts and downloads where that is asked for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, counted, one_line, percent, print_json, print_line, print_table
from semivl_cli.cli.options import DefinitionOption, Json, Root, settings_of
from semivl_cli.errors import CheckFailed


def data(
    dataset: Annotated[
        str | None,
        typer.Argument(help="Dataset plugin: folder, voc, shapes, or a plugin of yours. (default: list them all)"),
    ] = None,
    root: Root = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="Masks, annotations or more images to take in: COCO, labelme, CVAT, Label Studio, YOLO, VOC, ...",
            metavar="FILE|DIR",
        ),
    ] = None,
    definition: DefinitionOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch what is missing, where the publisher lets everyone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at a dataset: what is there, what is missing, how much of each class (shapes: write its scenes first).

    Exit code 1 where training would refuse something.

    Examples: semivl prepare data folder --root my/ --definition my.toml
              semivl prepare data voc --root /data/voc --download
              semivl prepare data voc --root /data/voc --from SegmentationClassAug.zip
    """
    if dataset is None:
        _list_datasets(as_json)
        return
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.prepare.data import prepare_data  # noqa: PLC0415

        flags = settings_of({"dataset": dataset, "data.root": root, "data.definition": definition})
        found = prepare_data(flags, sources or (), reporter, download=download)
    if as_json:
        print_json(asdict(found))
    else:
        for split, count in found.splits.items():
            print_line(f"{split}: {count.images} images, {count.with_mask} with a mask")
        rows = [[name, percent(share), str(found.class_images[name])] for name, share in found.class_shares.items()]
        print_table(
            f"classes in the masks ({percent(found.ignored_share)} % is ignored)", ["class", "pixels %", "masks"], rows
        )
        for note in found.notes:
            print_line(f"note: {one_line(note)}")
        for problem in found.problems:
            print_line(f"problem: {one_line(problem)}")
    if found.problems:
        raise CheckFailed(
            f"{counted(len(found.problems), 'kind')} of problem: training would refuse this dataset as it is"
        )


def _list_datasets(as_json: bool) -> None:
    """Print each dataset plugin with what it is, or why it cannot be used."""
    from semivl_cli.data.registry import available, open_dataset, title  # noqa: PLC0415

    states = available()  # name -> why it cannot be used, if so
    titles = {name: title(open_dataset(name)) if reason is None else "" for name, reason in states.items()}
    if as_json:
        print_json([{"name": name, "title": titles[name], "broken": reason} for name, reason in states.items()])
    else:
        for name, reason in states.items():
            print_line(f"{name}: {titles[name] if reason is None else f'BROKEN: {reason}'}")
