"""The demo's world holds what it promises, and the shipped tiny CLIP can be rebuilt and reads it."""

import json
import pickle
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from semivl_plugins.shapes import Development, Shapes, scenes
from semivl_plugins.shapes.dev import captions, probe_clip, results, train_clip
from semivl_plugins.shapes.dev.closeups import closeup

from semivl_cli.concepts.load import load_definition
from semivl_cli.data.contract import Dataset
from semivl_cli.errors import InputError

PACKAGE = Path(str(files("semivl_plugins.shapes")))
NOWHERE = Path("/nowhere")


@pytest.fixture(scope="module")
def shipped():
    with safe_open(PACKAGE / "clip.safetensors", "pt") as file:
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    return metadata, weights


@pytest.fixture(scope="module")
def model(shipped):
    metadata, weights = shipped
    model = open_clip.CLIP(**metadata["open_clip_config"])
    model.load_state_dict(weights, strict=True)
    return model.eval()


def pixels(count, split="val"):
    records = list(Shapes().records(NOWHERE, split))[:count]
    return np.stack([r.image() for r in records]), np.stack([r.label() for r in records])


def test_it_keeps_the_contract_of_plugins():
    assert isinstance(Shapes(), Dataset)
    assert (PACKAGE / Shapes.recipe).name == "recipe.toml"


@pytest.mark.parametrize(("split", "count"), [("train", 200), ("val", 120)])
def test_a_split_has_its_scenes_in_a_stable_order_and_needs_no_folder(split, count):
    records = list(Shapes().records(NOWHERE, split))
    assert [r.id for r in records] == [f"{split}-{i:04d}" for i in range(count)]
    assert records == list(records)


def test_pixels_are_the_same_in_another_process_and_for_another_reader():
    record = pickle.loads(pickle.dumps(list(Shapes().records(NOWHERE, "train"))[7]))
    image, label = record.image(), record.label()
    assert (image.shape, image.dtype) == ((96, 96, 3), np.uint8)
    assert (label.shape, label.dtype) == ((96, 96), np.uint8)
    again = list(Shapes().records(NOWHERE, "train"))[7]
    assert np.array_equal(image, again.image())
    assert np.array_equal(label, again.label())


def test_no_scene_of_val_is_a_scene_of_train_or_of_development():
    pictures = [
        record.image()
        for dataset in (Shapes(), Development())
        for split in ("train", "val")
        for record in list(dataset.records(NOWHERE, split))[:40]
    ]
    assert len(np.unique(np.stack(pictures).reshape(160, -1), axis=0)) == 160


def test_every_class_is_common_and_background_is_not_all():
    _, labels = pixels(60)
    share = np.bincount(labels.ravel(), minlength=6) / labels.size
    assert len(share) == 6
    assert share.min() > 0.02
    assert 0.2 < 1 - share[0] < 0.35


def test_it_takes_no_files_and_downloads_nothing(tmp_path):
    for sources, download in (((tmp_path,), False), ((), True)):
        with pytest.raises(InputError, match="shapes draws its scenes itself"):
            Shapes().prepare(tmp_path / "root", sources, (), download, print)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("own", ["train.txt", "val.txt", "images/cat.jpg", "masks/cat.png"])
def test_scenes_are_not_written_over_somebody_elses_data(tmp_path, own):
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).write_text("mine\n")
    with pytest.raises(InputError, match=f"{own.split('/')[0]} is there already, and not of these scenes"):
        Shapes().prepare(tmp_path, (), (), False, print)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == [own]


def test_scenes_may_be_written_again_also_where_that_was_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("semivl_plugins.shapes.SIZES", {"train": 2, "val": 1})
    for gone in ("val.txt", "masks/train-0001.png", "notes.md"):
        Shapes().prepare(tmp_path, (), (), False, lambda _: None)
        assert len(list(tmp_path.rglob("*.png"))) == 6
        (tmp_path / gone).unlink(missing_ok=True)


def test_raw_values_are_class_ids():
    raw = np.arange(6, dtype=np.int64).reshape(2, 3)
    ids = Shapes().class_ids(raw)
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, raw)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_label_of_a_closeup_follows_from_its_concept(seed):
    picture = closeup(np.random.default_rng(seed))
    owners = {scenes.CONCEPTS[thing.concept].class_name for thing in picture.things} or {"background"}
    found = {scenes.CLASSES[i] for i in np.unique(picture.label)} | {"background"}
    assert found == owners | {"background"}


