"""A definition and a CLIP without a run: which settings rule, and that every way of looking sees the same."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from semivl_cli.concepts.load import load_definition, shipped
from semivl_cli.concepts.prompts import texts
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import available, open_dataset, package_file
from semivl_cli.engine.zero_shot.preview import SMALLEST, find_regions, share_out
from semivl_cli.engine.zero_shot.segmenter import dataset_of, frozen_config, open_frozen, parse_weights
from semivl_cli.errors import InputError
from semivl_cli.model.pixels import resize
from semivl_cli.reporter import Silence


@pytest.fixture(scope="module")
def frozen():
    return open_frozen(definition="shapes", weights=None, dataset=None, device="cpu", reporter=Silence())


@pytest.fixture(scope="module")
def scene():
    """A scene of the demo, larger than a window, with sides that are no multiples of anything."""
    dataset = open_dataset("shapes")
    images = [record.image() for record in list(dataset.records(None, "val"))[:4]]
    rows = [np.concatenate(images[:2], axis=1), np.concatenate(images[2:], axis=1)]
    return np.concatenate(rows)[:157, :181]


def test_looking_and_predicting_see_the_same_classes(frozen, scene):
    seen = frozen.look(scene)
    assert seen.ids.shape == seen.confidence.shape == seen.texts.shape == scene.shape[:2]
    assert (seen.ids == frozen.predict(scene)).all()
    assert len(np.unique(seen.ids)) > 1


def test_looking_twice_sees_the_same(frozen, scene):
    first, second = frozen.look(scene), frozen.look(scene)
    assert (first.ids == second.ids).all() and (first.confidence == second.confidence).all()
    assert (first.texts == second.texts).all()


@pytest.mark.parametrize("aggregate", ["probability", "similarity"])
def test_one_window_is_what_guidance_says(frozen, aggregate):
    """In an image of a window's size nothing is averaged: the maps are those of training."""
    side = frozen.config.data.crop
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    guide = copy.copy(frozen.guide)
    guide.aggregate = aggregate
    seen = dataclasses.replace(frozen, guide=guide).look(image)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = guide(pixels)
    assert (seen.ids == expected.label[0].numpy()).all()
    assert (seen.confidence == expected.confidence[0].numpy()).all()
    similarities = resize(guide.similarities(pixels), (side, side))[0].numpy()
    owner = np.array(frozen.class_of_text)
    for class_id in np.unique(seen.ids):
        own, mine = seen.ids == class_id, np.flatnonzero(owner == class_id)
        assert (mine[similarities[mine][:, own].argmax(axis=0)] == seen.texts[own]).all()


def test_the_winning_text_is_one_of_the_winning_class(frozen, scene):
    seen = frozen.look(scene)
    assert (np.array(frozen.class_of_text)[seen.texts] == seen.ids).all()
    assert frozen.texts == texts(load_definition("shapes"), "concepts").texts
    assert seen.confidence.min() > 0 and seen.confidence.max() <= 1


def test_images_smaller_than_a_patch_are_seen(frozen):
    seen = frozen.look(np.zeros((1, 3, 3), dtype=np.uint8))
    assert seen.ids.shape == (1, 3)


def test_a_definition_suggests_the_dataset_that_it_belongs_to():
    for name, reason in available().items():
        own = open_dataset(name).definition if reason is None else ""
        if own in shipped():
            assert open_dataset(dataset_of(own)).definition == own
    assert dataset_of("voc") == "voc"
    assert dataset_of("voc-gpt") is None
    assert dataset_of("elsewhere/voc.toml") is None


def test_settings_come_from_the_dataset_given_else_suggested_else_defaults():
    def weights(**given):
        return frozen_config(**{"definition": None, "weights": None, "dataset": None, **given}).model.weights

    assert weights(dataset="shapes") == weights(definition="shapes") == "plugin:clip.safetensors"
    assert weights(definition="voc", dataset="shapes") == "plugin:clip.safetensors"
    assert weights(definition="mine.toml") == RunConfig().model.weights
    with pytest.raises(InputError, match="--definition"):
        weights()


def test_weights_are_a_model_with_or_without_tag_or_a_file(tmp_path):
    own = package_file(open_dataset("shapes"), "clip.safetensors")
    assert parse_weights("ViT-B-32", "ViT-B-16") == ("ViT-B-32", "openai")
    assert parse_weights("ViT-B-32:laion2b_e16", "ViT-B-16") == ("ViT-B-32", "laion2b_e16")
    assert parse_weights(f"ViT-B-32:{own}", "ViT-B-16") == ("ViT-B-32", str(own))
    assert parse_weights(str(own), "ViT-B-16") == ("from-weights", str(own))
    assert parse_weights("some.pt", "ViT-L-14") == ("ViT-L-14", "some.pt")
    assert parse_weights("some.pt", "from-weights") == ("ViT-B-16", "some.pt")
    colon = tmp_path / "run:2.pt"
    colon.touch()
    assert parse_weights(str(colon), "ViT-L-14") == ("ViT-L-14", str(colon))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\xff" * 99)
    with pytest.raises(InputError, match=r"damaged\.safetensors"):
        parse_weights(str(damaged), "ViT-B-16")


def test_a_file_of_ones_own_reads_the_same_as_the_plugins(frozen, scene, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(package_file(open_dataset("shapes"), "clip.safetensors").read_bytes())
    other = open_frozen(definition="shapes", weights=str(copy), dataset=None, device="cpu", reporter=Silence())
    assert other.clip_sha256 == frozen.clip_sha256
    assert (other.predict(scene) == frozen.predict(scene)).all()


def test_regions_are_connected_and_named_at_their_deepest_pixel():
    winners = np.zeros((60, 60), dtype=np.intp)
    winners[10:31, 10:31] = 3
    winners[40:51, 40:55] = 3
    winners[0, 0] = 7  # too small for a name
    background, large, small = find_regions(winners)
    assert (background.text, large.text, small.text) == (0, 3, 3)
    assert large.center == (20, 20) and large.share == pytest.approx(21 * 21 / 3600)
    assert small.center[0] == 45
    assert all(region.share >= SMALLEST for region in (background, large, small))


def test_shares_add_up(frozen, scene):
    seen = frozen.look(scene)
    shares = share_out(frozen, seen)
    assert sum(one.share for one in shares) == pytest.approx(1)
    assert [one.share for one in shares] == sorted((one.share for one in shares), reverse=True)
    assert sum(one.sure for one in shares) == pytest.approx(float((seen.confidence >= frozen.zeta).mean()))
    for one in shares:
        assert sum(share for _, share in one.words) == pytest.approx(one.share)
        assert {text for text, _ in one.words} <= set(frozen.definition.classes[one.class_id].concepts)
