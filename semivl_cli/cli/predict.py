"""`semivl predict`: images in, mask PNGs out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, counted, print_json
from semivl_cli.cli.options import DefinitionOption, Device, Images, JsonLines, RecipeOfOption, WeightsOption
from semivl_cli.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from semivl_cli.engine.infer.predict import Prediction


def predict(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    run: Annotated[Path | None, typer.Option(help="Run directory. (default: the newest run)")] = None,
    overlays: Annotated[
        bool, typer.Option("--overlay", help="Also paint the classes over each picture, into overlays/ below --out.")
    ] = False,
    legend: Annotated[
        bool, typer.Option("--legend", help="Also draw what the colours mean, as overlays/legend.png.")
    ] = False,
    definition: DefinitionOption = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Let the frozen CLIP segment, without any run: --definition says what.")
    ] = False,
    value_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Numbers that pictures of more than 8 bits show black and white. (default: as in the run's training)",
        ),
    ] = None,
    weights: WeightsOption = None,
    dataset: RecipeOfOption = None,
    device: Device = None,
    as_json: JsonLines = False,
) -> None:
    """Segment your own images: one palette PNG a picture, in its size, with the definition's colours.

    Folders are searched to any depth; masks go to the same place below --out. Nothing is overwritten that this command
    has not written. Exit code 1: some pictures, or folders, could not be read; all others are done.

    With --definition, a trained model takes other concepts or another class list: its decoder knows classes by their
    words alone.

    Example: semivl predict images/ --out masks/ --overlay --legend
             semivl predict images/ --out masks/ --run runs/shapes-12-1 --definition other.toml
             semivl predict images/ --out masks/ --zero-shot --definition voc
    """
    failed, where = 0, device or "auto"
    if zero_shot and run is not None:
        raise InputError(f"--zero-shot takes no run, and --run {run} was given: leave one of them out")
    if not zero_shot and (weights is not None or dataset is not None):
        raise InputError("--weights and --dataset go with --zero-shot: a run knows its own")
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.infer import plan as planning  # noqa: PLC0415

        plan = planning.plan_predictions(images, out, overlays=overlays, legend=legend)
        for line in plan.notes:
            reporter.note(f"note: {line}")
        # torch is imported only when it is needed
        from semivl_cli.engine.infer import predict as pictures  # noqa: PLC0415
        from semivl_cli.engine.infer.predictor import load  # noqa: PLC0415
        from semivl_cli.engine.infer.segmenter import Segmenter  # noqa: PLC0415
        from semivl_cli.engine.zero_shot.recipe import zero_shot_config  # noqa: PLC0415
        from semivl_cli.engine.zero_shot.segmenter import open_segmenter  # noqa: PLC0415

        predictor: Segmenter
        if zero_shot:
            config = zero_shot_config(definition=definition, weights=weights, dataset=dataset)
            predictor = open_segmenter(config, where, reporter)
            reporter.note(f"using {predictor.clip_name}, untrained, on {predictor.definition.title}")
        else:
            predictor = load(run, where, definition, reporter)
            words = f", steered to the {len(predictor.names)} classes of {predictor.definition.title}"
            reporter.note(
                f"using {predictor.run}, step {predictor.step} ({predictor.selected}){words if definition else ''}"
            )
        if value_range is not None:
            predictor = predictor.reading(value_range)
        if legend:
            from semivl_cli.report.legend import write_legend  # noqa: PLC0415 - matplotlib is imported when it is needed

            classes = list(zip(predictor.names, predictor.colors, strict=True))
            write_legend(out / planning.OVERLAYS / planning.LEGEND, predictor.definition.title, classes)
        for prediction in pictures.predict(predictor, plan, overlays=overlays, reporter=reporter):
            if as_json:
                print_json(_facts(prediction), indent=None)
            if prediction.error:
                failed += 1
                reporter.note(f"semivl: {prediction.error}")
    done = counted(len(plan) - failed, "mask")
    if failed:
        raise CheckFailed(f"{failed} of {len(plan)} inputs failed, named above; {done} in {out}")
    reporter.note(f"{done} in {out}")


def _facts(prediction: Prediction) -> dict[str, object]:
    mask, overlay = (None if path is None else str(path) for path in (prediction.mask, prediction.overlay))
    facts = {"image": str(prediction.image), "mask": mask, "overlay": overlay, "classes": prediction.shares}
    return {**facts, "error": prediction.error}