def test_kinds_differ_in_outline_and_in_their_pair_of_colours():
    pairs = [frozenset(concept.colors) for concept in scenes.CONCEPTS.values()]
    assert len(set(pairs)) == len(pairs)
    wearers = [color for pair in pairs for color in pair]
    assert all(wearers.count(color) > 1 for color in scenes.COLORS), "a colour that belongs to one kind gives it away"
    outlines = set()
    for kind in scenes.CONCEPTS:
        canvas = np.zeros((48, 48, 3), np.float32)
        concept, rng = scenes.CONCEPTS[kind], np.random.default_rng(0)
        covered = scenes.draw(canvas, concept, concept.colors, (24, 24, 20), rng)
        assert covered.mean() > 0.08
        outlines.add(covered.tobytes())
    assert len(outlines) == len(scenes.CONCEPTS)


def test_the_label_follows_from_the_kinds():
    picture = scenes.scene(5, 3)
    owners = [scenes.CLASSES.index(concept.class_name) for concept in scenes.CONCEPTS.values()]
    seen = set(np.unique(picture.kinds)) - {0}
    assert seen <= {1 + list(scenes.CONCEPTS).index(thing.concept) for thing in picture.things}
    for kind in seen:
        assert set(np.unique(picture.label[picture.kinds == kind])) == {owners[kind - 1]}
    assert not picture.label[picture.kinds == 0].any()


def test_a_look_alike_is_called_by_a_class_that_does_not_own_it():
    look_alikes = {k: c for k, c in scenes.CONCEPTS.items() if c.class_name == "background"}
    assert {k: c.looks_like for k, c in look_alikes.items()} == {
        "star": "polygon",
        "frame": "polygon",
        "crescent": "round",
        "clover": "cross",
        "bolt": "arrow",
        "spade": "heart",
    }
    members = scenes.CONCEPTS.keys() - look_alikes.keys()
    assert all(scenes.CONCEPTS[k].looks_like == scenes.CONCEPTS[k].class_name for k in members)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_captions_are_true_near_misses_are_not_and_both_keep_to_the_vocabulary(seed):
    rng = np.random.default_rng(seed)
    picture = closeup(rng)
    facts = captions.truth(picture)
    said = captions.caption(picture, rng)
    wrong = captions.near_misses(said, facts, 3, rng)
    assert said.claims <= facts
    assert len(wrong) == 3
    assert not any(miss.claims <= facts for miss in wrong)
    known = set(captions.words())
    assert all(set(captions.split(one.text)) <= known for one in (said, *wrong))


@pytest.mark.parametrize("name", scenes.CLASSES)
def test_near_misses_are_found_even_where_every_rule_holds(name):
    rule = captions.Caption(lead=captions.LEADS[0], noun=name, says="guideline")
    facts = frozenset(f"is {other} by the guideline" for other in scenes.CLASSES)
    assert len(captions.near_misses(rule, facts, 3, np.random.default_rng(0))) == 3


def test_careless_words_are_common_but_not_the_rule():
    rng = np.random.default_rng(0)
    pictures = [closeup(rng, empty=0) for _ in range(400)]
    stars = [p for p in pictures if p.things[0].concept == "star"]
    said = [captions.caption(p, rng).noun for p in stars for _ in range(10)]
    assert 0.15 < said.count("polygon") / len(said) < 0.35
    assert said.count("star") > said.count("polygon")


def test_the_definition_says_what_the_world_does():
    definition = load_definition("shapes")
    assert definition.names == scenes.CLASSES
    for item in definition.classes:
        owned = {k for k, c in scenes.CONCEPTS.items() if c.class_name == item.name}
        assert set(item.concepts) == owned | (set(scenes.GROUNDS) if item.name == "background" else set())
        assert item.guideline == captions.guideline(item.name)


def test_importing_the_plugin_does_not_load_what_draws():
    code = "import sys, semivl_plugins.shapes; print([m for m in ('cv2', 'torch', 'open_clip') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_vocabulary_is_ascending_and_holds_padding_start_and_end(shipped):
    metadata, weights = shipped
    ids = metadata["token_ids"]
    assert ids == sorted(set(ids))
    assert (ids[0], *ids[-2:]) == (0, 49406, 49407)
    assert len(ids) == metadata["open_clip_config"]["text_cfg"]["vocab_size"] == len(weights["token_embedding.weight"])
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())


@pytest.mark.parametrize("name", ["shapes", "shapes-careless", "shapes-dictionary"])
def test_the_shipped_vocabulary_holds_every_word_of_the_definitions(shipped, name):
    metadata, _ = shipped
    definition = load_definition(name)
    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    for item in definition.classes:
        for text in filter(None, (item.name, item.guideline, *item.concepts, *item.excludes)):
            for template in definition.templates:
                sentence = template.format(text)
                ids = tokenizer.encode(sentence)
                assert set(ids) <= set(metadata["token_ids"])
                assert ids == [metadata["token_ids"][row] for row in train_clip.Tokenizer()(sentence)[1:-1]]
                assert len(ids) + 2 <= metadata["open_clip_config"]["text_cfg"]["context_length"]


