"""Gives a trained model other words: its decoder shares all weights between the classes (Sec. 3.4)."""

from __future__ import annotations

from semivl_cli.concepts.schema import Definition
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import open_clip_of
from semivl_cli.engine.text_vectors import embed_classes
from semivl_cli.errors import InputError
from semivl_cli.model.semivl import SemiVL
from semivl_cli.reporter import Reporter


def reword(
    model: SemiVL, config: RunConfig, definition: Definition, trained_on: str | None, reporter: Reporter
) -> None:
    """Replace the class vectors of a trained model (on the CPU) by those of another definition; no weight changes.

    None of the new classes, two or more, need be in the run's definition. `config`: of the run, which names the CLIP
    and the words that the decoder reads; `trained_on`: hash of the CLIP that it started from, `None` where not known.

    Raises:
        InputError: the model knows no language, its CLIP is not here or another one, or cannot read the words.
    """
    if not model.decoder.reads_text:
        raise InputError(
            f"this model has a {config.decoder.kind} decoder, which knows no language: its classes are fixed; "
            "leave --definition out, or train a run with the language-guided decoder"
        )
    if len(definition.classes) < 2:
        raise InputError(f"{definition.title!r} has one class: segmentation tells at least two apart")
    try:
        clip = open_clip_of(config, open_dataset(config.dataset), reporter)
    except InputError as error:
        raise InputError(f"other words need the text encoder of the CLIP that the run started from: {error}") from error
    if trained_on not in (None, clip.sha256):
        raise InputError(
            f"this run was trained with other CLIP weights (sha256 {trained_on[:12]}..., now {clip.sha256[:12]}...): "
            "put the weights back that run.toml names; other text vectors mean nothing to this model"
        )
    model.text = embed_classes(clip.text, definition, config.decoder.text)
