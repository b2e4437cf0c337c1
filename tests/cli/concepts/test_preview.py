"""`semivl concepts embed | preview | validate --weights` and `semivl predict --zero-shot` as a user meets them."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.concepts.load import load_definition, shipped
from semivl_cli.data.registry import open_dataset, package_file
from semivl_cli.engine.settings import configure
from semivl_cli.paint import save_image

CLASSES = load_definition("shapes").names
CLIP = str(package_file(open_dataset("shapes"), "clip.safetensors"))


def run(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for record in list(open_dataset("shapes").records(None, "val"))[:2]:
        save_image(folder / f"{record.id.replace('/', '-')}.png", record.image())
    return folder


def test_preview_and_zero_shot_tell_the_same(scenes, tmp_path):
    seen = run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen", "--json").stdout
    masks = run(
        "predict", scenes, "--zero-shot", "--definition", "shapes", "--out", tmp_path / "masks", "--json"
    ).stdout
    previews, predictions = ([json.loads(line) for line in text.splitlines()] for text in (seen, masks))
    assert len(previews) == len(predictions) == 2
    for preview, prediction in zip(previews, predictions, strict=True):
        assert preview["image"] == prediction["image"] and preview["error"] is prediction["error"] is None
        shares = {name: found["share"] for name, found in preview["classes"].items()}
        assert shares == pytest.approx(prediction["classes"])
        with Image.open(preview["picture"]) as picture:
            assert picture.size > (600, 600)
        with Image.open(prediction["mask"]) as mask, Image.open(prediction["image"]) as image:
            assert mask.mode == "P" and mask.size == image.size
            ids, counts = np.unique(np.asarray(mask), return_counts=True)
        assert shares == pytest.approx(
            {CLASSES[k]: count / image.width / image.height for k, count in zip(ids, counts, strict=True)}
        )


def test_zero_shot_writes_the_same_bytes_twice(scenes, tmp_path):
    for out in ("a", "b"):
        run("predict", scenes, "--zero-shot", "--dataset", "shapes", "--out", tmp_path / out, "--overlay")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert len([*(tmp_path / "a").iterdir()]) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--zero-shot"], "--definition"),
        (["--zero-shot", "--definition", "shapes", "--run", "runs/one"], "--run"),
        (["--weights", "ViT-B-16"], "--zero-shot"),
        (["--zero-shot", "--definition", "nowhere.toml"], "nowhere.toml"),
        (["--zero-shot", "--definition", "shapes", "--weights", "ViT-B-61"], "ViT-B-16"),
        (["--zero-shot", "--definition", "shapes", "--weights", "ViT-B-16:nowhere.pt"], "nowhere.pt"),
        (["--zero-shot", "--definition", "shapes", "--dataset", "shape"], "shapes"),
        (["--zero-shot", "--definition", "camvid", "--dataset", "shapes"], "vocabulary"),
    ],
)
def test_mistakes_are_one_line(scenes, tmp_path, options, said):
    result = run("predict", scenes, "--out", tmp_path / "masks", *options, code=2)
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output and not (tmp_path / "masks").exists()


def test_preview_passes_over_what_it_cannot_read(scenes, tmp_path):
    broken = scenes / "broken.png"
    broken.write_bytes(b"no picture")
    result = run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen", "--json", code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines if line["error"]] == [str(broken)]
    assert len([*(tmp_path / "seen").iterdir()]) == 2


def test_preview_overwrites_its_own_pictures_alone(scenes, tmp_path):
    for _ in range(2):
        run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen")
    picture = next((tmp_path / "seen").iterdir())
    Image.new("L", (4, 4)).save(picture)
    assert picture.name in run("concepts", "preview", "shapes", scenes, "--out", tmp_path / "seen", code=2).stderr


def test_embed_writes_a_file_and_knows_it_the_second_time(tmp_path):
    out = tmp_path / "vectors.safetensors"
    assert "concepts" in run("concepts", "embed", "shapes", "--out", out).stdout
    told = json.loads(run("concepts", "embed", "shapes", "--out", out, "--weights", CLIP, "--json").stdout)
    assert told["cached"]  # the weights are known by what they are, not by how they were named
    assert told["tensors"]["name"][0] == len(CLASSES) and out.is_file()


def test_validate_asks_a_clip_when_told_to(tmp_path):
    plain = json.loads(run("concepts", "validate", "shapes", "--json").stdout)
    asked = json.loads(run("concepts", "validate", "shapes", "--weights", CLIP, "--json").stdout)
    assert asked["errors"] == 0
    new = [problem for problem in asked["problems"] if problem not in plain["problems"]]
    assert {problem["code"] for problem in new} <= {"near-concepts"}


def test_validate_does_not_ask_about_a_broken_file(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text('title = "Kitchen"\n')
    assert "no-class" in run("concepts", "validate", broken, "--weights", "no-such-clip", code=1).stdout


@pytest.mark.parametrize("command", ["embed", "preview"])
def test_help_shows_an_example(command):
    assert f"Example: semivl concepts {command} " in run("concepts", command, "--help").stdout


@pytest.fixture(scope="module")
def large_vocabulary(tmp_path_factory):
    """A CLIP of random weights that reads every word, as a file that says what it is."""
    config = configure({"recipe": "tiny"}).model.clip
    torch.manual_seed(0)
    state = {name: tensor.contiguous() for name, tensor in open_clip.CLIP(**config).state_dict().items()}
    path = tmp_path_factory.mktemp("clip") / "tiny.safetensors"
    save_file(
        {name: tensor for name, tensor in state.items() if name != "attn_mask"},
        path,
        {"open_clip_config": json.dumps(config)},
    )
    return path


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_definition_is_embedded_and_checked(name, large_vocabulary, tmp_path):
    told = run("concepts", "embed", name, "--out", tmp_path / "v", "--weights", large_vocabulary, "--json").stdout
    concepts = [text for item in load_definition(name).classes for text in item.concepts]
    assert json.loads(told)["tensors"]["concepts"][0] == len(concepts)
    checked = json.loads(run("concepts", "validate", name, "--weights", large_vocabulary, "--json").stdout)
    assert checked["errors"] == 0


def test_real_street_scenes_are_previewed(test_data, large_vocabulary, tmp_path):
    street = sorted((test_data / "camvid" / "images").iterdir())[0]
    told = json.loads(
        run("concepts", "preview", "camvid", street, "--weights", large_vocabulary, "--out", tmp_path, "--json").stdout
    )
    assert sum(found["share"] for found in told["classes"].values()) == pytest.approx(1)
