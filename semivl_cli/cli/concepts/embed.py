"""`semivl concepts embed`: the text vectors of a definition, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, print_json, print_line
from semivl_cli.cli.options import DefinitionArgument, Json, RecipeOfOption, WeightsOption
from semivl_cli.concepts.load import load_definition


def embed(
    file: DefinitionArgument,
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    weights: WeightsOption = None,
    dataset: RecipeOfOption = None,
    as_json: Json = False,
) -> None:
    """Write what CLIP makes of the words: one vector a concept, and one a class by name, guideline and mean.

    Kept in ~/.cache/semivl/text by a hash of words, templates and weights, so the second time needs no model.

    Example: semivl concepts embed voc --out voc-vectors.safetensors
    """
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.zero_shot import embed as engine  # noqa: PLC0415 - torch is imported when it is needed
        from semivl_cli.engine.zero_shot.recipe import zero_shot_config  # noqa: PLC0415

        engine.check_target(out)
        config = zero_shot_config(definition=file, weights=weights, dataset=dataset)
        vectors = engine.embed(config, load_definition(file, config.fidelity), reporter)
        engine.write_vectors(out, vectors)
    shapes = {name: list(tensor.shape) for name, tensor in vectors.tensors.items()}
    if as_json:
        print_json({"out": str(out), "tensors": shapes, "cached": vectors.cached})
    else:
        kinds = ", ".join(f"{name} {shape[0]} x {shape[1]}" for name, shape in shapes.items())
        print_line(f"{out}: {kinds}{' (from the cache)' if vectors.cached else ''}")
