"""Serves `semivl prepare weights`: fetches or takes CLIP weights, checks and keeps them."""

from __future__ import annotations

import shutil
from pathlib import Path

from semivl_cli.errors import InputError
from semivl_cli.files import replacing
from semivl_cli.model.clip import load_clip
from semivl_cli.model.clip_weights import find_weights, is_file, read_weights, weights_folder


def prepare_weights(model: str, weights: str) -> Path:
    """Fetch (a tag) or take (a file) the weights of an open_clip model, verify that they fit, and keep them.

    Returns:
        The kept file; afterwards `weights` (for a file: its stem, or `openai` for OpenAI's own) is a known tag.

    Raises:
        InputError: as `load_clip` does.
    """
    path, _ = find_weights(model, weights)
    if path is None:
        raise InputError("random weights are made when they are needed: there is nothing to keep")
    by_openai = read_weights(path).by_openai
    load_clip(model, str(path))
    tag = "openai" if by_openai else path.stem if is_file(weights) else weights
    target = weights_folder(model) / (tag + path.suffix)
    if target.resolve() != path.resolve():
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
    return target
