"""`semivl concepts preview`: pictures of what the frozen CLIP sees for a definition before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semivl_cli.cli.console import ConsoleReporter, counted, print_json
from semivl_cli.cli.options import DefinitionArgument, Device, Images, JsonLines, RecipeOfOption, WeightsOption
from semivl_cli.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from semivl_cli.engine.infer.plan import Job
    from semivl_cli.engine.zero_shot.preview import ImagePreview
    from semivl_cli.engine.zero_shot.segmenter import ZeroShotSegmenter


def preview(
    file: DefinitionArgument,
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("previews"),
    weights: WeightsOption = None,
    dataset: RecipeOfOption = None,
    device: Device = None,
    as_json: JsonLines = False,
) -> None:
    """Draw what CLIP sees by these words, untrained: classes, confidence, what passes zeta, which word wins where.

    Exit code 1: some images could not be read. The class maps are those of: semivl predict --zero-shot

    Example: semivl concepts preview voc street.jpg --out previews/
    """
    failed = 0
    with ConsoleReporter() as reporter:
        from semivl_cli.engine.infer.plan import plan_predictions  # noqa: PLC0415
        from semivl_cli.engine.zero_shot import preview as engine  # noqa: PLC0415
        from semivl_cli.engine.zero_shot.recipe import zero_shot_config  # noqa: PLC0415
        from semivl_cli.engine.zero_shot.segmenter import open_segmenter  # noqa: PLC0415 - torch is imported when it is needed

        plan = plan_predictions(images, out)
        for line in plan.notes:
            reporter.note(f"note: {line}")
        config = zero_shot_config(definition=file, weights=weights, dataset=dataset)
        segmenter = open_segmenter(config, device or "auto", reporter)
        reporter.note(f"using {segmenter.clip_name}, untrained, on {segmenter.definition.title}")
        targets = {job.image: str(job.mask) for job in plan.jobs}

        def draw(job: Job, found: ImagePreview) -> None:
            _draw(job.mask, job.image.name, segmenter, found)

        for path, found in engine.preview(segmenter, plan, draw, reporter):
            facts: dict[str, object] = {"image": str(path), "picture": None, "classes": {}, "error": None}
            if isinstance(found, InputError):
                failed += 1
                reporter.note(f"semivl: {found}")
                facts["error"] = str(found)
            else:
                facts["picture"] = targets[path]
                facts["classes"] = {
                    segmenter.names[one.class_id]: {"share": one.share, "sure": one.sure, "concepts": dict(one.words)}
                    for one in found.shares
                }
            if as_json:
                print_json(facts, indent=None)
    done = counted(len(plan) - failed, "picture")
    if failed:
        raise CheckFailed(f"{failed} of {len(plan)} inputs failed, named above; {done} in {out}")
    reporter.note(f"{done} in {out}")


def _draw(path: Path, title: str, segmenter: ZeroShotSegmenter, found: ImagePreview) -> None:
    from semivl_cli.palette import save_image  # noqa: PLC0415
    from semivl_cli.report.preview import Preview, draw_preview  # noqa: PLC0415

    drawn = Preview(
        title=title,
        facts=f"{segmenter.definition.title}, read by {segmenter.clip_name}, untrained",
        scene=found.image,
        classes=list(zip(segmenter.names, segmenter.colors, strict=True)),
        ids=found.segmentation.ids,
        confidence=found.segmentation.confidence,
        zeta=segmenter.config.guidance.zeta,
        winners=found.segmentation.texts,
        labels=[(*region.center, segmenter.texts[region.text]) for region in found.regions],
        shares=[(one.class_id, one.share, one.sure, one.words) for one in found.shares],
    )
    save_image(path, draw_preview(drawn), ours=True)
