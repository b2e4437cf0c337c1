"""`semivl concepts preview`: pictures of what the frozen CLIP sees for a definition before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, print_json_line
from semivl_cli.cli.options import DefinitionArgument, Device, RecipeOfOption, WeightsOption
from semivl_cli.errors import CheckFailed

if TYPE_CHECKING:
    from semivl_cli.engine.zero_shot.preview import Look
    from semivl_cli.engine.zero_shot.segmenter import FrozenClip
    from semivl_cli.report.preview import Preview


def preview(
    file: DefinitionArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("previews"),
    weights: WeightsOption = None,
    dataset: RecipeOfOption = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and picture.")] = False,
) -> None:
    """Draw what CLIP sees by these words, untrained: classes, confidence, what passes zeta, which word wins where.

    Exit code 1: some images could not be read. The class maps are those of: semivl predict --zero-shot

    Example: semivl concepts preview voc street.jpg --out previews/
    """
    failed = 0
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.infer.predict import plan_predictions  # noqa: PLC0415
        from semivl_cli.engine.zero_shot.preview import look_at  # noqa: PLC0415
        from semivl_cli.engine.zero_shot.segmenter import open_frozen  # noqa: PLC0415 - torch is imported when it is needed
        from semivl_cli.report.preview import draw_preview, save_preview  # noqa: PLC0415

        targets = {job.image: job.mask for job in plan_predictions(images, out)}
        frozen = open_frozen(
            definition=file, weights=weights, dataset=dataset, device=device or "auto", reporter=reporter
        )
        reporter.note(f"using {frozen.clip_name}, untrained, on {frozen.definition.title}")
        for look in look_at(frozen, targets, reporter):
            if isinstance(look, tuple):
                failed += 1
                reporter.note(f"semivl: {look[1]}")
                facts: dict[str, object] = {"image": str(look[0]), "picture": None, "classes": {}, "error": look[1]}
            else:
                save_preview(targets[look.path], draw_preview(_drawable(frozen, look)))
                facts = {"image": str(look.path), "picture": str(targets[look.path]), "classes": _classes(frozen, look)}
                facts["error"] = None
            if as_json:
                print_json_line(facts)
    if failed:
        raise CheckFailed(f"{failed} of {len(targets)} pictures could not be read; the others are in {out}")
    reporter.note(f"{len(targets)} {'picture' if len(targets) == 1 else 'pictures'} in {out}")


def _drawable(frozen: FrozenClip, look: Look) -> Preview:
    from semivl_cli.report.preview import Preview  # noqa: PLC0415

    return Preview(
        title=look.path.name,
        facts=f"{frozen.definition.title}, read by {frozen.clip_name}, untrained",
        scene=look.image,
        classes=list(zip(frozen.names, frozen.colors, strict=True)),
        ids=look.seen.ids,
        confidence=look.seen.confidence,
        zeta=frozen.zeta,
        winners=look.seen.texts,
        labels=[(*region.center, frozen.texts[region.text]) for region in look.regions],
        shares=[(one.class_id, one.share, one.sure, one.words) for one in look.shares],
    )


def _classes(frozen: FrozenClip, look: Look) -> dict[str, object]:
    return {
        frozen.names[one.class_id]: {"share": one.share, "sure": one.sure, "concepts": dict(one.words)}
        for one in look.shares
    }
