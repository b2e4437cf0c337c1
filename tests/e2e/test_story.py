"""The whole story on a CPU: train a few steps, be interrupted, go on, evaluate, predict; as a user types it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from semivl_plugins.shapes import Shapes
from typer.testing import CliRunner

from semivl_cli import load
from semivl_cli.cli import app
from semivl_cli.engine.train.accumulate import accumulate_gradients

STEPS = ["--set", "training.steps=4", "--set", "training.log_steps=1", "--set", "training.batch=2"]


@pytest.fixture
def semivl(tmp_path, monkeypatch):
    """Run a command line in an empty working directory; returns the result with exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str):
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.fixture
def street(tmp_path):
    """A folder dataset of 10 small images of two sizes: the left half is 0, the right half 1, with an ignored line."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "street" / folder).mkdir(parents=True)
    for i in range(10):
        height, width = (40, 60) if i % 2 else (72, 50)
        image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
        image[:, width // 2 :, 0] += 150
        mask = np.zeros((height, width), np.uint8)
        mask[:, width // 2 :] = 1
        mask[0] = 255
        Image.fromarray(image).save(tmp_path / "street" / "images" / f"{i}.png")
        if i < 8:
            Image.fromarray(mask).save(tmp_path / "street" / "masks" / f"{i}.png")
    (tmp_path / "street" / "val.txt").write_text("0\n1\n")
    (tmp_path / "street.toml").write_text(
        'title = "Street"\n[[class]]\nname = "road"\ncolor = "#804080"\n'
        '[[class]]\nname = "car"\ncolor = "#000080"\nconcepts = ["car", "van"]\n'
    )
    return tmp_path


SMALL = [
    *("--recipe", "tiny", "--set", "data.crop=32", "--set", "data.scale_range=[0.8,1.2]"),
    *("--set", "evaluation.short_side=36", "--set", "evaluation.stride=24"),
]
FOLDER = ["--dataset", "folder", "--root", "street", "--definition", "street.toml", "--labels", "3", *SMALL]


def test_shapes_trains_evaluates_and_predicts(semivl, tmp_path):
    trained = semivl("train", "--json", *STEPS)
    assert trained.exit_code == 0, trained.output
    scores = json.loads(trained.stdout)
    run = tmp_path / scores["run"]
    assert scores["run"] == str(Path("runs", "shapes-12-1"))
    assert set(scores["last"]["iou"]) == {"background", "round", "polygon", "cross", "arrow", "heart"}
    assert scores["last"]["miou"] == pytest.approx(np.mean(list(scores["last"]["iou"].values())))

    kinds = [json.loads(line)["kind"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert kinds == ["train"] * 4 + ["eval"]
    assert json.loads((run / "run.json").read_text())["finished"] is True
    assert len(json.loads((run / "split.json").read_text())["labeled"]) == 12
    for name in ("report.html", "examples.png", "run.toml", "definition.toml", "scores.json"):
        assert (run / name).stat().st_size > 0
    example = next((run / "examples").iterdir())
    assert {path.name for path in example.iterdir()} == {"image.png", "label.png", "guidance.png", "prediction.png"}

    evaluated = semivl("eval", "--json")
    assert evaluated.exit_code == 0, evaluated.output
    [again] = json.loads(evaluated.stdout)
    assert again["miou"] == pytest.approx(scores["best"]["miou"], abs=1e-12)
    assert "IoU %" in semivl("eval").stdout

    picture = np.random.default_rng(0).integers(0, 256, (50, 130, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.jpg")
    predicted = semivl("predict", "picture.jpg", "--out", "masks", "--overlay")
    assert predicted.exit_code == 0, predicted.output
    with Image.open(tmp_path / "masks" / "picture.png") as file:
        mask = file.copy()
    assert (mask.mode, mask.size) == ("P", (130, 50))
    assert np.asarray(mask).max() < 6
    with Image.open(tmp_path / "picture.jpg") as again:
        ids = load(run).predict(np.asarray(again))
    np.testing.assert_array_equal(np.asarray(mask), ids)
    with Image.open(tmp_path / "masks" / "overlays" / "picture.jpg") as overlay:
        assert overlay.size == (130, 50)


def test_an_own_folder_trains_with_both_methods(semivl, street):
    for method in ("semivl", "supervised"):
        trained = semivl("train", *FOLDER, *STEPS, "--method", method, "--out", method)
        assert trained.exit_code == 0, trained.output
        assert "random weights" in trained.stderr
    split = json.loads((street / "semivl" / "split.json").read_text())
    assert len(split["labeled"]) == 3
    assert split["unlabeled"]["count"] == 5
    assert split["val"] == ["0", "1"]
    lines = [json.loads(line) for line in (street / "supervised" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["L_u"] == 0 for line in lines if line["kind"] == "train")
    assert semivl("eval", "semivl", "supervised").exit_code == 0


def test_a_resumed_run_ends_in_the_same_weights(semivl, street):
    once = semivl("train", *FOLDER, *STEPS, "--out", "once")
    assert once.exit_code == 0, once.output
    again = semivl("train", *FOLDER, *STEPS, "--set", "training.save_steps=2", "--out", "twice")
    assert again.exit_code == 0, again.output
    (street / "twice" / "checkpoints" / "4").rename(street / "away")
    (street / "twice" / "run.json").write_text('{"last": 2, "best": null, "finished": false}')
    resumed = semivl("train", "--resume", "--out", "twice")
    assert resumed.exit_code == 0, resumed.output
    assert "resuming twice at step 2 of 4" in resumed.stderr
    a, b = (load_file(street / run / "checkpoints" / "4" / "model.safetensors") for run in ("once", "twice"))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    values = [
        [
            {key: value for key, value in json.loads(line).items() if key not in ("seconds", "images_per_second")}
            for line in (street / run / "metrics.jsonl").read_text().splitlines()
        ]
        for run in ("once", "twice")
    ]
    assert values[0] == values[1]

    finished = semivl("train", "--resume", "--out", "twice")
    assert finished.exit_code == 0
    assert "finished" in finished.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_keeps_the_state_and_resume_goes_on(street):
    command = [
        sys.executable,
        "-m",
        "semivl_cli",
        "train",
        *FOLDER,
        *STEPS,
        "--set",
        "training.steps=100000",
        "--out",
        "run",
    ]
    process = subprocess.Popen(command, cwd=street, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    metrics = street / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "go on with: semivl train --resume" in said
    status = json.loads((street / "run" / "run.json").read_text())
    assert status["finished"] is False
    assert (street / "run" / "checkpoints" / str(status["last"]) / "done.json").is_file()


def test_resume_refuses_what_contradicts_the_run(semivl, street):
    assert semivl("train", *FOLDER, *STEPS, "--out", "run").exit_code == 0
    refused = semivl("train", "--resume", "--out", "run", "--seed", "3")
    assert refused.exit_code == 2
    assert "seed = 0, not 3" in refused.stderr
    assert semivl("train", "--resume", "--out", "run", "--seed", "0").exit_code == 0
    taken = semivl("train", *FOLDER, *STEPS, "--out", "run")
    assert taken.exit_code == 2
    assert "--resume" in taken.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "--dataset", "vok"], "voc"),
        (["train", "--labels", "9999"], "200"),
        (["train", "--set", "data.crop=8"], "at least"),
        (["train", "--device", "cuda:99"], "--device cpu"),
        (["train", "--dataset", "folder", "--definition", "camvid"], "images"),
        (["train", "--dataset", "folder"], "--definition"),
        (["train", "--dataset", "voc", "--root", "."], "JPEGImages"),
        (["train", "--resume"], "no unfinished run"),
        (["eval"], "semivl train"),
        (["eval", "nowhere"], "run.toml"),
        (["predict", "nowhere.png", "--out", "masks"], "does not exist"),
        (["prepare", "weights", "ViT-B-61"], "ViT-B-16"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(semivl, arguments, hint):
    result = semivl(*arguments)
    assert result.exit_code == 2, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("semivl: ")
    assert hint in last
    assert "Traceback" not in result.output


def test_a_picture_that_cannot_be_read_costs_no_other(semivl, street):
    assert semivl("train", *FOLDER, *STEPS, "--out", "run").exit_code == 0
    (street / "street" / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    result = semivl("predict", "street/images", "--out", "masks", "--run", "run", "--json")
    assert result.exit_code == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [item["image"] for item in found if item["error"]] == [str(Path("street", "images", "broken.jpg"))]
    assert len(list((street / "masks").glob("*.png"))) == 10


def test_masks_of_the_same_stem_keep_their_suffix(semivl, street):
    assert semivl("train", *FOLDER, *STEPS, "--out", "run").exit_code == 0
    (street / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "deep/b.tif"):
        Image.new("RGB", (20, 10)).save(street / "in" / name)
    assert semivl("predict", "in", "--out", "masks", "--run", "run").exit_code == 0
    masks = {str(path.relative_to(street / "masks")) for path in (street / "masks").rglob("*.png")}
    assert masks == {"a.png.png", "a.jpg.png", str(Path("deep", "b.png"))}


def test_the_demo_can_be_written_as_a_folder_dataset(semivl, tmp_path):
    written = semivl("prepare", "data", "shapes", "--root", "scenes", "--json")
    assert written.exit_code == 0, written.output
    assert json.loads(written.stdout)["problems"] == []
    folder = ["--dataset", "folder", "--root", "scenes", "--definition", "shapes", "--labels", "12"]
    trained = semivl("train", *folder, *SMALL, *STEPS, "--out", "run", "--json")
    assert trained.exit_code == 0, trained.output
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert (len(split["labeled"]), split["unlabeled"]["count"], len(split["val"])) == (12, 188, 120)
    with Image.open(tmp_path / "scenes" / "masks" / "val-0000.png") as mask:
        assert mask.mode == "P"
        record = next(iter(Shapes().records(tmp_path, "val")))
        np.testing.assert_array_equal(np.asarray(mask), record.label())


def test_real_street_scenes_train_evaluate_and_predict(semivl, test_data, tmp_path):
    street = ["--dataset", "folder", "--root", str(test_data / "camvid"), "--definition", "camvid", "--labels", "24"]
    trained = semivl("train", *street, "--recipe", "tiny", "--set", "training.steps=2", "--out", "run", "--json")
    assert trained.exit_code == 0, trained.output
    assert len(json.loads(trained.stdout)["last"]["iou"]) == 11
    picture = next((test_data / "camvid" / "images").glob("*.jpg"))
    assert semivl("predict", str(picture), "--out", "masks", "--run", "run").exit_code == 0
    with Image.open(tmp_path / "masks" / f"{picture.stem}.png") as mask:
        assert mask.size == (480, 360)


def test_a_start_that_fails_leaves_no_run_behind(semivl, street):
    Image.fromarray(np.full((40, 60), 7, np.uint8)).save(street / "street" / "masks" / "3.png")
    failed = semivl("train", *FOLDER, *STEPS, "--labels", "all", "--out", "run")
    assert failed.exit_code == 2
    assert "3.png" in failed.stderr and "7" in failed.stderr
    assert not (street / "run").exists()


def test_a_run_wants_a_directory_of_its_own(semivl, street):
    for out in ("street.toml", "street"):
        refused = semivl("train", *FOLDER, *STEPS, "--out", out)
        assert refused.exit_code == 2, refused.output
        assert "--out" in refused.stderr.splitlines()[-1]
    assert {path.name for path in (street / "street").iterdir()} == {"images", "masks", "val.txt"}


def test_labels_are_never_overwritten_by_predictions(semivl, street):
    assert semivl("train", *FOLDER, *STEPS, "--out", "run").exit_code == 0
    before = (street / "street" / "masks" / "0.png").read_bytes()
    refused = semivl("predict", "street/images", "--out", "street/masks", "--run", "run")
    assert refused.exit_code == 2
    assert "may be a label" in refused.stderr
    assert (street / "street" / "masks" / "0.png").read_bytes() == before
    for _ in range(2):  # but predictions may be made again
        assert semivl("predict", "street/images", "--out", "masks", "--run", "run").exit_code == 0
    assert semivl("predict", "street/images", "--out", "street/images", "--run", "run").exit_code == 2
    assert semivl("predict", "street/images", "--out", "street.toml", "--run", "run").exit_code == 2


def test_a_ribbon_of_a_picture_is_segmented_in_no_time(semivl, street):
    assert semivl("train", *FOLDER, *STEPS, "--out", "run").exit_code == 0
    Image.new("RGB", (4000, 2)).save(street / "ribbon.png")
    assert semivl("predict", "ribbon.png", "--out", "masks", "--run", "run").exit_code == 0
    with Image.open(street / "masks" / "ribbon.png") as mask:
        assert mask.size == (4000, 2)


@pytest.mark.parametrize(
    "settings",
    [
        ["fidelity=published", "model.skips=[0,1]"],
        ["model.detail=resnet", "model.skips=[1]", "consistency.mode=pixelavg", "loss.group=1", "decoder.text=mean"],
        [
            "consistency.mode=pixelratio",
            "guidance.lambda_DC=[0.1,0.0]",
            "guidance.reduction=mean",
            "guidance.text=mean",
        ],
        ["finetune.encoder=spatial", "training.micro_batch=2", "training.batch=4", "training.precision=bf16"],
        ["evaluation.mode=summed_probabilities", "data.base_scale=[128,48]", "decoder.resize=crop", "data.workers=1"],
        ["evaluation.mode=whole", "finetune.encoder=frozen", "guidance.lambda_DC=[1.0,1.0]", "consistency.weight=0.0"],
    ],
)
def test_every_part_of_the_method_trains(semivl, street, settings):
    assignments = [word for setting in settings for word in ("--set", setting)]
    trained = semivl("train", *FOLDER, *STEPS, *assignments, "--out", "run", "--json")
    assert trained.exit_code == 0, trained.output
    values = [json.loads(line) for line in (street / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [value["step"] for value in values if value["kind"] == "train"] == [1, 2, 3, 4]
    assert all(np.isfinite(value["loss"]) for value in values if value["kind"] == "train")
    assert semivl("eval", "run").exit_code == 0


def test_short_memory_makes_the_parts_smaller_and_changes_nothing_else(semivl, street, monkeypatch):
    batch = ["--set", "training.batch=4"]
    assert semivl("train", *FOLDER, *STEPS, *batch, "--set", "training.micro_batch=2", "--out", "parts").exit_code == 0

    def short_of_memory(*arguments):
        if arguments[6] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return accumulate_gradients(*arguments)

    monkeypatch.setattr("semivl_cli.engine.train.loop.accumulate_gradients", short_of_memory)
    shrunk = semivl("train", *FOLDER, *STEPS, *batch, "--out", "shrunk")
    assert shrunk.exit_code == 0, shrunk.output
    assert "2 images at once from here on; the batch stays the same" in shrunk.stderr
    a, b = (load_file(street / run / "checkpoints" / "4" / "model.safetensors") for run in ("parts", "shrunk"))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    fixed = semivl("train", *FOLDER, *STEPS, *batch, "--set", "training.micro_batch=4", "--out", "fixed")
    assert fixed.exit_code == 3
    last = fixed.stderr.splitlines()[-1]
    assert "training.micro_batch=2 (memory to 50 %" in last and "data.crop=24" in last
    assert "checkpoint_activations" not in last  # that was tried


def test_a_resumed_run_keeps_its_own_words_and_refuses_other_images(semivl, street):
    assert semivl("train", *FOLDER, *STEPS, "--set", "training.save_steps=2", "--out", "run").exit_code == 0
    (street / "run" / "checkpoints" / "4").rename(street / "away")
    (street / "run" / "run.json").write_text('{"last": 2, "best": null, "finished": false}')
    (street / "street.toml").write_text("the guideline is being edited")
    (street / "street" / "images" / "8.png").rename(street / "8.png")
    refused = semivl("train", "--resume", "--out", "run")
    assert refused.exit_code == 2
    assert "split.json" in refused.stderr
    (street / "8.png").rename(street / "street" / "images" / "8.png")
    resumed = semivl("train", "--resume", "--out", "run")
    assert resumed.exit_code == 0, resumed.output
