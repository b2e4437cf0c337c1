"""The paper's baseline as a user trains it: no words, no CLIP, and masks all the same."""

import json

import numpy as np
import torch
from typer.testing import CliRunner

from semivl_cli import load
from semivl_cli.cli import app
from semivl_cli.model.decoders.convolutional import ConvolutionalDecoder

SETTINGS = ["model.initial=random", "training.steps=2", "training.batch=2", "training.log_steps=1"]


def test_unimatch_trains_from_random_weights_and_predicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    trained = CliRunner().invoke(app, ["train", "--method", "unimatch", "--out", "run", *sets])
    assert trained.exit_code == 0, trained.output
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    assert len(steps) == 2
    assert all(line["L_s"] > 0 and line["guidance"] == 0 and "L_u" in line for line in steps)

    predictor = load("run")
    assert isinstance(predictor.model.decoder, ConvolutionalDecoder)
    picture = np.random.default_rng(0).integers(0, 256, (50, 96, 3), dtype=np.uint8)
    ids = predictor.predict(picture)
    with torch.no_grad():
        logits = predictor.model(torch.from_numpy(picture).permute(2, 0, 1)[None])
    assert ids.shape == (50, 96)
    np.testing.assert_array_equal(ids, logits[0].argmax(dim=0))
