"""Other words for a trained model: what must stay the same, what moves with the words, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from PIL import Image
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.concepts.load import load_definition
from semivl_cli.data.read.images import read_image
from semivl_cli.data.registry import open_dataset, package_file
from semivl_cli.engine.assemble import clip_of, open_material
from semivl_cli.engine.infer.predictor import load
from semivl_cli.engine.infer.windows import class_scores
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.rundir.checkpoint import save_checkpoint
from semivl_cli.engine.text_vectors import embed_classes
from semivl_cli.engine.train.trainee import build_trainee
from semivl_cli.errors import InputError
from semivl_cli.files import write_json, write_text
from semivl_cli.reporter import Silence
from semivl_cli.settings_toml import to_toml


def make_run(folder: Path, *assignments: str, clip_sha256: str | None = None) -> Path:
    """A run on shapes that stands before its first step."""
    config = configure({"dataset": "shapes", "device": "cpu"}, assignments)
    material = open_material(config)
    trainee = build_trainee(config, material, torch.device("cpu"), Silence())
    folder.mkdir(parents=True)
    write_text(folder / "run.toml", to_toml(config))
    write_text(folder / "definition.toml", material.definition_text)
    write_json(folder / "run.json", {"last": 0, "best": None, "finished": False})
    state = {"clip_sha256": clip_sha256 or trainee.clip_sha256}
    arguments = (to_toml(config), material.definition_text, state)
    save_checkpoint(folder, 0, trainee.model, trainee.spec, trainee.optimizer, *arguments)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def scene():
    config = configure({"dataset": "shapes"})
    return read_image(open_material(config).index.val[0].image)


def written(folder: Path, classes, title="Other words") -> Path:
    """A definition file with these classes of another definition (or name and concepts)."""
    rows = [
        {"name": name, "color": f"#0000{n:02x}", "concepts": list(concepts)}
        for n, (name, concepts) in enumerate(classes)
    ]
    path = folder / "other.toml"
    path.write_text(tomli_w.dumps({"title": title, "class": rows}))
    return path


def logits(predictor, image):
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return class_scores(predictor.model, pixels, predictor.how)[0]


def test_the_words_of_the_run_give_its_own_masks_bit_for_bit(run, scene):
    own, reworded = load(run, "cpu"), load(run, "cpu", run / "definition.toml")
    assert torch.equal(own.model.text, reworded.model.text)
    assert torch.equal(logits(own, scene), logits(reworded, scene))
    np.testing.assert_array_equal(own.predict(scene), reworded.predict(scene))


def test_classes_in_another_order_move_their_ids_alone(run, scene, tmp_path):
    classes = load_definition(run / "definition.toml").classes
    order = list(reversed(range(len(classes))))
    other = written(tmp_path, [(classes[n].name, classes[n].concepts) for n in order])
    own, reworded = load(run, "cpu"), load(run, "cpu", other)
    assert reworded.names == tuple(classes[n].name for n in order)
    torch.testing.assert_close(logits(reworded, scene), logits(own, scene)[order], atol=1e-3, rtol=1e-3)
    agree = np.asarray(order)[reworded.predict(scene)] == own.predict(scene)
    assert agree.mean() > 0.99


def test_a_name_that_clip_reads_alike_changes_nothing_but_the_name(run, scene, tmp_path):
    classes = load_definition(run / "definition.toml").classes
    other = written(tmp_path, [(item.name.upper(), item.concepts) for item in classes])
    own, reworded = load(run, "cpu"), load(run, "cpu", other)
    assert reworded.names == tuple(item.name.upper() for item in classes)
    np.testing.assert_array_equal(own.predict(scene), reworded.predict(scene))


def test_any_number_of_classes_goes(run, scene, tmp_path):
    words = [concept for item in load_definition(run / "definition.toml").classes for concept in item.concepts]
    for count in (2, len(words)):
        other = written(tmp_path, [(word, [word]) for word in words[:count]])
        reworded = load(run, "cpu", other)
        assert logits(reworded, scene).shape[0] == count
        assert reworded.predict(scene).max() < count


@pytest.mark.parametrize("variant", ["guideline", "mean"])
def test_the_decoder_reads_the_kind_of_text_that_the_run_was_trained_with(tmp_path, variant):
    run = make_run(tmp_path / "run", f"decoder.text={variant}")
    reworded = load(run, "cpu", "shapes")
    config = reworded.config
    tower = clip_of(config, open_material(config).dataset, Silence()).text
    assert torch.equal(reworded.model.text, embed_classes(tower, load_definition("shapes"), variant))


def test_a_decoder_without_language_is_refused(tmp_path):
    run = make_run(tmp_path / "run", "decoder.kind=convolutional")
    assert load(run, "cpu").names == load_definition("shapes").names
    with pytest.raises(InputError, match="convolutional decoder, which knows no language"):
        load(run, "cpu", "shapes")


def test_absent_weights_are_one_line_that_says_what_they_are_for(tmp_path):
    dataset = open_dataset("shapes")
    weights = tmp_path / "gone.safetensors"
    shutil.copyfile(package_file(dataset, "clip.safetensors"), weights)
    run = make_run(tmp_path / "run", f"model.weights={weights}")
    weights.unlink()
    assert load(run, "cpu").names
    with pytest.raises(InputError, match=r"other words need the text encoder .*gone\.safetensors does not exist"):
        load(run, "cpu", "shapes")


def test_another_clip_than_the_run_started_from_is_refused(tmp_path):
    run = make_run(tmp_path / "run", clip_sha256="0" * 64)
    with pytest.raises(InputError, match="other CLIP weights"):
        load(run, "cpu", "shapes")


def test_a_single_class_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="one class"):
        load(run, "cpu", written(tmp_path, [("heart", ["heart"])]))


def test_predict_writes_masks_in_the_new_classes(run, scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classes = load_definition(run / "definition.toml").classes
    other = written(tmp_path, [(item.name, item.concepts) for item in classes[:3]])
    Image.fromarray(scene).save(tmp_path / "scene.png")
    arguments = ["predict", "scene.png", "--out", "masks", "--run", str(run), "--definition", str(other)]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "3 classes of Other words" in result.stderr
    with Image.open(tmp_path / "masks" / "scene.png") as mask:
        assert mask.getpalette()[:9] == [part for color in load_definition(other).colors for part in color]
        np.testing.assert_array_equal(np.asarray(mask), load(run, "cpu", other).predict(scene))

    refused = CliRunner().invoke(app, [*arguments[:-1], "nowhere.toml"])
    assert refused.exit_code == 2
    assert "nowhere.toml" in refused.stderr