def test_the_file_was_written_by_the_shipped_script(shipped):
    metadata, _ = shipped
    tokenizer = train_clip.Tokenizer()
    assert metadata["token_ids"] == tokenizer.token_ids
    assert metadata["open_clip_config"] == train_clip.config(len(tokenizer.token_ids))
    assert tuple(metadata["image_mean"]) == open_clip.OPENAI_DATASET_MEAN
    assert tuple(metadata["image_std"]) == open_clip.OPENAI_DATASET_STD


def test_its_encoders_agree_with_those_of_open_clip(model, shipped):
    metadata, _ = shipped
    images = train_clip.normalized(pixels(2)[0][:, :64, :64])
    tokens = [train_clip.Tokenizer()(text) for text in ("a photo of a disc", "the blue ring on snow", "water")]
    context = metadata["open_clip_config"]["text_cfg"]["context_length"]
    padded = torch.tensor([[*rows, *[0] * (context - len(rows))] for rows in tokens])
    with torch.no_grad():
        pooled = train_clip.patches(model, images, mix=True).mean((2, 3))
        torch.testing.assert_close(pooled, model.encode_image(images), rtol=1e-4, atol=1e-4)
        texts = train_clip.encode_texts(model, tokens)
        torch.testing.assert_close(texts, model.encode_text(padded, normalize=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scene_share", [0, 1])
def test_a_training_step_is_a_function_of_seed_and_step(model, scene_share):
    tokenizer = train_clip.Tokenizer()
    first, again, other = (train_clip.loss_of(model, tokenizer, step, 3, scene_share)[0].item() for step in (5, 5, 6))
    assert first == again != other


def test_a_mosaic_keeps_the_order_of_its_tiles():
    images, tiles, side = train_clip.mosaic(np.random.default_rng(1))
    across = images.shape[1] // side
    for i, tile in enumerate(tiles):
        picture, row, column = i // across**2, i // across % across, i % across
        corner = images[picture, row * side :, column * side :]
        assert np.array_equal(corner[:side, :side], tile.image)


def test_definitions_read_the_scenes_clearly_better_than_names(model):
    found = train_clip.DenseZeroShot(train_clip.Tokenizer(), 30)(model)
    assert found["miou_definitions"] > 0.5
    for careless in ("names", "dictionary"):
        assert found["miou_definitions"] > found[f"miou_{careless}"] + 0.1


def test_the_probe_tells_what_is_read():
    own, giver = probe_clip.probe(probe_clip.load(), "nothing")
    assert own > 0.8
    assert giver < 0.1


def test_the_tables_count_masks_as_the_engine_does(tmp_path):
    seed = Shapes.seeds["val"]
    for index in range(120):
        truth = scenes.scene(seed, index)
        mask = np.where(truth.label == 1, 0, truth.label).astype(np.uint8)  # everything round is missed
        mask[truth.kinds == 1 + list(scenes.CONCEPTS).index("star")] = 2  # and every star is taken for a polygon
        Image.fromarray(mask).save(tmp_path / f"{index:04d}.png")
    found = results.compare(tmp_path, seed)
    assert found["iou"]["round"] == 0
    assert found["iou"]["heart"] == 1
    assert 0.5 < found["iou"]["polygon"] < 1
    assert 0.5 < found["rejected"] < 1
    assert found["miou"] == pytest.approx(sum(found["iou"].values()) / 6)
    assert results.mean_and_error([1.0, 2.0, 3.0]) == pytest.approx((2, 1 / np.sqrt(3)))


def test_the_log_ends_with_the_best_checkpoint_kept():
    rows = [json.loads(line) for line in (PACKAGE / "clip_log.jsonl").read_text().splitlines()]
    best = max(rows, key=lambda row: row["miou_definitions"])
    assert best["kept"]
    assert not any(row["kept"] for row in rows[rows.index(best) + 1 :])


def test_runs_of_another_recipe_are_not_mixed_into_a_table(tmp_path, monkeypatch):
    bench = results.Bench(out=tmp_path, dataset=Shapes(), seeds=1)
    results.keep_origin(bench)
    results.keep_origin(bench)
    run = bench.run(results.ROWS[-1], 0)
    run.mkdir(parents=True)
    monkeypatch.setattr(results, "_COMMON", ("training.steps=2",))
    with pytest.raises(SystemExit, match=f"{run.parent.name} was made with another recipe"):
        results.keep_origin(bench)
