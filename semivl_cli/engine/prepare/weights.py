"""Serves `semivl prepare weights`: fetches or takes CLIP weights, checks and keeps them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError

from semivl_cli.errors import InputError, RunError
from semivl_cli.files import replacing
from semivl_cli.model.clip import load_clip
from semivl_cli.model.clip_weights import find_weights, is_file, read_weights, weights_folder
from semivl_cli.model.tensor_files import write_safetensors
from semivl_cli.reporter import Reporter


def prepare_weights(model: str, weights: str, reporter: Reporter) -> Path:
    """Fetch (a tag) or take (a file) the weights of an open_clip model, verify that they fit, and keep them.

    Weights in transformers' layout are kept in open_clip's, with their activation.

    Returns:
        The kept file; afterwards `weights` (for a file: its stem, or `openai` for OpenAI's own) is a known tag.

    Raises:
        InputError: as `load_clip` does.
        RunError: they cannot be written.
    """
    path, _ = find_weights(model, weights)
    if path is None:
        raise InputError("random weights are made when they are needed: there is nothing to keep")
    content = read_weights(path)
    load_clip(model, str(path))
    tag = "openai" if content.by_openai else path.stem if is_file(weights) else weights
    target = weights_folder(model) / (tag + (".safetensors" if content.by_transformers else path.suffix))
    if target.resolve() == path.resolve():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            if content.by_transformers:
                activation = "quick GELU" if content.about.quick_gelu else "GELU"
                told = path.with_name("config.json").is_file()
                why = "its config.json says" if told else "OpenAI's models have it (no config.json beside it says more)"
                reporter.note(f"{path} has transformers' layout: converted, with the activation {activation}, as {why}")
                write_safetensors(temporary, content.state, {"quick_gelu": json.dumps(content.about.quick_gelu)})
            else:
                shutil.copyfile(path, temporary)
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot write {target} ({getattr(error, 'strerror', None) or error})") from error
    return target
